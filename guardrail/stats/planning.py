"""What a policy will cost, before it is run: everything `guardrail plan` prints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_non_negative, check_unit
from guardrail.stats.betting import betting_plan
from guardrail.stats.binomial import binomial_cdf
from guardrail.stats.fixed import fixed_plan, most_harmful, smallest_fixed
from guardrail.stats.laws import Prior, ScalingLaw, scaling_law
from guardrail.stats.optimal import optimal_plan
from guardrail.stats.radius import (
    FLOORS,
    certified_radius,
    fewest_samples,
    floor_with_misses,
    required_harmless_rate,
    unanimous_ceiling,
)

if TYPE_CHECKING:
    from guardrail.stats.plans import Plan

__all__ = [
    "CONVENTIONS",
    "Forecast",
    "PlanForecast",
    "PlanScenario",
    "Promised",
    "calls_curve",
    "forecast",
    "forecast_fixed",
    "forecast_plan",
]

CONVENTIONS = (1_000, 100_000)
RADII = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
LAW_SIZES = (25, 50, 100, 250, 500, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class PlanScenario:
    """A policy's numbers with those of its traffic.

    Attributes:
        sigma: noise on the canvas.
        radius: promised ℓ2 radius, client pixels.
        alpha: failure probability of one decision.
        floor: harmless rate that must hold in the ball.
        miss_rate_upper: bound on the oracle's misses, for the harmlessness claim; 0 for the verdict
            claim.
        operator_norm: ‖A‖₂ from client pixels to canvas.
        grid_slack: what rounding to the canvas grid may move, canvas units.
        sampler_error: total variation between the drawn noise and a true Gaussian.
        harmless_rate: of usual traffic.
        harmful_harmless_rate: share of harmless answers that a harmful request draws.
        power: P(pass) wanted for usual traffic.
        max_samples: most calls per decision.
        price_per_call_usd: of one call.
        latency_s: of one call.
        parallel: calls that run at the same time.
        latency_weight: price of one round in calls, when looks are chosen; with 0 the plan
            looks after every round.
        prior: spread of harmless rates for the scaling laws; uniform on [½, 1] where None.
    """

    sigma: float
    radius: float
    alpha: float
    floor: float = 0.5
    miss_rate_upper: float = 0.0
    operator_norm: float = 1.0
    grid_slack: float = 0.0
    sampler_error: float = 0.0
    harmless_rate: float = 0.97
    harmful_harmless_rate: float = 0.1
    power: float = 0.99
    max_samples: int = 1_000
    price_per_call_usd: float = 0.0
    latency_s: float = 1.0
    parallel: int = 1
    latency_weight: float = 0.0
    prior: Prior | None = None

    def __post_init__(self) -> None:
        check_unit("harmful_harmless_rate", self.harmful_harmless_rate)
        check_non_negative("price_per_call_usd", self.price_per_call_usd)
        check_non_negative("latency_s", self.latency_s)
        check_count("parallel", self.parallel, least=1)

    @property
    def q_required(self) -> float:
        return self.rate_for(self.radius, self.floor)

    def rate_for(self, radius: float, floor: float) -> float:
        """q_req of another radius and floor under the same noise and claim."""
        return required_harmless_rate(
            radius,
            sigma=self.sigma,
            operator_norm=self.operator_norm,
            floor=floor_with_misses(floor, self.miss_rate_upper),
            grid_slack=self.grid_slack,
            sampler_error=self.sampler_error,
        )

    def list_promised(self) -> tuple[Promised, ...]:
        """How far the scenario's own test reaches, at each of `FLOORS`."""
        q = self.q_required
        return tuple(Promised(floor, self._radius_for(q, floor)) for floor in FLOORS)

    def _radius_for(self, q: float, floor: float) -> float | None:
        tested = floor_with_misses(floor, self.miss_rate_upper)
        return certified_radius(
            q,
            sigma=self.sigma,
            operator_norm=self.operator_norm,
            floor=tested,
            grid_slack=self.grid_slack,
            sampler_error=self.sampler_error,
        )

    @property
    def looks(self) -> tuple[int, ...] | None:
        """Every round of parallel calls, unless looks are free to be chosen."""
        if self.parallel == 1 or self.latency_weight > 0.0:
            return None
        whole = range(self.parallel, self.max_samples, self.parallel)
        return (*whole, self.max_samples)


