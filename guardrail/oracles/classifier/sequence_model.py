"""A Hugging Face sequence classifier that turns windows of tokens into probabilities.

Windows of like length share a forward pass, so that hardly anything is computed on padding.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from guardrail.oracles.text.windows import Frame, Window

__all__ = [
    "Activation",
    "SequenceModel",
    "digest",
    "file_digest",
    "like_lengths",
    "move_to_device",
]

Activation = Literal["sigmoid", "softmax"]

_FREE_PADDING = 64
_MOST_PADDING = 0.05


@dataclass(frozen=True, slots=True)
class SequenceModel:
    """A classifier ready to run, in the thread that calls it.

    Attributes:
        activation: how logits become probabilities: each label by itself, or one of all.
        window_tokens: most tokens of a window, special ones included.
        batch_windows: most windows in one forward pass.
    """

    model: Any
    tokenizer: Any
    frame: Frame
    activation: Activation
    window_tokens: int
    batch_windows: int

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, all of them; what looks like a special token is text too."""
        if not texts:
            return []
        # a lone surrogate is legal in JSON and in Python, but not in UTF-8
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        found = self.tokenizer(
            clean,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            padding=False,
            verbose=False,
        )
        return [list(tokens) for tokens in found["input_ids"]]

    def is_unreadable(self, tokens: Sequence[int]) -> bool:
        """True if there is nothing to see, or mostly what the model has no word for."""
        unknown = self.tokenizer.unk_token_id
        return 2 * list(tokens).count(unknown) >= len(tokens)

    def probabilities(self, windows: Sequence[Window]) -> list[list[float]]:
        """The probability of every label, a row for each window in the order given."""
        lengths = [len(window.ids) for window in windows]
        rows: list[list[float]] = [[] for _ in windows]
        for places in like_lengths(lengths, self._most_windows()):
            found = self._forward([windows[place] for place in places])
            for place, row in zip(places, found, strict=True):
                rows[place] = row
        return rows

    def _most_windows(self) -> int:
        # models that look for the last token need to know which one is padding
        return 1 if self.model.config.pad_token_id is None else self.batch_windows

    def _forward(self, windows: Sequence[Window]) -> list[list[float]]:
        import torch

        with torch.inference_mode():
            logits = self.model(**self._inputs(windows)).logits.float()
            probabilities = logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)
        rows: list[list[float]] = probabilities.cpu().tolist()
        return rows

    def _inputs(self, windows: Sequence[Window]) -> dict[str, Any]:
        import torch

        width = max(len(window.ids) for window in windows)
        padding = self.model.config.pad_token_id or 0
        columns = {
            "input_ids": [_pad(window.ids, width, padding) for window in windows],
            "attention_mask": [_pad([1] * len(window.ids), width, 0) for window in windows],
        }
        if "token_type_ids" in self.tokenizer.model_input_names:
            columns["token_type_ids"] = [_pad(window.types, width, 0) for window in windows]
        device = self.model.device
        return {name: torch.tensor(rows, device=device) for name, rows in columns.items()}


def like_lengths(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices in batches of at most `most`, sorted by length so that little is padding."""
    batch: list[int] = []
    real = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        whole = lengths[place] * (len(batch) + 1)
        padding = whole - real - lengths[place]
        if batch and (len(batch) == most or padding > max(_FREE_PADDING, _MOST_PADDING * whole)):
            yield batch
            batch, real = [], 0
        batch.append(place)
        real += lengths[place]
    if batch:
        yield batch


def move_to_device(model: Any, device: str) -> Any:
    """The model on a device, in evaluation mode. Raises ConfigError."""
    try:
        return model.to(device).eval()
    except Exception as error:  # torch raises many kinds
        raise ConfigError(
            f"the model cannot be moved to '{device}' ({type(error).__name__}); use 'cpu', or a "
            "device that is there and has room",
            field="device",
        ) from error


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(model: SequenceModel, *settings: object) -> str:
    """12 hexadecimal digits of the tokenizer, the architecture and whatever else is given."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    vocabulary = model.tokenizer.get_vocab() if backend is None else backend.to_str()
    config = model.model.config.to_dict()
    for key in ("_name_or_path", "transformers_version", "dtype"):
        config.pop(key, None)
    parts = [vocabulary, config, model.activation, model.window_tokens, *settings]
    text = json.dumps(parts, sort_keys=True, default=str)
    return short_digest(text, 12)


def _pad(row: list[int], width: int, value: int) -> list[int]:
    return row + [value] * (width - len(row))
