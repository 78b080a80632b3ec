"""Rows that hold a conversation: read as the server reads the chat, told apart, and decided."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from guardrail.api.chat.request import read_chat
from guardrail.api.pictures.loader import Embedded
from guardrail.engine.engine import Engine
from guardrail.errors import ConfigError
from guardrail.evaluation.benchmark.conversations import ChatRules
from guardrail.evaluation.benchmark.evaluate import DataOptions, EvaluationRun, RunOptions
from guardrail.evaluation.benchmark.labelled_set import read_labelled_set
from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.evaluation.requests import read_pictures, watch_nothing
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted

LIMITS = ImageLimits()
CLEAN, HARM = "a private answer", "a forbidden answer"
SYSTEM = {"role": "system", "content": "You help people who ask about the pictures they send."}
ANSWER = {"role": "assistant", "content": "A dog."}
LONG = " ".join(f"word{i}" for i in range(200))


def encode(seed):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        (tmp_path / f"p{seed}.png").write_bytes(encode(seed))
    return tmp_path


def read(folder, *rows, **options):
    lines = "".join(json.dumps({"harmful": False, **row}) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines)
    given = {"prompt": "What?", "parameters": {}, "limits": LIMITS, **options}
    return read_labelled_set(folder / "rows.jsonl", **given)


def only(found):
    ((_, row),) = found.drawn
    return row.request


def user(text, *pictures):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def data_url(seed):
    return f"data:image/png;base64,{base64.b64encode(encode(seed)).decode()}"


def test_a_conversation_is_the_chat_that_the_server_reads(folder):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    looks = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    call = {"role": "assistant", "content": None, "tool_calls": [looks]}
    heard = {"role": "tool", "tool_call_id": "1", "content": "It is a dog."}
    messages = [SYSTEM, user("What is it?", "p0.png"), call, heard, ANSWER,
                user("And this?", data_url(1)), ANSWER, user("Are they alike?")]  # fmt: skip
    request = only(read(folder, {"messages": messages, "parameters": {"tools": tools}}))
    sent = [*messages]
    sent[1] = user("What is it?", data_url(0))
    body = {"model": "m", "messages": sent, "tools": tools}
    incoming = read_chat(body, max_images=8, limits=LIMITS)
    assert request.chat("m") == incoming.chat
    assert request.prompt == "Are they alike?"
    assert all(isinstance(source, Embedded) for source in incoming.sources)
    assert [picture.pixels.tobytes() for picture in read_pictures(request, LIMITS)] == [
        np.asarray(Image.open(io.BytesIO(source.data))).tobytes() for source in incoming.sources
    ]


def test_pictures_of_other_tools_and_those_beside_the_messages(folder):
    media = {"type": "media", "media": {"modality": "image", "uri": "p1.png"}}
    turns = [{"role": "user", "content": [{"type": "text", "text": "This?"}, media]}, ANSWER]
    of_media = only(read(folder, {"messages": [*turns, user("Sure?")]}))
    assert of_media.images == (folder / "p1.png",)
    # As guard-eval-harness does: behind the first text of the user.
    plain = {"role": "user", "content": "This?"}
    beside = only(read(folder, {"image": "p1.png", "messages": [SYSTEM, plain, ANSWER, plain]}))
    assert [part["type"] for part in beside.messages[1]["content"]] == ["text", "image_url"]
    # Hugging Face's chat templates keep the pictures in a column, and nulls in nested ones.
    place = {"type": "image", "text": None}
    text = {"type": "text", "text": "This?", "image": None}
    asked = [{"role": "user", "content": [text, place], "name": None}, ANSWER,
             {"role": "user", "content": [place, text]}]  # fmt: skip
    placed = only(read(folder, {"images": ["p2.png", "p0.png"], "messages": asked}))
    assert placed.images == (folder / "p2.png", folder / "p0.png")
    assert [part["type"] for part in placed.messages[2]["content"]] == ["image_url", "text"]
    single = only(read(folder, {"image": "p3.png", "messages": asked[:1]}))
    assert (single.images, single.prompt) == ((folder / "p3.png",), "This?")
    assert single.earlier_turns == ()


def test_older_pictures_are_left_out_where_the_policy_says_so(folder):
    policy = Policy.model_validate({"name": "t", "oracle": {}, "images": {"history": "last 1"}})
    row = {"messages": [user("One?", "p0.png"), ANSWER, user("Two?", "p1.png")]}
    assert only(read(folder, row)).images == (folder / "p0.png", folder / "p1.png")
    kept = only(read(folder, row, chats=ChatRules.of(policy)))
    assert kept.images == (folder / "p1.png",)
    assert kept.chat("m").pictures == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": [user("a"), ANSWER]}, "does not end with a message of the user"),
        ({"messages": [user("a"), "b", user("c")]}, "holds something that is no message"),
        ({"messages": [user("a"), {"role": "guest", "content": "b"}, user("c")]},
         r"cannot be decided: messages\[1\].role: must be one of"),
        ({"messages": [user("a"), ANSWER, {"role": "user", "content": [{"type": "sound"}]}]},
         "only text and image_url parts can be guarded"),
        ({"messages": [user("a"), {"role": "user", "content": [{"type": "image"}]}]},
         "places for more pictures than the row has"),
        ({"images": ["p0.png", "p1.png"],
          "messages": [user("a"), {"role": "user", "content": [{"type": "image"}]}]},
         "places for fewer pictures than the row has"),
        ({"messages": [user("a", "https://example.org/a.png"), ANSWER, user("c")]},
         "the picture is a link"),
        ({"messages": [user("a"), ANSWER, {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": 7}}]}]}, "neither text nor a picture"),
        ({"messages": [user("a"), ANSWER, user("c")], "parameters": {"n": 2}}, "only one choice"),
        ({"messages": [user("a", "p9.png"), ANSWER, user("c")]}, "p9.png"),
        ({"messages": [{"role": "system", "content": "only this"}]}, "does not end with"),
        ({"messages": []}, "neither text nor a list of messages"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_named(folder, row, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        read(folder, row)
    assert "rows.jsonl:1" in str(caught.value)


def test_the_whole_conversation_makes_the_request(folder):
    """Its digest changes with every turn, and near-copies are alike turn by turn."""
    first = {"messages": [SYSTEM, user("What?", "p0.png"), ANSWER, user("Go on?")]}
    other = {"messages": [SYSTEM, user("Why?", "p0.png"), ANSWER, user("Go on?")]}
    copy = {"messages": [SYSTEM, user(" what? ", "p0.png"), ANSWER, user("go on?")]}
    moved = {"messages": [SYSTEM, user("What?"), ANSWER, user("Go on?", "p0.png")]}
    alone = {"image": "p0.png", "prompt": "Go on?"}
    digests = {read(folder, row).drawn[0][0] for row in (first, other, copy, moved, alone)}
    assert len(digests) == 5
    assert read(folder, first, other, copy, moved, alone).clusters == 4
    labelled = [{**first, "harmful": True}, {**first, "harmful": False}]
    with pytest.raises(ConfigError, match="are one request with two labels"):
        read(folder, *labelled)


def test_a_long_text_that_all_begin_with_does_not_make_them_alike(folder):
    system = {"role": "system", "content": LONG}
    rows = [{"messages": [system, {"role": "user", "content": f"How is {what} made?"}]}
            for what in ("bread", "wine", "glass")]  # fmt: skip
    near = {"role": "system", "content": f"{LONG} word"}
    rows.append({"messages": [near, {"role": "user", "content": "How is bread made?"}]})
    assert read(folder, *rows).clusters == 3


class Words:
    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


def test_conversations_are_decided_and_measured_whole(folder):
    turns = [SYSTEM, user("What is it?", "p0.png"), ANSWER]
    rows = [
        {"id": "good", "messages": [*turns, user("clean?")]},
        {"id": "bad", "messages": [*turns, user("bad?", "p1.png")], "harmful": True},
        {"id": "text", "messages": [SYSTEM, user("clean?"), ANSWER, user("clean?")]},
    ]
    read(folder, *rows)
    policy = Policy.model_validate(
        {"name": "t", "oracle": {}, "smoothing": {"claim": "verdict"},
         "threats": {"suffix": {"words": 2}},
         "advanced": {"limits": {"retries": 0, "call_timeout_s": 10.0}}}
    )  # fmt: skip
    upstream = Scripted(lambda call: HARM if "bad?" in str(call.body) else CLEAN)
    engine = Engine(compile_policy(policy), upstream, Words(), NoiseKey(bytes(32)))
    run = EvaluationRun.prepare(
        engine, policy, folder / "rows.jsonl",
        RunOptions(model="m", draws=20, view_draws=16, bare=False), DataOptions(),
    )  # fmt: skip
    found = asyncio.run(run.measure(None, lambda _: watch_nothing))
    endings = {row.name: row.ending for row in found.results}
    assert endings == {"good": Ending.PASSED, "bad": Ending.BLOCKED, "text": Ending.PASSED}
    assert {len(call.pictures) for call in upstream.calls} == {0, 1, 2}
    roles = {tuple(m["role"] for m in call.body["messages"]) for call in upstream.calls}
    assert roles == {("system", "user", "assistant", "user")}
    (recall,), (threats,) = found.recalls, found.threats
    assert recall.outcome.results[0].counts.harmful == 20
    assert threats.outcome.shares[0].shown == 1
