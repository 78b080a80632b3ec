"""The same bytes through the official client's own stream and through ours: the same answer."""

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.upstreams.server_sent_events import Events
from guardrail.upstreams.streamed import Gathered
from guardrail.upstreams.wire import answer_from

openai = pytest.importorskip("openai")

TEXTS = st.text(max_size=12)
NAMES = st.text("abcdefgh_", min_size=1, max_size=9)


def by_openai(pieces):
    """The message and the finish reason that openai-python assembles."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Pieces(pieces)))
    with httpx.Client(transport=transport) as http:
        client = openai.OpenAI(
            api_key="none", base_url="http://model/v1", http_client=http, max_retries=0
        )
        asked = [{"role": "user", "content": "?"}]
        with client.chat.completions.stream(model="m", messages=asked) as stream:
            choice = stream.until_done().current_completion_snapshot.choices[0]
    return plain(choice.message.to_dict(mode="json")), choice.finish_reason


class Pieces(httpx.SyncByteStream):
    def __init__(self, pieces):
        self.pieces = pieces

    def __iter__(self):
        return iter(self.pieces)


def by_us(pieces):
    """The same by ours. Raises UpstreamError."""
    events, gathered = Events(), Gathered()
    for piece in pieces:
        for chunk in events.feed(piece):
            gathered.add(chunk)
    events.close()
    assert events.done or gathered.finished
    answer = answer_from(gathered.completion())
    return plain(dict(answer.message)), answer.finish_reason


def plain(message):
    """A message without what openai-python's objects add: nulls, the places of calls, roles."""
    calls = [
        {name: value for name, value in call.items() if name != "index" and value is not None}
        for call in message.pop("tool_calls", None) or []
    ]
    for call in calls:
        call["function"].pop("parsed_arguments", None)
    kept = {k: v for k, v in message.items() if k not in ("role", "parsed") and v is not None}
    return {**kept, "tool_calls": calls}


def chunk(delta, finish=None, **fields):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }


def cut(draw, text):
    """A text in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def call_deltas(draw, index):
    """The pieces of one call, the first one with its id and the beginning of its name."""
    first, *names = cut(draw, draw(NAMES))
    head = {"id": f"call{index}", "type": "function", "function": {"name": first, "arguments": ""}}
    arguments = cut(draw, json.dumps(draw(st.dictionaries(NAMES, TEXTS, max_size=2))))
    inner = [{"name": name} for name in names] + [{"arguments": text} for text in arguments]
    pieces = [head, *({"function": one} for one in inner)]
    noise = draw(st.sampled_from([{}, {"id": None}, {"function": {}}]))
    return [{"index": index, **(noise if i else {}), **one} for i, one in enumerate(pieces)]


@st.composite
def answers(draw):
    """The deltas of one answer: its fields cut up and mingled, each in its own order."""
    series = [
        [{name: piece} for piece in cut(draw, draw(TEXTS))]
        for name in draw(st.sets(st.sampled_from(["reasoning_content", "refusal", "mood"])))
    ]
    series.append([{"content": piece} for piece in ["An answer: ", *cut(draw, draw(TEXTS))]])
    if draw(st.booleans()):
        details = [{"index": 0, "text": piece} for piece in cut(draw, draw(TEXTS))]
        series.append([{"reasoning_details": [detail]} for detail in details])
    calls = [draw(call_deltas(i)) for i in range(draw(st.integers(0, 3)))]
    calls = [[{"tool_calls": [piece]} for piece in pieces] for pieces in calls]
    deltas = [{"role": "assistant", **({"content": ""} if draw(st.booleans()) else {})}]
    begun = 0
    while left := [one for one in [*series, *calls[: begun + 1]] if one]:  # calls begin in order
        chosen = draw(st.sampled_from(range(len(left))))
        begun += any(left[chosen] is call for call in calls[begun:])
        deltas.append(left[chosen].pop(0))
    return deltas


@st.composite
def streams(draw, indents=(None, 1)):
    """The bytes of such an answer in one of the ways that servers frame them."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    blank = draw(st.sampled_from([" ", ""]))
    indent = draw(st.sampled_from(indents))
    between = draw(st.sampled_from(["", f": note{end}{end}", f":{end}"]))
    head = draw(st.sampled_from(["", f"event: message{end}", f"retry: 5{end}", f": x{end}"]))
    reason = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    unfinished = draw(st.sampled_from([None, ""]))
    chunks = [chunk(delta, unfinished) for delta in draw(answers())]
    chunks.append(chunk({}, reason))
    if draw(st.booleans()):
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        chunks.append(chunk({}, usage=usage) | {"choices": []})
    body = ""
    for one in chunks:
        lines = json.dumps(one, indent=indent, ensure_ascii=draw(st.booleans())).split("\n")
        body += head + "".join(f"data:{blank}{line}{end}" for line in lines) + end + between
    closing = f"data: [DONE]{end}{end}" if draw(st.booleans()) else ""
    return (body + closing).encode()


