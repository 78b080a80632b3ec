"""The answers that were drawn, kept for other oracles: sealed in a file, plain in memory."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from guardrail.canonical import make_interoperable
from guardrail.types import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.records.content import ContentKeys
    from guardrail.types import Json

__all__ = ["KeptAnswers"]


class KeptAnswers:
    """Turns answers into a value of a row, and back.

    Args:
        keys: seal what goes to a file; None where rows stay in this process.
    """

    def __init__(self, keys: ContentKeys | None) -> None:
        self._keys = keys

    def pack(self, answers: Sequence[Answer | None], name: str) -> Json:
        """The answers as JSON; as nobody can read it without the key where there is one.

        Args:
            answers: None for a draw without one.
            name: of their place, bound in.
        """
        plain = [
            None if one is None else [dict(one.message), one.finish_reason, dict(one.extra)]
            for one in answers
        ]
        if self._keys is None:
            return plain
        return base64.b64encode(self._keys.seal(make_interoperable(plain), name)).decode()

    def unpack(self, packed: Any, name: str) -> list[Answer | None]:
        """The answers again.

        Raises:
            ConfigError: they were sealed with another key.
            CertificationError: they were changed.
        """
        plain: Any = packed
        if self._keys is not None:
            plain = self._keys.open(base64.b64decode(packed), name)
        return [
            None if one is None else Answer(one[0], finish_reason=one[1], extra=one[2])
            for one in plain
        ]
