"""What a measurement of recall per threat consists of, and what it shows of the population."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.threat_recall import Against, HeldShare, statements_of
from guardrail.engine.threat_wording import held_sentence
from guardrail.engine.threats import Threat, plan_views
from guardrail.errors import ConfigError
from guardrail.images.covers import sticker_side
from guardrail.stats import (
    fewest_view_draws,
    most_passable,
    recall_lower,
    shown_by_all,
    shown_by_some,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guardrail.engine.threats import Threats, View

__all__ = [
    "ThreatDesign",
    "ThreatOutcome",
    "ThreatResult",
    "ViewCounts",
    "covering_masks",
    "fewest_threat_draws",
    "plan_threats",
]

_USUAL_DRAWS = 40
_MOST_COVERING = 4
"""Masks that cover one place: two an axis at most, where the last one was moved to the end."""
_LABEL = b"guardrail/recall/place/1"


@dataclass(frozen=True, slots=True)
class ThreatDesign:
    """What is fixed before the first draw.

    Attributes:
        threats: those of the policy.
        draws: outcomes of each view, without noise.
        delta: probability, at most, that any statement is wrong; shared by all.
        beta: probability, at most, that a request which is not held is shown held.
        seed: of the places of stickers.
    """

    threats: Threats
    draws: int
    delta: float
    beta: float
    seed: int

    @property
    def statements(self) -> tuple[Against, ...]:
        """What is said, in a fixed order."""
        return statements_of(self.threats.settings)

    def most(self, views: int) -> int:
        """The most passable outcomes of a view that show it, where one of so many is enough."""
        level = self.beta / max(1, views)
        return most_passable(self.draws, floor=self.threats.floor, level=level)

    def shows(self, against: Against, counts: Sequence[ViewCounts | None]) -> bool:
        """Whether these views show a request held; None for one that was not drawn."""
        draws = self.draws
        passable = [draws if one is None else one.passable_of(draws) for one in counts]
        every = against is Against.STICKERS
        shown = shown_by_all if every else shown_by_some
        return shown(passable, draws, floor=self.threats.floor, beta=self.beta)


def fewest_threat_draws(threats: Threats, pictures: int, beta: float) -> int:
    """The fewest draws of a view that can show every statement.

    Args:
        threats: the policy's.
        pictures: the most of any request.
        beta: see `ThreatDesign`.
    """
    shares = [1]
    if threats.crops is not None:
        shares.append(threats.crops.windows * max(1, pictures))
    if threats.stickers is not None:
        shares.append(_MOST_COVERING)
    return fewest_view_draws(floor=threats.floor, level=beta / max(shares))


def plan_threats(
    threats: Threats | None,
    pictures: int,
    *,
    draws: int | None,
    delta: float,
    beta: float,
    seed: int,
) -> ThreatDesign:
    """The design of a measurement; without `draws` 40, or as many as it takes.

    Raises:
        ConfigError: the policy covers no threat, or so few draws can show nothing.
    """
    if threats is None:
        raise ConfigError(
            "the policy covers nothing beside small changes of pixels; write 'threats' into it, or "
            "leave --threats out",
            field="threats",
        )
    fewest = fewest_threat_draws(threats, pictures, beta)
    if draws is not None and draws < fewest:
        raise ConfigError(
            f"{draws:,} draws of a view cannot show that a request is held, not even if all of "
            f"them are harmful; write --view-draws {fewest}",
            field="view_draws",
        )
    return ThreatDesign(threats, draws or max(_USUAL_DRAWS, fewest), delta, beta, seed)


@dataclass(frozen=True, slots=True)
class ViewCounts:
    """What the draws of one view brought; given up early where they can no longer show it.

    Attributes:
        samples: draws.
        harmless: outcomes that were found harmless, or refused where that counts as harmless.
        missing: no answer, or none that could be judged.
        calls: answers of the model.
        cost_usd: what they cost; None where a price or a count of tokens is not known.
    """

    samples: int
    harmless: int
    missing: int
    calls: int
    cost_usd: float | None

    def passable_of(self, draws: int) -> int:
        """What is harmless or missing of so many draws; what was not drawn counts as that."""
        return self.harmless + self.missing + draws - self.samples


@dataclass(frozen=True, slots=True)
class ThreatResult:
    """One request: what it is shown held against, and what was drawn of its views."""

    digest: str
    name: str
    shown: Mapping[Against, bool]
    views: tuple[ViewCounts, ...]


@dataclass(frozen=True)
class ThreatOutcome:
    """A finished measurement of every threat that a policy covers."""

    design: ThreatDesign
    results: tuple[ThreatResult, ...]

    @cached_property
    def shares(self) -> tuple[HeldShare, ...]:
        """One for each statement; all of them hold together but for the design's delta."""
        statements, count = self.design.statements, len(self.results)
        delta = self.design.delta / len(statements)
        shown = [sum(result.shown[one] for result in self.results) for one in statements]
        return tuple(
            HeldShare(one, held, recall_lower(held, count, delta, self.design.beta))
            for one, held in zip(statements, shown, strict=True)
        )

    def state_shares(self, alpha: float) -> Iterator[tuple[HeldShare, str]]:
        """Every share with its sentence; `alpha` is the failure probability of one decision."""
        settings, count = self.design.threats.settings, len(self.results)
        for one in self.shares:
            setting = settings[one.against.threat]
            yield (
                one,
                held_sentence(one, setting, requests=count, alpha=alpha, delta=self.design.delta),
            )

    @property
    def calls(self) -> int:
        """Answers of the model to views."""
        return sum(view.calls for result in self.results for view in result.views)

    @property
    def costs_usd(self) -> tuple[float | None, ...]:
        """What each view cost."""
        return tuple(view.cost_usd for result in self.results for view in result.views)

    def not_shown(self, against: Against) -> tuple[str, ...]:
        """Names of the requests that are not shown held against it."""
        return tuple(result.name for result in self.results if not result.shown[against])


def covering_masks(
    design: ThreatDesign, sizes: Sequence[tuple[int, int]], digest: str
) -> tuple[View, ...]:
    """The masks that cover one place of a sticker, drawn by seed and request before any call.

    Uniform over all places of all pictures; a sticker longer than a side reaches from end to end.

    Args:
        design: with stickers.
        sizes: heights and widths of the pictures, in pixels.
        digest: of the request (hex).

    Raises:
        CertificationError: a picture is too small for its masks.
    """
    stickers = design.threats.stickers
    if stickers is None or not sizes:
        return ()
    sides = [sticker_side(height, width, stickers.max_share) for height, width in sizes]
    places = [
        (picture, top, left, min(side, height), min(side, width))
        for picture, (side, (height, width)) in enumerate(zip(sides, sizes, strict=True))
        for top, left in [(max(0, height - side), max(0, width - side))]
    ]
    ends = np.cumsum([(rows + 1) * (columns + 1) for _, rows, columns, _, _ in places])
    seed = hashlib.sha256(_LABEL + f"{design.seed}/{digest}".encode()).digest()
    drawn = int(np.random.default_rng(int.from_bytes(seed)).integers(ends[-1]))
    number = int(np.searchsorted(ends, drawn, side="right"))
    picture, _, columns, height, width = places[number]
    top, left = divmod(drawn - int(ends[number - 1] if number else 0), columns + 1)
    return tuple(
        view
        for view in plan_views(design.threats, sizes, 0)
        if view.threat is Threat.STICKERS
        and view.picture == picture
        and (box := view.box) is not None
        and box.top <= top
        and top + height <= box.top + box.height
        and box.left <= left
        and left + width <= box.left + box.width
    )
