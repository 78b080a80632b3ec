"""Items of delivered responses, which later requests may name instead of sending them again.

Some clients of the Responses API send the model's own words of earlier turns as references to what
OpenAI would have stored. What left here is kept in this process for a while, within bounds; it was
judged before it left, and is read again like any other item.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from guardrail.memory.store import BoundedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from guardrail.memory.rules import MemoryRules
    from guardrail.types import Json

    Recall: TypeAlias = Callable[[str], Mapping[str, Json] | None]

__all__ = ["ItemMemory", "Recall", "recall_nothing"]


def recall_nothing(_name: str) -> None:
    """For requests that may refer to nothing."""


class ItemMemory:
    """Items by their ids, which nobody can guess. Used from any thread.

    Args:
        rules: for how long, how many and how much.
    """

    def __init__(self, rules: MemoryRules) -> None:
        self._store = BoundedStore(rules)

    def recall(self, name: str) -> Mapping[str, Json] | None:
        """The item of this id, None where it is not there any more."""
        kept = self._store.look_up(name.encode(errors="replace"))
        item: Mapping[str, Json] | None = None if kept is None else json.loads(kept)
        return item

    def keep(self, items: Iterable[Mapping[str, Json]]) -> None:
        """Keeps items that left."""
        for item in items:
            self._store.keep(item["id"].encode(), json.dumps(item).encode())
