"""Our Generic Guardrail API asked by a running LiteLLM proxy, which then calls its model itself."""

from contextlib import contextmanager

import pytest
from gateway import gateway

from guardrail.engine.engine import Engine
from guardrail.policy.compile import compile_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.server.serve import running_server
from guardrail.testing.scenarios import HARMFUL_TEXT, SCENARIOS
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.upstreams.openai_http import OpenAICompatible

pytest.importorskip(
    "litellm.proxy.guardrails.guardrail_hooks.generic_guardrail_api", reason="not in this release"
)

pytestmark = pytest.mark.nightly  # its LiteLLM takes as long to start as all its tests

CONFIG = """
model_list:
  - model_name: scripted
    litellm_params: {{model: openai/scripted, api_base: "{model}", api_key: none}}
guardrails:
  - guardrail_name: asked
    litellm_params:
      guardrail: generic_guardrail_api
      mode: [pre_call, post_call]
      api_base: {guard}
      default_on: true
router_settings: {{disable_cooldowns: true, num_retries: 0}}
"""
clean, forbidden = SCENARIOS[0], SCENARIOS[2]


@contextmanager
def proxy_of_ours(model):
    policy = scenario_policy()
    engine = Engine(compile_policy(policy), OpenAICompatible(model), compile_oracle(policy), KEY)
    with running_server(policy, engine) as server:
        yield server.url


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = []

    def write(folder, model):
        server = proxy_of_ours(model)
        servers.append(server)
        (folder / "config.yaml").write_text(CONFIG.format(model=model, guard=server.__enter__()))

    try:
        with gateway(tmp_path_factory.mktemp("generic"), write) as proxy:
            yield proxy
    finally:
        for server in servers:
            server.__exit__(None, None, None)


def test_a_picture_that_is_certified_passes(running):
    played = running.play(clean)
    assert played.choice["content"] == clean.text
    # All but the last are the guard's; the last is LiteLLM's own, to which no proof belongs.
    assert len(played.calls) > 20


def test_a_picture_that_draws_harm_is_blocked(running):
    played = running.play(forbidden)
    assert played.response.status_code == 400
    assert "blocked" in played.response.text
    assert HARMFUL_TEXT not in played.response.text


def test_an_answer_without_pictures_is_judged(running):
    text = {"messages": [{"role": "user", "content": "Hello"}]}
    assert running.play(clean, **text).choice["content"] == clean.text
    blocked = running.play(forbidden, **text)
    assert blocked.response.status_code == 400
    assert HARMFUL_TEXT not in blocked.response.text


def test_a_client_needs_no_consent_to_be_guarded(running):
    played = running.play(forbidden, guardrails=[])
    assert played.response.status_code == 400
