"""The recall that was measured under a policy, as certificates repeat it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.engine.threat_recall import HeldShare, find_share_problem, statements_of
from guardrail.engine.threat_wording import held_sentence
from guardrail.engine.wording import clean_sentence, recall_sentence
from guardrail.errors import ConfigError
from guardrail.stats import RECALLS, RecallReach, fewest_shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guardrail.engine.threats import Setting, Threat
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
        delta: probability, at most, that one of `reaches` is too large; that one of `shares` is.
        alpha: failure probability of one decision under the policy.
        reaches: the radius at each recall of `RECALLS`, or None where it is not shown.
        clean_requests: how many clean requests were decided under the same policy; `clean_passed`
            of them passed.
        view_draws: answers to each view, where views were measured; else 0.
        shares: which share is held against each threat; none where views were not measured.
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
    view_draws: int
    shares: tuple[HeldShare, ...]
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

    @property
    def clean_words(self) -> str:
        """What became of clean requests; it stands beside every share."""
        return clean_sentence(self.clean_requests, self.clean_passed)

    def state_threat(self, threat: Threat, setting: Setting) -> str:
        """All shares of a threat in words; empty where its views were not measured."""
        of_it = (share for share in self.shares if share.against.threat is threat)
        return " ".join(
            held_sentence(
                share, setting, requests=self.requests, alpha=self.alpha, delta=self.delta
            )
            for share in of_it
        )

    def sentences(self, settings: Mapping[Threat, Setting]) -> dict[str, str]:
        """Everything that was measured in words, by threat; `l2` are changes of pixels.

        Args:
            settings: what is covered beside them; what was not measured of it is left out.
        """
        of_threats = (
            (threat.value, self.state_threat(threat, at)) for threat, at in settings.items()
        )
        return {"l2": self.sentence, **{name: said for name, said in of_threats if said}}

    def covers(self, threats: Iterable[Threat]) -> bool:
        """Whether its shares are those of these threats; where none was measured, of any."""
        told = tuple(share.against for share in self.shares)
        return not told or told == statements_of(threats)

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        fields = dataclasses.asdict(self)
        return {**fields, "reaches": list(fields["reaches"]), "shares": list(fields["shares"])}

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
        return self._problem_of_shares()

    def _problem_of_shares(self) -> str:
        if (self.view_draws >= 1) is not bool(self.shares) or self.view_draws < 0:
            return "its recall per threat rests on an impossible number of draws"
        problem = find_share_problem(
            self.shares, requests=self.requests, delta=self.delta, beta=self.beta
        )
        return f"its recall per threat cannot be: {problem}" if problem else ""


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
