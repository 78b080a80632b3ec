"""Anthropic's official Python client."""

import anthropic
import pytest

CLIENT = "anthropic (Python)"


def test_what_the_user_sees(kit, world, check, ask):
    check(CLIENT, ask, observed(kit, world.url(ask), ask) if ask.api == "messages" else None)


def client_of(url, **options):
    return anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="k", **options)


def observed(kit, url, ask):
    with client_of(url, max_retries=0, timeout=30) as client:
        try:
            return _line(kit, *_asked(kit, client.messages, ask))
        except anthropic.APIError as error:
            return _raised(kit, error)


def _asked(kit, messages, ask):
    """The message, and the events that it came by."""
    turns = [{"role": "user", "content": kit.message_content(ask)}]
    asked = {"model": kit.MODEL, "max_tokens": 99, "messages": turns}
    if ask.tool:
        asked["tools"] = [kit.message_tool()]
    if ask.schema:
        return messages.parse(**asked, output_format=kit.Animal), []
    if ask.again:
        turns += [messages.create(**asked).to_param(), {"role": "user", "content": ask.again}]
    if not ask.stream:
        return messages.create(**asked), []
    with messages.stream(**asked) as stream:
        events = list(stream)
        return stream.get_final_message(), events


def _line(kit, made, events):
    uses = [(block.name, kit.json.dumps(block.input)) for block in made.content
            if block.type == "tool_use"]  # fmt: skip
    about = [getattr(part, "guardrail", None) or {} for part in (made, *events)]
    parsed = getattr(made, "parsed_output", None)
    return kit.line(
        text="".join(block.text for block in made.content if block.type == "text") or None,
        parsed=parsed and parsed.animal,
        tool_use=kit.calls(uses),
        stop_reason=made.stop_reason,
        stop_details=made.stop_details and made.stop_details.explanation,
        output_tokens=made.usage.output_tokens,
        certificate=True if any(found.get("certificate") for found in about) else None,
    )


def _raised(kit, error):
    return kit.raised(
        error,
        status=error.status_code,
        type=error.type,
        error_code=error.error_code,
        **{"retry-after": error.response.headers.get("retry-after")},
        message=kit.BLOCKED if kit.BLOCKED in str(error) else None,
    )


@pytest.mark.parametrize(
    ("prompt", "proxy", "tries", "waits"),
    [
        ("Fail with 429.", "refusal", 3, [7, 7]),
        ("What is this?", "no oracle", 3, [5, 5]),
        ("Fail with 500.", "refusal", 1, []),
        ("Fail with 401.", "refusal", 1, []),
        ("Say something bad.", "error", 1, []),
    ],
)
def test_what_it_repeats_by_itself(kit, world, monkeypatch, prompt, proxy, tries, waits):
    slept, begun = [], len(world.upstream.calls)
    calculated = anthropic.Anthropic._calculate_retry_timeout

    def at_once(*args):
        slept.append(calculated(*args))
        return 0

    monkeypatch.setattr(anthropic.Anthropic, "_calculate_retry_timeout", at_once)
    turns = [{"role": "user", "content": prompt}]
    with client_of(world.urls[proxy]) as client, pytest.raises(anthropic.APIStatusError):
        client.messages.create(model=kit.MODEL, max_tokens=9, messages=turns)
    assert len(world.upstream.calls) - begun == tries
    assert slept == waits


def test_a_stream_that_is_left_is_cancelled(kit, world):
    """Before the verdict: what the outstanding calls would say is wanted by nobody."""
    begun = len(world.upstream.calls)
    turns = [{"role": "user", "content": "Hang."}]
    asked = {"model": kit.MODEL, "max_tokens": 9, "messages": turns}
    with client_of(world.urls["refusal held"]) as client:
        with client.messages.create(**asked, stream=True) as stream:
            assert next(iter(stream)).type == "message_start"
        assert kit.gone(world, begun) == [kit.State.CANCELLED]
