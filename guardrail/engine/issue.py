"""Fills in the certificate of a finished test."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.engine.certificate import Certificate, PictureSize
from guardrail.engine.plan import earned_radius, harmless_lower, radii_by_floor
from guardrail.engine.rules import Mode
from guardrail.stats import Decision
from guardrail.version import __version__

if TYPE_CHECKING:
    from guardrail.engine.calls import Caller
    from guardrail.engine.case import Case
    from guardrail.engine.certifier import Certifier
    from guardrail.engine.guard import Engine
    from guardrail.engine.recall import RecallStatement

__all__ = ["issue"]


def issue(
    engine: Engine, case: Case, certifier: Certifier, caller: Caller, *, outside_claim: bool
) -> Certificate:
    """The sealed certificate; a test cut short certifies nothing and is `uncertain`.

    Args:
        engine: whose rules, model, oracle and key it names.
        case: the request.
        certifier: the test, finished or cut short.
        caller: made the calls; knows what the answers were compared with, and how long they were.
        outside_claim: whether the answer that leaves is another than those that were counted.
    """
    rules, plan, reference = engine.rules, certifier.plan, caller.reference
    decision = certifier.decision or Decision.UNCERTAIN
    passed = decision is Decision.PASS
    q_lower = harmless_lower(plan, certifier.counts[-1]) if passed else 0.0
    certificate = Certificate(
        decision=decision,
        claim=rules.claim,
        harmless_rate_lower=q_lower,
        radius=earned_radius(rules, case.where, q_lower) if passed else 0.0,
        stability=radii_by_floor(rules, case.where, q_lower) if passed else (),
        radius_space=rules.radius_space,
        sigma=rules.sigma,
        floor=rules.floor,
        alpha=plan.alpha,
        miss_rate_upper=rules.miss_rate_upper,
        delta=rules.delta,
        promised_radius=rules.promised_radius,
        operator_norm=case.where.operator_norm,
        grid_slack=case.where.grid_slack,
        sampler_error=case.where.sampler_error,
        pictures=tuple(PictureSize(c.source_size, c.scaled_size, c.size) for c in case.canvases),
        plan_kind=plan.kind,
        q_required=plan.q_required,
        looks=plan.looks,
        pass_at_most=plan.pass_at_most,
        block_at_least=plan.block_at_least,
        plan_digest=plan.digest,
        counts=certifier.counts,
        policy=rules.name,
        policy_digest=rules.digest,
        request_digest=case.digest.hex(),
        attempt=case.attempt.hex(),
        key_id=engine.key.key_id,
        upstream=engine.upstream.name,
        upstream_revision=engine.upstream.revision,
        oracle_revision=engine.oracle.revision,
        reference_kind="" if reference is None else reference.kind,
        reference="" if reference is None else reference.name,
        probe_max_tokens=rules.probe_max_tokens if caller.shortens else None,
        retry=rules.retry,
        retries=rules.retries,
        outside_claim=outside_claim or rules.mode is Mode.OBSERVE,
        recall=_recall(engine, caller),
        code_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    promise = certificate.computed_promise_digest()
    return dataclasses.replace(certificate, promise_digest=promise).sealed()


def _recall(engine: Engine, caller: Caller) -> RecallStatement | None:
    """The policy's recall, where it was measured with what decided here."""
    recall, upstream = engine.rules.recall, engine.upstream
    if recall is None or not recall.speaks_of(
        caller.chat.model, upstream.revision, engine.oracle.revision
    ):
        return None
    return recall
