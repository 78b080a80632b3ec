"""The whole search: candidates, front, finalists, confirmation, and why it refuses."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.canonical import digest_json
from guardrail.errors import ConfigError
from guardrail.policy.goals import GoalKind
from guardrail.policy_search.halves import choose_search_half
from guardrail.policy_search.measured import measure, requests_needed
from guardrail.policy_search.numbers import OF_ORACLE
from guardrail.policy_search.price_cap import PriceCap
from guardrail.policy_search.search import (
    Confirmed,
    Scored,
    choose_finalists,
    confirm,
    find_front,
    goal_radius,
    score,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardrail.policy.goals import Goal
    from guardrail.policy_search.evaluators import Evaluator
    from guardrail.policy_search.measured import GoalCheck, Measured
    from guardrail.policy_search.numbers import Numbers

__all__ = ["Reason", "SearchDesign", "Tuned", "search_digest", "search_policy"]

_FIRST = math.nextafter(6.0 / (math.pi * math.pi), 0.0)
_SECOND_ROUND = 4
"""Candidates whose own tests are computed, which takes seconds each."""


@dataclass(frozen=True, slots=True)
class SearchDesign:
    """What is fixed before any outcome is looked at.

    Attributes:
        goals: what is wished.
        error: probability, at most, of a proposal that misses a goal, over all runs together.
        finalists: most candidates that are confirmed.
        seed: of the halves.
        run: which look at the confirmation half of these requests this is, from 1.
    """

    goals: tuple[Goal, ...]
    error: float = 0.05
    finalists: int = 3
    seed: int = 0
    run: int = 1

    @property
    def run_error(self) -> float:
        """The error of this run: 6 / (pi² j²) of it all for run j, which adds up to all of it."""
        return math.nextafter(self.error * _FIRST / (self.run * self.run), 0.0)

    @property
    def share(self) -> float:
        """The error of one finalist. Fewer finalists leave the rest unused."""
        return self.run_error / self.finalists

    @property
    def next_share(self) -> float:
        """That of a finalist of the run after this one."""
        return dataclasses.replace(self, run=self.run + 1).share


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a goal is not met.

    Attributes:
        check: the goal, and what is shown of it.
        more: requests of its kind, both halves together, that would do in the next run if the
            share seen stayed, about; None where no number would.
    """

    check: GoalCheck
    more: int | None


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a search found.

    Attributes:
        design: what was asked.
        base: the policy's own numbers; `now`: what they do on the confirmation half.
        candidates: how many were searched.
        front: the candidates that no other one beats, on the search half.
        finalists: those that were confirmed.
        proposed: the one that meets every goal with the fewest calls; None where none does.
        nearest: what comes nearest, where none does.
        reasons: what that one misses.
        whys: by the name of each changed number, what the old value would have done: outcomes on
            the search half; None where no test fits it.
        chosen: the proposed candidate on the search half, to compare those with.
    """

    design: SearchDesign
    base: Numbers
    now: Measured | None
    candidates: int
    front: tuple[Scored[Numbers], ...]
    finalists: tuple[Confirmed[Numbers], ...]
    proposed: Confirmed[Numbers] | None
    nearest: Confirmed[Numbers] | Scored[Numbers] | None
    reasons: tuple[Reason, ...]
    whys: dict[str, Measured | None]
    chosen: Measured | None


def search_policy(
    evaluator: Evaluator,
    base: Numbers,
    candidates: Sequence[Numbers],
    design: SearchDesign,
    step: Callable[[], None],
    before_confirming: Callable[[], None] = lambda: None,
) -> Tuned:
    """Finds a candidate that meets the goals, or says which goal is missed.

    Args:
        evaluator: the labelled requests.
        base: the policy's own numbers.
        candidates: what is searched.
        design: goals and error.
        step: told of each candidate that was looked at.
        before_confirming: called before anything of the confirmation half is looked at.

    Raises:
        ConfigError: there are too few requests, or nothing that a goal could be held against.
    """
    radius = goal_radius(design.goals)
    run = _Run(evaluator, design)
    scored: list[Scored[Numbers]] = []
    for numbers in candidates:
        found = run.score(numbers, quick=True)
        if found is not None:
            scored.append(found)
        step()
    if not scored:
        raise ConfigError("no candidate has a test; raise sampling.max_samples, or search others")
    _check_known(design, scored)
    front = find_front(scored, radius)
    again = [
        run.score(one.candidate, quick=False)
        for one in choose_finalists(front, _SECOND_ROUND, radius)
    ]
    second = find_front([one for one in again if one is not None], radius)
    chosen = choose_finalists(second, design.finalists, radius)
    before_confirming()
    finalists = [run.confirm(one.candidate) for one in chosen]
    met = [one for one in finalists if one.is_proposed]
    proposed = min(met, key=lambda one: one.measured.mean_calls, default=None)
    nearest = None if proposed is not None else _find_nearest(finalists, scored)
    whys = {} if proposed is None else run.compare(proposed.candidate, base)
    return Tuned(
        design=design,
        base=base,
        now=run.measure(base, quick=False, on_search=False),
        candidates=len(candidates),
        front=tuple(front),
        finalists=tuple(finalists),
        proposed=proposed,
        nearest=nearest,
        reasons=() if nearest is None else _list_reasons(nearest, design),
        whys=whys,
        chosen=None
        if proposed is None
        else run.measure(proposed.candidate, quick=True, on_search=True),
    )


def search_digest(
    evaluator: Evaluator, base: Numbers, candidates: Sequence[Numbers], design: SearchDesign
) -> str:
    """SHA-256 (hex) of all that a search's result follows from, but for its number."""
    fixed = dataclasses.replace(design, run=1)
    return digest_json([evaluator.digest(), repr(base), list(map(repr, candidates)), repr(fixed)])


