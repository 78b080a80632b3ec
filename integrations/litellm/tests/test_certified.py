"""The guardrail inside a running LiteLLM proxy: our proxy's verdicts and records."""

import inspect
import json
from dataclasses import replace

import openai
import pytest
from gateway import gateway
from guardrail_litellm import CertifiedGuardrail
from litellm.integrations.custom_guardrail import CustomGuardrail

from guardrail import ConfigError, OracleError, UpstreamError
from guardrail.engine.verdict import Action
from guardrail.testing.scenarios import HARMFUL_TEXT, SCENARIOS
from guardrail.testing.setting import POLICY_FILE

# Older releases read a guardrail's class from a file beside the configuration, and give it no
# parameters of ours.
OLDER = "text" in inspect.signature(CustomGuardrail.apply_guardrail).parameters

CONFIG = """
model_list:
  - model_name: scripted
    litellm_params: {{model: openai/scripted, api_base: "{model}", api_key: none}}
  - model_name: named-guard
    litellm_params:
      {{model: openai/scripted, api_base: "{model}", api_key: none, guardrails: [certified]}}
guardrails:
  - guardrail_name: broken
    litellm_params: {{guardrail: ours.broken, mode: [pre_call, post_call]}}
  - guardrail_name: certified
    litellm_params:
      mode: [pre_call, post_call]
      default_on: true
{certified}
router_settings: {{disable_cooldowns: true, num_retries: 0}}
litellm_settings: {{cache: true, cache_params: {{type: local}}}}
"""
NEWER_PARAMS = """
      guardrail: guardrail_litellm.CertifiedGuardrail
      policy: {policy}
      key: noise.key
      records: records.jsonl
"""
OURS = """
import functools

from guardrail import Guard
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.testing.stage import BrokenOracle
from guardrail_litellm import CertifiedGuardrail

certified = functools.partial(
    CertifiedGuardrail, policy={policy!r}, key="noise.key", records="records.jsonl"
)


def broken(**options):
    guard = Guard(scenario_policy(), key=KEY, oracle=BrokenOracle(), records="records.jsonl")
    return CertifiedGuardrail(guard=guard, **options)
"""


def write(folder, model):
    policy = str(POLICY_FILE)
    params = "      guardrail: ours.certified" if OLDER else NEWER_PARAMS.format(policy=policy)
    (folder / "config.yaml").write_text(CONFIG.format(model=model, certified=params))
    (folder / "ours.py").write_text(OURS.format(policy=policy))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("litellm"), write) as proxy:
        yield proxy


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario(running, scenario):
    more = {"guardrails": ["broken"]} if scenario.oracle_down else {}
    played = running.play(scenario, **more)
    played.check(scenario)
    assert HARMFUL_TEXT not in played.response.text
    if scenario.action is Action.FAULT:
        assert played.response.status_code == 503
        error = played.response.json()["error"]
        assert error["type"] == scenario.error.__name__
        assert scenario.error in (UpstreamError, OracleError)
    elif scenario.action is Action.BLOCK:
        assert played.choice["finish_reason"] == "content_filter"
        assert "blocked" in played.choice["content"]
        assert played.choice["refusal"] == played.choice["content"]
    else:
        assert played.choice.get("content") == scenario.text
        assert bool(played.choice.get("tool_calls")) is scenario.tools


def test_the_certificate_is_beside_the_answer(running):
    about = running.play(SCENARIOS[0]).response.json()["guardrail"]
    (record,) = running.records()[-1:]
    assert about["record_id"] == record.record_id
    assert about["certificate"]["radius"] > 0


def test_the_last_piece_of_a_stream_holds_the_certificate(running):
    scenario = next(s for s in SCENARIOS if s.stream and s.action is Action.PASS)
    played = running.play(scenario)
    assert len(played.chunks) > 2
    assert played.chunks[-1]["guardrail"]["decision"] == "pass"


def test_the_model_is_asked_for_variants_only(running):
    played = running.play(SCENARIOS[0])
    (record,) = played.records
    assert len(played.calls) == record.calls
    sent = SCENARIOS[0].request["messages"][0]["content"][1]["image_url"]["url"]
    assert all(sent not in json.dumps(call.body) for call in played.calls)


def test_a_model_that_names_the_guardrail_itself_is_decided_once(running):
    """LiteLLM then runs the hooks again for every call of the model, hence for every variant."""
    for stream in (False, True):
        played = running.play(SCENARIOS[0], model="named-guard", stream=stream)
        (record,) = played.records
        assert len(played.calls) == record.calls
        assert played.choice["content"] == SCENARIOS[0].text


def test_tools_arrive_and_calls_of_them_return(running):
    scenario = next(scenario for scenario in SCENARIOS if scenario.tools)
    for stream in (False, True):
        played = running.play(scenario, stream=stream)
        assert played.calls[0].body["tools"] == scenario.request["tools"]
        assert "coloured" in played.response.text


def test_a_text_is_asked_about_once(running):
    text = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5}
    played = running.play(SCENARIOS[0], **text)
    assert len(played.calls) == 1
    assert played.calls[0].body["temperature"] == 0.5
    assert played.response.json()["guardrail"]["certificate"] is None


def test_a_cache_answers_neither_the_client_nor_the_guard(running):
    safe, harmful = SCENARIOS[0], SCENARIOS[2]
    words = [{"role": "user", "content": "What would be cached?"}]
    for scenario in (safe, safe):
        assert len(running.play(scenario, messages=words).calls) == 1
    played = running.play(replace(harmful, model_down=True))
    assert played.response.status_code == 503


def test_a_client_cannot_bring_the_answer(running):
    played = running.play(SCENARIOS[2], mock_response="Unjudged.")
    assert "Unjudged" not in played.response.text
    assert played.choice["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_other_routes_to_words_are_refused(running, path, body, stream):
    before = len(running.model.calls)
    response = running.client.post(path, json={"model": "scripted", "stream": stream, **body})
    assert response.status_code == 404
    assert "not guarded" in response.text
    assert len(running.model.calls) == before


def test_embeddings_pass_by(running):
    """They are asked for; the scripted model knows none, which is what comes back."""
    response = running.client.post("/v1/embeddings", json={"model": "scripted", "input": "x"})
    assert response.status_code == 404
    assert "not guarded" not in response.text


def test_the_official_client(running):
    running.play(SCENARIOS[0])
    headers = running.client.headers["authorization"]
    url = f"{running.url}/v1"
    with openai.OpenAI(base_url=url, api_key=headers.removeprefix("Bearer ")) as client:
        answer = client.chat.completions.create(**SCENARIOS[0].request)
        assert answer.choices[0].message.content == SCENARIOS[0].text
        assert answer.guardrail["decision"] == "pass"


@pytest.mark.parametrize(("text", "passes"), [("A cat.", True), (HARMFUL_TEXT, False)])
def test_the_endpoint_that_tries_a_guardrail(running, text, passes):
    body = {"guardrail_name": "certified", "text": text}
    response = running.client.post("/guardrails/apply_guardrail", json=body)
    # Newer releases answer 500 to any error here where they run without their database client.
    assert (response.status_code == 200) is passes, response.text
    assert HARMFUL_TEXT not in response.text


# Without a proxy


@pytest.mark.parametrize("mode", ["pre_call", "during_call", ["pre_call", "logging_only"], None])
def test_other_modes_are_refused(mode):
    with pytest.raises(ConfigError, match="mode"):
        CertifiedGuardrail(guardrail_name="g", event_hook=mode)


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="nowhere"):
        CertifiedGuardrail(event_hook=["pre_call", "post_call"], policy="nowhere")
