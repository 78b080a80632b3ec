"""The chat route over sockets: what passes, what is refused, and that nothing goes around."""

import asyncio
import json

import pytest

from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.errors import UpstreamError
from guardrail.oracles.base import Judgement
from guardrail.types import LeftOut, Outcome
from guardrail.upstreams.scripted import Fault, Step


def error_of(response):
    body = response.json()
    assert set(body) <= {"error", "guardrail"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


def test_text_is_answered_and_said_to_be_uncertified(shared, kit):
    before = len(shared.upstream.calls)
    response = shared.post(kit.request(temperature=0.3, top_p=None, unknown_field={"x": [1]}))
    assert response.status_code == 200
    assert response.headers["x-guardrail-reason"] == "not certified: no image"
    assert response.json()["choices"][0]["message"]["content"] == "A picture."
    (call,) = shared.upstream.calls[before:]
    assert call.body["unknown_field"] == {"x": [1]}
    assert call.body["temperature"] == 0.3
    assert "stream" not in call.body


@pytest.mark.parametrize("images", [1, 2])
def test_a_picture_is_answered_with_a_certificate(shared, kit, images):
    before = len(shared.upstream.calls)
    response = shared.post(kit.request(images))
    made = response.json()["guardrail"]
    assert (made["decision"], made["reason"], made["outside_claim"]) == ("pass", "certified", False)
    certificate = decode_certificate(made["certificate"])
    verify_certificate(certificate, made["certificate"])
    assert len(certificate.pictures) == images
    assert made["samples"] == {"total": certificate.samples, "harmless": certificate.harmless}
    shown = float(response.headers["x-guardrail-radius"])
    assert shown <= certificate.radius < shown + 1e-4  # rounded down
    assert response.headers["x-guardrail-samples"] == str(certificate.samples)
    calls = shared.upstream.calls[before:]
    assert len(calls) >= certificate.samples
    assert response.json()["usage"]["prompt_tokens"] == 7 * made["calls"]
    assert all(len(call.pictures) == images for call in calls)


def test_the_model_never_sees_the_picture_itself(shared, kit):
    original = kit.request(1)
    before = len(shared.upstream.calls)
    shared.post(original)
    seen = [call.pictures[0].tobytes() for call in shared.upstream.calls[before:]]
    assert len(set(seen)) == len(seen) > 1
    assert kit.pixels().tobytes() not in seen


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_pictures_in_other_roles_are_guarded_alike(shared, kit, role):
    message = {"role": role, "content": [kit.image_part()]}
    before = len(shared.upstream.calls)
    response = shared.post(kit.request(messages=[message, {"role": "user", "content": "Well?"}]))
    assert response.json()["guardrail"]["certificate"] is not None
    assert all(len(call.pictures) == 1 for call in shared.upstream.calls[before:])


@pytest.mark.parametrize(
    ("agent", "refused"),
    [("ai/6.0.325 ai-sdk/openai-compatible/2.0.92", False), ("OpenAI/Python 2.54.0", True)],
)
def test_a_client_that_shows_both_places_gets_the_words_in_one(shared, kit, agent, refused):
    response = shared.post(kit.request(prompt="harm"), headers={"user-agent": agent})
    message = response.json()["choices"][0]["message"]
    assert message["content"]
    assert bool(message["refusal"]) is refused


@pytest.mark.parametrize("images", [0, 1, 2])
def test_harm_is_blocked(shared, kit, images):
    response = shared.post(kit.request(images, prompt="harm"))
    assert response.status_code == 200
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] == choice["message"]["refusal"] != ""
    assert response.headers["x-guardrail-decision"] == "block"
    told = {"x-guardrail-radius", "x-guardrail-samples", "x-guardrail-cost-usd"}
    assert not told & {*response.headers}
    assert not {"certificate", "samples", "calls", "elapsed_ms"} & {*response.json()["guardrail"]}
    assert set(response.json()["usage"].values()) == {0}
    assert "forbidden" not in response.text


