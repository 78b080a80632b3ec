"""Reading requests: pictures are found wherever they may stand, and nothing else gets by."""

import asyncio
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from guardrail.api.chat.request import read_chat
from guardrail.api.openapi.operations import CHAT
from guardrail.api.pictures.fetch import RemoteImages
from guardrail.api.pictures.loader import ImageLoader
from guardrail.api.request_rules import PICTURE_LABELS, RequestRules, request_rules
from guardrail.api.strict_json import parse_object
from guardrail.engine.canonical_chat import request_digest
from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits
from guardrail.policy.schema import Policy
from guardrail.types import LeftOut, image_placeholder
from guardrail.upstreams.base import fill_images

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}

VALIDATOR = Draft202012Validator(CHAT["requestBody"]["content"]["application/json"]["schema"])


def read(body, max_images=4, **options):
    raw = json.dumps(body).encode()
    incoming = read_chat(parse_object(raw), max_images=max_images, limits=ImageLimits(), **options)
    VALIDATOR.validate(body)  # what is taken is described
    return incoming


def open_pictures(incoming):
    """Its pictures, decoded."""

    async def decoded():
        loader = ImageLoader(ImageLimits(), RemoteImages(), max_link_bytes=1, max_pixels=1)
        try:
            async with loader.open(incoming.sources) as pictures:
                return pictures
        finally:
            loader.close()

    return asyncio.run(decoded())


def refused(body, param, **options):
    with pytest.raises(RequestError) as caught:
        open_pictures(read(body, **options))
    assert caught.value.param == param
    assert str(caught.value).startswith(param)
    return caught.value


def body(*messages, **fields):
    return {"model": "m", "messages": list(messages), **fields}


def user(content, **fields):
    return {"role": "user", "content": content, **fields}


def test_a_text_chat():
    incoming = read(body(user("Hello"), temperature=0.5, n=1, seed=None, unknown={"a": [1]}))
    chat = incoming.chat
    assert (chat.model, chat.pictures, incoming.sources) == ("m", 0, [])
    assert chat.messages == (user("Hello"),)
    assert chat.parameters == {"temperature": 0.5, "n": 1, "seed": None, "unknown": {"a": [1]}}
    assert (incoming.stream, incoming.include_usage) == (False, False)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_pictures_of_every_role_are_taken_out_in_order(kit, role):
    parts = [kit.image_part(kit.data_url(kit.png(seed=i))) for i in range(3)]
    messages = [
        {"role": role, "content": [{"type": "text", "text": "look"}, parts[0]]},
        user([parts[1], parts[2]]),
    ]
    incoming = read(body(*messages))
    assert incoming.chat.pictures == len(incoming.sources) == 3
    assert "data:" not in json.dumps(incoming.chat.messages)
    urls = [part["image_url"]["url"] for part in parts]
    assert fill_images(incoming.chat.messages, urls) == messages


def test_detail_is_kept_and_a_bare_url_is_understood(kit):
    bare = {"type": "image_url", "image_url": kit.data_url()}
    incoming = read(body(user([kit.image_part(detail="high"), bare])))
    first, second = incoming.chat.messages[0]["content"]
    assert first["image_url"] == {"url": image_placeholder(0), "detail": "high"}
    assert second["image_url"] == {"url": image_placeholder(1)}


def test_a_placeholder_of_the_client_is_no_picture():
    part = {"type": "image_url", "image_url": {"url": image_placeholder(0)}}
    refused(body(user([part])), "messages[0].content[0].image_url.url")


def test_text_that_looks_like_a_picture_stays_text():
    text = "data:image/png;base64,AAAA " + image_placeholder(0)
    chat = read(body(user(text), user([{"type": "text", "text": text}]))).chat
    assert chat.pictures == 0
    assert chat.messages[0]["content"] == text


