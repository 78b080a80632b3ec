"""What a request is called: the same digest means the same noise and the same verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from guardrail.images.digest import pixels_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.images.codec import Picture
    from guardrail.types import Chat, Json

__all__ = ["is_short", "request_digest"]

_LABEL = b"guardrail/request/1"
# Bookkeeping that cannot change the answer; a caller must not get fresh noise by varying it.
_NOT_SAMPLING = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "seed",  # not sent: each call draws by a seed of the guard's own, or of the provider's
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
    }
)


_SHORT_CHARS = 1 << 15
_SHORT_VALUES = 1 << 10


def is_short(chat: Chat) -> bool:
    """Whether its digest takes less time than waking a thread for it; found out in no more."""
    chars, values = 0, 0
    left: list[Json] = [*chat.messages, chat.parameters]
    while left:
        item = left.pop()
        values += 1
        if isinstance(item, str):
            chars += len(item)
        elif isinstance(item, Mapping):
            chars += sum(map(len, item))
            left.extend(item.values())
        elif isinstance(item, list | tuple):
            left.extend(item)
        if chars > _SHORT_CHARS or values + len(left) > _SHORT_VALUES:
            return False
    return True


def request_digest(chat: Chat, pictures: Sequence[Picture]) -> bytes:
    """SHA-256 over model, messages, sampling parameters and decoded pixels; 32 bytes."""
    parameters = {k: v for k, v in chat.parameters.items() if k not in _NOT_SAMPLING}
    words = [chat.model, [dict(message) for message in chat.messages], parameters]
    text = json.dumps(words, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(_LABEL)
    digest.update(len(text).to_bytes(8, "big"))
    digest.update(text.encode())
    digest.update(pixels_digest(pictures))
    return digest.digest()
