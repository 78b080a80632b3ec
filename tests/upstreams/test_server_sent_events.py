"""Server-sent events: read as the standard and openai-python do, or refused; never left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.upstreams.server_sent_events import Events

BODY = b'data: {"a": 1}\n\n: heartbeat\n\nevent: x\nid: 7\nretry: 5\ndata:{"b":\ndata: 2}\n\n'
FOUND = [{"a": 1}, {"b": 2}]


def read(*pieces):
    events, found = Events(), []
    for piece in pieces:
        found += events.feed(piece)
    events.close()
    return found, events.done


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_at_every_split_point_and_byte_by_byte(start, end):
    body = start + (BODY + b"data: [DONE]\n\n").replace(b"\n", end)
    for place in range(len(body) + 1):
        assert read(body[:place], body[place:]) == (FOUND, True)
    assert read(*(body[i : i + 1] for i in range(len(body)))) == (FOUND, True)


@pytest.mark.parametrize("pieces", [
    [b'data: {"a": 1}\r', b"\n", b"\n"],
    [b'data: {"a": 1}\r', b"\n\n"],
    [b'data: {"a": 1}\r\n', b"\n"],
    [b'data: {"a": 1}\r', b"", b"\n", b"", b"\n"],
])  # fmt: skip
def test_one_line_feed_belongs_to_a_return_and_the_next_ends_the_event(pieces):
    events = Events()
    assert [one for piece in pieces for one in events.feed(piece)] == [{"a": 1}]


@given(st.data())
def test_line_ends_of_all_kinds_in_one_stream(data):
    body = b""
    for line in BODY.split(b"\n")[:-1]:
        # LF right after CR would be the same end of the same line
        ends = [b"\r"] if not line and body.endswith(b"\r") else [b"\n", b"\r", b"\r\n"]
        body += line + data.draw(st.sampled_from(ends))
    place = data.draw(st.integers(0, len(body)))
    assert read(body[:place], body[place:])[0] == FOUND


@pytest.mark.parametrize(
    "nothing",
    [
        b"data:\n\n",
        b"data: \n\n",
        b"data\n\n",
        b"data: : keepalive\n\n",
        b": keepalive\n\n",
        b":\n",
        b"event: ping\n\n",
        b"id: 1\n\n",
        b"retry: 3000\n\n",
        b"\n\n\n",
    ],
)
def test_events_that_say_nothing(nothing):
    assert read(nothing + BODY + nothing + b"data: [DONE]\n\n") == (FOUND, True)


@pytest.mark.parametrize(
    "line",
    [
        b"data: {",
        b"data: NaN",
        b"data: \xff",
        b'data: "\\ud800"',
        b'data: {"a": 1}\ndata: {"b": 2}',
        b'data: : note\ndata: {"b": 2}',
        b"data: [DONE] {}",
    ],
)
def test_what_is_no_json_is_an_error(line):
    with pytest.raises(UpstreamError, match="JSON"):
        read(line + b"\n\n")


@pytest.mark.parametrize(
    "line", [b'{"error": {}}', b" data: {}", b"dat: {}", b"Data: {}", b"\xef\xbb\xbfdata: {}"]
)
def test_a_line_that_is_no_part_of_an_event_is_an_error(line):
    with pytest.raises(UpstreamError, match="no part of an event"):
        read(BODY + line + b"\n\n")


@pytest.mark.parametrize("rest", [b"data: {}", b"data: {}\n", b"event: error\n", b"data: [DO"])
def test_an_event_without_its_end_is_an_error(rest):
    with pytest.raises(UpstreamError, match="without its end"):
        read(BODY, rest)


@pytest.mark.parametrize("rest", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n"])
def test_the_closing_event_needs_no_blank_line(rest):
    assert read(BODY, rest) == (FOUND, True)


@pytest.mark.parametrize("rest", [b"", b": note", b"event: x\n", b"id: 3"])
def test_a_stream_may_end_without_the_closing_event(rest):
    assert read(BODY, rest) == (FOUND, False)


def test_nothing_counts_after_the_end():
    assert read(b"data: [DONE]\n\ndata: {}\n\nrubbish") == ([], True)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'data: {"message": "boom"}\n', {"message": "boom"}),
        (b"data: boom\n", True),
        (b"", True),
    ],
)
def test_an_event_named_error_is_one(data, error):
    assert read(b"event: error\n" + data + b"\n")[0] == [{"error": error}]
