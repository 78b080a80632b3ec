"""A body for aiohttp in pieces, which are neither joined nor copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import AbstractStreamWriter

__all__ = ["PiecesPayload"]

_ONE_WRITE_BYTES = 1 << 20  # of larger bodies no more is written before the last part has left


class PiecesPayload(Payload):
    """Pieces of JSON that follow one another; may be written again.

    Attributes:
        started: whether anything of it was handed to a connection.
    """

    _value: Sequence[bytes]
    _size: int

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces, content_type="application/json")
        self.started = False
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.started = True
        if self._size <= _ONE_WRITE_BYTES:
            for piece in self._value:
                await writer.write(piece, drain=False)  # type: ignore[call-arg]  # real ones take it
            return
        for piece in self._value:
            view = memoryview(piece)
            for start in range(0, len(view), _ONE_WRITE_BYTES):
                await writer.write(view[start : start + _ONE_WRITE_BYTES])