class _Run:
    """The halves, and any candidate on either."""

    def __init__(self, evaluator: Evaluator, design: SearchDesign) -> None:
        self._evaluator, self._design = evaluator, design
        forbidden = evaluator.forbidden
        self._search: NDArray[np.bool_] = choose_search_half(evaluator.digests, design.seed)
        for kind, of_kind in (("ordinary", ~forbidden), ("forbidden", forbidden)):
            for half in (self._search, ~self._search):
                if not (of_kind & half).any():
                    raise ConfigError(
                        f"too few {kind} requests: about half of each kind is searched on, the "
                        f"others confirm, and of these {int(of_kind.sum())} one half has none; "
                        "give more of them"
                    )

    def measure(self, numbers: Numbers, *, quick: bool, on_search: bool) -> Measured | None:
        outcomes = self._evaluator.evaluate(numbers, quick=quick)
        half = self._search if on_search else ~self._search
        return None if outcomes is None else measure(outcomes, self._evaluator.forbidden, half)

    def score(self, numbers: Numbers, *, quick: bool) -> Scored[Numbers] | None:
        found = self.measure(numbers, quick=quick, on_search=True)
        design = self._design
        return None if found is None else score(numbers, found, design.goals, design.share)

    def confirm(self, numbers: Numbers) -> Confirmed[Numbers]:
        found = self.measure(numbers, quick=False, on_search=False)
        assert found is not None  # it was scored before
        return confirm(numbers, found, self._design.goals, self._design.share)

    def compare(self, numbers: Numbers, base: Numbers) -> dict[str, Measured | None]:
        """For each changed number: the same candidate with the old value in its place."""
        return {
            name: self.measure(_put_back(numbers, base, name), quick=True, on_search=True)
            for name in numbers.changes(base)
            if numbers.oracle == base.oracle or name not in OF_ORACLE
        }


def _put_back(numbers: Numbers, base: Numbers, name: str) -> Numbers:
    """A candidate with one old value; the old oracle has its own numbers."""
    names = (name, *OF_ORACLE) if name == "oracle" else (name,)
    return dataclasses.replace(numbers, **{one: getattr(base, one) for one in names})


def _check_known(design: SearchDesign, scored: Sequence[Scored[Numbers]]) -> None:
    measured = scored[0].measured
    for goal in design.goals:
        if goal.kind is GoalKind.RECALL and measured.radius is None:
            raise ConfigError(
                "records do not show how far a picture may be changed, since how many draws they "
                "hold depends on what these brought; give --forbidden and --clean, or a goal about "
                "missed_harm",
                field="goals.recall",
            )
        if goal.kind is GoalKind.PRICE_USD and bool((measured.cost_usd != measured.cost_usd).any()):
            raise ConfigError(
                "the model's price is not known; state it by advanced.prices in the policy or by "
                "--price-per-call, or give a goal about calls",
                field="goals.price_usd",
            )
        if goal.kind is GoalKind.PRICE_USD and measured.most_cost_usd is None:
            PriceCap().check_goals(design.goals)


def _find_nearest(
    finalists: Sequence[Confirmed[Numbers]], scored: Sequence[Scored[Numbers]]
) -> Confirmed[Numbers] | Scored[Numbers]:
    if finalists:
        return min(finalists, key=lambda one: max((c.gap for c in one.checks), default=0.0))
    return min(
        scored,
        key=lambda one: (sum(not check.is_seen for check in one.checks), one.worst_gap),
    )


def _list_reasons(
    one: Confirmed[Numbers] | Scored[Numbers], design: SearchDesign
) -> tuple[Reason, ...]:
    reasons = []
    for check in one.checks:
        if not check.is_met:
            needed = requests_needed(check, design.next_share)
            reasons.append(Reason(check, None if needed is None else 2 * needed))
    return tuple(reasons)
