"""Writes what is promised against a threat, and what a pass showed, in sentences.

As in `wording.py`: the promise is said before a decision, what a pass earned after it; floors are
rounded down and failure probabilities up.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, assert_never

from guardrail.counted_noun import agree, count_of
from guardrail.engine.threat_recall import Against
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit
from guardrail.engine.wording import (
    confidence_down,
    describe_cut,
    digits_down,
    digits_exact,
    digits_up,
    say_asked,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.threat_recall import HeldShare
    from guardrail.engine.threats import Setting, Threats

__all__ = [
    "TITLES",
    "describe_extent",
    "earned_sentence",
    "held_sentence",
    "left_out_sentence",
    "promise_sentence",
]

TITLES: Mapping[Against, str] = {
    Against.CROPS: "captions and borders (some window left whole)",
    Against.STICKERS: "one sticker at every place",
    Against.STICKER_PLACE: "one sticker at a place drawn at random",
    Against.SUFFIX: "text behind the prompt",
}
"""What a request is held against."""


def promise_sentence(
    setting: Setting,
    *,
    floor: float,
    alpha: float,
    probe_max_tokens: int | None = None,
    most_asked: int = 1,
    temperature: float | None = None,
) -> str:
    """What every try is promised, and what the threat is not.

    Args:
        setting: the threat, as the policy has it.
        floor: harmless rate below which a view's answers are held.
        alpha: failure probability of one decision.
        probe_max_tokens: as in `evasion_sentence`.
        most_asked: likewise.
        temperature: that views are asked with; None for that of the request.
    """
    cut = describe_cut(probe_max_tokens).removesuffix(",")
    below = (
        f"draws answers{cut}, {_describe_asking(temperature)}, that the oracle finds harmless with "
        f"probability below {digits_down(floor)}"
    )
    passes = f"passes with probability at most {digits_up(alpha)} a try"
    return f"{_promise(setting, below, passes)}{say_asked(most_asked)}"


def _promise(setting: Setting, below: str, passes: str) -> str:
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
                f"{passes} after one sticker inside any square of at most {_share(setting)} "
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
    has, added, beyond = _describe_suffix(setting)
    put = "is put" if _is_one(setting) else "are put"
    return (
        f"A request that has {has} {below}, {passes} after {added} {put} behind the last such "
        f"text and nothing else is changed. Not covered: {beyond}, or a longer suffix."
    )


def _describe_suffix(setting: Suffix) -> tuple[str, str, str]:
    """What a request must have and as what it is held, what is put on, and what is not covered."""
    match setting.unit:
        case SuffixUnit.WORDS:
            trimmed = "without the white space at the end of the last such text"
            return (
                f"a text of the user with a word in it and, {trimmed},",
                f"white space and then at most {count_of(setting.most, 'word')}",
                "text glued to the last word, scripts without spaces, text put elsewhere",
            )
        case SuffixUnit.CHARACTERS:
            added = count_of(setting.most, "character (code point)", "characters (code points)")
            return (
                "a text of the user that is not empty and, as it is,",
                f"at most {added}",
                "text put elsewhere",
            )
        case _:
            assert_never(setting.unit)


def _is_one(setting: Suffix) -> bool:
    """Whether one thing is put on; white space and a word are two."""
    return setting.unit is SuffixUnit.CHARACTERS and setting.most == 1


def held_sentence(
    share: HeldShare, setting: Setting, *, requests: int, alpha: float, delta: float
) -> str:
    """Which share of forbidden requests was shown to be held against a threat.

    Some window, every place and a place drawn at random are three statements; each sentence names
    its own.

    Args:
        share: what was measured.
        setting: the threat, as the policy has it.
        requests: how many were drawn and measured.
        alpha: failure probability of one decision.
        delta: of all shares of the measurement together.
    """
    head = f"Of requests drawn like the {count_of(requests, 'that was', 'that were')} measured"
    if share.share_lower <= 0.0:
        return f"{head}, no share was shown to be held against {TITLES[share.against]}."
    held = f"at least {digits_down(share.share_lower)}"
    match setting:
        case Crops():
            said = (
                f"{head}, {held} have some window such that no change of its picture that leaves "
                "this one whole window as it is lets them pass"
            )
        case Stickers() if share.against is Against.STICKERS:
            said = (
                f"{head}, {held} are held at every place: no sticker inside a square of at most "
                f"{_share(setting)} of a picture's area lets them pass, wherever the square is"
            )
        case Stickers():
            said = (
                f"{head}, with one place of a square of {_share(setting)} of a picture's area "
                f"drawn at random for each beforehand, {held} are held at that place: no sticker "
                "inside that square lets them pass"
            )
        case Suffix():
            has, added, _ = _describe_suffix(setting)
            said = (
                f"{head}, {held} have {has} are such that {added}, put behind that text with "
                f"nothing else changed, {'does' if _is_one(setting) else 'do'} not let them pass"
            )
        case _:
            assert_never(setting)
    return (
        f"{said}, except with probability {digits_up(alpha)} a try (confidence "
        f"{confidence_down(delta)} in this calibration, for all threats together)."
    )


def describe_extent(setting: Setting) -> str:
    """How much of the threat a policy covers, in a few words."""
    match setting:
        case Crops():
            return f"outside one of {setting.windows} windows"
        case Stickers():
            percent = (100 * Decimal(repr(setting.max_share))).normalize()
            return f"a square of {percent:f} % of a picture"
        case Suffix():
            _, added, _ = _describe_suffix(setting)
            return added
        case _:
            assert_never(setting)


def earned_sentence(
    *,
    views: int,
    rate: float,
    alpha: float,
    probe_max_tokens: int | None = None,
    most_asked: int = 1,
    temperature: float | None = None,
) -> str:
    """What one pass showed of all views for one threat.

    The rate is the least of the views' bounds. Were it too high, so would be the bound of the view
    whose rate is least, which happens with probability at most alpha; so it is not divided.

    Args:
        views: how many there are.
        rate: a lower bound of the harmless rate of each.
        alpha: failure probability of this decision.
        probe_max_tokens: as in `stability_sentence`.
        most_asked: likewise.
        temperature: that views were asked with; None for that of the request.
    """
    cut = describe_cut(probe_max_tokens).removesuffix(",")
    those = agree(views, "the one view", f"each of the {views:,} views")
    return (
        f"Unless an event of probability at most {digits_up(alpha)} occurred while guard and model "
        f"made their draws: the answers to {those}{cut}, "
        f"{_describe_asking(temperature)}, are found harmless by the oracle "
        f"with probability at least {digits_down(rate)}."
        f"{say_asked(most_asked)}"
    )


def _share(setting: Stickers) -> str:
    """All digits: one that is rounded up would be more than what is covered."""
    return digits_exact(setting.max_share)


def _describe_asking(temperature: float | None) -> str:
    if temperature is None:
        return "without noise"
    return f"without noise and at temperature {digits_exact(temperature)}"
