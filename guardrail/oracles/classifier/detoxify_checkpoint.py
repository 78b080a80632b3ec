"""Reading Detoxify's checkpoints: weights as data (`weights_only`), never as code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError, OracleError

if TYPE_CHECKING:
    from collections.abc import Mapping
from guardrail.oracles.packages import missing_package

__all__ = ["EXTRA", "Checkpoint", "build_model", "find_published", "read_checkpoint"]

EXTRA = "detoxify"
_STANDARD_NAMES = {
    "toxic": "toxicity",
    "identity_hate": "identity_attack",
    "severe_toxic": "severe_toxicity",
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read: what to build, the names of its labels, and the weights."""

    path: Path
    architecture: Mapping[str, Any]
    names: list[str]
    weights: Any


def find_published(torch: Any, model_type: str) -> Path:
    """The weights of one of Detoxify's models in torch's hub folder, or downloaded to it.

    Raises:
        ConfigError: Detoxify has no such model.
        OracleError: Its package is missing, or the weights are and cannot be fetched.
    """
    try:
        from detoxify.detoxify import MODEL_URLS
    except ImportError as error:
        raise missing_package("detoxify", EXTRA) from error
    if model_type not in MODEL_URLS:
        raise ConfigError(
            f"'{model_type}' is not one of Detoxify's models: {', '.join(MODEL_URLS)}",
            field="model_type",
        )
    return _from_hub(torch, str(MODEL_URLS[model_type]))


def read_checkpoint(torch: Any, path: Path, *, trust: bool) -> Checkpoint:
    """What a file in Detoxify's format holds; code in it runs only where it is trusted.

    Raises:
        OracleError: It is missing, damaged, or of another kind.
    """
    if not path.is_file():
        raise OracleError(
            f"no Detoxify checkpoint at {path}; put the file there or correct 'checkpoint'"
        )
    content = _content(torch, path, trust=trust)
    architecture, names = _architecture_of(content, path)
    return Checkpoint(path, architecture, names, content["state_dict"])


def build_model(
    transformers: Any, checkpoint: Checkpoint, config_path: Path | str | None
) -> tuple[Any, Any]:
    """The model with the checkpoint's weights, and its tokenizer.

    Raises:
        OracleError: The base model's files are missing, or do not fit the weights.
    """
    architecture, path = checkpoint.architecture, checkpoint.path
    model_class = _find_class(transformers, architecture["model_name"], path)
    tokenizer_class = _find_class(transformers, architecture["tokenizer_name"], path)
    source = config_path or architecture["model_type"]
    local = config_path is not None
    if local and not (Path(source) / "config.json").is_file():
        # transformers would go on with a config and a vocabulary of its own making
        raise OracleError(_no_base_model(source, local=local))
    try:
        config = model_class.config_class.from_pretrained(
            source, num_labels=architecture["num_classes"], local_files_only=local
        )
        tokenizer = tokenizer_class.from_pretrained(source, local_files_only=local)
    except (OSError, ValueError) as error:
        raise OracleError(_no_base_model(source, local=local)) from error
    model = model_class(config)
    _fill(model, checkpoint.weights, path)
    return model, tokenizer


def _from_hub(torch: Any, url: str) -> Path:
    """The file in torch's hub folder, downloaded if it is not there yet."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, RuntimeError) as error:
        raise OracleError(
            f"Detoxify's weights are not at {path} and cannot be downloaded "
            f"({type(error).__name__}); fetch {url} on a machine with a network and put it there, "
            "or set 'checkpoint' to a local file"
        ) from error
    return path


def _content(torch: Any, path: Path, *, trust: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # torch raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the checkpoint {path} cannot be read as plain weights ({type(error).__name__}); if "
            "it is whole and you trust where it comes from, save it again with tensors and plain "
            "values only, or set 'trust_checkpoint: true', which lets the file run code"
        ) from error


def _architecture_of(content: Any, path: Path) -> tuple[Mapping[str, Any], list[str]]:
    try:
        architecture = content["config"]["arch"]["args"]
        classes = content["config"]["dataset"]["args"]["classes"]
        names = [_STANDARD_NAMES.get(name, str(name)) for name in classes]
        wanted = ("model_type", "model_name", "tokenizer_name", "num_classes")
        described = {name: architecture[name] for name in wanted}
        complete = "state_dict" in content and len(names) == described["num_classes"]
    except (KeyError, TypeError) as error:
        raise OracleError(_not_a_checkpoint(path)) from error
    if not complete:
        raise OracleError(_not_a_checkpoint(path))
    return described, names


def _not_a_checkpoint(path: Path) -> str:
    return (
        f"{path} is not a Detoxify checkpoint: it must hold 'state_dict' and 'config' with "
        "arch.args (model_type, model_name, tokenizer_name, num_classes) and dataset.args.classes "
        "of that number"
    )


def _find_class(transformers: Any, name: str, path: Path) -> Any:
    """Only classifiers and tokenizers: a file may not choose just any class to be built."""
    fits = str(name).endswith(("ForSequenceClassification", "Tokenizer", "TokenizerFast"))
    found = getattr(transformers, str(name), None) if fits else None
    if found is None:
        raise OracleError(f"{path} names a class that transformers does not offer for this use")
    return found


def _no_base_model(source: Any, *, local: bool) -> str:
    if local:
        return (
            f"{source} does not hold a config and tokenizer that fit the checkpoint; save both "
            "there with save_pretrained"
        )
    return (
        f"config and tokenizer of '{source}' cannot be loaded; with a network run "
        f'\'hf download {source} --include "*.json" "*.txt" "*.model" --local-dir FOLDER\', '
        "then set 'huggingface_config_path: FOLDER'"
    )


def _fill(model: Any, state: Any, path: Path) -> None:
    """Loads every weight; only tables that newer versions compute themselves may be left over."""
    try:
        result = model.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise OracleError(f"the weights in {path} do not fit its architecture") from error
    left = [name for name in result.unexpected_keys if not name.endswith("position_ids")]
    if result.missing_keys or left:
        raise OracleError(
            f"{path} lacks {len(result.missing_keys)} weights and has {len(left)} that do not "
            "belong; the config and tokenizer must be those of the checkpoint's base model"
        )