@dataclass(frozen=True, slots=True)
class Promised:
    """The radius within which a request below `floor` does not pass; None: not even unchanged."""

    floor: float
    radius: float | None


@dataclass(frozen=True, slots=True)
class PlanForecast:
    """What one kind of test does to usual and to harmful traffic.

    Attributes:
        max_samples: most calls.
        max_harmful: most harmful outcomes with which it can pass.
        false_pass: P(pass) at q_required (nearest value for tests of fixed size, else rounded up).
        power: P(pass) at the usual harmless rate.
        expected_calls_at_harmless_rate: calls for usual traffic.
        expected_calls_harmful: calls for harmful traffic.
        calls_p50: median of calls for usual traffic; p95 and p99 alike.
        cost_usd: expected, usual traffic.
        cost_harmful_usd: expected, harmful traffic.
        latency_s: expected, usual traffic, rounds of `parallel` calls one after the other.
        latency_harmful_s: expected, harmful traffic.
        passes_harmful: P(pass) for harmful traffic.
    """

    max_samples: int
    max_harmful: int
    false_pass: float
    power: float
    expected_calls_at_harmless_rate: float
    expected_calls_harmful: float
    calls_p50: int
    calls_p95: int
    calls_p99: int
    cost_usd: float
    cost_harmful_usd: float
    latency_s: float
    latency_harmful_s: float
    passes_harmful: float

    @property
    def n(self) -> int:
        """The size, as tests of a fixed size name it."""
        return self.max_samples


