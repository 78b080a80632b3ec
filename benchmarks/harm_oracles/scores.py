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
from guardrail.oracles.encoder.scorer import ENCODER_MODEL, EncoderScorer
from guardrail.oracles.kinds.default import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from data import Text

Known: TypeAlias = tuple[float, float, str, str]
"""Scores of the encoder and of the built-in oracle, and the categories that they name."""
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
        cache.mkdir(parents=True, exist_ok=True)
        self._path = cache / f"{self.encoder.revision}-{self.builtin.revision}.npz"
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
        encoder, builtin = self.encoder.scores([exchange])[0], self.builtin.scores([exchange])[0]
        named = str(getattr(builtin, "category", ""))
        return float(encoder), float(builtin), encoder.category, named


def _combine(text: Text, known: Known) -> Scored:
    encoder, builtin, encoder_category, builtin_category = known
    default = encoder if builtin >= CERTAIN else min(builtin, encoder)
    return Scored(text, default, encoder, builtin, encoder_category, builtin_category)


def _key(text: Text) -> str:
    return hashlib.sha256(f"{text.prompt}\0{text.text}".encode(errors="replace")).hexdigest()


def _read(path: Path) -> dict[str, Known]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        scores = kept["scores"].tolist()
        names = kept["categories"].tolist()
        rows = ((*of_both, *named) for of_both, named in zip(scores, names, strict=True))
        return dict(zip(kept["keys"].tolist(), rows, strict=True))


def _write(path: Path, known: dict[str, Known]) -> None:
    np.savez(
        path,
        keys=np.array(list(known)),
        scores=np.array([row[:2] for row in known.values()]),
        categories=np.array([row[2:] for row in known.values()]),
    )
