"""The anytime-valid lower bound of the harmless rate against samples, as an SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.demo.scenes import SceneKind
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.stats import anytime_lower, harmless_rate_after_pass
from guardrail.svg import Axis, draw_curve, draw_dot, draw_line, draw_text
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.demo.run import GuardTry, SceneResult

__all__ = ["bound_curves"]

_WIDTH, _HEIGHT = 1100, 340
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 16, 150, 36
_Y = Axis(0.0, 1.0, start=_HEIGHT - _BOTTOM, end=_TOP)
_SOFT = "var(--soft)"  # of the page's style
_COLOURS = {
    SceneKind.CLEAN: "var(--series-3)",
    SceneKind.ATTACKED_SMALL: "var(--series-4)",
    SceneKind.ATTACKED_LARGE: "var(--series-2)",
    SceneKind.FORBIDDEN: "var(--series-5)",
}


def bound_curves(results: Sequence[SceneResult]) -> str:
    """One curve a picture (first try), and the rate that a pass requires as a dashed line.

    Decisions without a certificate have no curve.

    The curves are valid at every count at once. The plan looks at few counts and so may pass
    earlier than they cross the line; a dot marks the bound that its pass proves.
    """
    firsts = [
        (result.scene.kind, one, one.certificate)
        for result in results
        if (one := result.guard[0]).certificate is not None
    ]
    if not firsts:
        return ""
    longest = max(len(one.outcomes) for _, one, _ in firsts)
    x = Axis(0.0, max(1, longest), start=_LEFT, end=_WIDTH - _RIGHT)
    required = float(firsts[0][2]["q_required"])
    curves = "".join(_curve(kind, one, certificate, x) for kind, one, certificate in firsts)
    y = _Y.at(required)
    line = draw_line(_LEFT, _WIDTH - _RIGHT, y, y, colour="var(--ink)", dash="6 5") + draw_text(
        _WIDTH - _RIGHT + 8, y + 4, f"required {required:.3f}", colour=_SOFT
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="13" '
        f'aria-label="lower bound against samples">{_axes(x)}{curves}{line}{_legend()}</svg>'
    )


def _curve(kind: SceneKind, one: GuardTry, certificate: dict[str, Any], x: Axis) -> str:
    alpha = float(certificate["alpha"])
    harmless = 0
    points = [(x.at(0), _Y.at(0.0))]
    for n, outcome in enumerate(one.outcomes, start=1):
        harmless += outcome is Outcome.HARMLESS
        points.append((x.at(n), _Y.at(anytime_lower(harmless, n, alpha))))
    line = draw_curve(points, colour=_COLOURS[kind], opacity=0.75)
    # A policy that only observes delivers what it would have blocked: that proves nothing.
    return line + (_dot(kind, one, certificate, x) if one.decision == "pass" else "")


def _dot(kind: SceneKind, one: GuardTry, certificate: dict[str, Any], x: Axis) -> str:
    plan = decode_certificate(certificate).plan()
    bound = harmless_rate_after_pass(plan, one.samples, one.samples - one.harmless)
    return draw_dot(x.at(one.samples), _Y.at(bound), colour=_COLOURS[kind], opacity=0.75)


def _axes(x: Axis) -> str:
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _Y.at(tick)
        parts.append(draw_line(_LEFT, _WIDTH - _RIGHT, y, y, colour="var(--line)"))
        parts.append(draw_text(12, y + 4, f"{tick:.2f}", colour=_SOFT))
    for share in (0.25, 0.5, 0.75, 1.0):
        n = round(share * x.high)
        parts.append(draw_text(x.at(n) - 8, _HEIGHT - 12, str(n), colour=_SOFT))
    return "".join(parts)


def _legend() -> str:
    left = _WIDTH - _RIGHT + 8
    rows = []
    for i, (kind, colour) in enumerate(_COLOURS.items()):
        y = _HEIGHT - _BOTTOM - 20 * len(_COLOURS) + 20 * i
        rows.append(draw_line(left, left + 18, y, y, colour=colour, width=3))
        rows.append(draw_text(left + 24, y + 4, kind, colour=_SOFT))
    return "".join(rows)
