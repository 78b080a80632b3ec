r"""Server-sent events out of bytes as they come, for streams of chat completions.

As the HTML standard says, and openai-python does, with two differences: a byte order mark at the
start is taken off, and where both would leave a line or an event out whose meaning is not known,
the stream is an error, since a part of the answer may stand there.

    b"data: {1}\n\n: comment\n\ndata: {2,\ndata: 3}\n\ndata: [DONE]\n\n"
    -> {1}, {2,\n3}, and `done`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.upstreams.in_band import broken_stream_error
from guardrail.upstreams.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.types import Json

__all__ = ["Events"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_ENDS = (b"\n", b"\r")
_END = b"[DONE]"
_WITHOUT_DATA = frozenset({b"", b"id", b"retry"})  # the first one is a comment


class Events:
    """The events of one stream; `done` after the closing one, behind which nothing counts."""

    def __init__(self) -> None:
        self.done = False
        self._line = bytearray()
        self._is_first = True
        self._after_return = False
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Json]:
        """What the events hold that are complete by now, as JSON.

        An event of the name `error` is an object with its data as `error`.

        Raises:
            UpstreamError: a line is no part of an event, or an event is not JSON.
        """
        for line in self._lines(data):
            if self.done:
                return
            if line:
                self._take(line)
            else:
                yield from self._dispatch()

    def close(self) -> None:
        """Says that the bytes have ended. Raises UpstreamError inside an event."""
        if self._line and not self.done:
            self._take(bytes(self._line))
        self.done = self.done or b"\n".join(self._data).strip() == _END
        if not self.done and (self._data or self._name == b"error"):
            raise broken_stream_error("an event without its end", in_answer=False)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """Lines that end in LF, CR or CR LF, wherever the bytes were cut."""
        if self._after_return and data:
            data = data.removeprefix(b"\n")
            self._after_return = False
        for piece in data.splitlines(keepends=True):  # of bytes: at these three only
            self._line += piece
            self._after_return = piece.endswith(b"\r")
            if piece.endswith(_LINE_ENDS):
                line = bytes(self._line).rstrip(b"\r\n")
                self._line.clear()
                yield line.removeprefix(_BYTE_ORDER_MARK) if self._is_first else line
                self._is_first = False

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ")
        elif name not in _WITHOUT_DATA:
            raise broken_stream_error("a line that is no part of an event", in_answer=False)

    def _dispatch(self) -> Iterator[Json]:
        name, data = self._name, b"\n".join(self._data).strip()
        self._name, self._data = b"", []
        if name == b"error":
            yield {"error": _parse_or_none(data) or True}
        elif data == _END:
            self.done = True
        elif data and not _is_comment(data):
            yield parse_json(data)


def _is_comment(data: bytes) -> bool:
    """Whether it is a comment that a gateway has wrapped up as data: `data: : still working`."""
    return data.startswith(b":") and b"\n" not in data


def _parse_or_none(data: bytes) -> Json:
    try:
        return parse_json(data)
    except UpstreamError:
        return None
