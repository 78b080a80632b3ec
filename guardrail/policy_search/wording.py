"""What a search found, in the words of those who answer for a policy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.counted_noun import count_of
from guardrail.policy.goals import GoalKind
from guardrail.policy_search.numbers import FIELDS, NOISE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.policy_search.measured import GoalCheck, Measured
    from guardrail.policy_search.numbers import Numbers
    from guardrail.policy_search.tuned import Reason, SearchDesign, Tuned

__all__ = [
    "describe_change",
    "describe_check",
    "describe_counts",
    "describe_error",
    "describe_reason",
    "describe_why",
    "format_share",
    "format_value",
    "list_numbers",
]

_EFFECTS = {
    "sigma": (
        "more noise: the promise reaches farther for the same calls, and the model sees less",
        "less noise: the model sees more, and a promise takes more calls",
    ),
    "canvas": (
        "pictures stay larger: fine print is legible, the promise reaches less far in them",
        "pictures are scaled down further: quicker, the promise reaches farther in client pixels",
    ),
    "low": (
        "more answers pass without a look of the encoder: quicker, more harm missed",
        "the encoder looks at more answers: slower, less harm missed",
    ),
    "high": (
        "the encoder looks at more of what seems harmful: slower, fewer false alarms",
        "more answers are harmful without a look of the encoder: quicker, more false alarms",
    ),
    "threshold": (
        "answers count as harmful only from a higher score on: fewer false alarms, more missed",
        "answers count as harmful from a lower score on: less harm missed, more false alarms",
    ),
    "radius": (
        "pictures may be changed by more within the promise: takes more calls",
        "the promise covers smaller changes of pictures: takes fewer calls",
    ),
    "floor": (
        "the promise holds requests that are answered harmlessly more often too: takes more calls",
        "the promise speaks of requests that are answered harmlessly more seldom: fewer calls",
    ),
    "alpha": (
        "a request that should not pass may do so more often: takes fewer calls",
        "a request that should not pass does so more seldom: takes more calls",
    ),
    "max_samples": (
        "a decision may take more calls: fewer requests end as uncertain",
        "a decision may take fewer calls: more requests end as uncertain",
    ),
}
"""What a larger value of each number does, and a smaller one."""


def format_share(share: float, *, up: bool) -> str:
    """Percent with two decimals, rounded to the side that promises less."""
    digits = share * 1e4
    rounded = math.ceil(digits - 1e-9) if up else math.floor(digits + 1e-9)
    return f"{rounded / 100:g} %"


def describe_check(check: GoalCheck) -> str:
    """What is seen and shown about a goal."""
    kind, goal = check.goal.kind, check.goal
    match kind:
        case GoalKind.RECALL:
            what = (
                f"of forbidden requests like these at least {format_share(check.bound, up=False)} "
                f"cannot get through with any change of the picture within {goal.radius:g}, except "
                f"with probability {check.alpha:g} for each try ({check.requests:,} measured)"
            )
        case GoalKind.FALSE_ALARMS | GoalKind.MISSED_HARM:
            ending, count = (
                ("ordinary requests stopped", round(check.seen * check.requests))
                if kind is GoalKind.FALSE_ALARMS
                else ("forbidden requests let through", round(check.seen * check.requests))
            )
            what = (
                f"{count:,} of {check.requests:,} {ending}; of requests like these at most "
                f"{format_share(check.bound, up=True)}"
            )
        case GoalKind.CALLS:
            what = f"{check.seen:.1f} on average seen, at most {_up(check.bound, 1)} for such"
        case GoalKind.PRICE_USD:
            what = f"{check.seen:.4g} on average seen, at most {_up(check.bound, 4)} for such"
        case _:
            assert_never(kind)
    return f"{goal.sentence}: {'met' if check.is_met else 'not met'}; {what}"


def _up(value: float, digits: int) -> str:
    scale = 10.0**digits
    return "unknown" if math.isnan(value) else f"{math.ceil(value * scale) / scale:g}"


def describe_reason(reason: Reason) -> str:
    """Which goal is missed, by how much, and what would help."""
    check, whom = reason.check, "forbidden"
    if check.goal.kind is not GoalKind.RECALL and check.goal.kind is not GoalKind.MISSED_HARM:
        whom = "ordinary"
    told = describe_check(check)
    if not check.is_seen:
        return (
            f"{told}. The measured requests miss it themselves: at the same share more of them "
            "would not help"
        )
    if reason.more is None:
        return f"{told}. No number of further requests like these would show it"
    return (
        f"{told}. If the share stays as it was seen, about {reason.more:,} labelled {whom} "
        "requests in all would show it in the next run"
    )


def describe_error(design: SearchDesign) -> str:
    """How sure a search is, over all that were made on the same requests."""
    return (
        "a policy that misses one of these goals is proposed with probability at most "
        f"{design.error:g}, over all runs on these requests together: this is run {design.run:,}, "
        f"to which {_up(design.run_error, 6)} of it falls"
    )


def describe_counts(measured: Measured, radius: float | None) -> str:
    """False alarms, missed harm and calls that were seen."""
    parts = [
        f"false alarms {measured.false_alarms:,} of {measured.ordinary:,}",
        f"missed harm {measured.missed:,} of {measured.forbidden:,}",
    ]
    if radius is not None and measured.radius is not None:
        parts.append(
            f"{measured.shown(radius):,} of {count_of(measured.forbidden, 'forbidden request')} "
            f"shown held within {radius:g}"
        )
    parts.append(f"{measured.mean_calls:.1f} calls")
    return ", ".join(parts)


def describe_change(name: str, old: Any, new: Any) -> str:
    """What a changed number does, in words."""
    if name == "oracle":
        return f"was {old}; another oracle judges the answers"
    if old == new:
        return "as before, of another oracle"
    larger = old is not None and (new is None or new > old)
    return f"was {format_value(old)}; {_EFFECTS[name][0 if larger else 1]}"


def describe_why(name: str, tuned: Tuned, radius: float | None) -> str:
    """What the old value would have done in place of the new one, on the search half."""
    if name not in tuned.whys:
        return "it belongs to the other oracle"
    old, new = tuned.whys[name], tuned.chosen
    if old is None or new is None:
        return "with the old value no test fits"
    was, now = describe_counts(old, radius), describe_counts(new, radius)
    if name in NOISE:
        return (
            f"on the search half {now}; with the old value, on other draws of the same requests, "
            f"{was}"
        )
    if was == now:
        return f"the old value does as well here: {now}"
    return f"on the search half {now}; with the old value {was}"


def list_numbers(numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Every number with its field."""
    for name, field in FIELDS.items():
        yield field, format_value(getattr(numbers, name))


def format_value(value: Any) -> str:
    """A value as a policy writes it, with six digits."""
    if value is None or isinstance(value, str):
        return value or "null"
    return f"{value:.6g}"
