"""The words of a replay, for the terminal and for the page."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from guardrail.counted_noun import count_of
from guardrail.stats import explain_radius
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.replay.deciding import DecidedAnew
    from guardrail.replay.difference import PolicyNumbers
    from guardrail.replay.further_calls import FurtherCalls
    from guardrail.replay.intervals import ErrorChange, LabelledChanges, ShareInterval
    from guardrail.replay.summary import ReplaySummary

__all__ = [
    "ASSUMED",
    "FRESH_TRIES",
    "describe_anew",
    "describe_calls",
    "describe_error",
    "describe_interval",
    "describe_numbers",
    "describe_reach",
    "describe_test",
    "describe_unused_labels",
    "format_share",
    "format_value",
]

ASSUMED = (
    "Each decision is the one that the same noise and the same answers lead to. Assumed: answers "
    "take the time that they took, the tries of a user hold the numbers that they held, and "
    "repeated requests come within the time that verdicts are remembered."
)
FRESH_TRIES = (
    "Fresh tries, with new noise and new answers, of requests that the records leave open. They "
    "are in no other number here and no share of traffic follows from them: which requests are "
    "tried again depends on what was recorded of them"
)
_LONGEST_VALUE = 60
_SIDE_PX = 224


def format_share(share: float, *, up: bool = False) -> str:
    """Percent with two digits, rounded down, or up."""
    return percent_up(share) if up else percent_down(share)


def describe_interval(one: ShareInterval) -> str:
    """`12 of 300 distinct requests; among requests like these 2.08 % to 6.89 %`."""
    if not one.total:
        return "there was no decided request"
    near = f"{one.count:,} of {count_of(one.total, 'distinct request')}"
    if one.possible > one.count:
        near += f", up to {one.possible:,} if all unknown ones count"
    lower, upper = format_share(one.lower), format_share(one.upper, up=True)
    return f"{near}; among requests like these {lower} to {upper}"


def describe_error(name: str, one: ErrorChange) -> Iterator[str]:
    """Some lines on one kind of error."""
    if not one.labelled:
        yield f"{name}: no labelled request"
        return
    yield f"{name}: before {describe_interval(one.before)}"
    yield f"{name}: after {describe_interval(one.after)}"
    lower = _format_change(one.difference_lower)
    upper = _format_change(one.difference_upper, up=True)
    yield (
        f"{name}: {one.mended:,} mended, {one.made:,} made; after minus before "
        f"{lower} to {upper} (exact interval); no difference: "
        f"p {'at most ' if one.after.possible > one.after.count else ''}{one.p:.3g} (exact McNemar)"
    )


def describe_unused_labels(one: LabelledChanges) -> str:
    """How many labels count for neither kind of error, and why."""
    return (
        f"{count_of(one.unsure, 'label is', 'labels are')} unsure, "
        f"{count_of(one.undecided, 'is', 'are')} of requests about which nothing was decided, "
        f"{count_of(one.absent, 'is', 'are')} of records that are not here; none of them counts"
    )


def describe_calls(one: FurtherCalls) -> str:
    """What it would take to know what is not known."""
    if not one.decisions:
        return "no decision lacks calls"
    cost = "" if one.cost_usd is None else f", about US$ {one.cost_usd:,.2f}"
    return (
        f"{count_of(one.decisions, 'decision')} can be settled by calls: about "
        f"{one.calls:,.0f}{cost} ({one.going_on:,} of them would go on from the recorded answers)"
    )


def describe_anew(one: DecidedAnew) -> Iterator[str]:
    """What was decided with calls, and what could not be."""
    cost = f", US$ {one.cost_usd:,.2f}" if one.cost_usd else ""
    made = count_of(len(one.tries), "decision was", "decisions were")
    yield f"{made} made anew with {count_of(one.calls, 'call')}{cost}"
    if one.without_picture:
        yield (
            f"{one.without_picture:,} cannot be made: pictures are not taken from records "
            "(--pictures names a folder of those of one picture)"
        )
    if one.without_prompt:
        yield (
            f"{one.without_prompt:,} cannot be made: their prompts are not kept, or are sealed "
            "(--keep-content at serve, --content-key here)"
        )
    if one.not_taken:
        not_taken = count_of(one.not_taken, "was", "were")
        yield f"{not_taken} not decided: this policy does not take such requests"
    if one.left:
        yield f"{count_of(one.left, 'was', 'were')} left: the calls or dollars were spent"


def describe_test(summary: ReplaySummary) -> str:
    """Calls before and after."""
    before, after = summary.calls
    if not before:
        return "no test is known"
    return (
        f"the tests that are known take {count_of(after, 'answer')} where they took {before:,} "
        f"({(after - before) / before:+.1%})"
    )


def describe_numbers(one: PolicyNumbers) -> dict[str, str]:
    """Promise and price in words: what each number is, and the number."""
    radii = {reach.floor: reach.radius for reach in one.reaches}
    reach = {
        f"a picture of a request answered harmlessly less than {floor} may be changed by": (
            describe_reach(radii.get(value))
        )
        for value, floor in ((0.5, "half of the time"), (0.1, "a tenth of the time"))
    }
    return {
        **reach,
        "such a request still gets through, at most": f"{one.alpha:g} a try",
        "share of harmless answers that lets a request through": f"above {one.q_required:.1%}",
        "calls of the quickest pass": str(one.fewest_samples),
        "calls at most": str(one.max_samples),
        f"calls of an ordinary request ({one.usual_rate:.0%} harmless)": f"{one.usual_calls:.1f}",
        "ordinary requests let through": format_share(one.usual_passes),
        "calls of a harmful request": f"{one.harmful_calls:.1f}",
        "stops requests": "no, it only observes" if one.only_observes else "yes",
    }


def format_value(value: Any) -> str:
    """A field's value as a policy file has it, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def describe_reach(radius: float | None) -> str:
    """How far a picture may be changed: the l2 size, and levels of 255."""
    if radius is None:
        return "nothing is promised"
    words = explain_radius(radius, _SIDE_PX, _SIDE_PX)
    one = min(255, math.floor(radius * 255))
    few = f"one value by {one} levels" if radius < 1.0 else f"{words.full_values} values at will"
    return (
        f"{math.floor(radius * 1e4) / 1e4:g}: every colour value of 224 × 224 pixels by "
        f"{words.rms_levels:.2g} of 255 levels, or {few}"
    )


def _format_change(difference: float, *, up: bool = False) -> str:
    """A difference of shares with its sign, rounded down, or up."""
    text = format_share(difference, up=up)
    return text if text.startswith("-") else f"+{text}"
