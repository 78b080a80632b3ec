"""Arbitrary requests: no 5xx, no unguarded picture, no answer that was not judged."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RELAXED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
URLS = st.sampled_from(["PICTURE", "https://example.com/x.png", "data:image/png;base64,AA==", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | URLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_image", "file"]) | JSON},
    optional={
        "text": TEXT | JSON,
        "image_url": st.fixed_dictionaries({"url": URLS}, optional={"detail": JSON}) | URLS | JSON,
        "image": URLS,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant", "tool"]) | JSON},
    optional={
        "content": TEXT | st.lists(PARTS, max_size=3) | JSON,
        "images": st.lists(URLS, max_size=1),
        "tool_calls": JSON,
    },
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("scripted") | JSON, "messages": st.lists(MESSAGES, max_size=3) | JSON},
    optional={
        "stream": st.booleans() | JSON,
        "stream_options": JSON,
        "n": st.integers(-1, 3) | JSON,
        "temperature": JSON,
        "tools": JSON,
        "images": st.lists(URLS),
    },
)


ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "function_call", "function_call_output"]) | JSON,
        "role": st.sampled_from(["user", "system", "assistant"]) | JSON,
        "content": TEXT | st.lists(PARTS | JSON, max_size=3) | JSON,
        "output": TEXT | st.lists(PARTS, max_size=2) | JSON,
        "call_id": TEXT,
        "name": TEXT,
        "arguments": TEXT | JSON,
    },
)
RESPONSES = st.fixed_dictionaries(
    {"model": st.just("scripted"), "input": TEXT | st.lists(ITEMS, max_size=3) | JSON},
    optional={
        "stream": st.booleans() | JSON,
        "instructions": TEXT | JSON,
        "tools": JSON,
        "text": JSON,
        "reasoning": JSON,
        "tool_choice": JSON,
        "image": URLS,
    },
)
SOURCES = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "url", "file"]) | JSON},
    optional={"media_type": st.just("image/png") | TEXT, "data": st.just("BASE64") | JSON,
              "url": URLS, "file_id": TEXT},
)  # fmt: skip
BLOCK_TYPES = st.sampled_from(
    ["text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document"]
)


def blocks(inner):
    return st.fixed_dictionaries(
        {"type": BLOCK_TYPES | JSON},
        optional={
            "text": TEXT | JSON,
            "source": SOURCES | URLS | JSON,
            "content": TEXT | st.lists(inner, max_size=2) | JSON,
            "input": st.dictionaries(TEXT, TEXT, max_size=2) | JSON,
            **dict.fromkeys(("id", "tool_use_id", "name", "thinking", "signature", "data"), TEXT),
            "image": URLS,
        },
    )


BLOCKS = st.recursive(blocks(JSON), blocks, max_leaves=4)
ANTHROPIC = st.fixed_dictionaries(
    {
        "model": st.just("scripted"),
        "max_tokens": st.just(9) | JSON,
        "messages": st.lists(
            st.fixed_dictionaries(
                {
                    "role": st.sampled_from(["user", "assistant", "system"]) | JSON,
                    "content": TEXT | st.lists(BLOCKS, max_size=3) | JSON,
                },
                optional={"images": st.lists(URLS, max_size=1)},
            ),
            max_size=3,
        )
        | JSON,
    },
    optional={
        "system": TEXT | st.lists(BLOCKS, max_size=2) | JSON,
        "stream": st.booleans() | JSON,
        **dict.fromkeys(("tools", "tool_choice", "thinking", "output_config", "metadata"), JSON),
        "image": URLS,
    },
)
QUESTIONS = st.fixed_dictionaries(
    {"input_type": st.sampled_from(["request", "response"]) | JSON, "model": st.just("scripted")},
    optional={
        "structured_messages": st.lists(MESSAGES, max_size=2) | JSON,
        "images": st.lists(URLS, max_size=2) | JSON,
        "texts": st.lists(TEXT, max_size=2) | JSON,
        "tool_calls": st.lists(JSON, max_size=2) | JSON,
        "tools": JSON,
    },
)


def check(shared, raw, path="/v1/chat/completions"):
    judged, called = len(shared.oracle.seen), len(shared.upstream.calls)
    headers = {"content-type": "application/json"}
    response = shared.client.post(path, content=raw, headers=headers)
    assert response.status_code < 500, response.text
    calls = shared.upstream.calls[called:]
    sent = json.dumps([call.body["messages"] for call in calls])
    assert "PICTURE" not in sent
    if response.status_code == 200:
        assert response.headers["x-guardrail-decision"] in ("pass", "block")
        assert len(shared.oracle.seen) > judged
    else:
        assert calls == []
        fields = {"type", "message"}
        fields |= {"details"} if path == "/v1/messages" else {"param", "code"}
        assert set(response.json()["error"]) == fields


@RELAXED
@given(BODIES)
def test_bodies_that_nearly_are_requests(shared, kit, body):
    raw = json.dumps(body).replace('"PICTURE"', json.dumps(kit.data_url()))
    check(shared, raw.encode())


@RELAXED
@given(JSON)
def test_arbitrary_json(shared, body):
    check(shared, json.dumps(body).encode())


@RELAXED
@given(st.binary(max_size=200))
def test_arbitrary_bytes(shared, raw):
    check(shared, raw)


@RELAXED
@given(st.data())
def test_damaged_requests(shared, kit, data):
    raw = bytearray(json.dumps(kit.request(1)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    check(shared, bytes(raw))


@RELAXED
@given(BODIES)
def test_questions_for_a_verdict(shared, kit, body):
    raw = json.dumps(body).replace('"PICTURE"', json.dumps(kit.data_url()))
    check(shared, raw.encode(), "/v1/guardrail/check")


@RELAXED
@given(RESPONSES | JSON)
def test_responses(shared, kit, body):
    raw = json.dumps(body).replace('"PICTURE"', json.dumps(kit.data_url()))
    check(shared, raw.encode(), "/v1/responses")


@RELAXED
@given(ANTHROPIC | JSON)
def test_messages(shared, kit, body):
    raw = json.dumps(body).replace('"PICTURE"', json.dumps(kit.data_url()))
    data = kit.data_url().partition(",")[2]
    check(shared, raw.replace('"BASE64"', json.dumps(data)).encode(), "/v1/messages")


@RELAXED
@given(QUESTIONS | JSON)
def test_questions_of_litellm(shared, kit, body):
    raw = json.dumps(body).replace('"PICTURE"', json.dumps(kit.data_url()))
    called = len(shared.upstream.calls)
    headers = {"content-type": "application/json"}
    path = "/beta/litellm_basic_guardrail_api"
    response = shared.client.post(path, content=raw.encode(), headers=headers)
    assert response.status_code == 200
    assert response.json()["action"] in ("NONE", "BLOCKED")
    assert all(call.pictures for call in shared.upstream.calls[called:])
    assert "base64" not in json.dumps([c.body for c in shared.upstream.calls[called:]])
