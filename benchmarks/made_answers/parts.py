"""Subjects and sentences kept apart for measuring, so that no test answer repeats a trained one."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Part: TypeAlias = Literal["all", "train", "test"]
Entry = TypeVar("Entry")


class PartRandom(random.Random):
    """A source of chance that also says from which part of the shared tables to draw."""

    def __init__(self, seed: int | str, part: Part = "all") -> None:
        super().__init__(seed)
        self.part = part


def choose(rng: random.Random, table: Sequence[Entry]) -> Entry:
    """A random entry of the part that the source names; of all where it names none.

    A quarter of every table, chosen by the checksum of the entry, is the test part.
    """
    part = rng.part if isinstance(rng, PartRandom) else "all"
    if part == "all":
        return rng.choice(table)
    entries = [entry for entry in table if _is_test(entry) == (part == "test")]
    return rng.choice(entries or table)


def _is_test(entry: object) -> bool:
    return zlib.crc32(repr(entry).encode()) % 4 == 0
