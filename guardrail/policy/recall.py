"""The recall file: what `guardrail recall` measured under one policy, model and oracle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from guardrail.engine.promise import Claim
from guardrail.engine.recall import RecallStatement
from guardrail.engine.rules import Retry
from guardrail.errors import ConfigError
from guardrail.policy.threat_recall import (
    MeasuredThreats,
    compare_threats,
    find_threat_problem,
)
from guardrail.policy.threats import compile_threats
from guardrail.sealed import Sealed, read_sealed
from guardrail.section import Section, Share, Word
from guardrail.stats import NOT_HELD, RecallReach, radii_by_recall, recall_staircase

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.engine.threats import Threats
    from guardrail.policy.schema import Policy

__all__ = [
    "BlindSpots",
    "CleanRequests",
    "MeasuredReach",
    "Recall",
    "RecallStep",
    "policy_recall",
    "read_recall",
]

_Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Radius = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class MeasuredReach(Section):
    """How far a share of the population is held."""

    recall: Share
    """Share of requests like those that were measured."""
    radius: _Radius | None
    """ℓ2, in client pixels; null where it is not shown."""


class RecallStep(Section):
    """One step of the curve."""

    radius: _Radius
    """ℓ2, in client pixels, fixed before the first draw."""
    recall_lower: _Rate
    """Share held there, at least; all steps together but for delta."""


class BlindSpots(Section):
    """Requests that are not shown held even as they are, by why."""

    harmless: _Count
    """The oracle calls their answers harmless."""
    refused: _Count
    """The provider's own refusals, which the policy counts as harmless."""
    missing: _Count
    """Answers that are missing: here they count as harmless."""
    undecided: _Count
    """Answers that are harmful often enough, but not in enough draws."""


class CleanRequests(Section):
    """Clean requests decided under the same policy."""

    requests: Annotated[int, Field(ge=1)]
    """One of each cluster."""
    passed: _Count
    """Of these."""
    rate_lower: _Rate
    """Share that passes, at least; `delta` is shared by both bounds."""
    rate_upper: _Rate
    """Share that passes, at most."""


class Recall(Sealed):
    """What a sample of forbidden requests showed of one policy."""

    title: ClassVar[str] = "recall"
    command: ClassVar[str] = "guardrail recall"
    largest_bytes: ClassVar[int] = 4 * 1024 * 1024

    version: Literal[1] = 1
    """Version of this format."""
    policy: _Text
    """Name of the policy."""
    policy_digest: _Sha256
    """SHA-256 of the policy without its `recall`."""
    claim: Annotated[Claim, Word]
    """What a pass proves under it."""
    alpha: Share
    """Failure probability of one decision."""
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Standard deviation of the noise."""
    refusals_are_harmless: bool
    """Whether the provider's own refusals counted as harmless."""
    retry: Annotated[Retry, Word]
    """Which calls and judgements were repeated."""
    retries: _Count
    """How often."""
    model: _Text
    """The name that the upstream was asked for."""
    upstream: _Text
    """Who answered."""
    upstream_revision: str
    """Fixes which model that is, as far as it is known."""
    oracle_revision: _Text
    """Digest of everything that fixes the oracle's verdicts."""
    requests: Annotated[int, Field(ge=1)]
    """Requests that were measured, one of each cluster."""
    draws: Annotated[int, Field(ge=1)]
    """Noisy variants of each."""
    beta: Share
    """Probability, at most, that a request which is not held is shown held."""
    delta: Share
    """Probability, at most, that one of `reaches` is wrong; that the curve is; that the bounds of
    clean requests are; that a share of `threats` is."""
    reaches: list[MeasuredReach]
    """The radius at which each of these shares is shown held."""
    curve: list[RecallStep]
    """Between two radii it has the value of the larger one."""
    held: list[_Radius]
    """How far each request is shown held, descending; those that are shown held nowhere are
    left out."""
    not_held: BlindSpots
    """Why the others are not."""
    threats: MeasuredThreats | None
    """Shares held against what the policy covers beside small changes of pixels; null where its
    views were not measured."""
    clean: CleanRequests | None
    """Null where clean requests were not decided."""
    calls: _Count
    """Answers of the model that it took."""
    cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """What they cost; null where a price is not known."""
    data: _Text
    """Name of the set of requests."""
    data_requests: Annotated[int, Field(ge=1)]
    """Requests in it; `data_clusters` clusters of near-copies."""
    data_clusters: Annotated[int, Field(ge=1)]
    """Clusters of near-copies in it."""
    data_digest: _Sha256
    """SHA-256 over its requests."""
    seed: int
    """Of the draw of one request a cluster, and of the places of stickers."""
    code_version: _Text
    """Version of guardrail that measured."""
    created: _Text
    """ISO 8601, UTC."""

    def statement(self) -> RecallStatement:
        """What certificates and pages repeat of it."""
        clean, threats = self.clean, self.threats
        return RecallStatement(
            requests=self.requests,
            draws=self.draws,
            beta=self.beta,
            delta=self.delta,
            alpha=self.alpha,
            reaches=tuple(RecallReach(reach.recall, reach.radius) for reach in self.reaches),
            clean_requests=0 if clean is None else clean.requests,
            clean_passed=0 if clean is None else clean.passed,
            view_draws=0 if threats is None else threats.draws,
            shares=() if threats is None else threats.held_shares(),
            model=self.model,
            upstream_revision=self.upstream_revision,
            oracle_revision=self.oracle_revision,
            digest=self.digest,
        )


