"""A queue in which decisions take turns, so that a large one does not hold up the small ones."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FairQueue", "QueuePlace"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, order=True)
class QueuePlace(Generic[_T]):
    """Where something waits: by `order`, then by arrival, within what belongs together.

    `group` is held on to, so that its identity cannot be taken over by another object.
    """

    order: int
    arrival: int
    group: object = field(compare=False)
    item: _T = field(compare=False)


class FairQueue(Generic[_T]):
    """Groups take turns, one item each; within a group the lowest order goes first.

    Groups are told apart by identity. One that comes anew is served after every group that waits
    already has had one turn.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[int, list[QueuePlace[_T]]] = OrderedDict()
        self._arrivals = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, group: object, order: int, item: _T) -> QueuePlace[_T]:
        place = QueuePlace(order, self._arrivals, group, item)
        insort(self._groups.setdefault(id(group), []), place)
        self._arrivals += 1
        self._size += 1
        return place

    def pop(self, may_go: Callable[[_T], bool] = lambda _: True) -> _T | None:
        """The item whose turn it is among the groups whose first item may go; None if none may.

        Groups whose first item may not go keep their place.
        """
        ready = (key for key, places in self._groups.items() if may_go(places[0].item))
        key = next(ready, None)
        if key is None:
            return None
        places = self._groups.pop(key)
        place = places.pop(0)
        self._size -= 1
        if places:
            self._groups[key] = places  # at the end: the others first
        return place.item

    def take_out(self, belongs: Callable[[_T], bool]) -> list[_T]:
        """Removes and returns all items of a kind, in the order of their groups."""
        found = [
            place for places in self._groups.values() for place in places if belongs(place.item)
        ]
        for place in found:
            self.discard(place)
        return [place.item for place in found]

    def discard(self, place: QueuePlace[_T]) -> None:
        """Takes a place out of the queue; nothing happens if it is not there any more."""
        key = id(place.group)
        places = self._groups.get(key, [])
        index = bisect_left(places, place)
        if index < len(places) and places[index] is place:
            del places[index]
            self._size -= 1
            if not places:
                del self._groups[key]
