"""Pairs of answers that mean the same or not, built from templates; the truth is known by design.

Every kind changes one thing that a picture decides. Of each kind as many pairs mean the same, in
other words, as do not, in words as like the first ones as can be.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KINDS", "Pair", "pairs"]

PER_KIND = 80
SEED = 20_240_601

COLOURS = "red blue green yellow black white brown grey orange purple".split()
THINGS = "car bicycle house umbrella jacket door boat chair cup flag".split()
ANIMALS = "dog cat horse cow sheep goat duck rabbit".split()
PEOPLE = "man woman boy girl farmer nurse".split()
PLACES = ["on the beach", "in the park", "in the kitchen", "at the station", "on the roof"]
BELOW = [
    ("on the table", "under the table"),
    ("in front of the house", "behind the house"),
    ("to the left of the tree", "to the right of the tree"),
    ("inside the box", "beside the box"),
    ("above the door", "below the door"),
]
NUMBERS = "two three four five six seven eight nine".split()
DEEDS = [
    ("chases", "chased"), ("follows", "followed"), ("watches", "watched"), ("bites", "bitten"),
    ("carries", "carried"), ("licks", "licked"),
]  # fmt: skip
STATES = [
    ("open", "closed"), ("on", "off"), ("full", "empty"), ("locked", "unlocked"),
    ("wet", "dry"), ("clean", "dirty"),
]  # fmt: skip
# None of these stands in a list that the oracle knows.
UNLISTED = [
    ("awake", "asleep"), ("inflated", "flat"), ("lit", "dark"), ("upright", "toppled"),
    ("turquoise", "crimson"), ("smiling", "crying"), ("occupied", "vacant"),
]  # fmt: skip
HOLDERS = ["door", "lamp", "bottle", "gate", "street", "window"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers, and whether they mean the same."""

    kind: str
    first: str
    second: str
    same: bool


def pairs() -> list[Pair]:
    """All of them, the same at every call."""
    draws = random.Random(SEED)
    return [pair for kind, make in KINDS.items() for pair in _drawn(kind, make, draws)]


def _drawn(
    kind: str, make: Callable[[], Iterator[tuple[str, str, str]]], draws: random.Random
) -> Iterator[Pair]:
    """Each maker yields (answer, the same in other words, another answer in like words)."""
    rows = sorted(set(make()))
    chosen = draws.sample(rows, min(len(rows), PER_KIND))
    for first, same, other in chosen:
        yield Pair(kind, first, same, same=True)
        yield Pair(kind, first, other, same=False)


def _colours() -> Iterator[tuple[str, str, str]]:
    for thing, (colour, other) in itertools.product(THINGS, itertools.permutations(COLOURS, 2)):
        yield (
            f"The {thing} is {colour}.",
            f"The picture shows a {thing} that is {colour}.",
            f"The {thing} is {other}.",
        )


def _counts() -> Iterator[tuple[str, str, str]]:
    words = list(enumerate(NUMBERS, start=2))
    for animal, place, ((digit, word), (_, other)) in itertools.product(
        ("dogs", "cats", "horses", "cows"), PLACES, itertools.permutations(words, 2)
    ):
        yield (
            f"There are {word} {animal} {place}.",
            f"I can see {digit} {animal} {place}.",
            f"There are {other} {animal} {place}.",
        )


def _negations() -> Iterator[tuple[str, str, str]]:
    for thing, colour in itertools.product(THINGS, COLOURS):
        yield (
            f"The {thing} is {colour}.",
            f"The {thing} has the colour {colour}.",
            f"The {thing} is not {colour}.",
        )
    for person, place in itertools.product(PEOPLE, PLACES):
        yield (
            f"There is no {person} {place}.",
            f"There isn't a {person} {place}.",
            f"There is a {person} {place}.",
        )


