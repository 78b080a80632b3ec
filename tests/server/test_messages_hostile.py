"""Pictures in every place of a Messages request: each is guarded, or the request refused."""

import copy
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RELAXED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BASE = {
    "model": "scripted",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "Be kind."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c",
                 "content": [{"type": "text", "text": "Here."}]},
                {"type": "text", "text": "And?"},
            ],
        },
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "adaptive"},
    "output_config": {},
    "metadata": {},
}  # fmt: skip
LISTS = [
    ("system",),
    ("messages",),
    ("tools",),
    *(("messages", turn, "content") for turn in range(3)),
    ("messages", 2, "content", 0, "content"),
]
OBJECTS = [
    (),
    ("system", 0),
    *(("messages", turn) for turn in range(3)),
    *(("messages", 1, "content", block) for block in range(4)),
    *(("messages", 2, "content", block) for block in range(2)),
    ("messages", 2, "content", 0, "content", 0),
    *((name,) for name in ("tool_choice", "thinking", "output_config", "metadata")),
    ("tools", 0),
]
NAMES = [
    *("image", "images", "image_url", "source", "attachments", "files", "content", "input_image"),
    *("cache_control", "citations", "metadata", "transformations", "context", "extra_content"),
    *("signature", "data", "text", "thinking_blocks", "reasoning_content", "odd"),
]


def pictures_of(data):
    """One picture in the forms of all APIs that are known."""
    url = f"data:image/png;base64,{data}"
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return [
        {"type": "image", "source": source},
        {"type": "image", "source": {"type": "url", "url": url}},
        {"type": "image", "source": {"type": "file", "file_id": data}},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_image", "image_url": url},
        {"type": "document", "source": {**source, "media_type": "application/pdf"}},
        {"type": "document", "source": {"type": "content", "content": [
            {"type": "image", "source": source}]}},
        {"type": "search_result", "content": [{"type": "image", "source": source}]},
        {"type": "tool_result", "tool_use_id": "c", "content": [
            {"type": "image", "source": source}]},
        {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "tool_result",
            "tool_use_id": "c", "content": [{"type": "image", "source": source}]}]},
        {"role": "user", "content": [{"type": "image", "source": source}]},
        {"role": "assistant", "content": [{"type": "image", "source": source}]},
        {"inline_data": {"mime_type": "image/png", "data": data}},
        source,
        [{"type": "image", "source": source}],
        [url],
    ]  # fmt: skip


@st.composite
def hostile(draw):
    """A request with pictures where one may stand and where none may."""
    body, data = copy.deepcopy(BASE), "PICTURE"
    for _ in range(draw(st.integers(1, 3))):
        picture = copy.deepcopy(draw(st.sampled_from(pictures_of(data))))
        if draw(st.booleans()):
            place = at(body, draw(st.sampled_from(LISTS)))
            if isinstance(place, list):
                place.insert(draw(st.integers(0, len(place))), picture)
        else:
            place = at(body, draw(st.sampled_from(OBJECTS)))
            if isinstance(place, dict):
                place[draw(st.sampled_from(NAMES))] = picture
    return body


def at(value, path):
    """What stands there; None where another picture has taken the place."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def check_guarded(shared, kit, body):
    """The status of a request, of which nothing but noise has reached the model."""
    data = kit.data_url().partition(",")[2]
    raw = json.dumps(body).replace("PICTURE", data)
    called, judged = len(shared.upstream.calls), len(shared.oracle.seen)
    response = shared.client.post("/v1/messages", json=json.loads(raw))
    calls = shared.upstream.calls[called:]
    assert data[:40] not in json.dumps([call.body for call in calls])
    assert not any(np.array_equal(p, kit.pixels()) for call in calls for p in call.pictures)
    if response.status_code == 200:
        assert len(shared.oracle.seen) > judged
        sent = sum(len(call.pictures) for call in calls)
        assert sent == 0 or response.json()["guardrail"]["certificate"] is not None
    else:
        assert response.status_code in (400, 413, 415)
        assert calls == []
        assert kit.error_of(response)["param"]
    return response.status_code


@RELAXED
@given(hostile())
def test_no_picture_of_any_place_reaches_the_model_as_it_is(shared, kit, body):
    check_guarded(shared, kit, body)


@pytest.mark.parametrize("path", LISTS)
def test_every_form_in_every_list(shared, kit, path):
    statuses = []
    for picture in pictures_of("PICTURE"):
        body = copy.deepcopy(BASE)
        at(body, path).append(picture)
        statuses.append(check_guarded(shared, kit, body))
    # Two forms of a block stand in the lists that take pictures, and a result or a turn in theirs.
    taken = {("system",): 0, ("tools",): 0, ("messages",): 1}
    taken |= {("messages", turn, "content"): n for turn, n in enumerate((3, 2, 3))}
    assert statuses.count(200) == taken.get(path, 2)


def test_what_a_tool_is_given_is_text(shared, kit):
    """Arguments are the model's words, in which no server looks for pictures."""
    data = kit.data_url().partition(",")[2]
    body = copy.deepcopy(BASE)
    body["messages"][1]["content"][3]["input"] = pictures_of(data)[0]
    called = len(shared.upstream.calls)
    assert shared.client.post("/v1/messages", json=body).status_code == 200
    (call,) = shared.upstream.calls[called:]
    assert call.pictures == ()
    (tool_call,) = call.body["messages"][2]["tool_calls"]
    assert isinstance(tool_call["function"]["arguments"], str)
