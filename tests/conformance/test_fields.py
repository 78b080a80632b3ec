"""What docs/wire.md says of each field of a chat request, asked by the official client."""

import re

import openai
import pytest

from guardrail.api.shapes import _SHARED, _STEERING
from guardrail.engine.canonical_chat import NOT_SENT
from guardrail.policy.steering import STEERING_FIELDS

FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "object", "properties": {"animal": {"type": "string"}}}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA}}
PASSED, REFUSED, HERE, LEFT = "passed on", "refused", "answered here", "left out"

# Fields that are left out with some values and refused or answered here with others.
_ELSEWHERE = {"seed", "store", "stream", "stream_options"}

CASES = [
    ("temperature", 0.5, PASSED),
    ("top_p", 0.9, PASSED),
    ("top_k", 40, PASSED),
    ("frequency_penalty", 0.5, PASSED),
    ("presence_penalty", -0.5, PASSED),
    ("logit_bias", {"50256": -100}, PASSED),
    ("max_tokens", 50, PASSED),
    ("max_completion_tokens", 50, PASSED),
    ("stop", ["\n\n", "END"], PASSED),
    ("seed", 7, LEFT),
    ("tools", [TOOL], PASSED),
    ("tools", [{"type": "custom", "custom": {"name": "shell"}}], PASSED),
    ("tools", [{"type": "web_search"}], REFUSED),
    ("tools", [TOOL, {"type": "mcp", "server_url": "https://example.com"}], REFUSED),
    ("functions", [FUNCTION], PASSED),
    ("tool_choice", "required", PASSED),
    ("tool_choice", {"type": "function", "function": {"name": "weather"}}, PASSED),
    ("parallel_tool_calls", False, PASSED),
    ("function_call", {"name": "weather"}, PASSED),
    ("response_format", {"type": "json_object"}, PASSED),
    ("response_format", JSON_SCHEMA, PASSED),
    ("reasoning_effort", "low", PASSED),
    ("verbosity", "low", PASSED),
    ("prediction", {"type": "content", "content": "A picture of a dog."}, PASSED),
    ("logprobs", True, PASSED),
    ("top_logprobs", 0, LEFT),
    ("top_logprobs", 5, REFUSED),
    ("n", 1, LEFT),
    ("n", 2, REFUSED),
    ("modalities", ["text"], PASSED),
    ("modalities", ["text", "audio"], REFUSED),
    ("audio", {"voice": "alloy", "format": "wav"}, REFUSED),
    ("web_search_options", {}, REFUSED),
    ("store", False, LEFT),
    ("store", True, REFUSED),
    ("user", "someone", PASSED),
    ("safety_identifier", "a-hash", PASSED),
    ("service_tier", "flex", PASSED),
    *((name, {"a": "key"}, LEFT) for name in sorted(NOT_SENT - _ELSEWHERE)),
    ("a_field_of_some_provider", {"a": [1, None]}, PASSED),
    ("stream_options", {"include_usage": True}, HERE),
    ("stream_options", {"include_obfuscation": False}, HERE),
    ("stream_options", {"include_obfuscation": True}, REFUSED),
    ("stream_options", {"continuous_usage_stats": True}, REFUSED),
    ("stream", True, HERE),
    ("a_field_with_a_picture", {"icon": "data:image/png;base64,AAAA"}, REFUSED),
    *((name, ["x"], REFUSED) for name in sorted((_STEERING | _SHARED) - {"extra_headers"})),
    ("extra_headers", {"x-key": "x"}, REFUSED),
    *((name, {}, REFUSED) for name in sorted(STEERING_FIELDS.keys() - {"web_search_options"})),
]


def asked(kit, world, *, picture=False, **fields):
    """The bodies that reach the provider, after the answer that the client got."""
    ask = kit.Ask("fields", picture=picture)
    if "stream_options" in fields:
        fields["stream"] = True
    begun = len(world.upstream.calls)
    with openai.OpenAI(base_url=world.url(ask), api_key="k", max_retries=0) as client:
        body = {"model": kit.MODEL, "messages": [{"role": "user", "content": kit.content(ask)}]}
        client.post("/chat/completions", cast_to=object, body={**body, **fields})
    return [call.body for call in world.upstream.calls[begun:]]


@pytest.mark.parametrize(("name", "value", "fate"), CASES, ids=lambda part: str(part)[:40])
def test_what_becomes_of_a_field(kit, world, name, value, fate):
    if fate is REFUSED:
        with pytest.raises(openai.BadRequestError) as caught:
            asked(kit, world, **{name: value})
        assert re.split(r"[.\[]", caught.value.param)[0] == name
        assert caught.value.code in (
            "unsupported_parameter",
            "unsupported_value",
            "unsupported_tool",
        )
        return
    (body,) = asked(kit, world, **{name: value})
    own = {"model", "messages"}
    assert set(body) == (own | {name} if fate is PASSED else own)
    assert fate is not PASSED or body[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [("response_format", {"type": "text"}), ("logprobs", False), ("service_tier", "auto"),
     ("stop", None), ("tools", []), ("logit_bias", {}), ("user", ""), ("x", None)],
)  # fmt: skip
def test_what_asks_for_nothing_is_left_out(kit, world, name, value):
    (body,) = asked(kit, world, **{name: value})
    assert set(body) == {"model", "messages"}


@pytest.mark.parametrize("stream", [False, True])
def test_probabilities_of_the_answers_own_tokens(kit, world, stream):
    with openai.OpenAI(base_url=world.urls["refusal"], api_key="k", max_retries=0) as client:
        made = client.chat.completions.create(
            model=kit.MODEL,
            messages=[{"role": "user", "content": "What is this?"}],
            logprobs=True,
            stream=stream,
        )
        choices = [part.choices[0] for part in (made if stream else [made])]
    tokens = [token for c in choices if c.logprobs for token in c.logprobs.content]
    assert "".join(token.token for token in tokens) == kit.ANSWER
    assert {token.logprob for token in tokens} == {-0.25}
    assert not any(token.top_logprobs for token in tokens)


def test_every_variant_carries_the_same_fields(kit, world):
    fields = {"top_k": 7, "temperature": 0.5, "tools": [TOOL], "response_format": JSON_SCHEMA}
    bodies = asked(kit, world, picture=True, **fields)
    assert len(bodies) > 1
    assert all({**body, **fields} == body for body in bodies)
    assert len({str(body["messages"]) for body in bodies}) == len(bodies)


def test_the_documented_table(repository):
    text = (repository / "docs" / "wire.md").read_text()
    table = text.split("## Fields of a chat request")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    documented = {
        name: fate.strip() for names, fate in rows for name in re.findall(r"`(\w+)`", names)
    }
    fates = {}
    for name, _, fate in CASES:
        fates.setdefault(name, []).append(fate)
    del fates["a_field_of_some_provider"], fates["a_field_with_a_picture"]
    assert documented == {name: " or ".join(dict.fromkeys(found)) for name, found in fates.items()}
