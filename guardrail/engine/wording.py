"""Writes the sentences that say what a guard promises and what a pass proved.

Two statements, never mixed. *Evasion* is said before a decision, at the rate that a plan requires:
how far a forbidden request may be changed without getting through. *Stability* is said after a
pass, at the rate that it earned: how the model answers requests near the passed one. Every number
that is shown is rounded so that the sentence stays true: radii, floors and confidence down, failure
probabilities up.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, assert_never

from guardrail.counted_noun import count_of
from guardrail.engine.promise import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.promise import Reach
    from guardrail.stats import RecallReach

__all__ = [
    "NOTHING_CERTIFIED",
    "clean_sentence",
    "confidence_down",
    "describe_canvas",
    "describe_cut",
    "digits_down",
    "digits_exact",
    "digits_up",
    "evasion_sentence",
    "format_reaches",
    "recall_sentence",
    "say_asked",
    "stability_sentence",
    "text_sentence",
]

NOTHING_CERTIFIED = (
    "Nothing is certified: the draws did not show the harmless rate that a pass needs."
)
_DIGITS = 4
# 1 - delta must print as 0.9999, never as 1, however small delta is.
_DOWNWARD = Context(rounding=ROUND_FLOOR)
_UNIT = "(decoded 8-bit pixels in [0, 1])"
_ANSWERS = "the model's answers under the guard's noise"


def evasion_sentence(
    claim: Claim,
    reaches: Iterable[Reach],
    *,
    alpha: float,
    miss_rate_upper: float | None = None,
    delta: float | None = None,
    probe_max_tokens: int | None = None,
    reference_kind: str = "",
    most_asked: int = 1,
) -> str:
    """What a policy promises of every try.

    Args:
        claim: what the floors are about.
        reaches: radii at the plan's required rate, by floor.
        alpha: failure probability of one decision.
        miss_rate_upper: of the harmlessness claim.
        delta: likewise.
        probe_max_tokens: variants answer with no more tokens; None for whole answers.
        reference_kind: `action` or `meaning` where answers are compared with a reference that each
            decision chooses on draws of its own.
        most_asked: how often the model may be asked for one answer, where a lost one is asked for
            again: then this speaks of what so much asking brings.
    """
    cut, asked = describe_cut(probe_max_tokens), say_asked(most_asked)
    beginnings = f"answers{cut.removeprefix(',')} " if cut else ""
    numbers = f"with probability at most {digits_up(alpha)} a try: {format_reaches(reaches)}"
    if reference_kind:
        return (
            "After any change of a request's pixels by at most r, an answer passes whose "
            f"{reference_kind} the unchanged request's answers{cut} have with probability below τ "
            f"under the guard's noise, as the oracle reads them, {numbers} {_UNIT}.{asked}"
        )
    match claim:
        case Claim.VERDICT:
            subject = (
                f"A request whose answers under the guard's noise{cut} the oracle finds harmless "
                "with probability below τ"
            )
            condition = ""
        case Claim.HARMLESSNESS:
            subject = (
                "A request that is answered truly harmlessly with probability below τ under the "
                f"guard's noise, {beginnings}and of whose harmful answers the oracle misses at "
                f"most {digits_exact(miss_rate_upper)},"
            )
            condition = f" {_average(miss_rate_upper, delta)}"
        case _:
            assert_never(claim)
    return (
        f"{subject} passes, after any change of its pixels by at most r, {numbers} "
        f"{_UNIT}.{condition}{asked}"
    )


def stability_sentence(
    claim: Claim,
    reaches: Iterable[Reach],
    *,
    alpha: float,
    miss_rate_upper: float | None = None,
    delta: float | None = None,
    probe_max_tokens: int | None = None,
    reference_kind: str = "",
    reference: str = "",
    outside_claim: bool = False,
    most_asked: int = 1,
    denoise: str = "",
) -> str:
    """What one pass proved.

    Args:
        claim: what the floors are about.
        reaches: radii at the earned rate, by floor; those without a radius are left out.
        alpha: failure probability of this decision.
        miss_rate_upper: of the harmlessness claim.
        delta: likewise.
        probe_max_tokens: variants answered with no more tokens; None for whole answers.
        reference_kind: `action` or `meaning` where answers were compared with a reference.
        reference: that reference, named by the oracle's own reading.
        outside_claim: whether the delivered answer is none that this speaks of.
        most_asked: how often the model may be asked for one answer, where a lost one is asked for
            again: then this speaks of what so much asking brings.
        denoise: the filter between noise and model; empty where there is none.
    """
    shown = [reach for reach in reaches if reach.radius is not None]
    radii = " / ".join(digits_down(reach.radius or 0.0) for reach in shown)
    floors = " / ".join(digits_down(reach.floor) for reach in shown)
    answers = f"{_ANSWERS}{describe_cut(probe_max_tokens)}"
    unless = (
        f"Unless an event of probability at most {digits_up(alpha)} occurred while guard and model "
        "made their draws: "
    )
    compared = f"of the {reference_kind} '{reference}'" if reference_kind else ""
    match claim:
        case Claim.VERDICT:
            text = (
                "to every request that differs from this one in nothing but pixels, by an ℓ2 "
                f"distance of at most {radii} {_UNIT}, {answers} are found "
                f"{f'to be {compared}' if compared else 'harmless'} by the oracle with probability "
                f"at least {floors}."
            )
        case Claim.HARMLESSNESS:
            also = f", by answers that the oracle finds to be {compared}," if compared else ""
            cut = describe_cut(probe_max_tokens, what="answers cut")
            text = (
                "every request that differs from this one in nothing but pixels, by an ℓ2 distance "
                f"of at most {radii} {_UNIT}, this one included, is answered truly "
                f"harmlessly{also} with probability at least {floors} under the guard's noise{cut} "
                "or is one of whose harmful answers the oracle misses more than "
                f"{digits_exact(miss_rate_upper)}. {_average(miss_rate_upper, delta)}"
            )
        case _:
            assert_never(claim)
    filtered = f" The model sees pictures with noise through a filter ({denoise})."
    return f"{unless}{text}{filtered if denoise else ''}{_notes(most_asked, outside_claim)}"


def text_sentence(
    rate: float,
    *,
    alpha: float,
    probe_max_tokens: int | None = None,
    outside_claim: bool = False,
    most_asked: int = 1,
) -> str:
    """What one pass proved of a request without pictures.

    Args:
        rate: the lower bound of its harmless rate.
        alpha: failure probability of this decision.
        probe_max_tokens: as in `stability_sentence`.
        outside_claim: likewise.
        most_asked: likewise.
    """
    return (
        f"Unless an event of probability at most {digits_up(alpha)} occurred while the model made "
        f"its draws: its answers to this request{describe_cut(probe_max_tokens)} are found "
        "harmless by the oracle with "
        f"probability at least {digits_down(rate)}.{_notes(most_asked, outside_claim)}"
    )


def describe_cut(probe_max_tokens: int | None, what: str = "cut") -> str:
    """What stands behind the word "answers" where only their beginnings are asked for."""
    return "" if probe_max_tokens is None else f", {what} at {count_of(probe_max_tokens, 'token')},"


def say_asked(most_asked: int) -> str:
    """A sentence where one answer may be asked for more than once."""
    asked = f" The model is asked up to {most_asked} times, until an answer comes."
    return asked if most_asked > 1 else ""


def _notes(most_asked: int, outside_claim: bool) -> str:
    outside = " The answer that was delivered is none of these: it lies outside this claim."
    return f"{say_asked(most_asked)}{outside if outside_claim else ''}"


def describe_canvas(max_side_px: int | None, source: str) -> str:
    """The canvas in a few words."""
    if max_side_px is None:
        return "their own size"
    return f"at most {max_side_px} px a side ({source})"


def recall_sentence(
    reaches: Iterable[RecallReach],
    *,
    requests: int,
    alpha: float,
    delta: float,
    clean_requests: int = 0,
    clean_passed: int = 0,
) -> str:
    """What was measured of forbidden requests, with what became of clean ones.

    Args:
        reaches: radius by share of the population; None where it is not shown.
        requests: how many were drawn and measured.
        alpha: failure probability of one decision.
        delta: of the measurement.
        clean_requests: decided under the same policy; 0 where none was.
        clean_passed: of these.
    """
    listed = list(reaches)
    shown = [reach for reach in listed if reach.radius is not None]
    others = [digits_down(reach.recall) for reach in listed if reach.radius is None]
    confidence = confidence_down(delta)
    clean = clean_sentence(clean_requests, clean_passed)
    if not shown:
        forbidden = count_of(requests, "forbidden request that was", "forbidden requests that were")
        return (
            f"Of the {forbidden} measured, too few were stopped to show a recall of "
            f"{' or '.join(others)} (confidence {confidence}). {clean}"
        )
    shares = " / ".join(digits_down(reach.recall) for reach in shown)
    radii = " / ".join(digits_down(reach.radius or 0.0) for reach in shown)
    missing = f" A recall of {' or '.join(others)} was not shown." if others else ""
    return (
        f"Of requests drawn like the {count_of(requests, 'that was', 'that were')} measured, at "
        f"least {shares} are such that no change of their pixels within {radii} {_UNIT} lets them "
        f"pass, except with probability {digits_up(alpha)} a try (confidence {confidence} in this "
        f"calibration).{missing} {clean}"
    )


def clean_sentence(requests: int, passed: int) -> str:
    """What became of clean requests under the policy whose recall was measured; 0: of none."""
    if not requests:
        return "How many clean requests pass under the same policy was not measured."
    return f"Of {count_of(requests, 'clean request')}, {passed:,} passed under the same policy."


def format_reaches(reaches: Iterable[Reach]) -> str:
    """`τ 0.5 → r 0.25, τ 0.2 → r none, …`, rounded down."""
    return ", ".join(
        f"τ {digits_down(reach.floor)} → r "
        f"{'none' if reach.radius is None else digits_down(reach.radius)}"
        for reach in reaches
    )


def digits_down(value: float) -> str:
    """Four significant digits, rounded down."""
    return _digits(Decimal(repr(value)), ROUND_FLOOR)


def digits_up(value: float) -> str:
    """Four significant digits, rounded up."""
    return _digits(Decimal(repr(value)), ROUND_CEILING)


def _digits(exact: Decimal, rounding: str) -> str:
    last = Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1)
    return f"{exact.quantize(last, rounding).normalize():f}"


def digits_exact(value: float | None) -> str:
    """All digits, as a condition may be rounded neither way."""
    return "1" if value is None else f"{Decimal(repr(value)).normalize():f}"


def _average(miss_rate_upper: float | None, delta: float | None) -> str:
    confidence = confidence_down(1.0 if delta is None else delta)
    return (
        f"({digits_exact(miss_rate_upper)} bounds the average over labelled answers, with "
        f"confidence {confidence}; it does not bound a single request.)"
    )


def confidence_down(delta: float) -> str:
    """1 - delta, rounded down."""
    return _digits(_DOWNWARD.subtract(Decimal(1), Decimal(repr(delta))).copy_abs(), ROUND_FLOOR)
