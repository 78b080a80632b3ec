"""The pictures of a request as they were sent, held until its record is written, within bounds."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.records.record import Omission

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LARGEST_PICTURE_BYTES",
    "LARGEST_REQUEST_BYTES",
    "HeldPicture",
    "PictureRoom",
    "SentPictures",
]

LARGEST_PICTURE_BYTES = 4 * 1024 * 1024
LARGEST_REQUEST_BYTES = 8 * 1024 * 1024
"""Of all pictures of one request together."""

_ROOM_BYTES = 64 * 1024 * 1024


class HeldPicture:
    """One encoded picture, which takes room as long as it lives."""

    __slots__ = ("__weakref__", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data


class PictureRoom:
    """How much the pictures of all requests of a process may take while they wait to be written.

    A picture is held by a decision, then by the line of records to be written, perhaps by the line
    of requests that are decided after their answer, and each of them may end by a fault. So room is
    given back when the picture itself is gone, whoever had it.

    Args:
        max_bytes: encoded, of all of them; sealing takes as much once more while it writes.
    """

    def __init__(self, max_bytes: int = _ROOM_BYTES) -> None:
        self._left = max_bytes
        self._lock = threading.Lock()
        self._returned: deque[int] = deque()

    def hold(self, data: bytes) -> HeldPicture | None:
        """The picture; None where there is no room for it."""
        with self._lock:
            while self._returned:
                self._left += self._returned.popleft()
            if len(data) > self._left:
                return None
            self._left -= len(data)
        held = HeldPicture(data)
        # No lock in there: Python may end an object while this very thread holds ours.
        weakref.finalize(held, self._returned.append, len(data)).atexit = False
        return held


@dataclass(slots=True)
class SentPictures:
    """The pictures of one request, as far as they are to be kept; empty until they are there.

    Attributes:
        pictures: in the order of the request; in place of one that is not kept, why.
    """

    pictures: tuple[HeldPicture | Omission, ...] = ()

    def fill(self, files: Sequence[bytes], room: PictureRoom | None) -> None:
        """Takes the encoded pictures; without a room none is to be kept."""
        if room is None:
            return
        found: list[HeldPicture | Omission] = []
        left = LARGEST_REQUEST_BYTES
        for data in files:
            one = _hold(data, left, room)
            left -= 0 if isinstance(one, Omission) else len(data)
            found.append(one)
        self.pictures = tuple(found)

    def take(self) -> tuple[HeldPicture | Omission, ...]:
        """What there is, which this holds no longer: a client may be slow to read its answer."""
        taken, self.pictures = self.pictures, ()
        return taken


def _hold(data: bytes, left: int, room: PictureRoom) -> HeldPicture | Omission:
    if len(data) > LARGEST_PICTURE_BYTES:
        return Omission.TOO_LARGE
    if len(data) > left:
        return Omission.TOO_LARGE_TOGETHER
    return room.hold(data) or Omission.NO_ROOM
