"""Reading requests: pictures are found wherever they may stand, and nothing else gets by."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from guardrail.api.chat.request import read_chat
from guardrail.api.openapi.operations import CHAT
from guardrail.api.pictures.fetch import RemoteImages
from guardrail.api.pictures.loader import ImageLoader
from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits
from guardrail.types import image_placeholder
from guardrail.upstreams.base import fill_images

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}

VALIDATOR = Draft202012Validator(CHAT["requestBody"]["content"]["application/json"]["schema"])


def read(body, max_images=4):
    incoming = read_chat(json.dumps(body).encode(), max_images=max_images, limits=ImageLimits())
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
        ({**PICTURE, "uuid": "cached"}, f"{C}[0].uuid"),
        ({**PICTURE, "image": "AA=="}, f"{C}[0].image"),
        (
            {"type": "image_url", "image_url": {"url": "x", "detail": 1}},
            f"{C}[0].image_url.detail",
        ),
        (
            {"type": "image_url", "image_url": {"url": "x", "format": "png"}},
            f"{C}[0].image_url.format",
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


def test_too_many_pictures_are_counted_before_any_is_decoded():
    error = refused(body(user([PICTURE] * 3)), f"{C}[2].image_url.url", max_images=2)
    assert error.code == "too_many_images"
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