def test_history_as_clients_send_it_back():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief.", "name": "dev"},
        user([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]),
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "audio": None,
            "function_call": None,
            "annotations": [],
            "tool_calls": [call],
            "reasoning_content": "thinking",
        },
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "function", "name": "f", "content": None},
    ]
    assert list(read(body(*messages)).chat.messages) == messages


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (False, False)),
        ({"stream": None, "stream_options": None}, (False, False)),
        ({"stream": False}, (False, False)),
        ({"stream": True}, (True, False)),
        ({"stream": True, "stream_options": {}}, (True, False)),
        ({"stream": True, "stream_options": {"include_usage": True}}, (True, True)),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, (True, False)),
    ],
)
def test_streaming(fields, expected):
    incoming = read(body(user("Hi"), **fields))
    assert (incoming.stream, incoming.include_usage) == expected
    assert incoming.chat.parameters == {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 4}, "model"),
        ({"model": ["m"]}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": []}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        (
            {"stream": True, "stream_options": {"include_usage": "yes"}},
            "stream_options.include_usage",
        ),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"n": -1}, "n"),
        ({"n": "1"}, "n"),
        ({"n": 1.0}, "n"),
        ({"n": True}, "n"),
        ({"extra_body": {"messages": []}}, "extra_body"),
        ({"api_base": "http://example.com"}, "api_base"),
        ({"guardrails": ["none"]}, "guardrails"),
        ({"images": ["AAAA"]}, "images"),
        ({"prediction": {"content": " DATA:image/png;base64,AA=="}}, "prediction"),
        ({"x": [[{"y": "data:;base64,AA=="}]]}, "x"),
        ({"x y": "data:image/svg+xml,<svg/>"}, "?"),
    ],
)
def test_fields_of_the_request(fields, param):
    refused({**body(user("Hi")), **fields}, param)


def test_several_choices_are_refused_in_openais_words():
    assert refused(body(user("Hi"), n=3), "n").code == "unsupported_value"


@pytest.mark.parametrize("name", ["model", "messages"])
def test_required_fields(name):
    without = body(user("Hi"))
    del without[name]
    refused(without, name)


M = "messages[0]"
C = f"{M}.content"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (None, M),
        ("Hello", M),
        ([], M),
        ({}, f"{M}.role"),
        ({"role": "user"}, C),
        ({"role": "wizard", "content": "Hi"}, f"{M}.role"),
        ({"role": ["user"], "content": "Hi"}, f"{M}.role"),
        ({"role": "user", "content": None}, C),
        ({"role": "system", "content": None}, C),
        ({"role": "user", "content": 5}, C),
        ({"role": "user", "content": {"type": "text", "text": "Hi"}}, C),
        ({"role": "user", "content": []}, C),
        ({"role": "user", "content": "Hi", "name": 5}, f"{M}.name"),
        ({"role": "tool", "content": "Hi", "tool_call_id": {}}, f"{M}.tool_call_id"),
        ({"role": "assistant", "refusal": []}, f"{M}.refusal"),
        ({"role": "assistant", "tool_calls": {}}, f"{M}.tool_calls"),
        ({"role": "assistant", "tool_calls": [1]}, f"{M}.tool_calls[0]"),
        ({"role": "user", "content": "Hi", "images": ["AA=="]}, f"{M}.images"),
        ({"role": "assistant", "audio": {"id": "a"}}, f"{M}.audio"),
        ({"role": "user", "content": "Hi", "mm data": [1]}, f"{M}.?"),
        ({"role": "user", "content": "Hi", "a" * 60: [1]}, f"{M}.?"),
    ],
)
def test_fields_of_a_message(message, param):
    refused(body(message), param)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ("Hi", f"{C}[0]"),
        (None, f"{C}[0]"),
        ([PICTURE], f"{C}[0]"),
        ({}, f"{C}[0].type"),
        ({"text": "Hi"}, f"{C}[0].type"),
        ({"type": ["text"], "text": "Hi"}, f"{C}[0].type"),
        ({**PICTURE, "type": "input_image"}, f"{C}[0].type"),
        ({**PICTURE, "type": "IMAGE_URL"}, f"{C}[0].type"),
        ({**PICTURE, "type": "image_url "}, f"{C}[0].type"),
        ({"type": "image", "source": {"type": "base64", "data": "AA=="}}, f"{C}[0].type"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, f"{C}[0].type"),
        ({"type": "file", "file": {"file_id": "f"}}, f"{C}[0].type"),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}}, f"{C}[0].type"),
        ({"type": "text"}, f"{C}[0].text"),
        ({"type": "text", "text": None}, f"{C}[0].text"),
        ({"type": "text", "text": ["Hi"]}, f"{C}[0].text"),
        ({"type": "text", "text": "Hi", "image_url": {"url": "x"}}, f"{C}[0].image_url"),
        ({"type": "refusal", "text": "No."}, f"{C}[0].text"),
        ({"type": "image_url"}, f"{C}[0].image_url"),
        ({"type": "image_url", "image_url": None}, f"{C}[0].image_url"),
        ({"type": "image_url", "image_url": []}, f"{C}[0].image_url"),
        ({"type": "image_url", "image_url": {}}, f"{C}[0].image_url.url"),
        ({"type": "image_url", "image_url": {"url": ["x"]}}, f"{C}[0].image_url.url"),
        ({**PICTURE, "image": "AA=="}, f"{C}[0].image"),
        (
            {"type": "image_url", "image_url": {"url": "x", "detail": 1}},
            f"{C}[0].image_url.detail",
        ),
        (
            {"type": "image_url", "image_url": {"url": "x", "caption": "a cat"}},
            f"{C}[0].image_url.caption",
        ),
    ],
)
def test_content_parts(part, param):
    refused(body(user([part])), param)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("", 400),
        ("http://example.com/a.png", 400),
        ("https://example.com/a.png", 400),
        ("HTTPS://example.com/a.png", 400),
        ("file:///etc/passwd", 400),
        ("//example.com/a.png", 400),
        ("data:image/png,AAAA", 400),
        ("data:image/png;base64", 400),
        ("data:image/png;base64,", 415),
        ("data:image/png;base64,!!!!", 400),
        ("data:image/png;base64,iVBORw0KGgo=", 400),
        ("data:text/html;base64,PGh0bWw+", 415),
        ("data:image/svg+xml;base64,PHN2Zy8+", 415),
        ("data:application/pdf;base64,JVBERi0=", 415),
    ],
)
def test_urls_that_hold_no_picture(url, status):
    part = {"type": "image_url", "image_url": {"url": url}}
    error = refused(body(user([{"type": "text", "text": "x"}, part])), f"{C}[1].image_url.url")
    assert error.status == status
    assert "example.com" not in str(error)
    assert "passwd" not in str(error)


