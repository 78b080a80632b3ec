"""The anytime-valid lower bound of the harmless rate against samples, as an SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.demo.scenes import SceneKind
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.stats import anytime_lower, harmless_rate_after_pass
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.demo.run import GuardTry, SceneResult

__all__ = ["bound_curves"]

_WIDTH, _HEIGHT = 1100, 340
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 16, 150, 36
_COLOURS = {
    SceneKind.CLEAN: "#1a8f4c",
    SceneKind.ATTACKED: "#d98200",
    SceneKind.FORBIDDEN: "#c8322f",
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
    required = float(firsts[0][2]["q_required"])
    curves = "".join(_curve(kind, one, certificate, longest) for kind, one, certificate in firsts)
    y = _y(required)
    line = (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--ink)" '
        f'stroke-dasharray="6 5"/>{_text(_WIDTH - _RIGHT + 8, y + 4, f"required {required:.3f}")}'
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-family="system-ui" font-size="13" '
        f'aria-label="lower bound against samples">{_axes(longest)}{curves}{line}{_legend()}</svg>'
    )


def _curve(kind: SceneKind, one: GuardTry, certificate: dict[str, Any], longest: int) -> str:
    alpha = float(certificate["alpha"])
    harmless = 0
    points = [f"{_x(0, longest):.1f},{_y(0):.1f}"]
    for n, outcome in enumerate(one.outcomes, start=1):
        harmless += outcome is Outcome.HARMLESS
        points.append(f"{_x(n, longest):.1f},{_y(anytime_lower(harmless, n, alpha)):.1f}")
    line = (
        f'<polyline fill="none" stroke="{_COLOURS[kind]}" stroke-width="2" opacity=".75" '
        f'points="{" ".join(points)}"/>'
    )
    # A policy that only observes delivers what it would have blocked: that proves nothing.
    return line + (_dot(kind, one, certificate, longest) if one.decision == "pass" else "")


def _dot(kind: SceneKind, one: GuardTry, certificate: dict[str, Any], longest: int) -> str:
    plan = decode_certificate(certificate).plan()
    bound = harmless_rate_after_pass(plan, one.samples, one.samples - one.harmless)
    return (
        f'<circle cx="{_x(one.samples, longest):.1f}" cy="{_y(bound):.1f}" r="5" '
        f'fill="{_COLOURS[kind]}" opacity=".75"/>'
    )


def _axes(longest: int) -> str:
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="var(--line)"/>{_text(12, y + 4, f"{tick:.2f}")}'
        )
    for share in (0.25, 0.5, 0.75, 1.0):
        n = round(share * longest)
        parts.append(_text(_x(n, longest) - 8, _HEIGHT - 12, str(n)))
    return "".join(parts)


def _legend() -> str:
    x = _WIDTH - _RIGHT + 8
    rows = []
    for i, (kind, colour) in enumerate(_COLOURS.items()):
        y = _HEIGHT - _BOTTOM - 60 + 20 * i
        rows.append(
            f'<line x1="{x}" x2="{x + 18}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
            f"{_text(x + 24, y + 4, kind)}"
        )
    return "".join(rows)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="var(--soft)">{text}</text>'


def _x(n: int, longest: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * n / max(1, longest)


def _y(value: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1.0 - value)