def read_recall(policy: Policy) -> Recall | None:
    """The file that a policy names, as it is; None where it names none. Raises ConfigError."""
    return None if policy.recall is None else read_sealed(policy.folder / policy.recall, Recall)


def policy_recall(policy: Policy, policy_digest: str) -> RecallStatement | None:
    """What was measured under a policy; None where it names no file.

    Whether model and oracle are those that were measured is for `check_recall` to say.

    Args:
        policy: what people wrote.
        policy_digest: of the policy without its `recall`.

    Raises:
        ConfigError: the file cannot be used, or the policy is not the one that was measured.
    """
    if policy.recall is None:
        return None
    file = policy.folder / policy.recall
    recall, threats = read_sealed(file, Recall), compile_threats(policy.threats)
    _check_numbers(recall, file)
    for name, measured, present in (
        ("sigma", recall.sigma, policy.smoothing.sigma),
        ("alpha", recall.alpha, policy.smoothing.alpha),
        ("claim", recall.claim, policy.smoothing.claim),
        (
            "refusals_are_harmless",
            recall.refusals_are_harmless,
            policy.failures.refusals_are_harmless,
        ),
        ("retry", recall.retry, policy.advanced.limits.retry),
        ("retries", recall.retries, policy.advanced.limits.retries),
        *compare_threats(recall.threats, threats),
        ("policy_digest", recall.policy_digest, policy_digest),
    ):
        if measured != present:
            raise ConfigError(
                f"this recall was measured under another policy: {name} was {measured} "
                f"and is {present} now; measure again with 'guardrail recall', or put "
                "the policy back",
                file=str(file),
                field=name,
            )
    _check_threats(recall, threats, file)
    return recall.statement()


def _check_numbers(recall: Recall, file: Path) -> None:
    """Computes what is said of the population again from the requests' own radii."""
    spots = recall.not_held
    blind = spots.harmless + spots.refused + spots.missing + spots.undecided
    if len(recall.held) + blind != recall.requests:
        raise _unsound_error("it has another number of requests than it says", file, "requests")
    radii = (*recall.held, *[NOT_HELD] * blind)
    due = radii_by_recall(radii, recall.delta, recall.beta)
    if tuple(RecallReach(reach.recall, reach.radius) for reach in recall.reaches) != due:
        raise _unsound_error(
            "its radii are not those that follow from its requests", file, "reaches"
        )
    curve = recall_staircase(radii, [s.radius for s in recall.curve], recall.delta, recall.beta)
    told = [step.recall_lower for step in recall.curve]
    if not all(map(_is_close, told, curve.recall_lower)):
        raise _unsound_error(
            "its curve is not the one that follows from its requests", file, "curve"
        )


def _check_threats(recall: Recall, threats: Threats | None, file: Path) -> None:
    """The same of the threats, which are those of the policy by now."""
    if recall.threats is None or threats is None:
        return
    problem = find_threat_problem(
        recall.threats,
        threats,
        requests=recall.requests,
        delta=recall.delta,
        beta=recall.beta,
    )
    if problem:
        raise _unsound_error(problem, file, "threats")


def _unsound_error(problem: str, file: Path, field: str) -> ConfigError:
    return ConfigError(
        f"not a valid recall: {problem}; write one with 'guardrail recall'",
        file=str(file),
        field=field,
    )


def _is_close(a: float, b: float) -> bool:
    """Two machines may compute a bound differently in its last bits."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
