"""Variants' answers that are broken off once they are harmful, through the whole proxy."""

import pytest

from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.litellm_sdk import LiteLLM
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import State, Step
from guardrail.upstreams.scripted_server import scripted_server

MORE = "and then many more words follow it. " * 12


def by_litellm(url):
    pytest.importorskip("litellm")
    return LiteLLM("openai/m", api_key="k", api_base=url)


@pytest.mark.parametrize(
    "made",
    [
        OpenAICompatible,
        pytest.param(
            by_litellm, marks=[pytest.mark.filterwarnings("ignore"), pytest.mark.nightly]
        ),  # warns of itself
    ],
)
def test_the_provider_is_told_to_stop_and_harmless_answers_come_whole(run, kit, made):
    policy = kit.make_policy(sampling={"judge_every_chars": 50}, block={"details": "counts"})

    async def asked(text, pause_s):
        async with scripted_server([Step(text, word_pause_s=pause_s)]) as server:
            upstream = LimitedUpstream(made(server.base_url), CallLimits())
            async with kit.proxy(upstream, policy=policy) as proxy:
                answer = (await proxy.chat(images=1)).json()
            return answer, server.log

    answer, log = run(asked(f"{kit.HARM} {MORE}", 0.05), timeout_s=120)
    assert answer["guardrail"]["decision"] == "block"
    assert answer["choices"][0]["message"]["content"] == answer["choices"][0]["message"]["refusal"]
    assert log.count(State.CANCELLED) == answer["guardrail"]["calls"] == len(log.calls)
    answer, log = run(asked(MORE, 0.0), timeout_s=120)
    assert answer["guardrail"]["decision"] == "pass"
    assert answer["choices"][0]["message"]["content"] == MORE
    assert log.count(State.ANSWERED) == answer["guardrail"]["calls"]
