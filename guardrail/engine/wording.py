"""The sentences that say what a guard promises and what a pass proved; the only place they stand.

Two statements, never mixed. *Evasion* is said before a decision, at the rate that a plan requires:
how far a forbidden request may be changed without getting through. *Stability* is said after a
pass, at the rate that it earned: how the model answers requests near the passed one. Every number
that is shown is rounded so that the sentence stays true: radii, floors and confidence down, failure
probabilities up.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.rules import Claim, RadiusSpace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.plan import Reach

__all__ = [
    "NOTHING_CERTIFIED",
    "digits_down",
    "digits_up",
    "evasion_sentence",
    "format_reaches",
    "stability_sentence",
]

NOTHING_CERTIFIED = (
    "Nothing is certified: the draws did not show the harmless rate that a pass needs."
)
_DIGITS = 4
# For a confidence: a delta too small to be seen leaves nines, never 1.
_DOWNWARD = Context(prec=12, rounding=ROUND_FLOOR)
_ANSWERS = "the model's answers under the guard's noise"


def evasion_sentence(
    claim: Claim,
    reaches: Iterable[Reach],
    *,
    alpha: float,
    space: RadiusSpace = RadiusSpace.CLIENT,
    miss_rate_upper: float | None = None,
    delta: float | None = None,
    reference_kind: str = "",
) -> str:
    """What a policy promises of every try.

    Args:
        claim: what the floors are about.
        reaches: radii at the plan's required rate, by floor.
        alpha: failure probability of one decision.
        space: what the radii are measured in.
        miss_rate_upper: of the harmlessness claim.
        delta: likewise.
        reference_kind: `action` or `meaning` where answers are compared with a reference that each
            decision chooses on draws of its own.
    """
    numbers = f"with probability at most {digits_up(alpha)} a try: {format_reaches(reaches)}"
    if reference_kind:
        return (
            "After any change of a request's pixels by at most r, an answer passes whose "
            f"{reference_kind} the unchanged request's answers have with probability below τ under "
            f"the guard's noise, as the oracle reads them, {numbers} {_measured_in(space)}."
        )
    match claim:
        case Claim.VERDICT:
            subject = (
                "A request whose answers under the guard's noise the oracle finds harmless with "
                "probability below τ"
            )
            condition = ""
        case Claim.HARMLESSNESS:
            subject = (
                "A request that is answered truly harmlessly with probability below τ under the "
                "guard's noise, and of whose harmful answers the oracle misses at most "
                f"{_exact(miss_rate_upper)},"
            )
            condition = f" {_average(miss_rate_upper, delta)}"
        case _:
            assert_never(claim)
    return (
        f"{subject} passes, after any change of its pixels by at most r, {numbers} "
        f"{_measured_in(space)}.{condition}"
    )


def stability_sentence(
    claim: Claim,
    reaches: Iterable[Reach],
    *,
    alpha: float,
    space: RadiusSpace,
    miss_rate_upper: float | None = None,
    delta: float | None = None,
    probe_max_tokens: int | None = None,
    reference_kind: str = "",
    reference: str = "",
    outside_claim: bool = False,
) -> str:
    """What one pass proved.

    Args:
        claim: what the floors are about.
        reaches: radii at the earned rate, by floor; those without a radius are left out.
        alpha: failure probability of this decision.
        space: what the radii are measured in.
        miss_rate_upper: of the harmlessness claim.
        delta: likewise.
        probe_max_tokens: variants answered with no more tokens; None for whole answers.
        reference_kind: `action` or `meaning` where answers were compared with a reference.
        reference: that reference, named by the oracle's own reading.
        outside_claim: whether the delivered answer is none that this speaks of.
    """
    shown = [reach for reach in reaches if reach.radius is not None]
    radii = " / ".join(digits_down(reach.radius or 0.0) for reach in shown)
    floors = " / ".join(digits_down(reach.floor) for reach in shown)
    answers = (
        _ANSWERS if probe_max_tokens is None else f"{_ANSWERS}, cut at {probe_max_tokens} tokens,"
    )
    unless = (
        f"Unless an event of probability at most {digits_up(alpha)} occurred while guard and model "
        "made their draws: "
    )
    compared = f"of the {reference_kind} '{reference}'" if reference_kind else ""
    match claim:
        case Claim.VERDICT:
            text = (
                "to every request that differs from this one in nothing but pixels, by an ℓ2 "
                f"distance of at most {radii} {_measured_in(space)}, {answers} are found "
                f"{f'to be {compared}' if compared else 'harmless'} by the oracle with probability "
                f"at least {floors}."
            )
        case Claim.HARMLESSNESS:
            also = f", by answers that the oracle finds to be {compared}," if compared else ""
            cut = "" if probe_max_tokens is None else f", answers cut at {probe_max_tokens} tokens,"
            text = (
                "every request that differs from this one in nothing but pixels, by an ℓ2 distance "
                f"of at most {radii} {_measured_in(space)}, this one included, is answered truly "
                f"harmlessly{also} with probability at least {floors} under the guard's noise{cut} "
                "or is one of whose harmful answers the oracle misses more than "
                f"{_exact(miss_rate_upper)}. {_average(miss_rate_upper, delta)}"
            )
        case _:
            assert_never(claim)
    outside = " The answer that was delivered is none of these: it lies outside this claim."
    return f"{unless}{text}{outside if outside_claim else ''}"


def format_reaches(reaches: Iterable[Reach]) -> str:
    """`τ 0.5 → r 0.25, τ 0.2 → r none, …`, rounded down."""
    return ", ".join(
        f"τ {digits_down(reach.floor)} → r "
        f"{'none' if reach.radius is None else digits_down(reach.radius)}"
        for reach in reaches
    )


def digits_down(value: float) -> str:
    """Four significant digits, rounded down."""
    return _digits(value, ROUND_FLOOR)


def digits_up(value: float) -> str:
    """Four significant digits, rounded up."""
    return _digits(value, ROUND_CEILING)


def _digits(value: float, rounding: str) -> str:
    exact = Decimal(repr(value))
    last = Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1)
    return f"{exact.quantize(last, rounding).normalize():f}"


def _exact(value: float | None) -> str:
    """All digits: what a condition names may be rounded neither way."""
    return "1" if value is None else f"{Decimal(repr(value)).normalize():f}"


def _average(miss_rate_upper: float | None, delta: float | None) -> str:
    confidence = _DOWNWARD.subtract(Decimal(1), Decimal(repr(1.0 if delta is None else delta)))
    return (
        f"({_exact(miss_rate_upper)} bounds the average over labelled answers, with confidence "
        f"{confidence.normalize():f}; it does not bound a single request.)"
    )


def _measured_in(space: RadiusSpace) -> str:
    match space:
        case RadiusSpace.CLIENT:
            return "(decoded 8-bit pixels in [0, 1])"
        case RadiusSpace.CANVAS:
            return "(canvas pixels in [0, 1])"
        case _:
            assert_never(space)
