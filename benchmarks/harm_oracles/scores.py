"""What the shipped oracles make of the held-out texts, kept in a folder between scripts.

Scores, not verdicts: the cascade's verdict follows from both models' scores.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BUILTIN_MODEL, BuiltinScorer
from guardrail.oracles.encoder.scorer import ENCODER_MODEL, EncoderScorer
from guardrail.oracles.kinds.default import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from data import Text

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
            self._add([key for key, _ in part], [text for _, text in part])
            _write(self._path, self._known)
            print(f"scored {min(start + CHUNK, len(left))} of {len(left)}", flush=True)
        return [_combine(t, self._known[k]) for k, t in zip(keys, texts, strict=True)]

    def _add(self, keys: list[str], texts: list[Text]) -> None:
        exchanges = [Exchange(text.prompt, text.text) for text in texts]
        encoder, builtin = self.encoder.scores(exchanges), self.builtin.scores(exchanges)
        for key, by_encoder, by_builtin in zip(keys, encoder, builtin, strict=True):
            names = (by_encoder.category, str(getattr(by_builtin, "category", "")))
            self._known[key] = (float(by_encoder), float(by_builtin), *names)


def _combine(text: Text, known: tuple[float, float, str, str]) -> Scored:
    encoder, builtin, encoder_category, builtin_category = known
    default = encoder if builtin >= CERTAIN else min(builtin, encoder)
    return Scored(text, default, encoder, builtin, encoder_category, builtin_category)


def _key(text: Text) -> str:
    return hashlib.sha256(f"{text.prompt}\0{text.text}".encode(errors="replace")).hexdigest()


def _read(path: Path) -> dict[str, tuple[float, float, str, str]]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        rows = zip(kept["encoder"], kept["builtin"], kept["ec"], kept["bc"], strict=True)
        values = [(float(e), float(b), str(ec), str(bc)) for e, b, ec, bc in rows]
        return dict(zip(kept["keys"].tolist(), values, strict=True))


def _write(path: Path, known: dict[str, tuple[float, float, str, str]]) -> None:
    encoder, builtin, ec, bc = zip(*known.values(), strict=True)
    np.savez(
        path,
        keys=np.array(list(known)),
        encoder=np.array(encoder),
        builtin=np.array(builtin),
        ec=np.array(ec),
        bc=np.array(bc),
    )
