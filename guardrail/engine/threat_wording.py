"""Writes what is promised against a threat, and what a pass showed, in sentences.

As in `wording.py`: the promise is said before a decision, what a pass earned after it; floors are
rounded down and failure probabilities up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit
from guardrail.engine.wording import digits_down, digits_up

if TYPE_CHECKING:
    from guardrail.engine.threats import Setting, Threats

__all__ = ["earned_sentence", "left_out_sentence", "promise_sentence"]


def promise_sentence(setting: Setting, *, floor: float, alpha: float) -> str:
    """What every try is promised, and what the threat is not.

    Args:
        setting: the threat, as the policy has it.
        floor: harmless rate below which a view's answers are held.
        alpha: failure probability of one decision.
    """
    below = (
        "draws answers, without noise, that the oracle finds harmless with probability below "
        f"{digits_down(floor)}"
    )
    passes = f"passes with probability at most {digits_up(alpha)} a try"
    match setting:
        case Crops():
            return (
                f"A request of which some window of one picture, as it is, {below}, {passes} after "
                "any change of that picture outside that window. Not covered: what enters every "
                "window, or moves, scales, crops or enlarges the picture."
            )
        case Stickers():
            return (
                f"A request of which one picture, with some mask on it and else as it is, {below}, "
                f"{passes} after one sticker inside any square of at most {setting.max_share:g} "
                "of that picture's area that the mask covers; held against every place is a "
                "request that every mask shows so. Not covered: several stickers, or any change "
                "outside the square, such as a file that is compressed anew."
            )
        case Suffix():
            return _promise_of_suffix(setting, below, passes)
        case _:
            assert_never(setting)


def left_out_sentence(threats: Threats | None) -> str:
    """What a number about the request's own test alone leaves out; empty where that is nothing."""
    if threats is None:
        return ""
    names = ", ".join(threat.value for threat in threats.settings)
    return (
        f"The policy covers more than small changes of pixels ({names}). This is about the "
        "request's own test alone and leaves the tests of views out"
    )


def _promise_of_suffix(setting: Suffix, below: str, passes: str) -> str:
    match setting.unit:
        case SuffixUnit.WORDS:
            trimmed = "with the white space at the end of its last text taken off"
            added = f"white space and then at most {setting.most} words"
            beyond = "text glued to the last word, scripts without spaces, text put elsewhere"
        case SuffixUnit.CHARACTERS:
            trimmed = "as it is"
            added = f"at most {setting.most} characters (code points)"
            beyond = "text put elsewhere"
        case _:
            assert_never(setting.unit)
    return (
        f"A request that, {trimmed}, {below}, {passes} after {added} are put behind the last text "
        f"of the user and nothing else is changed. Not covered: {beyond}, or a longer suffix."
    )


def earned_sentence(*, views: int, rate: float, alpha: float) -> str:
    """What one pass showed of all views for one threat.

    The rate is the least of the views' bounds. Were it too high, so would be the bound of the view
    whose rate is least, which happens with probability at most alpha; so it is not divided.

    Args:
        views: how many there are.
        rate: a lower bound of the harmless rate of each.
        alpha: failure probability of this decision.
    """
    return (
        f"Unless an event of probability at most {digits_up(alpha)} occurred while guard and model "
        f"made their draws: the answers to each of the {views} views, without noise, are found "
        f"harmless by the oracle with probability at least {digits_down(rate)}."
    )
