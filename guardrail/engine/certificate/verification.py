"""Recomputes a certificate from its own fields."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.engine.certificate.checks import MOST_SAMPLES, PORTABLE, follow_counts, require
from guardrail.engine.certificate.claim import CERTIFICATE_VERSION, LARGEST_SIDE_PX
from guardrail.engine.certificate.codec import (
    digest_certificate,
    digest_promise,
    encode_certificate,
)
from guardrail.engine.certificate.threat_verification import verify_threats
from guardrail.engine.certificate.threats import combine_decisions
from guardrail.engine.plan import (
    earned_radius,
    harmless_lower,
    measure_geometry,
    radii_by_floor,
    required_rate,
)
from guardrail.engine.preprocessing import SIDE_FROM_POLICY
from guardrail.engine.promise import Claim
from guardrail.engine.threat_recall import find_draws_problem
from guardrail.engine.threats import Threat
from guardrail.images.canvas import canvas_for
from guardrail.stats import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.stats import Plan

__all__ = ["verify_certificate"]

_ATTEMPT = re.compile(r"[0-9a-f]{32}")
_REFERENCE_KINDS = ("", "action", "meaning")


def verify_certificate(certificate: Certificate, data: Mapping[str, Any] | None = None) -> None:
    """Recomputes everything that can be recomputed from the certificate alone.

    Args:
        certificate: as it was read.
        data: the dictionary that it was read from, to check the derived fields as well.

    Raises:
        CertificationError: names the first thing that does not hold.
    """
    # First, because the sentence that the digest covers can only be written of such numbers.
    _verify_ranges(certificate)
    sealed = certificate.digest == digest_certificate(certificate)
    require(sealed, "its digest does not match its fields")
    unchanged = data is None or dict(data) == encode_certificate(certificate)
    require(unchanged, "a derived field was changed")
    _verify_names(certificate)
    _verify_geometry(certificate)
    require(max(certificate.looks, default=0) <= MOST_SAMPLES, "its plan has too many samples")
    plan = certificate.plan()
    require(plan.digest == certificate.plan_digest, "the plan's digest does not match its table")
    require(
        math.isclose(_due_rate(certificate), certificate.q_required, rel_tol=PORTABLE),
        "the plan does not test the harmless rate that the promised radius needs",
    )
    _verify_counts(certificate, plan)
    _verify_earned(certificate, plan)
    _verify_recall(certificate)
    same = certificate.promise_digest == digest_promise(certificate)
    require(same, "the digest of its promise does not match its numbers")


def _due_rate(certificate: Certificate) -> float:
    """The harmless rate that the request's own test must show."""
    if not certificate.pictures:
        return certificate.floor
    return required_rate(certificate, certificate.geometry)


def _verify_names(certificate: Certificate) -> None:
    known = certificate.version == CERTIFICATE_VERSION and certificate.norm == "l2"
    require(known, "its version or its norm is unknown")
    kind = certificate.reference_kind
    require(
        kind in _REFERENCE_KINDS and bool(kind) == bool(certificate.reference),
        "its reference is of an unknown kind",
    )
    attempt = bool(_ATTEMPT.fullmatch(certificate.attempt))
    require(attempt, "its attempt is not 32 hexadecimal digits")
    probe = certificate.probe_max_tokens
    require(probe is None or probe >= 1, "its variants had no room for an answer")
    require(certificate.retries >= 0, "its number of repeats is negative")
    named = bool(certificate.canvas_side_source) and bool(certificate.denoise)
    require(named, "it does not say where its canvas is from, or which filter was used")
    by_policy = certificate.canvas_side_source == SIDE_FROM_POLICY
    has_side = certificate.canvas_max_side_px is not None
    require(by_policy or has_side, "its canvas is the model's, and has no side")


def _verify_ranges(certificate: Certificate) -> None:
    bounds = certificate.miss_rate_upper, certificate.delta
    match certificate.claim:
        case Claim.VERDICT:
            require(bounds == (None, None), "its claim does not speak of the oracle's misses")
        case Claim.HARMLESSNESS:
            require(None not in bounds, "its claim lacks the bound on the oracle's misses or delta")
        case _:
            assert_never(certificate.claim)
    for name in ("alpha", "floor", "harmless_rate_lower", "miss_rate_upper", "delta"):
        share = getattr(certificate, name)
        require(share is None or 0.0 <= share < 1.0, f"its {name} is not a probability below 1")
    require(_is_length(certificate.radius), "its radius is not a length that a picture can have")
    for reach in certificate.stability:
        require(0.0 < reach.floor < 1.0, "a floor of its radii is not a probability")
        require(
            reach.radius is None or _is_length(reach.radius),
            "one of its radii by floor is not a length that a picture can have",
        )


def _is_length(radius: float) -> bool:
    """Whether a picture of the largest size could have it; longer ones overflow in words."""
    return 0.0 <= radius < 2.0 * LARGEST_SIDE_PX