@pytest.mark.parametrize(
    "extra",
    [
        {"guardrail": False},
        {"policy": "off", "mode": "observe"},
        {"metadata": {"guardrail": "off"}},
        {"x-guardrail-mode": "observe"},
    ],
)
def test_no_field_and_no_header_switches_the_guard_off(shared, kit, extra):
    headers = {"x-guardrail-mode": "observe"}
    response = shared.post(kit.request(1, prompt="harm", **extra), headers=headers)
    assert response.headers["x-guardrail-decision"] == "block"
    assert response.headers["x-guardrail-mode"] == "enforce"


BAD_BODIES = {
    "nothing": b"",
    "no JSON": b"hello",
    "half": b'{"model": "scripted", "messages": [',
    "a list": b"[]",
    "NaN": b'{"model": "scripted", "temperature": NaN}',
    "deep": b'{"a":' * 50_000,
    "bytes": bytes(range(256)),
    "twice": b'{"model": "scripted", "model": "scripted"}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bodies_that_are_no_request(shared, name):
    response = shared.post(BAD_BODIES[name])
    assert response.status_code == (413 if name == "deep" else 400)  # it has too many values
    assert error_of(response)["type"] == "invalid_request_error"


def pictures_of_every_kind(kit):
    huge = kit.png_header(30_000, 30_000)
    return {
        "truncated": (kit.data_url(kit.png()[:120]), 400),
        "header of a bomb": (kit.data_url(huge), 413),
        "no pixels": (kit.data_url(kit.png_header(0, 5)), 400),
        "no picture": (kit.data_url(b"hello, world"), 415),
        "wrong media type": (kit.data_url(media_type="image/jpeg"), 200),
        "another kind of file": (kit.data_url(b"%PDF-1.7", media_type="image/png"), 415),
        "garbage": ("data:image/png;base64,%%%%", 400),
        "link": ("https://example.com/cat.png", 400),
        "metadata service": ("http://169.254.169.254/latest", 400),
        "file": ("file:///etc/passwd", 400),
        "one pixel": (kit.data_url(kit.png(1, 1)), 200),
        "gray 16": (kit.data_url(kit.odd_png("I;16")), 200),
        "alpha": (kit.data_url(kit.odd_png("RGBA")), 200),
        "palette": (kit.data_url(kit.odd_png("P")), 200),
        "cmyk": (kit.data_url(kit.odd_png("CMYK", "JPEG"), "image/jpeg"), 200),
    }


@pytest.mark.parametrize("stream", [False, True])
def test_pictures(shared, kit, stream):
    for name, (url, status) in pictures_of_every_kind(kit).items():
        before = len(shared.upstream.calls)
        messages = [{"role": "user", "content": [kit.image_part(url)]}]
        response = shared.post(kit.request(messages=messages, stream=stream))
        assert response.status_code == status, name
        if status != 200:
            error = error_of(response)
            assert error["param"] == "messages[0].content[0].image_url.url", name
            assert len(shared.upstream.calls) == before, name


def test_mistakes_name_the_field_and_reach_no_model(shared, kit):
    before = len(shared.upstream.calls)
    part = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    cases = {
        "messages": {"messages": []},
        "messages[0].role": {"messages": [{"content": "Hi"}]},
        "messages[0].content[0].type": {"messages": [{"role": "user", "content": [part]}]},
        "n": {"n": 2},
        "stream": {"stream": "yes"},
    }
    for param, fields in cases.items():
        response = shared.post(kit.request(**fields))
        assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert len(shared.upstream.calls) == before


def test_too_many_pictures(shared, kit):
    error = error_of(shared.post(kit.request(4)))
    assert error["code"] == "too_many_images"


def test_a_model_that_is_not_there(shared, kit):
    response = shared.post(kit.request(model="gpt-9"))
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert error_of(response)["param"] == "model"


def test_unknown_models_are_the_providers_business_otherwise(run, kit):
    async def scenario():
        async with kit.proxy() as proxy:
            return await proxy.chat(model="alias")

    assert run(scenario()).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large(shared, chunked):
    def pieces():
        for _ in range(40):
            yield b" " * 65_536

    content = pieces() if chunked else b"".join(pieces())
    response = shared.client.post(
        "/v1/chat/completions", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert error_of(response)["code"] == "request_too_large"


@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {"content-encoding": "gzip"}])
def test_other_forms_of_body(shared, kit, headers):
    response = shared.post(kit.request(), headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (415, "unsupported_media_type")


def test_answers_of_every_form_are_passed_on(run, kit):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    script = [Step(message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls")]

    async def scenario():
        async with kit.proxy(script) as proxy:
            return [await proxy.chat(images=n, tools=[]) for n in (0, 1)]

    for response in run(scenario()):
        choice = response.json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"] == [call]


def test_what_was_delivered_is_taken_back_in_the_next_turn(run, kit):
    """Thoughts as parts of the content, empty lists and signatures, plain and streamed."""
    think = {"type": "thinking", "thinking": [{"type": "text", "text": "The user shows a cat."}]}
    parts = [think, {"type": "text", "text": "A picture of a cat."}]
    signed = {"extra_content": {"google": {"thought_signature": "Aa0_" * 20}}}
    message = {"role": "assistant", "content": parts, "refusal": None, "images": [], **signed}
    ask, more = ({"role": "user", "content": text} for text in ("What is this?", "And now?"))

    async def scenario():
        async with kit.proxy([Step(message=message)]) as proxy:
            first = await proxy.chat(messages=[ask])
            said = first.json()["choices"][0]["message"]
            second = await proxy.chat(messages=[ask, said, more])
            return first, second, await proxy.chat(messages=[ask], stream=True), proxy

    first, second, streamed, proxy = run(scenario())
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["choices"][0]["message"]["content"] == parts
    assert "The user shows a cat." in streamed.text  # as reasoning_content
    sent = proxy.upstream.calls[1].body["messages"][1]
    assert sent == {"role": "assistant", "content": parts, **signed}


@pytest.mark.parametrize(
    ("name", "value"),
    [("models", ["other/model"]), ("route", "fallback"), ("plugins", [{"id": "web"}])],
)
def test_a_router_is_not_steered_unless_the_policy_allows_it(run, kit, name, value):
    allowed = kit.make_policy(requests={"allow": [name]})

    async def scenario():
        async with kit.proxy() as proxy:
            refused = await proxy.chat(**{name: value})
        async with kit.proxy(policy=allowed) as proxy:
            return refused, await proxy.chat(**{name: value}), proxy.upstream.calls[0].body

    refused, passed, body = run(scenario())
    assert (refused.status_code, error_of(refused)["param"]) == (400, name)
    assert (passed.status_code, body[name]) == (200, value)


def test_shadow_mode_delivers_and_marks(run, kit):
    policy = kit.make_policy(mode="observe", observe={"wait": True})

    async def scenario():
        async with kit.proxy([kit.HARM], policy=policy) as proxy:
            return [await proxy.chat(images=n) for n in (0, 1)]

    for response in run(scenario()):
        assert response.json()["choices"][0]["message"]["content"] == kit.HARM
        assert response.headers["x-guardrail-would-block"] == "true"
        assert response.headers["x-guardrail-mode"] == "observe"
        assert response.json()["guardrail"]["outside_claim"]


def test_requests_beyond_the_line_are_told_to_come_back(run, kit):
    limits = {"max_concurrent_requests": 1, "max_waiting_requests": 1}

    async def scenario():
        gate = asyncio.Event()

        class Gated(kit.Scripted):
            async def complete(self, chat, pictures, *, seed):
                await gate.wait()
                return await super().complete(chat, pictures, seed=seed)

        upstream = Gated(["A picture."])
        async with kit.proxy(upstream, policy=kit.make_policy(limits=limits)) as proxy:
            tasks = [asyncio.create_task(proxy.chat()) for _ in range(4)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 2:
                more, _ = await asyncio.wait(set(tasks) - done, return_when=asyncio.FIRST_COMPLETED)
                done |= more
            gate.set()
            return await asyncio.gather(*tasks), await proxy.chat()

    responses, later = run(scenario())
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200, 200, 503, 503]
    refused = next(response for response in responses if response.status_code == 503)
    assert error_of(refused)["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert later.status_code == 200  # every place was given back


def test_places_are_given_back_after_every_kind_of_end(run, kit):
    limits = {"max_concurrent_requests": 1, "max_waiting_requests": 0}

    async def scenario():
        script = [Step(fault=Fault.STATUS, status=401), "A picture."]
        async with kit.proxy(script, policy=kit.make_policy(limits=limits)) as proxy:
            kinds = [{}, {"messages": []}, {"stream": True}, {"images": 1}, {"n": 5}, {}]
            return [(await proxy.chat(**kind)).status_code for kind in kinds]

    assert run(scenario()) == [502, 400, 200, 200, 400, 200]


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_left_out_is_told_and_recorded(run, kit, stream):
    kept = []

    def record(_verdict, chat):
        kept.append(chat.left_out)
        return "record-1"

    async def scenario():
        policy = kit.make_policy(images={"history": "last 1"})
        async with kit.proxy(record=record, policy=policy) as proxy:
            old = {"role": "user", "content": [kit.image_part()], "timestamp": 17}
            answer = {"role": "assistant", "content": "A picture."}
            question = kit.request(1)["messages"]
            response = await proxy.chat(messages=[old, answer, *question], stream=stream)
            return response, proxy.calls[0].body["messages"]

    response, sent = run(scenario())
    told = {"fields": ["messages.timestamp"], "pictures": 1}
    if stream:
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        about = next(e["guardrail"] for e in map(json.loads, events) if "guardrail" in e)
    else:
        about = response.json()["guardrail"]
    assert about["left_out"] == told
    assert response.headers["x-guardrail-pictures-left-out"] == "1"
    assert kept == [LeftOut(("messages.timestamp",), 1)]
    assert "timestamp" not in sent[0]
    assert sent[0]["content"][0]["type"] == "text"


def test_decisions_are_recorded_by_name(run, kit):
    kept = []

    def record(verdict, chat):
        kept.append((verdict.action.value, chat.model))
        return f"record-{len(kept)}"

    async def scenario():
        async with kit.proxy(record=record) as proxy:
            return await proxy.chat(images=1)

    response = run(scenario())
    assert kept == [("pass", "scripted")]
    assert response.headers["x-guardrail-record-id"] == "record-1"
    assert response.json()["id"] == "chatcmpl-record-1"


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), UpstreamError("secret-free", status=502)]
)
def test_what_cannot_be_recorded_does_not_leave(run, kit, logs, error):
    def record(verdict, chat):
        raise error

    async def scenario():
        async with kit.proxy(record=record) as proxy:
            return await proxy.chat()

    response = run(scenario())
    assert response.status_code in (500, 502)
    assert "choices" not in response.json()
    assert "A picture" not in response.text
    assert "secret" not in logs.text


def test_a_policy_name_of_any_letters_fits_into_a_header(run, kit):
    async def scenario():
        async with kit.proxy(policy=kit.make_policy(name="política-政策")) as proxy:
            return await proxy.chat()

    assert run(scenario()).headers["x-guardrail-policy"].startswith("pol%C3%ADtica-")


def test_a_large_body_is_read_beside_the_event_loop(shared, kit):
    response = shared.post(kit.request(prompt="word " * 20_000))
    assert response.status_code == 200
    assert json.loads(response.content)["choices"]


CALM = "the dog lies on green grass " * 80


class Averaging:
    """Scores by the share of words that are `forbidden`, so that calm words dilute them."""

    revision = "averaging"

    async def judge(self, exchanges):
        shares = [e.response.count("forbidden") / len(e.response.split()) for e in exchanges]
        return [
            Judgement(Outcome.HARMFUL, share, "averaging: threat")
            if share > 0.1
            else Judgement(Outcome.HARMLESS, share)
            for share in shares
        ]

    async def aclose(self):
        pass


def test_harm_in_a_field_beside_calm_content_is_blocked_and_named(run, kit):
    message = {"role": "assistant", "content": CALM, "reasoning_content": kit.HARM}

    async def main():
        async with kit.proxy([Step(message=message)], oracle=Averaging()) as proxy:
            return (await proxy.chat(images=1)).json()

    body = run(main())
    assert body["choices"][0]["message"]["content"] == body["choices"][0]["message"]["refusal"]
    assert "reasoning_content" not in body["choices"][0]["message"]
    assert body["guardrail"]["reason"] == "harmful"
    assert body["guardrail"]["harmful_answers"] == [
        {"category": "averaging: threat", "field": "reasoning_content"}
    ]
