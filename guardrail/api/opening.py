"""How a stream has begun that waits for its verdict."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

__all__ = ["Opening"]


def _now() -> int:
    return int(time.time())


@dataclass(slots=True)
class Opening:
    """What clients were sent before the verdict; what follows belongs to it.

    Attributes:
        name: of the answer, in its events.
        created: when it began, in seconds of Unix time.
        events: how many were sent.
    """

    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=_now)
    events: int = 0
