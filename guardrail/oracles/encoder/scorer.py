"""Harm judged by a small transformer: a fine-tuned sentence encoder in ONNX Runtime, int8.

An answer is brought into plain words, cut into windows that overlap, and each window is scored
behind the prompt that drew the answer, where one is known. The worst window decides, so that
nothing hides behind a harmless beginning. The model was trained on windows in which one sentence
is harmful, and pools by mean and by maximum, so that a sentence is not averaged away.

What the model was trained on, how well it does and what it misses stand in
`encoder_model/CARD.md` and `report.json`.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.canonical import short_digest
from guardrail.errors import OracleError
from guardrail.oracles.base import NamedScore
from guardrail.oracles.encoder.windows import EncoderWindow, cut_windows
from guardrail.oracles.packages import missing_package
from guardrail.oracles.text.plain import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guardrail.oracles.base import Exchange

__all__ = ["ENCODER_MODEL", "EXTRA", "PACKAGES", "EncoderScorer"]

ENCODER_MODEL = Path(__file__).parents[1] / "encoder_model"
FORMAT = 1
"""Raised whenever windows, plain text or the meaning of the outputs change."""
EXTRA = "encoder"
PACKAGES = ("onnxruntime", "tokenizers")
"""What the extra brings."""

_FILES = ("model.onnx", "tokenizer.json", "model.json")


@dataclass(frozen=True)
class _Loaded:
    """`slope` and `at` map the worst logit to a score: 0.5 at the operating point `at`."""

    session: Any
    tokenizer: Any
    categories: tuple[str, ...]
    slope: float
    at: float
    digest: str


class EncoderScorer:
    """Scores answers with the shipped encoder, or another one of the same form.

    0.5 is the operating point that the card's numbers are measured at. Loading takes half a second
    and happens at the first use.

    Args:
        folder: as written by `benchmarks/harm_oracles/export_encoder.py`.
        with_prompt: whether the prompt is shown to the model.
        threads: processor threads of one run.
    """

    def __init__(
        self,
        folder: Path | str = ENCODER_MODEL,
        *,
        with_prompt: bool = True,
        threads: int = 1,
    ) -> None:
        self._folder = Path(folder)
        self._with_prompt = with_prompt
        self._threads = threads
        self._loading = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def revision(self) -> str:
        """Digest of the model's files and of whether it sees prompts; loads them."""
        shown = "" if self._with_prompt else "-answers"
        return f"encoder-{self.load().digest}{shown}"

    def scores(self, exchanges: Sequence[Exchange]) -> list[NamedScore]:
        """Raises OracleError where the model cannot be loaded or run."""
        windows = self.windows(exchanges)
        rows = self._worst(windows)
        return [
            self.score_of(row) if parts[0].has_answer else NamedScore(1.0, "unreadable")
            for row, parts in zip(rows, windows, strict=True)
        ]

    def logits(self, exchanges: Sequence[Exchange]) -> NDArray[np.float64]:
        """Of the worst window of every answer: harm, then the categories; shape (n, 1 + c)."""
        return self._worst(self.windows(exchanges))

    def _worst(self, windows: Sequence[Sequence[EncoderWindow]]) -> NDArray[np.float64]:
        rows = iter(self.run([window for parts in windows for window in parts]))
        return np.array(
            [max((next(rows) for _ in parts), key=lambda row: row[0]) for parts in windows]
        )

    def windows(self, exchanges: Sequence[Exchange]) -> list[list[EncoderWindow]]:
        """What the model sees of every exchange."""
        answers = self._tokens([exchange.response for exchange in exchanges])
        prompts = self._tokens([e.prompt if self._with_prompt else "" for e in exchanges])
        return [cut_windows(a, p) for a, p in zip(answers, prompts, strict=True)]

    def run(self, windows: Sequence[EncoderWindow]) -> NDArray[np.float64]:
        """The model's logits of every window, shape (n, 1 + c).

        Windows are run one by one: the scale of int8 activations is that of everything in a run,
        so that in a batch one answer's score would depend on the others.
        """
        session = self.load().session
        rows = [session.run(None, _inputs(window))[0][0] for window in windows]
        found = np.array(rows, dtype=np.float64)
        if not np.isfinite(found).all():
            raise OracleError("the encoder's output is not finite; its files may be damaged")
        return found

    def score_of(self, row: NDArray[np.float64]) -> NamedScore:
        """The score and the category that one row of logits stands for."""
        loaded = self.load()
        logit = min(max(loaded.slope * (row[0] - loaded.at), -500.0), 500.0)
        score = 1.0 / (1.0 + np.exp(-logit))
        return NamedScore(float(score), loaded.categories[int(row[1:].argmax())])

    def load(self) -> _Loaded:
        """Raises OracleError where a package is missing or a file cannot be read."""
        with self._loading:
            if self._loaded is None:
                self._loaded = _load(self._folder, self._threads)
            return self._loaded

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer = self.load().tokenizer
        found = tokenizer.encode_batch([plain_text(t) for t in texts], add_special_tokens=False)
        return [encoding.ids for encoding in found]


def _inputs(window: EncoderWindow) -> dict[str, NDArray[np.int64]]:
    ids = np.array([window.ids], dtype=np.int64)
    types = (np.arange(ids.size) >= window.answer_at).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}


def _read_settings(data: bytes) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(data)
    if settings["format"] != FORMAT:
        raise ValueError("written for another version of this package")
    return settings


def _load(folder: Path, threads: int) -> _Loaded:
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise missing_package(error.name, EXTRA) from error
    try:
        data = [(folder / name).read_bytes() for name in _FILES]
        settings = _read_settings(data[2])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(data[0], options, ["CPUExecutionProvider"])
        tokenizer = tokenizers.Tokenizer.from_buffer(data[1])
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return _Loaded(
            session=session,
            tokenizer=tokenizer,
            categories=tuple(map(str, settings["categories"])),
            slope=float(settings["slope"]),
            at=float(settings["at"]),
            digest=short_digest(b"".join(data), 12),
        )
    except Exception as error:  # the two libraries raise classes of their own
        raise OracleError(
            f"the encoder oracle's files in {folder} cannot be read ({type(error).__name__}); "
            "reinstall the package, or point to a folder that "
            "benchmarks/harm_oracles/export_encoder.py has written"
        ) from error
