"""The small model behind the method `pair`: from features of a pair to a probability.

Its weights were trained by `benchmarks/semantic_oracle/train.py`; `pair_model/CARD.md` says on
what, and how well it does.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from guardrail.canonical import short_digest
from guardrail.errors import OracleError
from guardrail.oracles.semantic.features import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PAIR_HEAD", "PairHead"]

PAIR_HEAD = Path(__file__).parent / "pair_model" / "head.npz"
_ARRAYS = ("mean", "scale", "hidden", "hidden_bias", "last", "last_bias")
_MOST_STANDARD = 5.0  # features are clipped to so many standard deviations


@dataclass(frozen=True)
class PairHead:
    """One hidden layer; f features, h hidden numbers.

    Attributes:
        mean, scale: float32, (f,), standardise the features.
        hidden, hidden_bias: float32, (f, h) and (h,).
        last, last_bias: float32, (h,) and ().
        threshold: probability from which two answers are called the same, in (0, 1).
        encoder: digest of the weights of the sentence model that it was trained with.
        digest: of all of this.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    last: NDArray[np.float32]
    last_bias: NDArray[np.float32]
    threshold: float
    encoder: str
    digest: str

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """How likely two answers are the same; (n, f) to (n,), each in [0, 1]."""
        standard = np.clip((features - self.mean) / self.scale, -_MOST_STANDARD, _MOST_STANDARD)
        hidden = np.maximum(standard @ self.hidden + self.hidden_bias, 0.0)
        margins = (hidden @ self.last + self.last_bias).astype(np.float64)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(margins, -60.0, 60.0))), dtype=np.float64)

    @classmethod
    def load(cls, path: Path = PAIR_HEAD) -> PairHead:
        """Reads the weights.

        Raises:
            OracleError: they are missing, damaged or made for other features.
        """
        try:
            raw = path.read_bytes()
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name], np.float32) for name in _ARRAYS}
                about = json.loads(str(file["about"]))
                names = tuple(about["features"])
                threshold, encoder = float(about["threshold"]), str(about["encoder"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise OracleError(
                f"the pair model in {path} cannot be read ({type(error).__name__}); install the "
                "package again"
            ) from error
        fits = names == FEATURES and arrays["hidden"].shape[0] == len(FEATURES)
        if not fits or not 0.0 < threshold < 1.0:
            raise OracleError(
                f"the pair model in {path} was made for other features than this version has; "
                "install the package again"
            )
        return cls(
            mean=arrays["mean"],
            scale=arrays["scale"],
            hidden=arrays["hidden"],
            hidden_bias=arrays["hidden_bias"],
            last=arrays["last"],
            last_bias=arrays["last_bias"],
            threshold=threshold,
            encoder=encoder,
            digest=short_digest(raw, 12),
        )
