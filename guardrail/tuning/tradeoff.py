"""What a stricter or laxer oracle costs: one row for each of a fixed list of miss rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.plan import UNSCALED, make_plan, required_rate
from guardrail.engine.promise import Claim
from guardrail.errors import CertificationError
from guardrail.stats import PlanKind
from guardrail.tuning.thresholds import Measured, measure

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy
    from guardrail.tuning.thresholds import LabelledSample

__all__ = ["TARGETS", "GuardPrice", "TradeOff", "price", "tradeoffs"]

TARGETS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
"""Fixed in advance. A team picks a row after looking at all, so each holds at delta over their
number."""


@dataclass(frozen=True, slots=True)
class GuardPrice:
    """What the guard must do for its promise with an oracle of these error rates.

    Attributes:
        q_required: harmless rate that must be shown under noise; None where no rate is enough.
        harmless_rate: at which the calls are counted: the policy's expected one, or what false
            alarms leave of it where that is less.
        calls: expected for a usual request; None where `max_samples` are not enough for the
            policy's power.
        usd: the same in money; None where the price of a call is not known.
        max_samples: the policy's.
    """

    q_required: float | None
    harmless_rate: float
    calls: float | None
    usd: float | None
    max_samples: int

    @property
    def calls_in_words(self) -> str:
        if self.calls is not None:
            return f"{self.calls:.1f}"
        reachable = self.q_required is not None and self.q_required < self.harmless_rate
        return f"over {self.max_samples:,}" if reachable else "cannot pass"


@dataclass(frozen=True, slots=True)
class TradeOff:
    """One row; `measured` and `price` are None where the labels are too few for its target."""

    target: float
    measured: Measured | None
    price: GuardPrice | None


@dataclass(frozen=True, slots=True)
class _Promise:
    """A policy's promise with another miss rate."""

    promised_radius: float
    sigma: float
    floor: float
    miss_rate_upper: float
    claim: Claim = Claim.HARMLESSNESS


def tradeoffs(
    sample: LabelledSample, policy: Policy, *, delta: float, price_per_call_usd: float | None
) -> tuple[TradeOff, ...]:
    """A row for each of `TARGETS`; all their bounds of misses hold together at `delta`."""
    part = delta / len(TARGETS)
    return tuple(_row(sample, policy, target, part, price_per_call_usd) for target in TARGETS)


def price(policy: Policy, measured: Measured, *, price_per_call_usd: float | None) -> GuardPrice:
    """Calls and money of a usual request, for a picture that is not scaled down."""
    sampling = policy.advanced.sampling
    rate = sampling.expected_harmless_rate
    if measured.false_alarm_rate is not None:
        rate = min(rate, 1.0 - measured.false_alarm_rate)
    rate *= sampling.expected_success_rate
    calls = None
    required = _require(policy, measured.miss_rate_upper)
    if required is not None and required < rate:
        calls = _calls(policy, required, rate)
    usd = None if calls is None or price_per_call_usd is None else calls * price_per_call_usd
    return GuardPrice(required, rate, calls, usd, policy.sampling.max_samples)


def _row(
    sample: LabelledSample,
    policy: Policy,
    target: float,
    delta: float,
    price_per_call_usd: float | None,
) -> TradeOff:
    try:
        measured = measure(sample, target=target, delta=delta)
    except CertificationError:
        return TradeOff(target, None, None)
    return TradeOff(
        target, measured, price(policy, measured, price_per_call_usd=price_per_call_usd)
    )


def _require(policy: Policy, miss_rate_upper: float) -> float | None:
    smoothing = policy.smoothing
    promise = _Promise(
        smoothing.radius,
        smoothing.sigma,
        smoothing.floor,
        miss_rate_upper,
    )
    try:
        return required_rate(promise, UNSCALED)
    except CertificationError:
        return None


def _calls(policy: Policy, required: float, rate: float) -> float | None:
    sampling = policy.advanced.sampling
    try:
        plan = make_plan(
            PlanKind(sampling.plan),
            required,
            policy.smoothing.alpha,
            rate,
            sampling.power,
            policy.sampling.max_samples,
            sampling.latency_weight,
            sampling.max_parallel,
        )
    except CertificationError:
        return None
    return plan.expected_calls_at(rate)