@settings(max_examples=60)
@given(streams(), st.data())
def test_the_same_answer_from_the_same_bytes(body, data):
    expected = by_openai([body])
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=30)))
    pieces = [body[i:j] for i, j in zip([0, *places], [*places, len(body)], strict=True)]
    assert by_us(pieces) == expected
    assert by_openai(pieces) == expected


FIXED = [
    {"role": "assistant", "content": "It is not "},
    {"content": "safe to eat \u00fcber \U0001f344."},
    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "get_", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": "{}"}}]},
]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_at_every_split_point(end):
    chunks = [*map(chunk, FIXED), chunk({}, "tool_calls")]
    lines = [json.dumps(one, ensure_ascii=False).encode() for one in chunks]
    body = b"".join(b"data: " + line + end + end for line in [*lines, b"[DONE]"])
    expected = by_openai([body])
    assert expected[0]["content"] == "It is not safe to eat über 🍄."
    assert expected[0]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": "{}"}
    for place in range(len(body)):
        assert by_us([body[:place], body[place:]]) == expected


@settings(max_examples=60)
@given(streams(indents=[None]), st.data())
def test_of_damaged_bytes_the_same_answer_or_none(body, data):
    """Lines and bytes lost, doubled or swapped: never an answer that differs from the client's."""
    lines = body.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "swap", "cut"])):
            case "drop":
                lines[place] = b""
            case "double":
                lines[place] *= 2
            case "swap":
                lines[place], lines[other] = lines[other], lines[place]
            case "cut":
                line = lines[place]
                lines[place] = line[: data.draw(st.integers(0, len(line)))]
    damaged = b"".join(lines)
    try:
        ours = by_us([damaged])
    except (UpstreamError, AssertionError):
        return
    try:
        theirs = by_openai([damaged])
    except Exception:  # noqa: BLE001 (it fails in many ways; ours may read more)
        return
    for field in ("content", "refusal", "reasoning_content", "mood"):
        assert (ours[0].get(field) or "") == (theirs[0].get(field) or "")


def framed(*deltas, start=b"", unfinished=None, ending=b""):
    chunks = [chunk(delta, unfinished) for delta in deltas]
    events = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)
    return start + events + ending


DONE = b"data: " + json.dumps(chunk({}, "stop")).encode() + b"\n\ndata: [DONE]\n\n"
SAID = ({"role": "assistant", "content": "It is not "}, {"content": "safe to eat this mushroom."})


@pytest.mark.parametrize(
    "start",
    [
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf: note\n\n",
        b"event: start\ndata:\n\n",
        b"data: : OPENROUTER PROCESSING\n\n",
        b'data: {"type": "ping"}\n\n',
        b'data: {"id": "", "model": "", "choices": [], "prompt_filter_results": []}\n\n',
    ],
)
def test_where_the_official_client_loses_the_start_or_fails_nothing_is_lost(start):
    message, _ = by_us([framed(*SAID, start=start, ending=DONE)])
    assert message["content"] == "It is not safe to eat this mushroom."


@pytest.mark.parametrize(
    "ending",
    [
        b"",
        b'event: error\ndata: {"message":"boom"}\n\n',
        b'event: error\ndata: {"message":"boom"}\n\n' + DONE,
        b'data: {"error": {"message": "boom"}}\n\n' + DONE,
        b'{"error": {"message": "boom"}}\n' + DONE,
        b'data: {"id": "c", "cho',
        b"dat: x\n\n" + DONE,
    ],
)
@pytest.mark.parametrize("unfinished", [None, ""])
def test_half_a_sentence_is_no_answer(ending, unfinished):
    body = framed(SAID[0], {"content": "safe to "}, unfinished=unfinished, ending=ending)
    with pytest.raises((UpstreamError, AssertionError)):
        by_us([body])