def test_a_remote_url_comes_with_a_remedy():
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    error = refused(body(user([part])), f"{C}[0].image_url.url")
    assert error.code == "remote_image_url_not_supported"
    assert "data URL" in str(error)


def test_the_picture_at_fault_is_named(kit):
    good, bad = kit.image_part(), kit.image_part(kit.data_url(kit.png()[:40]))
    refused(body(user("Hi"), user([good, bad])), "messages[1].content[1].image_url.url")


# Labels

STRICT = RequestRules(drop_labels=False, strict_types=True)


def rules_of(**images):
    policy = {"name": "p", "images": images, "advanced": {"limits": {"max_images": 4}}}
    return request_rules(Policy.model_validate(policy))


@pytest.mark.parametrize("value", ["x", 7, 1.5, True, {"a": "b"}, [1]])
@pytest.mark.parametrize("name", ["id", "agent", "timestamp", "metadata", "uuid", "createdAt"])
@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
def test_labels_of_a_message_are_neither_sent_nor_digested(role, name, value):
    if (role, name, value) == ("assistant", "id", "x"):
        return  # its provider may want it back
    plain = {"role": role, "content": "Hi"}
    chat = read(body({**plain, name: value})).chat
    assert chat.messages == (plain,)
    assert chat.left_out == LeftOut((f"messages.{name}",))
    assert request_digest(chat, ()) == request_digest(read(body(plain)).chat, ())


@pytest.mark.parametrize("name", sorted(PICTURE_LABELS))
def test_labels_of_a_picture_are_left_out_wherever_they_stand(name):
    url = {"url": PICTURE["image_url"]["url"]}
    taken = read(body(user([PICTURE]))).chat.messages
    beside = read(body(user([{**PICTURE, name: 3136}]))).chat
    inside = read(body(user([{"type": "image_url", "image_url": {**url, name: "x"}}]))).chat
    assert beside.messages == inside.messages == taken
    assert beside.left_out.fields == (f"messages.content.{name}",)
    assert inside.left_out.fields == (f"messages.content.image_url.{name}",)


def test_the_manual_lists_the_labels():
    manual = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    (listed,) = re.findall(r"\*\*Labels\.\*\*.*?\n\n", manual, re.DOTALL)
    written = {re.sub("([A-Z])", r"_\1", name).lower() for name in PICTURE_LABELS}
    assert written <= set(re.findall(r"`(\w+)`", listed))


def test_labels_of_a_text_part_and_of_many_messages_are_named_once():
    messages = [user([{"type": "text", "text": "Hi", "id": i}], id=i) for i in range(3)]
    chat = read(body(*messages)).chat
    assert chat.messages == (user([{"type": "text", "text": "Hi"}]),) * 3
    assert chat.left_out.fields == ("messages.id", "messages.content.id")


@pytest.mark.parametrize("name", ["agent", "timestamp", "metadata", "uuid"])
def test_labels_are_refused_where_the_policy_says_so(name):
    refused(body(user("Hi", **{name: "x"})), f"{M}.{name}", rules=STRICT)
    refused(body(user([{**PICTURE, name: "x"}])), f"{C}[0].{name}", rules=STRICT)