def _objects() -> Iterator[tuple[str, str, str]]:
    for (animal, other), place in itertools.product(itertools.permutations(ANIMALS, 2), PLACES):
        yield (
            f"A {animal} is lying {place}.",
            f"The photo shows a {animal} lying {place}.",
            f"A {other} is lying {place}.",
        )


def _places() -> Iterator[tuple[str, str, str]]:
    for thing, (place, other) in itertools.product((*ANIMALS, *THINGS), BELOW):
        yield (
            f"The {thing} is {place}.",
            f"There is a {thing} {place}.",
            f"The {thing} is {other}.",
        )


def _numbers() -> Iterator[tuple[str, str, str]]:
    for speed, other in itertools.permutations((20, 30, 50, 60, 70, 80, 100, 120), 2):
        yield (
            f"The sign says that the speed limit is {speed} km/h.",
            f"According to the sign, one may drive at up to {speed} km/h.",
            f"The sign says that the speed limit is {other} km/h.",
        )
    for hour, minute in itertools.product(range(1, 12), (10, 15, 25, 45)):
        yield (
            f"The clock shows {hour}:{minute}.",
            f"It is {hour}:{minute} by the clock.",
            f"The clock shows {hour + 1}:{minute}.",
        )


def _roles() -> Iterator[tuple[str, str, str]]:
    for (one, other), (deed, done) in itertools.product(
        itertools.permutations((*ANIMALS, "man", "woman"), 2), DEEDS
    ):
        yield (
            f"The {one} {deed} the {other}.",
            f"The {other} is being {done} by the {one}.",
            f"The {other} {deed} the {one}.",
        )


def _passives() -> Iterator[tuple[str, str, str]]:
    for (one, other), (deed, done) in itertools.product(
        itertools.permutations((*ANIMALS, "man", "woman"), 2), DEEDS
    ):
        yield (
            f"The {one} {deed} the {other}.",
            f"There is a {one} who {deed} a {other}.",
            f"The {one} is being {done} by the {other}.",
        )


def _unlisted() -> Iterator[tuple[str, str, str]]:
    for states, thing, place in itertools.product(UNLISTED, ("one", "figure", "shape"), PLACES):
        for state, other in itertools.permutations(states):
            yield (
                f"The {thing} {place} is {state}.",
                f"What one sees {place} is a {thing} that is {state}.",
                f"The {thing} {place} is {other}.",
            )


def _states() -> Iterator[tuple[str, str, str]]:
    for (state, other), holder, place in itertools.product(STATES, HOLDERS, PLACES):
        yield (
            f"The {holder} {place} is {state}.",
            f"What one sees {place} is a {holder} that is {state}.",
            f"The {holder} {place} is {other}.",
        )


def _captions() -> Iterator[tuple[str, str, str]]:
    """Two sentences, of which one word differs."""
    for person, (colour, other), place in itertools.product(
        PEOPLE, itertools.permutations(COLOURS[:5], 2), PLACES
    ):
        yield (
            f"A {person} in a {colour} coat stands {place}. The sky is cloudy and it looks cold.",
            f"It looks cold and cloudy. A {person} who wears a {colour} coat is standing {place}.",
            f"A {person} in a {other} coat stands {place}. The sky is cloudy and it looks cold.",
        )


def _unrelated() -> Iterator[tuple[str, str, str]]:
    for animal, place, thing, colour in itertools.product(ANIMALS, PLACES, THINGS, COLOURS[:3]):
        yield (
            f"A {animal} is lying {place}.",
            f"The photo shows a {animal} lying {place}.",
            f"It is a {thing}, and it is {colour}.",
        )


KINDS = {
    "colours": _colours,
    "counts": _counts,
    "negation": _negations,
    "objects": _objects,
    "places": _places,
    "numbers": _numbers,
    "swapped roles": _roles,
    "swapped roles, passive": _passives,
    "opposite states": _states,
    "opposites in no list": _unlisted,
    "long captions": _captions,
    "unrelated": _unrelated,
}
