"""A compiled policy: plain values, all checked, nothing left to interpret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from guardrail.upstreams.prices import PriceBook

if TYPE_CHECKING:
    from guardrail.engine.promise import Claim, RadiusSpace
    from guardrail.engine.recall import RecallStatement
    from guardrail.stats import PlanKind

__all__ = [
    "AnswerSource",
    "Mode",
    "OnLimit",
    "OnOracleFailure",
    "OnUnscanned",
    "OnUpstreamFailure",
    "Retry",
    "Rules",
]


class Mode(StrEnum):
    """`observe` decides and records but never blocks; what it would have blocked is marked."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


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


class OnLimit(StrEnum):
    """`error` says which limit ended the decision, HTTP 503 or 504; `block` refuses."""

    ERROR = "error"
    BLOCK = "block"


class OnUnscanned(StrEnum):
    """Parts that the oracle cannot look into (audio, pictures, unknown fields, ciphers).

    `pass_unscanned` fails open: the rest is judged, the answer leaves with those parts named, and
    no more than the verdict claim can be made.
    """

    BLOCK = "block"
    PASS_UNSCANNED = "pass_unscanned"  # noqa: S105 (a choice, not a password)


class Retry(StrEnum):
    """Which calls and judgements are repeated, always with the same noise.

    `undrawn`: those of which it is certain that they drew nothing, so that each index has one
    answer at most. `any`: all that may pass; then the claim is about the model as it is asked so.
    """

    UNDRAWN = "undrawn"
    ANY = "any"


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
        expected_harmless_rate: share of answers to usual traffic, under noise, that are found
            harmless.
        power: probability of passing at q1, see `q1`.
        max_samples: most variants of one decision.
        latency_weight: what one more wave costs, in calls.
        max_parallel: most calls of one decision at a time.
        speculate: whether the next wave starts before the last one is judged.
        answer: which answer a pass delivers.
        retries: how often a call or judgement is repeated, where it may be.
        call_timeout_s, deadline_s: limits of one call and of one decision.
        max_calls, max_cost_usd: limits of one decision; reaching one ends it undecided.
        prices: what tokens cost.
        probe_max_tokens: variants answer with at most so many tokens; None with as many as the
            client asks for.
        judge_every_chars: where the model streams, a variant's answer is judged whenever it has
            grown by so many characters, and broken off once it is harmful; None only when whole.
        recall: what was measured of forbidden requests under this policy; None where nothing was.
        retry: which calls and judgements may be repeated.
        expected_success_rate: share of calls that bring an answer; the others end in faults that
            may not be repeated, and count as harmful.
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
    on_limit: OnLimit
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
    recall: RecallStatement | None = None
    canvas_min_side_px: int = 1
    retry: Retry = Retry.UNDRAWN
    expected_success_rate: float = 1.0

    @property
    def q1(self) -> float:
        """The rate of harmless outcomes that plans are made for: answers lost to faults count."""
        return self.expected_harmless_rate * self.expected_success_rate
