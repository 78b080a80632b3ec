"""A judge as a policy chooses it."""

import asyncio

import pytest
from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.oracles.judge.templates import TEMPLATES
from guardrail.oracles.kinds.judge import JudgeOptions
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted_server import scripted_server

SERVER = "openai_compatible:http://127.0.0.1:9/v1"


def policy(**fields):
    oracle = {"kind": "judge", "upstream": SERVER, "model": "guard", "miss_rate_upper": 0.1}
    return Policy.model_validate({"name": "p", "oracle": {**oracle, **fields}})


def compiled(**fields):
    return compile_oracle(policy(**fields))


def test_every_field_that_fixes_verdicts_arrives():
    variants = [
        {},
        {"upstream": "openai_compatible:http://127.0.0.1:8/v1"},
        {"model": "other"},
        {"rubric": "No hats."},
        {"template": "llama_guard_4"},
        {"template": "llama_guard_4", "form": "prompt"},
        {"pictures": True},
        {"logprobs": False},
        {"logprobs": True},
        {"max_tokens": 3},
        {"threshold": 0.7},
    ]
    assert len({compiled(**fields).revision for fields in variants}) == len(variants)


def test_the_templates_are_those_of_the_oracle():
    assert JudgeOptions.model_fields["template"].annotation.__args__ == TEMPLATES


async def judged_over_a_socket():
    async with scripted_server(["unsafe\nS9"]) as server:
        oracle = compiled(
            upstream=f"openai_compatible:{server.base_url}",
            template="llama_guard_3",
            api_key_env="JUDGE_KEY",
        )
        try:
            (judgement,) = await oracle.judge([Exchange("q", "a")])
        finally:
            await oracle.aclose()
        return judgement, *server.log.calls


def test_judging_over_a_real_socket(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "key-of-the-judge")
    judgement, call = asyncio.run(judged_over_a_socket())
    assert (judgement.outcome, judgement.reason) == (
        Outcome.HARMFUL,
        "judge: indiscriminate weapons",
    )
    assert call.headers["authorization"] == "Bearer key-of-the-judge"
    assert (call.body["model"], call.body["temperature"], call.body["logprobs"]) == (
        "guard",
        0,
        True,
    )


def test_a_litellm_judge_is_not_asked_for_probabilities_by_itself():
    pytest.importorskip("litellm")
    bare = compiled(upstream="litellm:openai/gpt-4o-mini", model="")
    asked = compiled(upstream="litellm:openai/gpt-4o-mini", model="", logprobs=True)
    assert bare.revision != asked.revision
    asyncio.run(bare.aclose())


WRONG_FIELDS = {
    "an unknown template": ({"template": "guardian"}, "template"),
    "a rubric for another template": ({"template": "nemotron", "rubric": "x"}, "rubric"),
    "a form that there is none of": ({"template": "granite_guardian", "form": "prompt"}, "form"),
    "pictures for a judge of texts": ({"template": "shieldgemma", "pictures": True}, "texts only"),
    "a guideline that no local model takes": (
        {"template": "shieldgemma", "upstream": "transformers:some/model"},
        "form: prompt",
    ),
    "no model": ({"model": ""}, "needs 'model'"),
    "no upstream": ({"upstream": ""}, "upstream"),
}


@pytest.mark.parametrize(("fields", "words"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_wrong_fields_are_refused_when_the_policy_is_read(fields, words):
    with pytest.raises(ValidationError, match=words):
        policy(**fields)


WRONG_CHOICES = {
    "an unknown upstream": ({"upstream": "carrier_pigeon:coop"}, "not an upstream"),
    "an upstream without an address": ({"upstream": "litellm"}, "colon"),
    "a low threshold without certain probabilities": ({"threshold": 0.3}, "logprobs: true"),
    "a key that is not there": ({"api_key_env": "NO_SUCH_KEY_HERE"}, "NO_SUCH_KEY_HERE"),
}


@pytest.mark.parametrize(("fields", "words"), WRONG_CHOICES.values(), ids=WRONG_CHOICES)
def test_wrong_choices_are_refused_when_the_policy_is_compiled(fields, words):
    with pytest.raises(ConfigError, match=words):
        compiled(**fields)
