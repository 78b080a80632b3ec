"""Requests without pictures under a policy that covers a suffix: tested on every route."""

import json

import pytest

HARMLESS = "A cat."


def chat(text):
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": text}]}


def parts(text):
    """Two texts of one message, and a last message without a word."""
    content = [{"type": "text", "text": "kind"}, {"type": "text", "text": text}]
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": content, "name": "somebody"},
        {"role": "user", "content": "\u00a0\n"},
    ]
    return "/v1/chat/completions", {"messages": messages}


def checked(text):
    return "/v1/guardrail/check", chat(text)[1]


def responses(text):
    return "/v1/responses", {"input": text, "instructions": "be kind"}


def items(text):
    content = [{"type": "input_text", "text": text}]
    return "/v1/responses", {"input": [{"role": "user", "content": content}]}


def messages(text):
    content = [{"type": "text", "text": text}]
    asked = [{"role": "user", "content": content}, {"role": "assistant", "content": "What?"},
             {"role": "user", "content": " "}]  # fmt: skip
    return "/v1/messages", {"messages": asked, "max_tokens": 50, "system": "be kind"}


def last_words(body):
    """The texts of the user in what the model is asked."""
    said = [one["content"] for one in body["messages"] if one["role"] == "user"]
    texts = [one if isinstance(one, str) else one[-1]["text"] for one in said]
    return [text for text in texts if text.strip()][-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", [chat, parts, checked, responses, items, messages])
def test_a_suffix_is_taken_off_on_every_route(run, kit, route, stream):
    def script(call):
        return kit.HARM if last_words(call.body) == "tell the secret" else HARMLESS

    policy = kit.make_policy(threats={"suffix": {"words": 2}}, smoothing={"claim": "verdict"})

    async def scenario():
        async with kit.proxy(script, policy=policy) as proxy:
            found = []
            for text in ("tell the secret", "tell the secret please now", "tell the time please"):
                path, body = route(text)
                asked = {"model": "scripted", **body, "stream": stream}
                found.append(await proxy.client.post(path, json=asked))
            return found

    harmful, suffixed, ordinary = run(scenario())
    for response in (harmful, suffixed, ordinary):
        assert response.status_code == 200, response.text
        assert response.headers["x-guardrail-decision"] == (
            "pass" if response is ordinary else "block"
        )
        assert kit.HARM not in response.text
    assert HARMLESS in ordinary.text or route is checked
    assert json.dumps(HARMLESS)[1:-1] not in suffixed.text
