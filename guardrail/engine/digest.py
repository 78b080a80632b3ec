"""What a request is called: the same digest means that a model is asked for the same thing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from guardrail.engine.canonical_chat import canonical_chat
from guardrail.images.digest import pixels_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.images.codec import Picture
    from guardrail.types import Chat

__all__ = ["request_digest"]

_LABEL = b"guardrail/request/1"


def request_digest(chat: Chat, pictures: Sequence[Picture]) -> bytes:
    """SHA-256 over the canonical chat and the decoded pixels; 32 bytes.

    Names inside schemas and other nested values count in the order in which they were sent, since
    a model sees them in that order.

    Raises:
        RequestError: the chat is nested too deeply.
    """
    asked = canonical_chat(chat)
    words = [asked.model, asked.messages, asked.parameters]
    text = json.dumps(words, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(_LABEL)
    digest.update(len(text).to_bytes(8, "big"))
    digest.update(text.encode())
    digest.update(pixels_digest(pictures))
    return digest.digest()
