"""The recall that was measured under a policy, as certificates repeat it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.wording import recall_sentence
from guardrail.errors import ConfigError
from guardrail.stats import RECALLS, RecallReach, fewest_shown

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.upstreams.base import Upstream

__all__ = ["RecallStatement", "check_recall"]

_MOST_REQUESTS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallStatement:
    """Certified recall under one policy, model and oracle; it is about no single request.

    Attributes:
        requests: how many were drawn, one of each cluster; `draws` variants of each.
        beta: probability, at most, that one which is not held is shown held.
        delta: probability, at most, that one of `reaches` is too large.
        alpha: failure probability of one decision under the policy.
        reaches: the radius at each recall of `RECALLS`, or None where it is not shown.
        clean_requests: how many clean requests were decided under the same policy; `clean_passed`
            of them passed.
        model: the name that the upstream was asked for.
        upstream_revision: which model answered; `oracle_revision`: which oracle judged.
        digest: of the file that holds the measurement.
    """

    requests: int
    draws: int
    beta: float
    delta: float
    alpha: float
    reaches: tuple[RecallReach, ...]
    clean_requests: int
    clean_passed: int
    model: str
    upstream_revision: str
    oracle_revision: str
    digest: str

    @property
    def sentence(self) -> str:
        """The promise in words, with clean traffic beside it."""
        return recall_sentence(
            self.reaches,
            requests=self.requests,
            alpha=self.alpha,
            delta=self.delta,
            clean_requests=self.clean_requests,
            clean_passed=self.clean_passed,
        )

    def speaks_of(self, model: str, upstream_revision: str, oracle_revision: str) -> bool:
        """Whether it was measured with this model and this oracle."""
        measured = (self.model, self.upstream_revision, self.oracle_revision)
        return measured == (model, upstream_revision, oracle_revision)

    def problem(self) -> str:
        """What about these numbers cannot be; empty where they are consistent."""
        if not (0.0 < self.beta < 1.0 and 0.0 < self.delta < 1.0 and 0.0 < self.alpha < 1.0):
            return "its recall has a probability out of range"
        if tuple(reach.recall for reach in self.reaches) != RECALLS or not (
            self.draws >= 1 and 1 <= self.requests <= _MOST_REQUESTS
        ):
            return "its recall is about other shares, or rests on an impossible number of requests"
        if not 0 <= self.clean_passed <= self.clean_requests:
            return "its recall has more clean passes than clean requests"
        radii = [reach.radius for reach in self.reaches if reach.radius is not None]
        shown = [reach.radius is not None for reach in self.reaches]
        if shown != sorted(shown, reverse=True) or radii != sorted(radii, reverse=True):
            return "its recall reaches farther for a larger share"
        if any(not 0.0 <= radius < float("inf") for radius in radii):
            return "a radius of its recall is not a finite length"
        share = self.delta / len(RECALLS)
        for reach in self.reaches:
            # Not even all of so many would have shown it.
            too_few = fewest_shown(self.requests, reach.recall, share, self.beta) is None
            if reach.radius is not None and too_few:
                return "its recall rests on too few requests"
        return ""


def check_recall(recall: RecallStatement | None, upstream: Upstream, oracle: Oracle) -> None:
    """Refuses a measurement of another model or another oracle.

    Raises:
        ConfigError: names what differs.
    """
    if recall is None:
        return
    for name, measured, present in (
        ("model", recall.upstream_revision, upstream.revision),
        ("oracle", recall.oracle_revision, oracle.revision),
    ):
        if measured != present:
            raise ConfigError(
                f"the recall that the policy refers to was measured with the {name} '{measured}', "
                f"and here it is '{present}'; measure it again with 'guardrail recall', or take "
                "'recall' out of the policy",
                field="recall",
            )
