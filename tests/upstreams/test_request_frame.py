import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import RequestError, UpstreamError
from guardrail.types import Chat, image_placeholder
from guardrail.upstreams.base import fill_images
from guardrail.upstreams.request_frame import check_pictures, request_frame, request_parameters

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
URL = b"data:image/png;base64,AAAA"


def body_of(chat, model, urls, **options):
    return b"".join(request_frame(chat, model, **options).body(urls))


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(), st.text())
def test_whatever_a_client_sends_arrives_unchanged(parameters, text, model):
    for reserved in ("n", "stream", "stream_options", "model", "messages"):
        parameters.pop(reserved, None)
    part = {"type": "image_url", "image_url": {"url": image_placeholder(0), "x": text}}
    messages = ({"role": "user", "content": [{"type": "text", "text": text}, part], "y": [text]},)
    body = json.loads(body_of(Chat("c", messages, parameters, 1), model, [URL]))
    filled = fill_images(messages, [URL.decode()])
    assert body == {**parameters, "model": model, "messages": filled}


def test_text_that_looks_like_a_placeholder_stays_text(make_chat):
    text = f"{image_placeholder(0)} {image_placeholder(1)} .0. \\u0000"
    sent = json.loads(body_of(make_chat(1, text), "m", [URL]))["messages"]
    assert sent[1]["content"][0]["text"] == text
    assert sent[1]["content"][1]["image_url"] == {"url": URL.decode(), "detail": "low"}


def test_many_pictures_keep_their_order(make_chat):
    urls = [b"data:image/png;base64,%04d" % i for i in range(12)]
    sent = json.loads(body_of(make_chat(12), "m", urls))["messages"][1]["content"]
    assert [part["image_url"]["url"].encode() for part in sent[1:]] == urls


def test_a_picture_may_be_shown_twice():
    part = {"type": "image_url", "image_url": {"url": image_placeholder(0)}}
    chat = Chat("m", ({"role": "user", "content": [part, part]},), {}, 1)
    assert body_of(chat, "m", [URL]).count(URL) == 2


def test_pictures_are_pieces_of_their_own_behind_the_start_of_their_url(make_chat):
    codes = [b"AAAA", b"BBBB"]
    frame = request_frame(make_chat(2), "m", url_start="data:image/png;base64,")
    body = frame.body(codes)
    assert body[1] is codes[0]
    assert body[3] is codes[1]
    assert body[0].endswith(b'"url":"data:image/png;base64,')


def test_one_frame_serves_for_many_pictures(make_chat):
    frame = request_frame(make_chat(1), "m")
    sent = [json.loads(b"".join(frame.body([url]))) for url in (b"one", b"two")]
    assert [body["messages"][1]["content"][1]["image_url"]["url"] for body in sent] == [
        "one",
        "two",
    ]


def test_a_picture_without_a_place_is_an_error():
    chat = Chat("m", ({"role": "user", "content": "no picture here"},), {}, 1)
    with pytest.raises(UpstreamError, match="no place"):
        body_of(chat, "m", [URL])


@pytest.mark.parametrize("given_pictures", [0, 2])
def test_as_many_pictures_as_the_chat_refers_to(make_chat, given_pictures):
    pictures = [np.zeros((1, 1, 3), np.uint8)] * given_pictures
    with pytest.raises(UpstreamError, match="refers to 1"):
        check_pictures(make_chat(1), pictures)


def test_streaming_is_off_and_the_rest_stays(make_chat):
    chat = make_chat(0, stream=True, stream_options={"include_usage": True}, n=1, top_k=4)
    assert request_parameters(chat) == {"n": 1, "top_k": 4}


@pytest.mark.parametrize("n", [0, 2, "1", [1]])
def test_only_one_choice_can_be_asked_for(make_chat, n):
    with pytest.raises(RequestError) as caught:
        request_parameters(make_chat(0, n=n))
    assert caught.value.param == "n"


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), b"bytes"])
def test_what_json_cannot_express_is_refused(make_chat, value):
    with pytest.raises(RequestError, match="JSON cannot express"):
        body_of(make_chat(0, temperature=value), "m", [])


def test_unpaired_surrogates_of_a_client_do_not_break_the_body(make_chat):
    body = body_of(make_chat(0, text="\ud800"), "m", [])
    assert json.loads(body)["messages"][1]["content"][0]["text"] == "\ud800"
