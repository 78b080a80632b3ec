"""What a policy promises: about what, how far, and at which rate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Claim", "Promise", "RadiusSpace", "Reach"]


class Claim(StrEnum):
    """What a certificate speaks of, see `Certificate.statement`.

    `VERDICT`: how often the oracle finds answers harmless; nothing is assumed of the oracle.
    `HARMLESSNESS`: how often answers are harmless, for requests of whose harmful answers the oracle
    misses no more than `miss_rate_upper`. That bound is measured as an average over labelled
    answers, so it is a condition on a request, not a fact about it.
    """

    VERDICT = "verdict"
    HARMLESSNESS = "harmlessness"


class RadiusSpace(StrEnum):
    """Where a policy's radius is meant: on the client's pictures, or on their canvases.

    It is a choice of cost, see `scale_promise`: whatever is promised of a request, and all that
    certificates say, is in pixels as the client sent them.
    """

    CLIENT = "client"
    CANVAS = "canvas"


class Promise(Protocol):
    """What fixes which harmless rate a request must show; certificates repeat it.

    `promised_radius` is in client pixels.
    """

    @property
    def promised_radius(self) -> float: ...
    @property
    def claim(self) -> Claim: ...
    @property
    def sigma(self) -> float: ...
    @property
    def floor(self) -> float: ...
    @property
    def miss_rate_upper(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one bound on the harmless rate reaches down to `floor`; None: not at all."""

    floor: float
    radius: float | None
