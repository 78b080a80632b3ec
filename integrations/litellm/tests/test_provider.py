"""`certified/MODEL` through litellm's own functions: the proxy's verdicts and records."""

import asyncio
import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # the list of prices is not fetched

import litellm
from gateway import added
from guardrail_litellm import CertifiedProvider
from named import NAMED

from guardrail.engine.verdict import Action
from guardrail.testing.stage import stage

BLOCKED = "This request was blocked: its answer could not be shown to be harmless."


@pytest.fixture(params=NAMED.values(), ids=NAMED)
def played(request, monkeypatch):
    """A scenario whose guard stands behind the provider `certified`."""
    with stage(request.param, on_block="refusal") as place:
        handler = CertifiedProvider(guard=place.guard)
        map_ = [{"provider": "certified", "custom_handler": handler}]
        monkeypatch.setattr(litellm, "custom_provider_map", map_)
        yield place


def arguments(place):
    request = place.scenario.request
    return {
        **request,
        "model": f"certified/{request['model']}",
        "api_base": place.model.base_url,
        "api_key": "none",
        "num_retries": 0,
        "max_retries": 0,
    }


async def answered_async(place):
    answer = await litellm.acompletion(**arguments(place))
    if not place.scenario.stream:
        return whole(answer)
    return added([chunk.model_dump() async for chunk in answer])


def answered(place):
    answer = litellm.completion(**arguments(place))
    if not place.scenario.stream:
        return whole(answer)
    return added([chunk.model_dump() for chunk in answer])


def whole(answer):
    (choice,) = answer.choices
    return {**choice.message.model_dump(), "finish_reason": choice.finish_reason, "answer": answer}


def run(work):
    """On asyncio's own loop: litellm leaves connections open, which uvloop waits for in vain."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(work)


@pytest.mark.parametrize(
    "is_async",
    [pytest.param(False, id="sync", marks=pytest.mark.nightly), pytest.param(True, id="async")],
)
def test_a_scenario(played, is_async):
    scenario = played.scenario

    def ask():
        return run(answered_async(played)) if is_async else answered(played)

    if scenario.action is Action.FAULT:
        with pytest.raises(litellm.APIError) as raised:
            ask()
        assert raised.value.status_code == 503
    else:
        message = ask()
        blocked = scenario.action is Action.BLOCK
        assert (message["finish_reason"] == "content_filter") is blocked
        assert (message.get("content") or None) == (BLOCKED if blocked else scenario.text)
        assert bool(message.get("tool_calls")) is scenario.tools
        if not scenario.stream:
            assert message["answer"].guardrail["decision"] == ("block" if blocked else "pass")
    played.check()


@pytest.mark.parametrize("played", [NAMED["clean"]], indirect=True, ids=["clean"])
def test_parameters_are_not_changed_on_their_way(played):
    litellm.completion(**arguments(played), temperature=0.5, stop=["x"])
    for call in played.model.calls:
        assert (call.body["temperature"], call.body["stop"]) == (0.5, ["x"])
        assert call.body["model"] == "scripted"
