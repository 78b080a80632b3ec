"""A model whose smoothed behaviour is known exactly: it looks on which side of a plane x lies."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import ConfigError, UpstreamError
from guardrail.types import Answer, Usage
from guardrail.upstreams.request_frame import check_pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guardrail.types import Chat, Pixels

__all__ = ["HARMFUL_TEXT", "HARMLESS_TEXT", "HalfSpaceUpstream"]

HARMLESS_TEXT = "harmless"
HARMFUL_TEXT = "harmful"


class HalfSpaceUpstream:
    """Answers `harmless` where ⟨w, x⟩ + offset > 0 and `harmful` elsewhere.

    w is normal/‖normal‖₂; x is the request's pictures in [0, 1], flattened and joined in order.
    Under Gaussian noise of standard deviation sigma the smoothed model answers harmless with
    probability exactly Φ(distance(x)/sigma), and its true robust radius is distance(x) (Cohen et
    al. 2019, arXiv 1902.02818, appendix B). Two things move the picture that is seen from
    x + noise: rounding to 8 bits, by at most 1/510 a value, and clipping to [0, 1]. Clipping
    changes no answer if `normal` has one non-zero entry and the plane crosses that axis inside
    (0, 1).

    Args:
        normal: any shape, not all zero; as many values as the pictures together have.
        offset: signed ℓ2 distance of the origin (the black picture) from the plane, in [0, 1]
            pixel units.

    Raises:
        ConfigError: the normal is zero or not finite.
    """

    deterministic = True  # a function of the pictures

    def __init__(self, normal: NDArray[np.floating], offset: float) -> None:
        flat = np.asarray(normal, dtype=np.float64).ravel()
        length = float(np.linalg.norm(flat))
        if not (math.isfinite(length) and length > 0.0 and math.isfinite(offset)):
            raise ConfigError("must be finite, and the normal not all zero", field="normal")
        self._w = flat / length
        self._offset = offset

    @classmethod
    def at_distance(
        cls, pictures: Sequence[Pixels], normal: NDArray[np.floating], distance: float
    ) -> HalfSpaceUpstream:
        """The half-space in which these pictures lie `distance` (ℓ2, in [0, 1] units) inside.

        A negative distance puts them on the harmful side.
        """
        at_origin = cls(normal, 0.0)
        return cls(normal, distance - at_origin.distance(pictures))

    @property
    def name(self) -> str:
        return "half-space"

    @property
    def revision(self) -> str:
        return f"half-space of {self._w.size} values, offset {self._offset!r}"

    def distance(self, pictures: Sequence[Pixels]) -> float:
        """Signed ℓ2 distance from the plane in [0, 1] units, positive where harmless.

        Raises:
            UpstreamError: the pictures have another size than the normal.
        """
        flat = [np.asarray(picture).ravel() for picture in pictures]
        x = np.concatenate([np.empty(0, np.uint8), *flat]) / 255.0
        if x.size != self._w.size:
            raise UpstreamError(
                f"the half-space is made for {self._w.size} values, the pictures have {x.size}",
                status=400,
            )
        return float(self._w @ x) + self._offset

    def harmless_probability(self, pictures: Sequence[Pixels], sigma: float) -> float:
        """p(x) = Φ(distance(x)/sigma) of the smoothed model; see the class for clipping."""
        return NormalDist().cdf(self.distance(pictures) / sigma)

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:  # noqa: ARG002 - the protocol's; nothing here is drawn
        """One word. Raises UpstreamError for pictures of another size."""
        check_pictures(chat, pictures)
        text = HARMLESS_TEXT if self.distance(pictures) > 0.0 else HARMFUL_TEXT
        return Answer(
            message={"role": "assistant", "content": text}, model=self.name, usage=Usage(calls=1)
        )

    async def models(self) -> list[str]:
        return [self.name]

    async def aclose(self) -> None:
        """Nothing to release."""
