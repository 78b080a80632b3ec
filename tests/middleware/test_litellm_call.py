"""litellm's functions, wrapped: called as ever, their variants sent by the originals."""

import asyncio

import litellm
import pytest

from guardrail import ConfigError, ContentBlocked, RequestError, UpstreamError
from guardrail.middleware.litellm_call import wrap_call
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.stage import stage
from guardrail.upstreams.scripted import Fault, State, Step

# litellm and its models warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def served(kit):
    def script(call):
        return kit.HARM if "harm" in str(call.body["messages"]) else "A picture."

    with kit.model(script) as model:
        yield model


@pytest.fixture(scope="module")
def guard(kit):
    with kit.make_guard() as made:
        yield made


def asked(kit, served, images=1, **fields):
    body = kit.request(images, **fields)
    return {**body, "model": "openai/scripted", "api_base": served.base_url, "api_key": "sk-mine"}


def said(response):
    return response.choices[0].message.content


def test_completion(guard, served, kit):
    response = guard.wrap(litellm.completion)(**asked(kit, served))
    assert isinstance(response, litellm.ModelResponse)
    assert said(response) == "A picture."
    assert response.guardrail["decision"] == "pass"
    assert served.calls[-1].headers["authorization"] == "Bearer sk-mine"


def test_acompletion(guard, served, kit):
    assert said(asyncio.run(guard.wrap(litellm.acompletion)(**asked(kit, served)))) == "A picture."


def test_the_tries_of_a_principal_are_counted(guard, served, kit):
    first_one, second_one = (asked(kit, served, prompt=f"harm {i}") for i in (1, 2))
    with pytest.raises(ContentBlocked) as first:
        guard.wrap(litellm.completion, principal="mallory")(**first_one)
    with pytest.raises(ContentBlocked) as second:
        asyncio.run(guard.wrap(litellm.acompletion, principal="mallory")(**second_one))
    found = [blocked.value.verdict.spending_number for blocked in (first, second)]
    assert found == [1, 2]


def test_streams(guard, served, kit):
    async def main():
        stream = await guard.wrap(litellm.acompletion)(**asked(kit, served), stream=True)
        return [chunk async for chunk in stream]

    for chunks in (
        list(guard.wrap(litellm.completion)(**asked(kit, served), stream=True)),
        asyncio.run(main()),
    ):
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "A picture."
        assert chunks[-1].guardrail["decision"] == "pass"


def test_model_and_messages_may_stand_without_names(guard, served, kit):
    given = asked(kit, served)
    model, messages = given.pop("model"), given.pop("messages")
    assert said(guard.wrap(litellm.completion)(model, messages, **given)) == "A picture."


def test_an_answer_may_be_sent_back_as_history(guard, served, kit):
    complete = guard.wrap(litellm.completion)
    given = asked(kit, served)
    answer = complete(**given).choices[0].message
    given["messages"] = [*given["messages"], answer, {"role": "user", "content": "And now?"}]
    assert said(complete(**given)) == "A picture."
    assert served.calls[-1].body["messages"][1]["content"] == "A picture."


def test_a_providers_own_fields_travel_in_the_extra_body(guard, served, kit):
    guard.wrap(litellm.completion)(**asked(kit, served), extra_body={"top_k": 7}, temperature=0.1)
    assert served.calls[-1].body["top_k"] == 7
    assert served.calls[-1].body["temperature"] == 0.1


def test_pictures_in_the_extra_body_are_refused(guard, served, kit):
    with pytest.raises(RequestError, match="data URL"):
        guard.wrap(litellm.completion)(**asked(kit, served), extra_body={"x": kit.picture_url()})


def test_a_block_is_raised(guard, served, kit):
    with pytest.raises(ContentBlocked):
        guard.wrap(litellm.completion)(**asked(kit, served, prompt="harm"))
    with pytest.raises(ContentBlocked):
        asyncio.run(
            guard.wrap(litellm.acompletion)(**asked(kit, served, prompt="harm"), stream=True)
        )


def test_or_a_refusal(served, kit):
    with kit.make_guard(on_block="refusal") as guard:
        response = guard.wrap(litellm.completion)(**asked(kit, served, prompt="harm"))
    assert response.choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize(("status", "transient"), [(404, False), (429, True)])
