"""Loads any Hugging Face vision-language model, by id or folder; errors say what to do."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.distribution import install_command
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.types import Json

__all__ = ["Loaded", "folder_digest", "load_vlm", "read_model_settings"]

_WEIGHTS = (".safetensors", ".bin")
_SETTINGS = (".json", ".jinja", ".txt", ".model")
_PIECES = 64
_PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in evaluation mode, its processor, and where it computes."""

    model: Any
    processor: Any
    device: str


def load_vlm(name: str, *, device: str | None = None, dtype: str | None = None) -> Loaded:
    """The model and processor behind a Hugging Face id or a local folder.

    Code that comes with a model is never run.

    Args:
        name: id (`org/model`) or path of a folder that `save_pretrained` wrote.
        device: torch's word (`cpu`, `cuda:0`, `mps`); None takes a GPU where there is one.
        dtype: torch's word; None is bfloat16 on a GPU and float32 elsewhere.

    Raises:
        ConfigError: a package is missing, or the model cannot be loaded, or it cannot chat.
    """
    try:
        import torch
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        raise ConfigError(
            f"a model in this process needs torch and transformers; {install_command('local')}",
            field="upstream",
        ) from error
    library: Any = transformers  # its auto classes carry no usable types
    from guardrail.upstreams.convolutional_vision import register_convolutional_vision

    register_convolutional_vision()
    logging.disable_progress_bar()
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = _dtype(torch, dtype or ("bfloat16" if where.startswith("cuda") else "float32"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice of the library to its own users
            safe = {"trust_remote_code": False}
            processor = library.AutoProcessor.from_pretrained(name, **safe)
            model = library.AutoModelForImageTextToText.from_pretrained(name, dtype=kind, **safe)
    except Exception as error:
        raise ConfigError(_remedy(name, error), field="upstream") from error
    _prepare_tokenizer(name, processor)
    return Loaded(_place(model, where).eval(), processor, where)


def read_model_settings(name: str) -> tuple[dict[str, Json], dict[str, Json]]:
    """What a model's files say of the pictures that it takes, and of itself; weights are not read.

    Of a hub model they are those that transformers keeps, or fetches as `load_vlm` does.

    Raises:
        ConfigError: a file cannot be read.
    """
    whole = _read_settings_file(name, "processor_config.json")
    part = whole.get("image_processor")
    processor = part if isinstance(part, dict) else {}
    processor = processor or _read_settings_file(name, "preprocessor_config.json")
    return processor, _read_settings_file(name, "config.json")


def _read_settings_file(name: str, file: str) -> dict[str, Json]:
    """The object in a file of a model; empty where there is no such file. Raises ConfigError."""
    path = Path(name) / file if Path(name).is_dir() else _find_hub_file(name, file)
    try:
        content = json.loads(path.read_text("utf-8")) if path and path.is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} of the model '{name}' cannot be read ({type(error).__name__}); give a "
            "complete model",
            field="upstream",
        ) from error
    return content if isinstance(content, dict) else {}


def _find_hub_file(name: str, file: str) -> Path | None:
    from transformers.utils import cached_file

    try:
        found = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
    except Exception as error:
        raise ConfigError(_remedy(name, error), field="upstream") from error
    return None if found is None else Path(found)


def folder_digest(folder: Path) -> str:
    """16 hexadecimal digits that change with a model's settings or weights.

    Of a weight file its length and evenly spaced pieces are read, all of it up to 16 MiB.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _SETTINGS + _WEIGHTS and file.is_file():
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
            for piece in _pieces(file):
                digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces(file: Path) -> list[bytes]:
    size = file.stat().st_size
    if size <= _PIECES * _PIECE_BYTES:
        return [file.read_bytes()]
    pieces = []
    with file.open("rb") as stream:
        for i in range(_PIECES):
            stream.seek((size - _PIECE_BYTES) * i // (_PIECES - 1))
            pieces.append(stream.read(_PIECE_BYTES))
    return pieces


def _dtype(torch: Any, name: str) -> Any:
    kind = getattr(torch, name, None)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise ConfigError(
            "must be torch's name of a floating type, such as 'float32'", field="dtype"
        )
    return kind


def _place(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except Exception as error:
        raise ConfigError(
            f"the model cannot be moved to '{device}' ({type(error).__name__}); use 'cpu', or a "
            "device that is there and has room",
            field="device",
        ) from error


def _prepare_tokenizer(name: str, processor: Any) -> None:
    """Answers are written to the right of the prompt, so padding must stand on the left."""
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not getattr(processor, "chat_template", None):
        raise ConfigError(
            f"the model '{name}' has no chat template, so it cannot be asked questions; use an "
            "instruction-tuned vision-language model",
            field="upstream",
        )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token


def _remedy(name: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"the model '{name}' needs a package that is not installed: {_first_line(error)}"
    if Path(name).is_dir():
        found = any(file.suffix in _WEIGHTS for file in Path(name).iterdir())
        what = f"{type(error).__name__}" if found else "the folder holds no weights"
        return f"the model in '{name}' cannot be loaded: {what}; give a complete model folder"
    return (
        f"the model '{name}' cannot be loaded ({type(error).__name__}): it is not a folder here, "
        "and not in the Hugging Face cache or not reachable; check the id, log in if it is gated, "
        "or download it first with: hf download " + name
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "unknown")
