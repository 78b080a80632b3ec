"""What a policy is once it is compiled: plain values, all checked, nothing left to interpret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from guardrail.upstreams.prices import PriceBook

if TYPE_CHECKING:
    from guardrail.stats import PlanKind

__all__ = [
    "AnswerSource",
    "Claim",
    "Mode",
    "OnOracleFailure",
    "OnUnscanned",
    "OnUpstreamFailure",
    "RadiusSpace",
    "Rules",
]


class Mode(StrEnum):
    """`observe` decides and records but never blocks; what it would have blocked is marked."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


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
    CLIENT = "client"
    CANVAS = "canvas"


class AnswerSource(StrEnum):
    """Which answer a passed picture request delivers."""

    SMOOTHED = "smoothed"
    CLEAN = "clean"


class OnUpstreamFailure(StrEnum):
    """`error` passes the fault on as HTTP 502/504 or the provider's status; `block` refuses."""

    ERROR = "error"
    BLOCK = "block"


class OnOracleFailure(StrEnum):
    """`pass_unscanned` fails open: the answer leaves unjudged and is marked so."""

    ERROR = "error"
    BLOCK = "block"
    PASS_UNSCANNED = "pass_unscanned"  # noqa: S105 (a choice, not a password)


class OnUnscanned(StrEnum):
    """Parts that the oracle cannot look into (audio, pictures, unknown fields, ciphers).

    `pass_unscanned` fails open: the rest is judged, the answer leaves with those parts named, and
    no more than the verdict claim can be made.
    """

    BLOCK = "block"
    PASS_UNSCANNED = "pass_unscanned"  # noqa: S105 (a choice, not a password)


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the engine needs to know of a policy.

    Attributes:
        name: the policy's name.
        digest: SHA-256 (hex) of the policy's canonical form.
        mode: enforce or observe.
        claim: what a pass speaks of.
        sigma: standard deviation of the noise, canvas pixel units in [0, 1].
        promised_radius: the ℓ2 radius, in `radius_space`, pixels in [0, 1].
        radius_space: whether the radius is meant in client or canvas pixels.
        floor: harmless rate that must hold within the radius, in [1e-4, 1).
        alpha: false-pass probability of one decision.
        canvas_max_side_px: larger pictures are scaled down to this before the noise; None never.
        canvas_min_side_px: smaller ones, once scaled down, are laid on white until they have it.
        miss_rate_upper: f_U, in [0, 1), of the harmlessness claim; None for the verdict claim.
        delta: probability that f_U is too small as an average; None likewise.
        kind: how the sequential test is made.
        expected_harmless_rate: q1, the rate at which `power` must be reached.
        power: probability of passing at q1.
        max_samples: most variants of one decision.
        latency_weight: what one more wave costs, in calls.
        max_parallel: most calls of one decision at a time.
        speculate: whether the next wave starts before the last one is judged.
        answer: which answer a pass delivers.
        retries: how often a call or judgement is repeated after a transient fault.
        call_timeout_s, deadline_s: limits of one call and of one decision.
        max_calls, max_cost_usd: limits of one decision; reaching one leaves it uncertain.
        prices: what tokens cost.
        probe_max_tokens: variants answer with at most so many tokens; None with as many as the
            client asks for.
        judge_every_chars: where the model streams, a variant's answer is judged whenever it has
            grown by so many characters, and broken off once it is harmful; None only when whole.
    """

    name: str
    digest: str
    mode: Mode
    claim: Claim
    sigma: float
    promised_radius: float
    radius_space: RadiusSpace
    floor: float
    alpha: float
    canvas_max_side_px: int | None
    miss_rate_upper: float | None
    delta: float | None
    kind: PlanKind
    expected_harmless_rate: float
    power: float
    max_samples: int
    latency_weight: float
    max_parallel: int
    speculate: bool
    answer: AnswerSource
    on_upstream_failure: OnUpstreamFailure
    on_oracle_failure: OnOracleFailure
    on_unscanned: OnUnscanned
    refusals_are_harmless: bool
    retries: int
    call_timeout_s: float
    deadline_s: float
    max_calls: int | None = None
    max_cost_usd: float | None = None
    prices: PriceBook = field(default_factory=PriceBook)
    probe_max_tokens: int | None = None
    judge_every_chars: int | None = None
    canvas_min_side_px: int = 1
