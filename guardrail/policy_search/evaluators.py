"""What a candidate does to labelled requests: by draws made for it, or by recorded decisions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from guardrail.canonical import digest_json
from guardrail.errors import CertificationError, ConfigError
from guardrail.policy_search.draws import NO_CAP, run_test
from guardrail.policy_search.measured import CandidateOutcomes
from guardrail.policy_search.numbers import change_policy
from guardrail.replay.endings import Ending
from guardrail.replay.intervals import Label
from guardrail.replay.replay import replay_policy
from guardrail.stats import PlanKind, spent_alpha

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from guardrail.engine.rules import Rules
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.draws import LabelledDraws
    from guardrail.policy_search.numbers import Numbers, View
    from guardrail.policy_search.price_cap import PriceCap
    from guardrail.replay.decisions import RecordedDecisions

__all__ = ["DrawnNoise", "DrawsEvaluator", "Evaluator", "RecordsEvaluator"]


class Evaluator(Protocol):
    """The labelled requests, and any candidate on them.

    Attributes:
        digests: of the requests.
        forbidden: whether each should be stopped.
    """

    @property
    def digests(self) -> tuple[str, ...]: ...

    @property
    def forbidden(self) -> NDArray[np.bool_]: ...

    def digest(self) -> str:
        """SHA-256 (hex) of the requests and of all that the outcomes follow from."""
        ...

    def evaluate(self, numbers: Numbers, *, quick: bool) -> CandidateOutcomes | None:
        """The outcomes; None where the candidate has no test.

        Args:
            numbers: the candidate.
            quick: stand in for the policy's own test by one of a fixed number of draws, stopped
                early. It has the same guarantee, takes a few more calls, and is computed at once;
                the policy's own takes seconds.
        """
        ...


@dataclass(frozen=True, slots=True)
class DrawnNoise:
    """The rules of the policy under one noise, and the draws made with it, by one oracle."""

    rules: Rules
    draws: LabelledDraws


@dataclass(frozen=True, slots=True)
class DrawsEvaluator:
    """By draws, under each noise that was drawn.

    Attributes:
        noises: by noise and oracle; all of the same requests in the same order.
        shares_alpha: whether a principal's tries share alpha, of which the first has a part.
        cap: what is stated of prices.
    """

    noises: Mapping[View, DrawnNoise]
    shares_alpha: bool = False
    cap: PriceCap = NO_CAP

    @property
    def digests(self) -> tuple[str, ...]:
        return next(iter(self.noises.values())).draws.digests

    @property
    def forbidden(self) -> NDArray[np.bool_]:
        return next(iter(self.noises.values())).draws.forbidden

    def digest(self) -> str:
        parts = [(repr(view), one.rules.digest, one.draws.digest())
                 for view, one in self.noises.items()]  # fmt: skip
        return digest_json([*map(list, parts), self.shares_alpha, repr(self.cap)])

    def evaluate(self, numbers: Numbers, *, quick: bool) -> CandidateOutcomes | None:
        noise = self.noises.get(numbers.view)
        if noise is None:
            return None  # limits between which no band is left
        rules = numbers.apply_to_rules(noise.rules)
        if quick:
            rules = dataclasses.replace(rules, kind=PlanKind.FIXED)
        if self.shares_alpha:
            rules = dataclasses.replace(rules, alpha=spent_alpha(rules.alpha, 1))
        try:
            return run_test(noise.draws, rules, numbers.threshold, self.cap)
        except CertificationError:
            return None


class RecordsEvaluator:
    """By recorded decisions and labels; one decision of each labelled request.

    How far a request is held cannot be told: how many draws a record has depends on what they
    brought.

    Args:
        decisions: what was recorded.
        labels: by record.
        policy: what the candidates change.
        cap: what is stated of prices.
        rejudged: the same decisions as other oracles find them.

    Raises:
        ConfigError: no record is labelled harmful, or none harmless.
    """

    def __init__(
        self,
        decisions: RecordedDecisions,
        labels: Mapping[str, Label],
        policy: Policy,
        cap: PriceCap = NO_CAP,
        rejudged: Mapping[View, RecordedDecisions] | None = None,
    ) -> None:
        self._decisions, self._policy, self._cap = decisions, policy, cap
        self._rejudged = dict(rejudged or {})
        rows, forbidden = _labelled_rows(decisions, labels)
        self._rows = rows
        self.forbidden = forbidden
        self.digests = tuple(decisions.record_ids[row] for row in rows)
        calls = np.maximum(decisions.calls[rows], 1)
        self._call_cost = cap.price_calls(decisions.cost_usd[rows] / calls)
        if not (forbidden.any() and (~forbidden).any()):
            raise ConfigError(
                "the labels hold no record that is harmful, or none that is harmless; both are "
                "needed, of records that are here"
            )

    def digest(self) -> str:
        content = self._policy.model_dump(mode="json", by_alias=True)
        labels = self.forbidden.tolist()
        views = [list(map(repr, self._rejudged))]
        return digest_json([list(self.digests), labels, content, repr(self._cap), views])

    def evaluate(self, numbers: Numbers, *, quick: bool) -> CandidateOutcomes | None:
        policy = numbers.apply(self._policy)
        if quick:
            policy = change_policy(policy, {"advanced.sampling.plan": PlanKind.FIXED.value})
        try:
            found = replay_policy(self._rejudged.get(numbers.view, self._decisions), policy)
        except ConfigError:
            return None  # no picture could pass
        rows = self._rows
        after = found.after[rows]
        open_ = (after != Ending.LET_THROUGH) & (after != Ending.STOPPED) & (after != Ending.FAULT)
        passes = after == Ending.LET_THROUGH
        most = found.rules.max_samples
        calls = np.where(open_, most, found.used[rows]).astype(np.float64)
        cost_usd = calls * self._call_cost
        if self._cap.request_usd is not None:
            cost_usd = np.minimum(cost_usd, self._cap.request_usd)
        return CandidateOutcomes(
            # What is not known counts against the candidate.
            let_through=np.where(self.forbidden, passes | open_, passes),
            calls=calls,
            cost_usd=cost_usd,
            radius=None,
            longest_test=most,
            most_calls=most,
            most_cost_usd=self._cap.most_usd(most),
            alpha=found.rules.alpha,
        )


def _labelled_rows(
    decisions: RecordedDecisions, labels: Mapping[str, Label]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first labelled decision of each request; requests with two labels are left out."""
    first: dict[int, tuple[int, Label]] = {}
    unclear: set[int] = set()
    for row, name in enumerate(decisions.record_ids):
        label = labels.get(name)
        if label is None or label is Label.UNSURE:
            continue
        request = int(decisions.request[row])
        if first.setdefault(request, (row, label))[1] is not label:
            unclear.add(request)
    kept = [found for request, found in first.items() if request not in unclear]
    return (
        np.array([row for row, _ in kept], dtype=np.int64),
        np.array([label is Label.HARMFUL for _, label in kept], dtype=np.bool_),
    )
