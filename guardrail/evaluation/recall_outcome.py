"""What measured requests show of their population, and the file that keeps it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from guardrail.engine.plan import UNSCALED
from guardrail.evaluation.recall import add_costs
from guardrail.evaluation.recall_facts import Blindness, HeldRequest, RecallDesign, Yardstick
from guardrail.policy.recall import (
    BlindSpots,
    CleanRequests,
    MeasuredReach,
    Recall,
    RecallStep,
)
from guardrail.policy.threat_recall import MeasuredShare, MeasuredThreats
from guardrail.stats import radii_by_recall, recall_staircase
from guardrail.version import __version__

if TYPE_CHECKING:
    from guardrail.engine.engine import Engine
    from guardrail.engine.rules import Rules
    from guardrail.evaluation.clean import CleanTraffic
    from guardrail.evaluation.requests import RequestSet
    from guardrail.evaluation.threat_facts import ThreatOutcome
    from guardrail.stats import RecallReach, RecallStaircase

__all__ = ["RecallOutcome", "curve_steps", "recall_of"]

_EVEN_STEPS = 16
_FARTHER = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0)


def curve_steps(rules: Rules, draws: int, beta: float) -> tuple[float, ...]:
    """The radii of the curve: fixed by the policy and the draws, before any request is looked at.

    Evenly from 0 to the farthest at which a request is shown held whose pictures fit the canvas,
    and a few beyond, which only larger pictures reach. Rounded down to four decimals, so that the
    farthest counts as reached by pictures of all sizes that fit.
    """
    farthest = max(Yardstick.of(rules, UNSCALED).radius(0, draws, beta), 0.0)
    even = (farthest * i / _EVEN_STEPS for i in range(_EVEN_STEPS + 1))
    steps = {int(1e4 * step) / 1e4 for step in (*even, *(farthest * f for f in _FARTHER))}
    return tuple(sorted(steps))


@dataclass(frozen=True)
class RecallOutcome:
    """A finished measurement.

    Attributes:
        design: what was fixed beforehand.
        requests: where they came from.
        results: every drawn request.
        clean: clean traffic under the same policy; None where it was not decided.
        threats: recall per threat; None where it was not measured.
    """

    design: RecallDesign
    requests: RequestSet
    results: tuple[HeldRequest, ...]
    clean: CleanTraffic | None
    threats: ThreatOutcome | None = None

    @cached_property
    def radii(self) -> tuple[float, ...]:
        return tuple(result.radius(self.design) for result in self.results)

    @cached_property
    def reaches(self) -> tuple[RecallReach, ...]:
        return radii_by_recall(self.radii, self.design.delta, self.design.beta)

    @cached_property
    def curve(self) -> RecallStaircase:
        design = self.design
        return recall_staircase(self.radii, design.steps, design.delta, design.beta)

    @cached_property
    def blind(self) -> tuple[tuple[HeldRequest, Blindness], ...]:
        """Requests that are not shown held even as they are, least harmful ones first."""
        found = [(result, result.blindness(self.design)) for result in self.results]
        spots = [(result, why) for result, why in found if why is not None]
        spots.sort(key=lambda spot: -spot[0].counts.passable / max(1, spot[0].counts.samples))
        return tuple(spots)

    @property
    def calls(self) -> int:
        """Answers of the model, those to clean requests and to views included."""
        clean = 0 if self.clean is None else self.clean.calls
        views = 0 if self.threats is None else self.threats.calls
        return clean + views + sum(result.counts.usage.calls for result in self.results)

    @property
    def cost_usd(self) -> float | None:
        """Of these; None where a price or a count of tokens is not known."""
        total: float | None = 0.0
        costs = [result.counts.cost_usd for result in self.results]
        views = () if self.threats is None else self.threats.costs_usd
        decisions = self.clean.decisions if self.clean else ()
        for cost in (*costs, *views, *(decision.cost_usd for decision in decisions)):
            total = add_costs(total, cost)
        return total


def recall_of(outcome: RecallOutcome, engine: Engine, model: str, seed: int) -> Recall:
    """The file's content, not sealed yet."""
    rules, design, requests = engine.rules, outcome.design, outcome.requests
    spots = Counter(why.value for _, why in outcome.blind)
    held = sorted((radius for radius in outcome.radii if radius >= 0.0), reverse=True)
    return Recall(
        policy=rules.name,
        policy_digest=rules.digest,
        claim=rules.claim,
        alpha=rules.alpha,
        sigma=rules.sigma,
        refusals_are_harmless=rules.refusals_are_harmless,
        retry=rules.retry,
        retries=rules.retries,
        model=model,
        upstream=engine.upstream.name,
        upstream_revision=engine.upstream.revision,
        oracle_revision=engine.oracle.revision,
        requests=len(outcome.results),
        draws=design.draws,
        beta=design.beta,
        delta=design.delta,
        reaches=[MeasuredReach(recall=r.recall, radius=r.radius) for r in outcome.reaches],
        curve=[
            RecallStep(radius=radius, recall_lower=lower)
            for radius, lower in zip(outcome.curve.radii, outcome.curve.recall_lower, strict=True)
        ],
        held=held,
        not_held=BlindSpots(**{why.value: spots[why.value] for why in Blindness}),
        threats=_threats(outcome.threats),
        clean=_clean(outcome.clean),
        calls=outcome.calls,
        cost_usd=outcome.cost_usd,
        data=requests.name,
        data_requests=requests.requests,
        data_clusters=requests.clusters,
        data_digest=requests.digest,
        seed=seed,
        code_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    ).sealed()


def _clean(clean: CleanTraffic | None) -> CleanRequests | None:
    if clean is None:
        return None
    return CleanRequests(
        requests=len(clean.decisions),
        passed=clean.passed,
        rate_lower=clean.rate_lower,
        rate_upper=clean.rate_upper,
    )


def _threats(outcome: ThreatOutcome | None) -> MeasuredThreats | None:
    if outcome is None:
        return None
    design = outcome.design
    return MeasuredThreats(
        draws=design.draws,
        shares=[
            MeasuredShare(
                against=one.against,
                setting=design.threats.numbers(one.against.threat),
                shown=one.shown,
                share_lower=one.share_lower,
            )
            for one in outcome.shares
        ],
    )
