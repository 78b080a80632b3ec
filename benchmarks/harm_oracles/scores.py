"""What the shipped oracles make of the held-out texts, kept in a folder between scripts.

Scores, not verdicts: the cascade's verdict follows from both models' scores.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BUILTIN_MODEL, BuiltinScorer
from guardrail.oracles.encoder.scorer import ENCODER_MODEL, EncoderScorer, Screen
from guardrail.oracles.kinds.default import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from data import Text

Known: TypeAlias = tuple[float, float, float, str, str]
"""Scores of the encoder, of the encoder behind the screen and of the built-in oracle; categories of
the encoder and of the built-in one."""
ORACLES = ("default", "encoder", "builtin")
CHUNK = 512


@dataclass(frozen=True)
class Scored:
    """Scores of one text by each oracle; 0.5 is the operating point of each."""

    text: Text
    default: float
    encoder: float
    builtin: float
    encoder_category: str
    builtin_category: str

    def of(self, oracle: str) -> float:
        return float(getattr(self, oracle))

    def category(self, oracle: str) -> str:
        return self.builtin_category if oracle == "builtin" else self.encoder_category


class Scorers:
    """Both models, and what they said so far.

    Args:
        cache: where scores are kept, by a digest of models and text.
        threads: of the encoder.
    """

    def __init__(
        self,
        cache: Path,
        *,
        builtin: Path = BUILTIN_MODEL,
        encoder: Path = ENCODER_MODEL,
        threads: int = 2,
    ) -> None:
        self.builtin = BuiltinScorer(builtin)
        self.encoder = EncoderScorer(encoder, threads=threads)
        self.screened = EncoderScorer(encoder, screen=Screen(self.builtin, CERTAIN), threads=1)
        cache.mkdir(parents=True, exist_ok=True)
        self._path = cache / f"{self.screened.revision}.npz"
        self._known = _read(self._path)

    def score(self, texts: Sequence[Text]) -> list[Scored]:
        """In order; computes what is not known."""
        keys = [_key(text) for text in texts]
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in self._known}
        left = list(missing.items())
        for start in range(0, len(left), CHUNK):
            part = left[start : start + CHUNK]
            self._known |= {key: self._judge(text) for key, text in part}
            _write(self._path, self._known)
            print(f"scored {min(start + CHUNK, len(left))} of {len(left)}", flush=True)
        return [_combine(t, self._known[k]) for k, t in zip(keys, texts, strict=True)]

    def _judge(self, text: Text) -> Known:
        exchange = Exchange(text.prompt, text.text)
        builtin = self.builtin.scores([exchange])[0]
        windows, kept = self.encoder.windows([exchange])[0], self.screened.windows([exchange])[0]
        if not windows[0].has_answer:
            return 1.0, 1.0, 1.0, "unreadable", "unreadable"
        rows = self.encoder.run(windows)
        whole = self.encoder.score_of(max(rows, key=lambda row: row[0]))
        shown = [row for row, window in zip(rows, windows, strict=True) if window in kept]
        screened = self.encoder.score_of(max(shown, key=lambda row: row[0]))
        named = str(getattr(builtin, "category", ""))
        return float(whole), float(screened), float(builtin), whole.category, named


def _combine(text: Text, known: Known) -> Scored:
    encoder, screened, builtin, encoder_category, builtin_category = known
    default = screened if builtin >= CERTAIN else min(builtin, screened)
    return Scored(text, default, encoder, builtin, encoder_category, builtin_category)


def _key(text: Text) -> str:
    return hashlib.sha256(f"{text.prompt}\0{text.text}".encode(errors="replace")).hexdigest()


def _read(path: Path) -> dict[str, Known]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        scores = kept["scores"].tolist()
        names = kept["categories"].tolist()
        rows = (
            (encoder, screened, builtin, *named)
            for (encoder, screened, builtin), named in zip(scores, names, strict=True)
        )
        return dict(zip(kept["keys"].tolist(), rows, strict=True))


def _write(path: Path, known: dict[str, Known]) -> None:
    np.savez(
        path,
        keys=np.array(list(known)),
        scores=np.array([row[:3] for row in known.values()]),
        categories=np.array([row[3:] for row in known.values()]),
    )
