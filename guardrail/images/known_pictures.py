"""Pictures that are known, by exact digest and by perceptual hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from guardrail.images.perceptual import HASH_BITS, perceptual_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guardrail.images.codec import Picture

__all__ = ["KnownPicture", "KnownPictures", "Place", "says_little"]

_FEW_BITS = 12
_ONES = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)


Place: TypeAlias = tuple[str, int]
"""Where an entry stands: the name of the list, without its folder, and the line, from 1."""


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """An entry of a list that a picture was found to be, or to be near to.

    Attributes:
        file: name of the list, without its folder.
        line: of the entry, from 1.
        distance: bits of the perceptual hash that differ; None where the file is the same, byte by
            byte.
    """

    file: str
    line: int
    distance: int | None

    def __str__(self) -> str:
        how = "the same file" if self.distance is None else f"{self.distance} bits apart"
        return f"{self.file}:{self.line} ({how})"


class KnownPictures:
    """A list of pictures to find others in.

    Args:
        digests: where each is listed (file and line), by the SHA-256 (hexadecimal) of its file.
        hashes: perceptual hashes with where each is listed.
        distance: so many bits of a hash may differ.
    """

    def __init__(
        self, digests: Mapping[str, Place], hashes: Sequence[tuple[int, Place]], distance: int
    ) -> None:
        self._digests = dict(digests)
        self._hashes = np.array([value for value, _ in hashes], dtype=np.uint64)
        self._places = [place for _, place in hashes]
        self._distance = distance
        self.digest = self._compute_digest()

    def __len__(self) -> int:
        return len(self._digests) + len(self._places)

    def find(self, pictures: Iterable[Picture]) -> KnownPicture | None:
        """The first of the pictures that is known; slow.

        An equal file comes before a near copy, and the nearest copy before others.
        """
        for picture in pictures:
            place = self._digests.get(picture.sha256)
            if place is not None:
                return KnownPicture(*place, None)
            if near := self._find_near(picture):
                return near
        return None

    def _find_near(self, picture: Picture) -> KnownPicture | None:
        if not self._places:
            return None
        value = perceptual_hash(picture.pixels)
        if says_little(value):
            return None
        differing = (self._hashes ^ np.uint64(value)).view(np.uint8)
        distances = _ONES[differing].reshape(-1, HASH_BITS // 8).sum(axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] > self._distance:
            return None
        return KnownPicture(*self._places[nearest], int(distances[nearest]))

    def _compute_digest(self) -> str:
        """SHA-256 (hexadecimal) of all that `find` goes by; the order does not matter."""
        digest = hashlib.sha256(f"guardrail/known-pictures/1 {self._distance}\n".encode())
        for name in sorted(self._digests):
            digest.update(f"{name}\n".encode())
        for value in np.unique(self._hashes):
            digest.update(f"{int(value):016x}\n".encode())
        return digest.hexdigest()


def says_little(value: int) -> bool:
    """Whether a hash says too little of its picture to find copies of it by.

    A bit is set where a frequency is there and its sign is positive, so that about half of the
    frequencies that are there set one. Flat pictures have none, gradients and banners across the
    whole picture 4 at most, and figures with two axes in the middle of a plain ground (a disc, a
    cross) 8 to 11: of 12 discs, and of 12 crosses, of random sizes and colours a third of all pairs
    differ in 6 bits or fewer. Of a picture with all frequencies 12 bits or fewer are set once in
    four million times.

    The limit does not depend on the distance: what one distance finds, a larger one finds as well,
    and a list that one distance takes, all take.
    """
    return value.bit_count() <= _FEW_BITS