@pytest.mark.parametrize(
    "name", ["images", "audio", "tool_name", "is_error", "content_parts", "prefill", "parts"]
)
def test_fields_that_say_something_are_no_labels(name):
    refused(body(user("Hi", **{name: "x"})), f"{M}.{name}")


# Types


@pytest.mark.parametrize(
    "declared",
    [
        *("data:image;base64", "data:;base64", "data:image/jpeg;base64", "data:image/png; base64"),
        *("data:application/octet-stream;base64", "data:text/plain;charset=utf-8;base64"),
    ],
)
def test_the_content_says_what_a_picture_is(kit, declared):
    url = kit.data_url(kit.png()).replace("data:image/png;base64", declared)
    (picture,) = open_pictures(read(body(user([kit.image_part(f" {url}\n")]))))
    assert picture.media_type == "image/png"


@pytest.mark.parametrize(
    ("declared", "status"),
    [("image/png", None), ("image/jpeg", 400), ("image", 415), ("", 415), ("text/plain", 415)],
)
def test_strict_types(kit, declared, status):
    url = kit.data_url(kit.png()).replace("image/png", declared)
    request = body(user([kit.image_part(url)]))
    rules = rules_of(strict_types=True)
    if status is None:
        assert open_pictures(read(request, rules=rules))
    else:
        assert refused(request, f"{C}[0].image_url.url", rules=rules).status == status


# Long conversations


def conversation(turns):
    """For example "P A PP": a picture, an answer, two pictures; the URL says which one it is."""
    numbers = itertools.count()
    messages = []
    for turn in turns.split():
        if turn == "A":
            messages.append({"role": "assistant", "content": "I see."})
            continue
        urls = [f"https://a.example/{next(numbers)}" for _ in turn]
        messages.append(user([{"type": "image_url", "image_url": {"url": url}} for url in urls]))
    return body(*messages)


def kept_of(incoming):
    return [int(source.url.rpartition("/")[2]) for source in incoming.sources]


@pytest.mark.parametrize(
    ("turns", "last", "kept"),
    [
        ("P A P A P", 2, [1, 2]),
        ("P A PP A P", 2, [2, 3]),
        ("P A PP A P", 3, [1, 2, 3]),
        ("P A PP A P", 4, [0, 1, 2, 3]),
        ("P A P A PPP", 1, [2, 3, 4]),  # those of the question itself all stay
        ("P P P", 1, [0, 1, 2]),
        ("P A P A", 1, [1]),
        ("A A", 1, []),
        (" A ".join("P" * 30), 4, [26, 27, 28, 29]),
    ],
)
def test_older_pictures_are_left_out(turns, last, kept):
    incoming = read(conversation(turns), rules=rules_of(history=f"last {last}"))
    chat = incoming.chat
    assert kept_of(incoming) == kept
    assert chat.pictures == len(kept)
    assert chat.left_out == LeftOut((), turns.count("P") - len(kept))
    parts = [part for m in chat.messages if m["role"] == "user" for part in m["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert urls == [image_placeholder(i) for i in range(len(kept))]
    words = [part["text"] for part in parts if part["type"] == "text"]
    assert words == ["[an earlier picture was left out here]"] * chat.left_out.pictures


def test_the_question_may_still_hold_too_many_pictures():
    error = refused(
        conversation("P A PPPPP"),
        "messages[2].content[4].image_url.url",
        rules=rules_of(history="last 2"),
    )
    assert error.code == "too_many_images"


@pytest.mark.parametrize("history", ["none", "last 0", "last 65", "last", "last two", 3])
def test_other_words_for_a_history(history):
    with pytest.raises(ValidationError, match="history"):
        rules_of(history=history)


def test_too_many_pictures_are_counted_before_any_is_decoded():
    error = refused(body(user([PICTURE] * 3)), f"{C}[2].image_url.url", max_images=2)
    assert error.code == "too_many_images"
    assert "advanced.limits.max_images" in str(error)
    assert "images.history" in str(error)
    refused(body(user([PICTURE] * 2)), f"{C}[0].image_url.url", max_images=2)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["text", "user", "x"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "text", "role", "content", "image_url", "url", "name"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_message_is_read_or_refused_by_name(message):
    fault = incoming = None
    try:
        incoming = read(body(message))
    except RequestError as error:
        fault = error
    if incoming is not None:
        assert incoming.chat.messages[0]["role"] == "user"
        return
    assert fault.status in (400, 413, 415)
    assert fault.param.startswith("messages")
