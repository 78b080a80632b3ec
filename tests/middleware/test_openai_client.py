"""OpenAI's real clients, wrapped: used as ever, their variants sent by the original one."""

import asyncio
import threading
import time

import httpx
import openai
import pytest
from pydantic import BaseModel

from guardrail import ConfigError, ContentBlocked, OracleError, RequestError, UpstreamError
from guardrail.engine.verdict import Reason
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.stage import stage
from guardrail.upstreams.scripted import Fault, State, Step


class Seen(BaseModel):
    what: str


def script_of(kit):
    """Answers with what the prompt asks for."""

    def script(call):
        asked = str(call.body["messages"])
        if "harm" in asked:
            return kit.HARM
        return '{"what": "squares"}' if "as JSON" in asked else "A picture."

    return script


@pytest.fixture(scope="module")
def served(kit):
    with kit.model(script_of(kit)) as model:
        yield model


@pytest.fixture(scope="module")
def guard(kit):
    with kit.make_guard() as made:
        yield made


@pytest.fixture(scope="module")
def original(served):
    with openai.OpenAI(base_url=served.base_url, api_key="sk-original", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def client(guard, original):
    return guard.wrap(original)


def async_client(served, **options):
    return openai.AsyncOpenAI(
        base_url=served.base_url, api_key="sk-original", max_retries=0, **options
    )


def said(completion):
    return completion.choices[0].message.content


# Each form of an answer


def test_a_completion(client, kit):
    completion = client.chat.completions.create(**kit.request(1))
    assert said(completion) == "A picture."
    assert completion.guardrail["decision"] == "pass"


def test_a_stream(client, kit):
    chunks = list(client.chat.completions.create(**kit.request(1), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "A picture."
    assert chunks[-1].guardrail["decision"] == "pass"


def test_the_stream_helper(client, kit):
    with client.chat.completions.stream(**kit.request(1)) as stream:
        assert said(stream.get_final_completion()) == "A picture."


def test_a_parsed_model(client, kit):
    body = kit.request(1, prompt="Answer as JSON.")
    parsed = client.chat.completions.parse(**body, response_format=Seen)
    assert parsed.choices[0].message.parsed == Seen(what="squares")


def test_a_raw_response_has_the_proxys_headers(client, kit):
    raw = client.chat.completions.with_raw_response.create(**kit.request(1))
    assert raw.headers["x-guardrail-decision"] == "pass"
    assert said(raw.parse()) == "A picture."


def test_a_response(client, kit):
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": kit.picture_url(), "detail": "auto"},
    ]
    asked = {"model": "scripted", "input": [{"role": "user", "content": content}], "store": False}
    response = client.responses.create(**asked)
    assert response.output_text == "A picture."
    assert response.guardrail["decision"] == "pass"
    events = list(client.responses.create(**asked, stream=True))
    assert events[-1].response.output_text == "A picture."


def test_a_response_is_named_by_its_own_principal_only(guard, original):
    alice, mallory = (guard.wrap(original, principal=name) for name in ("alice", "mallory"))
    item = alice.responses.create(model="scripted", input="Hi").output[0]
    refused = []
    for client, name in [(mallory, item.id), (guard.wrap(original), item.id), (alice, "msg_1")]:
        with pytest.raises(RequestError) as caught:
            client.responses.create(model="scripted", input=[{"id": name}])
        refused.append((str(caught.value), caught.value.status, caught.value.code))
    assert refused == [refused[0]] * 3
    assert refused[0][1:] == (404, "item_not_found")
    again = [{"id": item.id}, {"role": "user", "content": "And now?"}]
    assert alice.responses.create(model="scripted", input=again).output_text == "A picture."


def test_the_async_client(guard, served, kit):
    async def main():
        async with async_client(served) as original:
            client = guard.wrap(original)
            completion = await client.chat.completions.create(**kit.request(1))
            stream = await client.chat.completions.create(**kit.request(1), stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            response = await client.responses.create(model="scripted", input="Hi", store=False)
            return said(completion), "".join(pieces), response.output_text

    assert asyncio.run(main()) == ("A picture.",) * 3


def test_many_at_once_and_in_a_running_loop(client, guard, served, kit):
    async def main():
        async with async_client(served) as original:
            ask = guard.wrap(original).chat.completions.create
            answers = await asyncio.gather(*(ask(**kit.request(1, seed=i)) for i in range(4)))
            return [said(answer) for answer in answers] + [
                said(client.chat.completions.create(**kit.request(1)))  # sync, in a loop
            ]

    assert asyncio.run(main()) == ["A picture."] * 5


# What a wrapped client is


def test_it_is_a_client_of_the_same_class(client, original, guard, served):
    assert isinstance(client, openai.OpenAI)
    assert type(original) is openai.OpenAI
    assert isinstance(guard.wrap(async_client(served)), openai.AsyncOpenAI)


def test_the_original_client_sends_the_variants(client, served, kit):
    before = len(served.calls)
    extra = {"x-tenant": "blue"}
    completion = client.chat.completions.create(**kit.request(1), extra_headers=extra)
    calls = served.calls[before:]
    assert len(calls) == completion.guardrail["calls"] > 1
    assert {call.headers["authorization"] for call in calls} == {"Bearer sk-original"}
    assert {call.headers["x-tenant"] for call in calls} == {"blue"}
    assert not {kit.picture_url()} & {
        part["image_url"]["url"]
        for call in calls
        for part in call.body["messages"][0]["content"][1:]
    }


def test_options_of_a_copy_stay_guarded(client, kit):
    with pytest.raises(ContentBlocked):
        client.with_options(timeout=30).chat.completions.create(**kit.request(1, prompt="harm"))


def test_azures_client_too(guard, served, kit):
    with openai.AzureOpenAI(
        azure_endpoint=served.base_url.removesuffix("/v1"),
        api_key="k",
        api_version="2024-10-21",
        max_retries=0,
    ) as original:
        client = guard.wrap(original)
        assert said(client.chat.completions.create(**kit.request(1))) == "A picture."
        assert served.calls[-1].headers["api-key"] == "k"


def test_models_are_listed_by_the_original(client):
    assert [model.id for model in client.models.list()] == ["scripted"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.completions.create(model="m", prompt="x"),
        lambda client: client.images.generate(prompt="x"),
        lambda client: client.audio.speech.create(input="x", model="m", voice="ash"),
        lambda client: client.chat.completions.retrieve("id"),
        lambda client: client.models.delete("m"),
        lambda client: client.responses.retrieve("id"),
    ],
)
def test_every_other_route_is_refused(client, ask):
    with pytest.raises(RequestError, match="not guarded"):
        ask(client)


def test_sockets_do_not_pass_by(client):
    assert "not-guarded.invalid" in client.websocket_base_url


# Blocks and faults


def test_a_block_is_raised(client, kit):
    with pytest.raises(ContentBlocked) as caught:
        client.chat.completions.create(**kit.request(1, prompt="harm"))
    assert caught.value.verdict.reason is Reason.HARMFUL
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_async_client_raises_alike(guard, served, kit):
    async def main():
        async with async_client(served) as original:
            client = guard.wrap(original)
            with pytest.raises(ContentBlocked):
                await client.chat.completions.create(**kit.request(1, prompt="harm"))
            with pytest.raises(RequestError, match="not guarded"):
                await client.completions.create(model="m", prompt="x")
            return [model.id async for model in client.models.list()]

    assert asyncio.run(main()) == ["scripted"]


def test_a_blocked_stream_never_begins(client, kit):
    with pytest.raises(ContentBlocked):
        client.chat.completions.create(**kit.request(1, prompt="harm"), stream=True)
    with pytest.raises(ContentBlocked):
        client.responses.create(model="m", input="harm", store=False)


def test_or_a_block_is_a_refusal(original, kit):
    with kit.make_guard(on_block="refusal") as guard:
        client = guard.wrap(original)
        completion = client.chat.completions.create(**kit.request(1, prompt="harm"))
        chunks = list(client.chat.completions.create(**kit.request(prompt="harm"), stream=True))
    choice = completion.choices[0]
    assert (choice.finish_reason, choice.message.content) == (
        "content_filter",
        choice.message.refusal,
    )
    assert choice.message.refusal
    assert chunks[-1].choices[0].finish_reason == "content_filter"


def test_a_bad_request_names_its_field(client, kit):
    with pytest.raises(RequestError) as caught:
        client.chat.completions.create(**kit.request(1), n=2)
    assert caught.value.param == "n"


@pytest.mark.parametrize(("status", "transient"), [(402, False), (429, True), (503, True)])
def test_a_model_that_fails(guard, kit, status, transient):
    step = Step(fault=Fault.STATUS, status=status, retry_after="3")
    with (
        kit.model([step]) as model,
        openai.OpenAI(base_url=model.base_url, api_key="sk-secret", max_retries=0) as original,
        pytest.raises(UpstreamError) as caught,
    ):
        guard.wrap(original).chat.completions.create(**kit.request())
    error = caught.value
    assert (error.status, error.transient) == (status, transient)
    assert error.retry_after_s == (3.0 if transient else None)
    assert "sk-secret" not in f"{error!r} {error.__context__!r}"


class TestOneAnswer:
    """Each variant is asked about once: the client's own retries would draw its answer anew."""

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_the_originals_retries_do_not_hold_for_variants(self, guard, kit, status):
        step = Step(fault=Fault.STATUS, status=status, retry_after="0")

        async def asked(model):
            async with openai.AsyncOpenAI(base_url=model.base_url, api_key="k") as original:
                with pytest.raises(UpstreamError):
                    await guard.wrap(original).chat.completions.create(**kit.request())

        with kit.model([step]) as model:
            with (
                openai.OpenAI(base_url=model.base_url, api_key="k", max_retries=5) as original,
                pytest.raises(UpstreamError),
            ):
                guard.wrap(original).chat.completions.create(**kit.request())
            assert len(model.calls) == 1
            asyncio.run(asked(model))
            assert len(model.calls) == 2

    @pytest.mark.parametrize(
        ("url", "known"), [("https://api.openai.com/v1", True), ("http://127.0.0.1:9/v1", False)]
    )
    def test_429_drew_nothing_at_a_provider_of_the_table(self, guard, monkeypatch, url, known):
        made = []
        monkeypatch.setattr(
            guard._runtime.decider, "function", lambda _, **options: made.append(options)
        )
        with openai.OpenAI(base_url=url, api_key="k") as original:
            transport = guard.wrap(original)._client._transport
            transport._upstream(None)
        (options,) = made
        assert (429 in options["undrawn"]) is known
        assert options["one_request"]

    def test_an_answer_out_of_a_gateways_cache_is_missing(self, guard, kit):
        step = Step("A picture.", headers={"x-cache": "HIT"})
        with (
            kit.model([step]) as model,
            openai.OpenAI(base_url=model.base_url, api_key="k") as original,
        ):
            wrapped = guard.wrap(original).chat.completions
            with pytest.raises(UpstreamError, match="cache"):
                wrapped.create(**kit.request(1))
            assert said(wrapped.create(**kit.request())) == "A picture."  # no test, no draws


def test_a_model_that_cannot_be_reached(guard, kit):
    with (
        openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0) as original,
        pytest.raises(UpstreamError) as caught,
    ):
        guard.wrap(original).chat.completions.create(**kit.request())
    assert caught.value.code == "upstream_connection"
    assert caught.value.undrawn


def test_the_originals_own_timeout(guard, kit):
    with (
        kit.model([Step(fault=Fault.HANG)]) as model,
        openai.OpenAI(base_url=model.base_url, api_key="k", max_retries=0) as original,
        pytest.raises(UpstreamError) as caught,
    ):
        guard.wrap(original.with_options(timeout=0.2)).chat.completions.create(**kit.request())
    assert caught.value.status == 504


def test_an_oracle_that_is_down(original, kit):
    class Down(kit.Words):
        async def judge(self, exchanges):  # noqa: ARG002 (the protocol's)
            raise OracleError("no judgement")

    with kit.make_guard(oracle=Down()) as guard, pytest.raises(OracleError):
        guard.wrap(original).chat.completions.create(**kit.request())


def test_the_callers_timeout_bounds_the_decision(kit):
    with kit.model([Step(fault=Fault.HANG)]) as model, kit.make_guard() as guard:

        async def main():
            async with async_client(model) as original:
                ask = guard.wrap(original).chat.completions.create
                with pytest.raises(openai.APITimeoutError):
                    await ask(**kit.request(1), timeout=0.3)

        asyncio.run(main())
        with openai.OpenAI(base_url=model.base_url, api_key="k", timeout=2) as original:
            ask = guard.wrap(original).chat.completions.create
            with pytest.raises(openai.APITimeoutError):
                ask(**kit.request(), timeout=0.3)


def test_cancelling_ends_the_calls(kit):
    asked = threading.Event()

    def script(_call):
        asked.set()
        return Step(fault=Fault.HANG)

    with kit.model(script) as model, kit.make_guard() as guard:

        async def main():
            async with async_client(model) as original:
                ask = guard.wrap(original).chat.completions.create
                task = asyncio.create_task(ask(**kit.request(1)))
                await asyncio.to_thread(asked.wait)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(main())
        while model.log.in_flight:  # the server notices that the connections are gone
            time.sleep(0.01)
    assert {call.state for call in model.calls} == {State.CANCELLED}


def test_other_things_cannot_be_wrapped(guard):
    with httpx.Client() as client:
        for thing in (client, print, object()):
            with pytest.raises(ConfigError, match="can be wrapped"):
                guard.wrap(thing)


def test_a_wrapped_client_keeps_its_guard(original, kit):
    client = kit.make_guard().wrap(original)
    assert said(client.chat.completions.create(**kit.request(1))) == "A picture."


# The same as the proxy


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_it_decides_as_the_proxy_does(scenario):
    with stage(scenario) as played:
        url = played.model.base_url
        with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as original:
            create = played.guard.wrap(original).chat.completions.create
            if scenario.error is not None:
                with pytest.raises(scenario.error):
                    create(**scenario.request)
            elif scenario.stream:
                pieces = [c.choices[0].delta.content or "" for c in create(**scenario.request)]
                assert "".join(pieces) == scenario.text
            else:
                message = create(**scenario.request).choices[0].message
                assert (message.content, bool(message.tool_calls)) == (
                    scenario.text,
                    scenario.tools,
                )
        played.check()
