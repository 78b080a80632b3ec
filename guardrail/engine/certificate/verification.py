"""Recomputes a certificate from its own fields."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.engine.certificate.claim import CERTIFICATE_VERSION, LARGEST_SIDE_PX
from guardrail.engine.certificate.codec import (
    digest_certificate,
    digest_promise,
    encode_certificate,
)
from guardrail.engine.plan import (
    earned_radius,
    harmless_lower,
    measure_geometry,
    radii_by_floor,
    required_rate,
)
from guardrail.engine.preprocessing import SIDE_FROM_POLICY
from guardrail.engine.promise import Claim
from guardrail.errors import CertificationError
from guardrail.images.canvas import canvas_for
from guardrail.stats import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.stats import Plan

__all__ = ["verify_certificate"]

_MOST_SAMPLES = 20_000
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
_REFERENCE_KINDS = ("", "action", "meaning")
_PORTABLE = 1e-12  # two machines may compute the normal quantile differently in its last bits


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
    _require(sealed, "its digest does not match its fields")
    unchanged = data is None or dict(data) == encode_certificate(certificate)
    _require(unchanged, "a derived field was changed")
    _verify_names(certificate)
    _verify_geometry(certificate)
    # Plans of more samples are never made, and recomputing one could take very long.
    _require(max(certificate.looks, default=0) <= _MOST_SAMPLES, "its plan has too many samples")
    plan = certificate.plan()
    _require(plan.digest == certificate.plan_digest, "the plan's digest does not match its table")
    rate = required_rate(certificate, certificate.geometry)
    _require(
        math.isclose(rate, certificate.q_required, rel_tol=_PORTABLE),
        "the plan does not test the harmless rate that the promised radius needs",
    )
    _verify_counts(certificate, plan)
    _verify_earned(certificate, plan)
    _verify_recall(certificate)
    same = certificate.promise_digest == digest_promise(certificate)
    _require(same, "the digest of its promise does not match its numbers")


def _verify_names(certificate: Certificate) -> None:
    known = certificate.version == CERTIFICATE_VERSION and certificate.norm == "l2"
    _require(known, "its version or its norm is unknown")
    kind = certificate.reference_kind
    _require(
        kind in _REFERENCE_KINDS and bool(kind) == bool(certificate.reference),
        "its reference is of an unknown kind",
    )
    attempt = bool(_ATTEMPT.fullmatch(certificate.attempt))
    _require(attempt, "its attempt is not 32 hexadecimal digits")
    probe = certificate.probe_max_tokens
    _require(probe is None or probe >= 1, "its variants had no room for an answer")
    _require(certificate.retries >= 0, "its number of repeats is negative")
    named = bool(certificate.canvas_side_source) and bool(certificate.denoise)
    _require(named, "it does not say where its canvas is from, or which filter was used")
    by_policy = certificate.canvas_side_source == SIDE_FROM_POLICY
    has_side = certificate.canvas_max_side_px is not None
    _require(by_policy or has_side, "its canvas is the model's, and has no side")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise CertificationError(f"the certificate does not hold: {problem}")


def _verify_ranges(certificate: Certificate) -> None:
    bounds = certificate.miss_rate_upper, certificate.delta
    match certificate.claim:
        case Claim.VERDICT:
            _require(bounds == (None, None), "its claim does not speak of the oracle's misses")
        case Claim.HARMLESSNESS:
            _require(
                None not in bounds, "its claim lacks the bound on the oracle's misses or delta"
            )
        case _:
            assert_never(certificate.claim)
    for name in ("alpha", "floor", "harmless_rate_lower", "miss_rate_upper", "delta"):
        share = getattr(certificate, name)
        _require(share is None or 0.0 <= share < 1.0, f"its {name} is not a probability below 1")
    _require(_is_length(certificate.radius), "its radius is not a length that a picture can have")
    for reach in certificate.stability:
        _require(0.0 < reach.floor < 1.0, "a floor of its radii is not a probability")
        _require(
            reach.radius is None or _is_length(reach.radius),
            "one of its radii by floor is not a length that a picture can have",
        )


def _is_length(radius: float) -> bool:
    """Whether a picture of the largest size could have it; longer ones overflow in words."""
    return 0.0 <= radius < 2.0 * LARGEST_SIDE_PX


def _verify_geometry(certificate: Certificate) -> None:
    possible = certificate.has_possible_sizes
    _require(possible, "it names no picture, or one of an impossible size")
    side = certificate.canvas_max_side_px
    _require(side is None or side >= 1, "its canvas has no side that there is")
    scaled = all(
        canvas_for(*size.client, max_side_px=side).scaled_size == size.scaled
        for size in certificate.pictures
    )
    _require(scaled, "its pictures are not scaled down to the canvas that it names")
    geometry = measure_geometry([size.operator for size in certificate.pictures])
    same = math.isclose(geometry.operator_norm, certificate.operator_norm, rel_tol=_PORTABLE)
    _require(
        same and geometry.grid_slack == certificate.grid_slack,
        "its operator norm or grid slack is not that of its pictures",
    )
    _require(
        geometry.sampler_error == certificate.sampler_error,
        "its sampler error is not that of its pictures",
    )


def _verify_earned(certificate: Certificate, plan: Plan) -> None:
    """Everything that a pass proves follows from its bound, and that from the plan and counts."""
    if certificate.decision is not Decision.PASS:
        nothing = certificate.radius == certificate.harmless_rate_lower == 0.0
        _require(nothing and not certificate.stability, "it proves something without a pass")
        return
    geometry, q = certificate.geometry, harmless_lower(plan, certificate.counts[-1])
    _require(
        math.isclose(certificate.harmless_rate_lower, q, rel_tol=_PORTABLE),
        "the harmless rate is not what the decision earns",
    )
    radius = earned_radius(certificate, geometry, q)
    _require(_is_same(certificate, certificate.radius, radius), "the radius is not what it earns")
    wanted = radii_by_floor(certificate, geometry, q)
    floors = [reach.floor for reach in wanted]
    same = floors == [reach.floor for reach in certificate.stability] and all(
        _is_same(certificate, stated.radius, due.radius)
        for stated, due in zip(certificate.stability, wanted, strict=True)
    )
    _require(same, "its radii by floor are not those that it earns")


def _is_same(certificate: Certificate, stated: float | None, due: float | None) -> bool:
    """Whether two radii are equal but for the last bits; None is not equal to 0."""
    if stated is None or due is None:
        return stated is due
    # A radius is a difference of quantiles times sigma over the norm, so its error has their size.
    unit = certificate.sigma / certificate.operator_norm
    return math.isclose(stated, due, rel_tol=_PORTABLE, abs_tol=_PORTABLE * unit)


def _verify_counts(certificate: Certificate, plan: Plan) -> None:
    looks = tuple(count.samples for count in certificate.counts)
    _require(looks == plan.looks[: len(looks)], "its counts do not follow the plan's looks")
    harmful = [count.harmful for count in certificate.counts]
    drawn = pairwise([0, *looks])
    grows = all(
        0 <= later - earlier <= n_later - n_earlier
        for (earlier, later), (n_earlier, n_later) in zip(
            pairwise([0, *harmful]), drawn, strict=True
        )
    )
    _require(grows, "its harmful counts are impossible")
    verdicts = [plan.decide(count.samples, count.harmful) for count in certificate.counts]
    _require(all(v is None for v in verdicts[:-1]), "the plan would have stopped earlier")
    reached = verdicts[-1] if verdicts else None
    # A decision cut short (deadline, upstream gone) is never a pass and has no final verdict.
    expected = Decision.UNCERTAIN if reached is None else reached
    _require(certificate.decision is expected, "its counts lead to another decision")


def _verify_recall(certificate: Certificate) -> None:
    """Its numbers fit together; whether they were measured is for the file's digest to say."""
    recall = certificate.recall
    if recall is None:
        return
    problem = recall.problem()
    _require(not problem, problem)
    _require(
        recall.speaks_of(recall.model, certificate.upstream_revision, certificate.oracle_revision)
        and recall.alpha >= certificate.alpha,
        "its recall is about another model, oracle or policy",
    )
