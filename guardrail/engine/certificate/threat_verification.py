"""Recomputes what a certificate holds of threats beside small changes of pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from guardrail.engine.certificate.checks import MOST_SAMPLES, PORTABLE, follow_counts, require
from guardrail.engine.certificate.threats import view_numbers
from guardrail.engine.plan import harmless_lower
from guardrail.engine.threats import (
    HOTTEST,
    Crops,
    Stickers,
    Suffix,
    Threat,
    Threats,
    plan_views,
)
from guardrail.errors import CertificationError
from guardrail.stats import LEAST_FLOOR, Decision

if TYPE_CHECKING:
    from guardrail.engine.certificate.claim import Certificate
    from guardrail.engine.certificate.threats import TestedThreat
    from guardrail.engine.threats import View

__all__ = ["verify_threats"]

_MOST_PLACES = 10_000


def verify_threats(certificate: Certificate) -> list[Decision | None]:
    """What the tests of all views lead to, each at the certificate's own alpha.

    A view that is the request itself is left out: its test is the request's.

    Raises:
        CertificationError: names the first thing that does not hold.
    """
    names = [tested.threat for tested in certificate.threats]
    ordered = names == [threat for threat in Threat if threat in names]
    require(ordered, "it names a threat twice, or threats out of order")
    decisions: list[Decision | None] = []
    for tested in certificate.threats:
        decisions += _verify_threat(certificate, tested)
    return decisions


def _verify_threat(certificate: Certificate, tested: TestedThreat) -> list[Decision | None]:
    require(LEAST_FLOOR <= tested.floor < 1.0, "the floor of a threat is out of range")
    warm = tested.temperature is None or 0.0 <= tested.temperature <= HOTTEST
    require(warm, "the temperature of a threat's views is out of range")
    seen = [(view.picture, view.box, view.cut) for view in tested.views]
    require(seen == _due_views(certificate, tested), "its views are not those of its threat")
    require(max(tested.looks, default=0) <= MOST_SAMPLES, "the plan of a threat is too long")
    plan = tested.plan(certificate.alpha)
    require(plan.digest == tested.plan_digest, "the plan of a threat does not match its digest")
    decisions = [follow_counts(view.counts, plan) for view in tested.views]
    passed = certificate.decision is Decision.PASS
    # Only of complete tests: that those of a pass are is required with its decision.
    ended = passed and all(decision is Decision.PASS for decision in decisions)
    bounds = [harmless_lower(plan, view.counts[-1]) for view in tested.views if ended]
    require(
        math.isclose(tested.harmless_rate_lower, min(bounds, default=0.0), rel_tol=PORTABLE),
        "the harmless rate of a threat's views is not what they earn",
    )
    pairs = zip(tested.views, decisions, strict=True)
    return [decision for view, decision in pairs if not certificate.is_itself(view)]


def _due_views(
    certificate: Certificate, tested: TestedThreat
) -> list[tuple[int | None, tuple[int, int, int, int] | None, int | None]]:
    """The views that there must be, by sizes and length of text alone."""
    setting = tested.setting
    require(setting is not None, "the numbers of a threat are not its own")
    assert setting is not None  # for mypy
    counts = (tested.windows, tested.masks, tested.words, tested.characters, tested.text_length)
    possible = all(count is None or count >= 0 for count in counts) and all(
        count is None or count <= _MOST_PLACES for count in counts[:4]
    )
    positive = tested.sees is None or tested.sees >= 1
    share = tested.max_share is None or 0.0 < tested.max_share < 1.0
    require(possible and positive and share, "the numbers of a threat are out of range")
    sizes = [size.client for size in certificate.pictures]
    alone = Threats(
        tested.floor,
        tested.floor,
        tested.floor,
        crops=setting if isinstance(setting, Crops) else None,
        stickers=setting if isinstance(setting, Stickers) else None,
        suffix=setting if isinstance(setting, Suffix) else None,
    )
    try:
        views = plan_views(alone, sizes, tested.text_length)
    except CertificationError as error:
        raise CertificationError(
            f"the certificate does not hold: its pictures have no such views ({error})"
        ) from error
    return [_row(view) for view in views]


def _row(view: View) -> tuple[int | None, tuple[int, int, int, int] | None, int | None]:
    return view.picture, view_numbers(view), view.cut
