"""Items of delivered responses, which later requests may name instead of sending them again.

Some clients of the Responses API send the model's own words of earlier turns as references to what
OpenAI would have stored. What left here is kept in this process for a while, within bounds; it was
judged before it left, and is read again like any other item.
"""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
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
    """Items by their owners and ids, which nobody can guess. Used from any thread.

    An owner is whom an item was delivered to: the name of an end user, or what a caller presents as
    its credentials. To any other owner an item is one that does not exist. None is nobody in
    particular, and an owner like any other.

    Args:
        rules: for how long, how many and how much, of all owners together.
    """

    def __init__(self, rules: MemoryRules) -> None:
        self._store = BoundedStore(rules)
        self._secret = secrets.token_bytes(32)

    def recall_for(self, owner: str | None) -> Recall:
        """What finds the items of this owner by their ids; None for those that are not there."""
        return functools.partial(self._recall, self._digest(owner))

    def keep(self, items: Iterable[Mapping[str, Json]], owner: str | None) -> None:
        """Keeps items that left for this owner."""
        digest = self._digest(owner)
        for item in items:
            self._store.keep(_key(digest, item["id"]), json.dumps(item).encode())

    def _recall(self, owner: bytes, name: str) -> Mapping[str, Json] | None:
        kept = self._store.look_up(_key(owner, name))
        item: Mapping[str, Json] | None = None if kept is None else json.loads(kept)
        return item

    def _digest(self, owner: str | None) -> bytes:
        """Keyed, so that credentials cannot be guessed from a dump of this process's memory."""
        data = b"" if owner is None else b"=" + owner.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._secret, digest_size=32).digest()


def _key(owner: bytes, name: str) -> bytes:
    return owner + name.encode("utf-8", "surrogatepass")