def test_a_model_that_fails_quotes_no_key(guard, kit, status, transient):
    step = Step(fault=Fault.STATUS, status=status)
    with kit.model([step]) as model:
        given = asked(kit, model, 0)
        for ask in (
            lambda: guard.wrap(litellm.completion)(**given),
            lambda: asyncio.run(guard.wrap(litellm.acompletion)(**given)),
        ):
            with pytest.raises(UpstreamError) as caught:
                ask()
            assert (caught.value.status, caught.value.transient) == (status, transient)
            assert "sk-mine" not in f"{caught.value!r} {caught.value.__context__!r}"


class TestOneAnswer:
    """Each variant is asked about once, whatever the caller's own options say."""

    @staticmethod
    def faults(guard, given):
        for ask in (
            lambda: guard.wrap(litellm.completion)(**given),
            lambda: asyncio.run(guard.wrap(litellm.acompletion)(**given)),
        ):
            with pytest.raises(UpstreamError) as caught:
                ask()
            yield caught.value

    @pytest.mark.parametrize(
        "step", [Step(fault=Fault.STATUS, status=500), Step(fault=Fault.RESET)]
    )
    @pytest.mark.parametrize(
        "options", [{}, {"num_retries": 3, "max_retries": 2}, {"caching": False}], ids=str
    )
    def test_litellms_retries_are_off(self, guard, kit, step, options):
        with kit.model([step]) as model:
            given = {**asked(kit, model, 0), "model": "groq/scripted", **options}
            assert [fault.undrawn for fault in self.faults(guard, given)] == [False, False]
            assert len(model.calls) == 2

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("fallbacks", ["other"]),
            ("context_window_fallback_dict", {"a": "b"}),
            ("caching", True),
        ],
    )
    def test_what_would_answer_in_the_models_place_is_refused(
        self, guard, served, kit, name, value
    ):
        with pytest.raises(RequestError) as caught:
            guard.wrap(litellm.completion)(**asked(kit, served), **{name: value})
        assert caught.value.param == name

    def test_retries_that_cannot_be_switched_off_are_refused(self, guard, served, kit, monkeypatch):
        monkeypatch.setattr(litellm, "num_retries", 2)
        with pytest.raises(ConfigError, match=r"litellm\.num_retries"):
            guard.wrap(litellm.completion)(**asked(kit, served, 0))
        answer = asyncio.run(guard.wrap(litellm.acompletion)(**asked(kit, served, 0)))
        assert said(answer) == "A picture."

    def test_429_drew_nothing_only_where_the_provider_answers_for_itself(
        self, guard, kit, monkeypatch
    ):
        with kit.model([Step(fault=Fault.STATUS, status=429)]) as model:
            given = asked(kit, model, 0)
            assert [fault.undrawn for fault in self.faults(guard, given)] == [False, False]
            monkeypatch.setattr(
                "guardrail.middleware.litellm_call.is_direct_provider", lambda *_: True
            )
            assert [fault.undrawn for fault in self.faults(guard, given)] == [True, True]

            # A router knows models by names of its own, which may look like a provider's.
            async def route(model, messages, **options):
                return await litellm.acompletion(model, messages, **options)

            with pytest.raises(UpstreamError) as caught:
                asyncio.run(guard_call(guard, route)(**given))
            assert not caught.value.undrawn


def guard_call(guard, function):
    return wrap_call(guard._runtime, function)


def test_cancelling_reaches_the_calls(guard, kit):
    with kit.model([Step(fault=Fault.HANG)]) as model:

        async def main():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await guard.wrap(litellm.acompletion)(**asked(kit, model))

        asyncio.run(main())
    assert not model.log.count(State.ANSWERED)


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name in ("clean", "tools")], ids=lambda s: s.name
)
def test_it_counts_as_the_proxy_does(scenario):
    with stage(scenario) as played:
        complete = played.guard.wrap(litellm.completion)
        body = {**scenario.request, "model": "openai/scripted"}
        response = complete(**body, api_base=played.model.base_url, api_key="k")
        message = response.choices[0].message
        assert (message.content, bool(message.tool_calls)) == (scenario.text, scenario.tools)
        (record,) = played.journal.records
        assert (record.action, record.reason) == (scenario.action, scenario.reason)
