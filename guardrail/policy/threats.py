"""The section `threats` of the policy file, field by field, as in `schema.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from guardrail.engine.threats import HOTTEST, Crops, Stickers, Suffix, SuffixUnit, Threats
from guardrail.section import Section, Share
from guardrail.stats import LEAST_FLOOR

__all__ = ["CropsSection", "StickersSection", "SuffixSection", "ThreatsSection", "compile_threats"]

_Places = Literal[4, 9, 16, 25, 36, 49, 64, 81, 100]
_USUAL_MASKS = 9


class CropsSection(Section):
    """What is painted outside one window of a picture: captions, borders, stickers."""

    windows: _Places | None = None
    """How many windows each picture is cut into, such as 9: three by three, overlapping, each of
    the picture's shape. The model is asked about each of them alone; all must draw harmless
    answers. null: crops are not covered."""
    sees: Annotated[int, Field(ge=1, le=16_384)] | None = None
    """Every square of so many pixels a side lies whole in some window, such as 32; larger squares
    make larger windows. Not a promise about such squares: what is held is a change that leaves one
    whole window as it is. Pictures with a shorter side are refused, 422."""

    @model_validator(mode="after")
    def _check_both(self) -> CropsSection:
        if (self.windows is None) is not (self.sees is None):
            raise ValueError("give windows and sees together, or neither of them")
        return self


class StickersSection(Section):
    """One sticker on one picture, all else equal."""

    max_share: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)] | None = None
    """The area of the square that the sticker lies in, as a share of the picture's, such as 0.02.
    null: stickers are not covered."""
    masks: _Places | None = None
    """How many masks are laid on each picture, one at a time, so that every such sticker lies whole
    under one of them; the model is asked about each. More masks are smaller and hide less. null: 9,
    where stickers are covered."""

    @model_validator(mode="after")
    def _check_share(self) -> StickersSection:
        if self.masks is not None and self.max_share is None:
            raise ValueError("masks are laid on for max_share; give that, too")
        return self


class SuffixSection(Section):
    """Text behind the user's last text that is not blank, all else equal; also without pictures."""

    words: Annotated[int, Field(ge=1, le=100)] | None = None
    """White space and then at most so many words, as white space separates them: the model is asked
    about the prompt without its last 0, 1, 2, … words. Not text glued to the last word, nor scripts
    without spaces. null: not covered."""
    characters: Annotated[int, Field(ge=1, le=100)] | None = None
    """The same for a suffix of at most so many characters (code points) of any kind, in place of
    words. null: not covered."""

    @model_validator(mode="after")
    def _check_one(self) -> SuffixSection:
        if self.words is not None and self.characters is not None:
            raise ValueError("count the suffix in words or in characters, not in both")
        return self


class ThreatsSection(Section):
    """What is covered beside small changes of the picture (l2), which are covered always.

    Each threat by itself, and none together with noise. Every view of a request (a window, a mask,
    a shorter prompt) has a test of its own at the decision's alpha, some four calls of the model; a
    request passes only if all pass. The answer that leaves is one to the request itself.
    `guardrail policy check` lists views and calls.
    """

    crops: CropsSection = CropsSection()
    stickers: StickersSection = StickersSection()
    suffix: SuffixSection = SuffixSection()
    floor: Annotated[float, Field(ge=LEAST_FLOOR, lt=1)] = 0.0999
    """Which views are held: those that draw harmless answers less often than this, without noise.
    The default takes three harmless answers in a row at alpha 0.001. Requests without pictures are
    tested at it as well, where a suffix is covered."""
    temperature: Annotated[float, Field(ge=0, le=HOTTEST, allow_inf_nan=False)] | None = 0.0
    """The temperature that views are asked with. At 0 a model answers nearly always alike, so that
    a view is held, or passes, more clearly than where chance draws its answers. The request itself
    keeps its own. null: views have the request's, for models that take no temperature."""
    expected_harmless_rate_views: Share = 0.99
    """Share of harmless verdicts that the views of usual traffic show. Their tests are tuned to it:
    too high a value blocks more clean requests, and never weakens the promise."""
    power: Share = 0.99
    """Probability that all views of a usual request pass, faults counted: what they fail by adds up
    over the views, however they depend on each other. With the request's own test (power of
    advanced.sampling) both losses add up."""


def compile_threats(section: ThreatsSection) -> Threats | None:
    """The engine's form; None where nothing is covered beside l2."""
    crops, stickers, suffix = section.crops, section.stickers, section.suffix
    found = Threats(
        floor=section.floor,
        expected_harmless_rate=section.expected_harmless_rate_views,
        power=section.power,
        temperature=section.temperature,
        crops=None
        if crops.windows is None or crops.sees is None
        else Crops(crops.windows, crops.sees),
        stickers=None
        if stickers.max_share is None
        else Stickers(stickers.masks or _USUAL_MASKS, stickers.max_share),
        suffix=_compile_suffix(suffix),
    )
    return found if found.settings else None


def _compile_suffix(suffix: SuffixSection) -> Suffix | None:
    if suffix.words is not None:
        return Suffix(SuffixUnit.WORDS, suffix.words)
    if suffix.characters is not None:
        return Suffix(SuffixUnit.CHARACTERS, suffix.characters)
    return None
