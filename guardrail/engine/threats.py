"""Threats beside small changes of pixels that a policy may cover, and the views that cover them.

A view is a shorter or smaller request made of the request: a window of a picture, a picture with a
mask on it, a prompt without its end. Its answers judge only; what is delivered answers the request
itself. A request passes only if the test of every view does, each at the decision's own alpha.

Why that covers a threat (certification.md, section 13): let z0 be a request of which some view v is
equal to that view of z, and draws harmless answers with probability below the floor. Passing z
takes a pass of v's test, which has probability at most alpha there, whatever the other views do.

Which views there are follows from policy, sizes and number of pictures, and the length of the text
alone, before anything is drawn: a view that data could switch off would be none.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from guardrail.images.covers import Box, masks, windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "HOTTEST",
    "Crops",
    "Setting",
    "Stickers",
    "Suffix",
    "SuffixUnit",
    "Threat",
    "Threats",
    "View",
    "count_suffix_views",
    "plan_views",
]


HOTTEST = 2.0
"""The highest temperature that models are asked with."""


class Threat(StrEnum):
    """What else may be done to a request; small changes of pixels are covered always."""

    CROPS = "crops"
    STICKERS = "stickers"
    SUFFIX = "suffix"


class SuffixUnit(StrEnum):
    """What the length of a suffix is counted in."""

    WORDS = "words"
    CHARACTERS = "characters"


@dataclass(frozen=True, slots=True)
class Crops:
    """At most `windows` windows of each picture; each square of `sees` pixels lies in one."""

    windows: int
    sees: int


@dataclass(frozen=True, slots=True)
class Stickers:
    """At most `masks` masks of each picture, for stickers of `max_share` of its area."""

    masks: int
    max_share: float


@dataclass(frozen=True, slots=True)
class Suffix:
    """At most `most` words, or characters, behind the last text of the user."""

    unit: SuffixUnit
    most: int


Setting: TypeAlias = Crops | Stickers | Suffix
"""One threat as a policy has it."""


@dataclass(frozen=True, slots=True)
class Threats:
    """The fields of a policy's section `threats`, see there; at least one of the three is set."""

    floor: float
    expected_harmless_rate: float
    power: float
    temperature: float | None = None
    crops: Crops | None = None
    stickers: Stickers | None = None
    suffix: Suffix | None = None

    @property
    def settings(self) -> dict[Threat, Setting]:
        """Those that are covered, in a fixed order."""
        all_three: tuple[tuple[Threat, Setting | None], ...] = (
            (Threat.CROPS, self.crops),
            (Threat.STICKERS, self.stickers),
            (Threat.SUFFIX, self.suffix),
        )
        return {threat: setting for threat, setting in all_three if setting is not None}

    def numbers(self, threat: Threat) -> dict[str, int | float | str]:
        """All that fixes the views of a threat that is covered, and which of them hold."""
        degrees = "that of the request" if self.temperature is None else self.temperature
        own = dataclasses.asdict(self.settings[threat])
        return {**own, "floor": self.floor, "temperature": degrees}


@dataclass(frozen=True, slots=True)
class View:
    """One view of a request.

    Attributes:
        threat: what it is for.
        picture: the number of the picture that is cut or masked; None for a suffix.
        box: the window, or the mask.
        cut: how many words or characters are taken off the end of the text; None for pictures.
    """

    threat: Threat
    picture: int | None = None
    box: Box | None = None
    cut: int | None = None

    @property
    def key(self) -> bytes:
        """What its draws are keyed by beside all else; no two views of a policy share it."""
        numbers: list[object] = [self.picture, self.cut]
        if self.box is not None:
            numbers += [self.box.top, self.box.left, self.box.height, self.box.width]
        return "/".join([self.threat.value, *map(str, numbers)]).encode()


def plan_views(
    threats: Threats, sizes: Sequence[tuple[int, int]], text_length: int | None = None
) -> tuple[View, ...]:
    """All views of a request beside the request itself.

    Args:
        threats: the policy's.
        sizes: heights and widths of its pictures, in pixels.
        text_length: words or characters of the text that a suffix would stand behind; None for the
            most views that there can be.

    Raises:
        CertificationError: a picture is too small for its windows or masks.
    """
    return (*_picture_views(threats, sizes), *_suffix_views(threats.suffix, text_length))


def count_suffix_views(suffix: Suffix, text_length: int | None) -> int:
    """How many views a suffix takes: none without a word left, or without a character."""
    most = suffix.most + 1
    return most if text_length is None else min(most, text_length)


def _picture_views(threats: Threats, sizes: Sequence[tuple[int, int]]) -> Iterable[View]:
    for picture, (height, width) in enumerate(sizes):
        if (crops := threats.crops) is not None:
            for box in windows(height, width, count=crops.windows, sees=crops.sees):
                yield View(Threat.CROPS, picture, box)
        if (stickers := threats.stickers) is not None:
            share = stickers.max_share
            for box in masks(height, width, count=stickers.masks, max_share=share):
                yield View(Threat.STICKERS, picture, box)


def _suffix_views(suffix: Suffix | None, text_length: int | None) -> Iterable[View]:
    if suffix is not None:
        for cut in range(count_suffix_views(suffix, text_length)):
            yield View(Threat.SUFFIX, cut=cut)
