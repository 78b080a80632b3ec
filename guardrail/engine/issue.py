"""Fills in the certificate of a finished test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.engine.certificate import Certificate, PictureSize
from guardrail.engine.plan import earned_radius
from guardrail.stats import Decision
from guardrail.version import __version__

if TYPE_CHECKING:
    from guardrail.engine.calls import Caller
    from guardrail.engine.case import Case
    from guardrail.engine.certifier import Certifier
    from guardrail.engine.guard import Engine

__all__ = ["issue"]


def issue(engine: Engine, case: Case, certifier: Certifier, caller: Caller) -> Certificate:
    """The sealed certificate; a test cut short certifies nothing and is `uncertain`.

    Args:
        engine: whose rules, model, oracle and key it names.
        case: the request.
        certifier: the test, finished or cut short.
        caller: made the calls; knows what the answers were compared with, and how long they were.
    """
    rules, plan, reference = engine.rules, certifier.plan, caller.reference
    decision = certifier.decision or Decision.UNCERTAIN
    return Certificate(
        decision=decision,
        claim=rules.claim,
        radius=(
            earned_radius(rules, case.where, plan, certifier.counts[-1])
            if decision is Decision.PASS
            else 0.0
        ),
        radius_space=rules.radius_space,
        sigma=rules.sigma,
        floor=rules.floor,
        alpha=plan.alpha,
        delta=rules.delta,
        miss_rate_upper=rules.miss_rate_upper,
        promised_radius=rules.promised_radius,
        operator_norm=case.where.operator_norm,
        grid_slack=case.where.grid_slack,
        sampler_error=case.where.sampler_error,
        pictures=tuple(PictureSize(c.source_size, c.size) for c in case.canvases),
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
        code_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    ).sealed()
