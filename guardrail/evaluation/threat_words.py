"""Recall per threat in words: bounds are rounded down, failure probabilities up."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from guardrail.engine.threats import SuffixUnit
from guardrail.engine.wording import digits_down, digits_up
from guardrail.evaluation.threat_facts import Against

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.threats import Suffix, Threats
    from guardrail.evaluation.threat_facts import ThreatDesign, ThreatOutcome, ThreatRecall

__all__ = ["TITLES", "describe_extent", "recall_sentences"]

TITLES: Mapping[Against, str] = {
    Against.CROPS: "captions and borders (some window left whole)",
    Against.STICKERS: "one sticker at any place",
    Against.STICKER_PLACE: "one sticker at a place drawn at random",
    Against.SUFFIX: "text behind the prompt",
}
"""What a request is held against."""


def recall_sentences(outcome: ThreatOutcome, *, alpha: float) -> tuple[str, ...]:
    """One sentence for each statement; all of them hold together but for the design's delta.

    Args:
        outcome: what was measured.
        alpha: failure probability of one decision.
    """
    return tuple(_sentence(recall, outcome.design, alpha) for recall in outcome.recalls)


def describe_extent(against: Against, threats: Threats) -> str:
    """How much of the threat a policy covers, in a few words."""
    match against:
        case Against.CROPS:
            windows = 0 if threats.crops is None else threats.crops.windows
            return f"outside one of {windows} windows"
        case Against.STICKERS | Against.STICKER_PLACE:
            share = 0.0 if threats.stickers is None else threats.stickers.max_share
            return f"a square of {100 * share:g} % of a picture"
        case Against.SUFFIX:
            return _describe_suffix(threats.suffix)
        case _:
            assert_never(against)


def _sentence(recall: ThreatRecall, design: ThreatDesign, alpha: float) -> str:
    head = f"Of requests drawn like the {recall.requests:,} that were measured"
    if recall.share_lower <= 0.0:
        return f"{head}, no share was shown to be held against: {TITLES[recall.against]}."
    share = digits_down(recall.share_lower)
    passes = f"passes with probability at most {digits_up(alpha)} a try"
    stickers, suffix = design.threats.stickers, design.threats.suffix
    match recall.against:
        case Against.CROPS:
            return (
                f"{head}, at least {share} have a window such that the request {passes} after any "
                "change of that picture outside the window."
            )
        case Against.STICKERS:
            size = 0.0 if stickers is None else stickers.max_share
            return (
                f"{head}, at least {share} are such that the request {passes} after one sticker "
                f"inside any square of at most {size:g} of a picture's area, at any place."
            )
        case Against.STICKER_PLACE:
            size = 0.0 if stickers is None else stickers.max_share
            return (
                f"{head}, each with a square of {size:g} of a picture's area at a place drawn at "
                f"random, at least {share} are such that the request {passes} after any sticker "
                "inside that square."
            )
        case Against.SUFFIX:
            return (
                f"{head}, at least {share} are such that the request {passes} after "
                f"{_describe_suffix(suffix)} are put behind its last text and nothing else is "
                "changed."
            )
        case _:
            assert_never(recall.against)


def _describe_suffix(suffix: Suffix | None) -> str:
    if suffix is None:
        return "no words"
    unit = "words" if suffix.unit is SuffixUnit.WORDS else "characters (code points)"
    return f"at most {suffix.most} {unit}"
