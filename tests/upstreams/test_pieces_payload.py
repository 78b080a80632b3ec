import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.upstreams import pieces_payload as module
from guardrail.upstreams.pieces_payload import PiecesPayload


class Writer:
    """Keeps what is written, and whether the writer was to wait for it to leave."""

    def __init__(self):
        self.written, self.waits = [], []

    async def write(self, chunk, *, drain=True):
        self.written.append(chunk)
        self.waits.append(drain)


def written(payload):
    writer = Writer()
    asyncio.run(payload.write_with_length(writer, payload.size))
    return writer


def test_pieces_are_written_as_they_are_and_may_be_again():
    pieces = [b'{"url":"', b"A" * 1000, b'"}']
    payload = PiecesPayload(pieces)
    for _ in range(2):
        assert all(a is b for a, b in zip(written(payload).written, pieces, strict=True))


@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(1, 40))
def test_nothing_is_lost_whatever_the_sizes(pieces, most):
    payload = PiecesPayload(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ONE_WRITE_BYTES", most)
        writer = written(payload)
    assert b"".join(writer.written) == b"".join(pieces)
    assert payload.size == len(b"".join(pieces))
    small = payload.size <= most
    assert set(writer.waits) <= {not small}
    assert small or max(map(len, writer.written)) <= most


def test_it_is_json_that_can_be_shown():
    payload = PiecesPayload([b'{"a":', b"1}"])
    assert payload.content_type == "application/json"
    assert payload.decode() == '{"a":1}'
    assert asyncio.run(payload.as_bytes()) == b'{"a":1}'