@dataclass(frozen=True, slots=True)
class ReachNeed:
    """The fewest draws, all harmless, that promise `radius` to requests below `floor`."""

    radius: float
    floor: float
    fewest_samples: int | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """All of it; `as_dict` is the JSON of `guardrail plan --json`.

    Attributes:
        scenario: what was asked.
        q_required: harmless rate to prove.
        promised: radii that this rate proves, by floor.
        fewest_samples: no test passes with fewer.
        fewest_by_reach: the other way round: the fewest draws that could promise each of `RADII`
            at each floor; None where no number could.
        unanimous_radius_in_sigmas: the largest R/sigma that max_samples could prove at floor ½.
        optimal: the optimal sequential plan.
        fixed_n: fixed-n Clopper–Pearson, stopped when settled.
        fixed_n_plain: the same, all n drawn.
        betting: the betting sequence, cut at max_samples.
        conventions: by size, the literature's fixed sizes, all drawn.
        laws: radius and accuracy against n, exact and by the papers' law.
    """

    scenario: PlanScenario
    q_required: float
    promised: tuple[Promised, ...]
    fewest_samples: int
    fewest_by_reach: tuple[ReachNeed, ...]
    unanimous_radius_in_sigmas: float
    optimal: PlanForecast
    fixed_n: PlanForecast
    fixed_n_plain: PlanForecast
    betting: PlanForecast
    conventions: dict[int, PlanForecast]
    laws: tuple[ScalingLaw, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; `fixed_n` names its size `n` as well."""
        plain = asdict(self)
        for name in ("fixed_n", "fixed_n_plain"):
            plain[name]["n"] = plain[name]["max_samples"]
        plain["conventions"] = {str(n): row for n, row in plain["conventions"].items()}
        for name in ("laws", "promised", "fewest_by_reach"):
            plain[name] = list(plain[name])
        return plain


@lru_cache(maxsize=64)
def forecast(scenario: PlanScenario) -> Forecast:
    """Exact figures for a policy.

    Raises:
        CertificationError: an argument is outside its range, the radius cannot be certified, or
            `max_samples` is too small (the message names the smallest that does).
    """
    q = scenario.q_required
    q1, power = scenario.harmless_rate, scenario.power
    plan = optimal_plan(
        q,
        scenario.alpha,
        q1=q1,
        power=power,
        max_samples=scenario.max_samples,
        looks=scenario.looks,
        latency_weight=scenario.latency_weight,
        max_parallel=scenario.parallel,
    )
    fixed = fixed_plan(q, scenario.alpha, q1=q1, power=power, max_samples=scenario.max_samples)
    size, _ = smallest_fixed(q, scenario.alpha, q1, power)
    betting = betting_plan(
        q, scenario.alpha, block_alpha=1.0 - scenario.power, max_samples=scenario.max_samples
    )
    in_sigmas = scenario.radius * scenario.operator_norm / scenario.sigma
    return Forecast(
        scenario=scenario,
        q_required=q,
        promised=scenario.list_promised(),
        fewest_samples=fewest_samples(q, scenario.alpha),
        fewest_by_reach=tuple(
            ReachNeed(radius, floor, _fewest(scenario, radius, floor))
            for radius in RADII
            for floor in FLOORS
        ),
        unanimous_radius_in_sigmas=unanimous_ceiling(scenario.max_samples, scenario.alpha),
        optimal=forecast_plan(plan, scenario),
        fixed_n=forecast_plan(fixed, scenario, in_rounds=True),
        fixed_n_plain=forecast_fixed(size, scenario),
        betting=forecast_plan(betting, scenario, in_rounds=True),
        conventions={n: forecast_fixed(n, scenario) for n in CONVENTIONS},
        laws=tuple(
            scaling_law(n, scenario.alpha, radius_in_sigmas=in_sigmas, prior=scenario.prior)
            for n in LAW_SIZES
        ),
    )


def _fewest(scenario: PlanScenario, radius: float, floor: float) -> int | None:
    try:
        return fewest_samples(scenario.rate_for(radius, floor), scenario.alpha)
    except CertificationError:
        return None


def forecast_plan(plan: Plan, scenario: PlanScenario, *, in_rounds: bool = False) -> PlanForecast:
    """Any plan under the scenario's traffic; waves wait for each other.

    `in_rounds` is for plans that look after every draw: the calls of a round go out together and
    are all paid for, and the verdict falls at the end of the round in which the plan stops.
    """
    usual, harmful = plan.walk(scenario.harmless_rate), plan.walk(scenario.harmful_harmless_rate)
    if in_rounds:
        usual, harmful = (walk.in_rounds(scenario.parallel) for walk in (usual, harmful))
    p50, p95, p99 = (usual.calls_quantile(p) for p in (0.5, 0.95, 0.99))
    return PlanForecast(
        max_samples=plan.max_samples,
        max_harmful=max(plan.pass_at_most),
        false_pass=plan.false_pass_upper,
        power=usual.power,
        expected_calls_at_harmless_rate=usual.expected_calls,
        expected_calls_harmful=harmful.expected_calls,
        calls_p50=p50,
        calls_p95=p95,
        calls_p99=p99,
        cost_usd=usual.expected_calls * scenario.price_per_call_usd,
        cost_harmful_usd=harmful.expected_calls * scenario.price_per_call_usd,
        latency_s=usual.expected_rounds(scenario.parallel) * scenario.latency_s,
        latency_harmful_s=harmful.expected_rounds(scenario.parallel) * scenario.latency_s,
        passes_harmful=harmful.power,
    )


def forecast_fixed(n: int, scenario: PlanScenario) -> PlanForecast:
    """Clopper–Pearson on exactly n draws, none saved."""
    q, c = scenario.q_required, most_harmful(n, scenario.q_required, scenario.alpha)
    cost, rounds = n * scenario.price_per_call_usd, math.ceil(n / scenario.parallel)
    return PlanForecast(
        max_samples=n,
        max_harmful=c,
        false_pass=binomial_cdf(c, n, 1.0 - q),
        power=binomial_cdf(c, n, 1.0 - scenario.harmless_rate),
        expected_calls_at_harmless_rate=float(n),
        expected_calls_harmful=float(n),
        calls_p50=n,
        calls_p95=n,
        calls_p99=n,
        cost_usd=cost,
        cost_harmful_usd=cost,
        latency_s=rounds * scenario.latency_s,
        latency_harmful_s=rounds * scenario.latency_s,
        passes_harmful=binomial_cdf(c, n, 1.0 - scenario.harmful_harmless_rate),
    )


def calls_curve(plan: Plan, rates: tuple[float, ...]) -> tuple[tuple[float, float, float], ...]:
    """(rate, expected calls, P(pass)) at each harmless rate, for a figure."""
    walks = ((rate, plan.walk(rate)) for rate in rates)
    return tuple((rate, walk.expected_calls, walk.power) for rate, walk in walks)
