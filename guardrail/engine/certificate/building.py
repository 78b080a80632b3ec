"""Fills in the certificate of a test."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.engine.certificate.claim import Certificate, PictureSize
from guardrail.engine.certificate.codec import digest_promise, seal_certificate
from guardrail.engine.certificate.threat_building import describe_threats
from guardrail.engine.certificate.threats import combine_decisions
from guardrail.engine.plan import (
    earned_radius,
    harmless_lower,
    radii_by_floor,
    scale_promise,
)
from guardrail.engine.rules import Mode
from guardrail.stats import Decision
from guardrail.version import __version__

if TYPE_CHECKING:
    from guardrail.engine.decision_tests import DecisionTests
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.recall import RecallStatement
    from guardrail.engine.rules import Rules
    from guardrail.oracles.base import Reference

__all__ = ["CertificateNames", "build_certificate"]


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """Who decided, as a certificate names them.

    Attributes:
        model: the name that the upstream was asked for.
        upstream, upstream_revision: which model answered.
        oracle_revision: which oracle judged.
        key_id: id of the noise key.
    """

    model: str
    upstream: str
    upstream_revision: str
    oracle_revision: str
    key_id: str


def build_certificate(
    rules: Rules,
    request: PreparedRequest,
    tests: DecisionTests,
    names: CertificateNames,
    *,
    reference: Reference | None,
    shortens: bool,
    outside_claim: bool,
) -> Certificate:
    """The sealed certificate; a test that was cut short certifies nothing and is `uncertain`.

    Args:
        rules: the policy.
        request: what the decision is about.
        tests: finished, or cut short.
        names: who decided.
        reference: what the answers were compared with, if anything.
        shortens: whether variants answered with fewer tokens than the client asked for.
        outside_claim: whether the answer that leaves is another than those that were counted.
    """
    certifier, geometry = tests.whole, request.geometry
    plan, threats = certifier.plan, rules.threats
    of_views = [run.certifier.decision for run in tests.views]
    decision = combine_decisions(certifier.decision, of_views)
    # Without pictures there is no noise, and the request itself is tested like its views.
    pictured = tests.has_pictures or threats is None
    if threats is not None and not pictured:
        rules = dataclasses.replace(rules, sigma=0.0, promised_radius=0.0, floor=threats.floor)
    else:
        rules = scale_promise(rules, geometry)
    passed = decision is Decision.PASS
    q_lower = harmless_lower(plan, certifier.counts[-1]) if passed else 0.0
    certificate = Certificate(
        decision=decision,
        claim=rules.claim,
        harmless_rate_lower=q_lower,
        radius=earned_radius(rules, geometry, q_lower) if passed and pictured else 0.0,
        stability=radii_by_floor(rules, geometry, q_lower) if passed and pictured else (),
        sigma=rules.sigma,
        floor=rules.floor,
        alpha=plan.alpha,
        miss_rate_upper=rules.miss_rate_upper,
        delta=rules.delta,
        promised_radius=rules.promised_radius,
        operator_norm=geometry.operator_norm,
        grid_slack=geometry.grid_slack,
        sampler_error=geometry.sampler_error,
        pictures=tuple(PictureSize(c.source_size, c.scaled_size, c.size) for c in request.canvases),
        canvas_max_side_px=request.preprocessing.max_side_px,
        canvas_side_source=request.preprocessing.side_source,
        denoise=request.preprocessing.denoise,
        plan_kind=plan.kind,
        q_required=plan.q_required,
        looks=plan.looks,
        pass_at_most=plan.pass_at_most,
        block_at_least=plan.block_at_least,
        plan_digest=plan.digest,
        counts=certifier.counts,
        policy=rules.name,
        policy_digest=rules.digest,
        request_digest=request.digest.hex(),
        attempt=request.attempt.hex(),
        key_id=names.key_id,
        upstream=names.upstream,
        upstream_revision=names.upstream_revision,
        oracle_revision=names.oracle_revision,
        reference_kind="" if reference is None else reference.kind,
        reference="" if reference is None else reference.name,
        probe_max_tokens=rules.probe_max_tokens if shortens else None,
        retry=rules.retry,
        retries=rules.retries,
        outside_claim=outside_claim or rules.mode is Mode.OBSERVE,
        recall=_measured_recall(rules, names) if pictured else None,
        threats=describe_threats(threats, tests, decision),
        code_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    promise = digest_promise(certificate)
    return seal_certificate(dataclasses.replace(certificate, promise_digest=promise))


def _measured_recall(rules: Rules, names: CertificateNames) -> RecallStatement | None:
    """The policy's recall, where it was measured with the model and oracle that decided here."""
    recall = rules.recall
    if recall is None or not recall.speaks_of(
        names.model, names.upstream_revision, names.oracle_revision
    ):
        return None
    return recall
