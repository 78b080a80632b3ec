"""Reading a text classifier of Hugging Face from a folder, or by its id."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.errors import OracleError
from guardrail.oracles.classifier.sequence_model import file_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["files_of", "label_names", "parts_of", "weights_digest"]

_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = ("pytorch_model*.bin",)


def files_of(model: Path | str, revision: str | None, *, trust: bool) -> Path:
    """Where the files lie; those of an id are fetched if they are not here yet.

    Raises:
        OracleError: There is no such folder, and no such model that can be fetched.
    """
    if Path(model).is_dir():
        return Path(model)
    import huggingface_hub

    patterns = [*_FILES, *_PICKLED] if trust else list(_FILES)
    try:
        found = huggingface_hub.snapshot_download(
            str(model), revision=revision, allow_patterns=patterns
        )
    except Exception as error:  # the client raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the classifier '{model}' is not a folder here and cannot be fetched "
            f"({type(error).__name__}); check the id, or on a machine with a network run "
            f"'hf download {model} --local-dir FOLDER' and name that folder"
        ) from error
    return Path(found)


def parts_of(transformers: Any, folder: Path, *, trust: bool) -> tuple[Any, Any]:
    """Tokenizer and model. Code that comes with a model is never run.

    Raises:
        OracleError: A file is missing or damaged, or the weights are not all there.
    """
    if not trust and not any(folder.glob("*.safetensors")):
        raise OracleError(
            f"{folder} holds no safetensors; save the model there again with save_pretrained, or "
            "set 'trust_checkpoint: true' if you trust where its pickled weights come from"
        )
    transformers.utils.logging.disable_progress_bar()
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice of the library to its own users
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
            kind = transformers.AutoModelForSequenceClassification
            model, found = kind.from_pretrained(
                folder,
                dtype="float32",
                use_safetensors=None if trust else True,
                output_loading_info=True,
                **safe,
            )
    except Exception as error:  # the library raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the classifier in {folder} cannot be loaded ({type(error).__name__}); the folder "
            "must hold config.json, tokenizer files and weights of a model for sequence "
            "classification that needs no code of its own"
        ) from error
    _check_whole(found, folder)
    return tokenizer, model


def _check_whole(found: Mapping[str, Any], folder: Path) -> None:
    """Refuses missing weights: the library would fill them with random numbers."""
    if found["missing_keys"] or found.get("mismatched_keys"):
        raise OracleError(
            f"{folder} lacks weights of its own architecture, {len(found['missing_keys'])} at "
            "least; use a model that was trained to classify texts, and fetch it whole"
        )


def label_names(config: Any) -> list[str]:
    """The names of the columns, in order.

    Raises:
        OracleError: Two columns have one name.
    """
    names = [str(config.id2label[column]) for column in range(config.num_labels)]
    if len(set(names)) < len(names):
        raise OracleError("two labels of the classifier have one name; correct its id2label")
    return names


def weights_digest(folder: Path) -> str:
    """SHA-256 of all weights in the folder."""
    digest = hashlib.sha256()
    for pattern in ("*.safetensors", *_PICKLED):
        for path in sorted(folder.glob(pattern)):
            digest.update(f"{path.name} {file_digest(path)}\n".encode())
    return digest.hexdigest()