def _verify_geometry(certificate: Certificate) -> None:
    if not certificate.pictures:
        _verify_text(certificate)
        return
    possible = certificate.has_possible_sizes
    require(possible, "it names no picture, or one of an impossible size")
    side = certificate.canvas_max_side_px
    require(side is None or side >= 1, "its canvas has no side that there is")
    scaled = all(
        canvas_for(*size.client, max_side_px=side).scaled_size == size.scaled
        for size in certificate.pictures
    )
    require(scaled, "its pictures are not scaled down to the canvas that it names")
    geometry = measure_geometry([size.operator for size in certificate.pictures])
    same = math.isclose(geometry.operator_norm, certificate.operator_norm, rel_tol=PORTABLE)
    require(
        same and geometry.grid_slack == certificate.grid_slack,
        "its operator norm or grid slack is not that of its pictures",
    )
    require(
        geometry.sampler_error == certificate.sampler_error,
        "its sampler error is not that of its pictures",
    )


def _verify_text(certificate: Certificate) -> None:
    """Without pictures there is no noise, no radius, and a suffix that is covered."""
    lengths = certificate.sigma, certificate.promised_radius, certificate.radius
    still = lengths == (0.0, 0.0, 0.0) and not certificate.stability
    require(still, "it names no picture, and yet noise or a radius")
    unmoved = certificate.operator_norm == 1.0
    exact = certificate.grid_slack == certificate.sampler_error == 0.0
    require(unmoved and exact, "it names no picture, and yet a canvas")
    threats = [tested.threat for tested in certificate.threats]
    require(threats == [Threat.SUFFIX], "it names no picture, and covers no suffix alone")
    (threat,) = certificate.threats
    require(
        certificate.claim is Claim.VERDICT and certificate.floor == threat.floor,
        "it names no picture, and its floor is not that of its threat",
    )
    same = certificate.plan_digest == threat.plan_digest
    require(same, "it names no picture, and its plan is not that of its threat")


def _verify_earned(certificate: Certificate, plan: Plan) -> None:
    """Everything that a pass proves follows from its bound, and that from the plan and counts."""
    if certificate.decision is not Decision.PASS:
        nothing = certificate.radius == certificate.harmless_rate_lower == 0.0
        require(nothing and not certificate.stability, "it proves something without a pass")
        return
    geometry, q = certificate.geometry, harmless_lower(plan, certificate.counts[-1])
    require(
        math.isclose(certificate.harmless_rate_lower, q, rel_tol=PORTABLE),
        "the harmless rate is not what the decision earns",
    )
    if not certificate.pictures:
        return
    radius = earned_radius(certificate, geometry, q)
    require(_is_same(certificate, certificate.radius, radius), "the radius is not what it earns")
    wanted = radii_by_floor(certificate, geometry, q)
    floors = [reach.floor for reach in wanted]
    same = floors == [reach.floor for reach in certificate.stability] and all(
        _is_same(certificate, stated.radius, due.radius)
        for stated, due in zip(certificate.stability, wanted, strict=True)
    )
    require(same, "its radii by floor are not those that it earns")


def _is_same(certificate: Certificate, stated: float | None, due: float | None) -> bool:
    """Whether two radii are equal but for the last bits; None is not equal to 0."""
    if stated is None or due is None:
        return stated is due
    # A radius is a difference of quantiles times sigma over the norm, so its error has their size.
    unit = certificate.sigma / certificate.operator_norm
    return math.isclose(stated, due, rel_tol=PORTABLE, abs_tol=PORTABLE * unit)


def _verify_counts(certificate: Certificate, plan: Plan) -> None:
    decisions = [follow_counts(certificate.counts, plan), *verify_threats(certificate)]
    stopped = sum(d is not None and d is not Decision.PASS for d in decisions)
    require(stopped <= 1, "several of its tests ended without a pass, and the first one ends all")
    # A decision cut short (deadline, upstream gone) is never a pass and has no final verdict.
    expected = combine_decisions(decisions[0], decisions[1:])
    require(certificate.decision is expected, "its counts lead to another decision")


def _verify_recall(certificate: Certificate) -> None:
    """Its numbers fit together; whether they were measured is for the file's digest to say."""
    recall = certificate.recall
    if recall is None:
        return
    problem = recall.problem()
    require(not problem, problem)
    require(
        recall.speaks_of(recall.model, certificate.upstream_revision, certificate.oracle_revision)
        and recall.alpha >= certificate.alpha,
        "its recall is about another model, oracle or policy",
    )
    covers = recall.covers(tested.threat for tested in certificate.threats)
    require(covers, "its recall is about other threats")
    floors = {tested.threat: tested.floor for tested in certificate.threats}
    problem = find_draws_problem(
        recall.shares, draws=recall.view_draws, floors=floors, beta=recall.beta
    )
    require(not problem, f"its recall per threat cannot be: {problem}")
