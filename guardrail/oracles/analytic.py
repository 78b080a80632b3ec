"""Oracles and upstream pieces whose truth is known exactly, for tests and demonstrations.

A linear threshold on the pixels has a known smoothed probability: with Gaussian noise of standard
deviation sigma, P[<a, x + noise> + b < 0] = Phi(-(<a, x> + b) / (sigma ‖a‖)), and the true robust
radius is the distance to the plane (Cohen et al. 2019, arXiv 1902.02918, §3). An upstream that
answers with `half_space_label` and a `WordOracle` that reads its word make that case end to end.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from guardrail.oracles.base import Exchange

__all__ = ["BernoulliOracle", "WordOracle", "half_space_distance", "half_space_label"]

WORDS = {"harmless": Outcome.HARMLESS, "harmful": Outcome.HARMFUL}


def half_space_label(
    pixels_uint8: NDArray[np.uint8], normal: NDArray[np.float64], offset: float
) -> str:
    """`harmful` where <normal, pixels / 255> + offset >= 0, else `harmless`.

    Args:
        pixels_uint8: The image as it is, of any shape, 0 to 255.
        normal: Of the same shape; need not be of length 1.
        offset: Added to the product.

    Raises:
        ConfigError: The shapes differ or the plane is not one.
    """
    return "harmful" if _height(pixels_uint8, normal, offset) >= 0.0 else "harmless"


def half_space_distance(
    pixels_uint8: NDArray[np.uint8], normal: NDArray[np.float64], offset: float
) -> float:
    """Signed l2 distance from the harmful side, in [0, 1] pixel units; negative inside it.

    This is the true robust radius of a harmless image. With x the image, sigma the noise and no
    clipping or rounding, the harmless probability is Phi(distance / sigma).

    Raises:
        ConfigError: The shapes differ or the plane is not one.
    """
    height = _height(pixels_uint8, normal, offset)
    return -height / float(np.linalg.norm(normal.astype(np.float64)))


def _height(pixels_uint8: NDArray[np.uint8], normal: NDArray[np.float64], offset: float) -> float:
    if pixels_uint8.shape != normal.shape:
        raise ConfigError(
            f"has shape {normal.shape}, the image {pixels_uint8.shape}: they must agree",
            field="normal",
        )
    if not np.isfinite(normal).all() or not np.any(normal) or not math.isfinite(offset):
        raise ConfigError("must be finite and not all zero", field="normal")
    pixels = pixels_uint8.astype(np.float64) / 255.0
    return float(np.sum(pixels * normal) + offset)


class WordOracle:
    """Knows an answer by the one word that it is.

    Args:
        words: Each known answer, in lower case and without blanks around it, and its outcome.
            Default: the answers of `half_space_label`.

    Raises:
        ConfigError: A word maps to `MISSING`, which is no judgement.
    """

    def __init__(self, words: Mapping[str, Outcome] | None = None) -> None:
        self._words = dict(WORDS if words is None else words)
        if Outcome.MISSING in self._words.values():
            raise ConfigError("an oracle cannot answer 'missing'", field="words")

    @property
    def revision(self) -> str:
        text = json.dumps(self._words, sort_keys=True)
        return f"word-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange.

        Raises:
            OracleError: An answer is none of the words.
        """
        return [self._judgement(exchange.response) for exchange in exchanges]

    async def aclose(self) -> None:
        """Holds nothing."""

    def _judgement(self, response: str) -> Judgement:
        outcome = self._words.get(response.strip().lower())
        if outcome is None:
            raise OracleError(
                f"an answer of {len(response)} characters is none of the "
                f"{len(self._words)} words that this oracle knows"
            )
        return Judgement(outcome, float(outcome is Outcome.HARMFUL), "by its word")


class BernoulliOracle:
    """Says harmless with a known probability, whatever it is shown.

    The outcome of the exchange of index i, counted over the oracle's life, depends on the seed
    and on i alone, so it does not matter how the exchanges are batched.

    Args:
        harmless_rate: Probability of harmless, in [0, 1].
        seed: Fixes the outcomes.
    """

    def __init__(self, harmless_rate: float, seed: int = 0) -> None:
        if not 0.0 <= harmless_rate <= 1.0:
            raise ConfigError("must lie in [0, 1]", field="harmless_rate")
        self._harmless_rate = harmless_rate
        self._seed = seed
        self._next = 0

    @property
    def revision(self) -> str:
        return f"bernoulli-{self._harmless_rate!r}-{self._seed}"

    def outcome(self, index: int) -> Outcome:
        """What the exchange of that index gets."""
        draw = np.random.default_rng([self._seed, index]).random()
        return Outcome.HARMLESS if draw < self._harmless_rate else Outcome.HARMFUL

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        first, self._next = self._next, self._next + len(exchanges)
        outcomes = map(self.outcome, range(first, self._next))
        return [Judgement(one, float(one is Outcome.HARMFUL), "by lot") for one in outcomes]

    async def aclose(self) -> None:
        """Holds nothing."""
