"""The sliders of the page Tune: which numbers of a policy they move, over which levels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.errors import RequestError
from guardrail.policy_search.numbers import FIELDS, Numbers
from guardrail.replay.wording import describe_reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from guardrail.policy.schema import Policy

__all__ = ["Slider", "list_sliders", "own_numbers", "read_setting", "without_recall"]

_RADII = (0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Times the policy's own."""
_FLOORS = (0.5, 0.3, 0.2, 0.1, 0.05)
_ALPHAS = (0.01, 0.001, 0.0001, 0.00001)
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Slider:
    """One number.

    Attributes:
        name: as in `Numbers`.
        label: what it is, in words.
        tip: its field and letter.
        levels: increasing; the policy's own among them.
        words: what each level is, in words.
        own: place of the policy's own.
    """

    name: str
    label: str
    tip: str
    levels: tuple[float, ...]
    words: tuple[str, ...]
    own: int

    def move(self, numbers: Numbers, place: int) -> Numbers:
        """The numbers with this one at the level of that place."""
        moved: dict[str, Any] = {self.name: self.levels[place]}
        return dataclasses.replace(numbers, **moved)


def without_recall(policy: Policy) -> Policy:
    """The policy as it is tried out: a measured recall speaks of its own numbers alone."""
    return policy.model_copy(update={"recall": None})


def own_numbers(policy: Policy) -> Numbers:
    """The numbers of a policy; without a threshold where another one cannot be tried.

    A calibration bounds the misses at its own threshold, and so does what is measured for the claim
    of harmlessness.
    """
    is_bound = getattr(policy.oracle, "calibration", None) is not None
    is_free = policy.smoothing.claim == "verdict" and not is_bound
    return Numbers.of(policy, cuts_scores=is_free and hasattr(policy.oracle, "threshold"))


def list_sliders(own: Numbers, sigmas: Iterable[float]) -> tuple[Slider, ...]:
    """The sliders of a policy.

    Args:
        own: its numbers.
        sigmas: noise that recorded answers were drawn with; there is a slider for several.
    """
    sliders = [
        _slider(own, "radius", "How far a picture may be changed", "r",
                (own.radius * factor for factor in _RADII), describe_reach),
        _slider(own, "floor", "Which requests are held", "τ", _FLOORS, _say_floor),
        _slider(own, "alpha", "How often such a request may still get through", "α", _ALPHAS,
                _say_alpha),
    ]  # fmt: skip
    if own.threshold is not None:
        steps = (step / _STEPS for step in range(1, _STEPS))
        label = "From which score on an answer is harmful"
        sliders.insert(0, _slider(own, "threshold", label, "", steps, _say_threshold))
    noises = {own.sigma, *sigmas}
    if len(noises) > 1:
        sliders.append(_slider(own, "sigma", "Noise", "σ", noises, _say_noise))
    return tuple(sliders)


def _slider(
    own: Numbers,
    name: str,
    label: str,
    letter: str,
    values: Iterable[float],
    say: Callable[[float], str],
) -> Slider:
    mine = float(getattr(own, name))
    # Without the digits that multiplying adds.
    levels = tuple(sorted({mine, *(float(f"{value:.4g}") for value in values)}))
    tip = f"{FIELDS[name]}, {letter}" if letter else FIELDS[name]
    return Slider(name, label, tip, levels, tuple(map(say, levels)), levels.index(mine))


def _say_threshold(value: float) -> str:
    return f"{value:g}"


def _say_floor(value: float) -> str:
    return f"those answered harmlessly less than {100.0 * value:.4g} % of the time"


def _say_alpha(value: float) -> str:
    return f"at most once in {1.0 / value:,.0f} tries"


def _say_noise(value: float) -> str:
    return f"{255.0 * value:.0f} of 255 levels"


def read_setting(own: Numbers, sliders: Iterable[Slider], given: Mapping[str, Any]) -> Numbers:
    """The numbers that sliders stand at; a slider that is not sent stands at the policy's own.

    Args:
        own: the policy's numbers.
        sliders: its sliders.
        given: places of levels, as texts, by the names of sliders.

    Raises:
        RequestError: one of them is no place of a level.
    """
    found = own
    for slider in sliders:
        text = given.get(slider.name, str(slider.own))
        place = int(text) if text.isdecimal() and len(text) < 4 and text.isascii() else -1
        if not 0 <= place < len(slider.levels):
            raise RequestError("a slider stands where it has no level; load the page again",
                               param=slider.name)  # fmt: skip
        found = slider.move(found, place)
    return found
