"""`certified/MODEL` inside a running LiteLLM proxy: guarded on every route that leads to it."""

import pytest
from gateway import gateway
from named import NAMED

from guardrail.testing.scenarios import HARMFUL_TEXT, HARMLESS_TEXT
from guardrail.testing.setting import POLICY_FILE

pytestmark = pytest.mark.nightly  # its LiteLLM takes as long to start as all its tests

CONFIG = """
model_list:
  - model_name: openai/scripted
    litellm_params: {{model: certified/openai/scripted, api_base: "{model}", api_key: none}}
litellm_settings:
  custom_provider_map: [{{provider: certified, custom_handler: ours.provider}}]
router_settings: {{disable_cooldowns: true, num_retries: 0}}
"""
OURS = """
from guardrail_litellm import CertifiedProvider

provider = CertifiedProvider({policy!r}, key="noise.key", records="records.jsonl")
"""


def write(folder, model):
    (folder / "config.yaml").write_text(CONFIG.format(model=model))
    (folder / "ours.py").write_text(OURS.format(policy=str(POLICY_FILE)))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("provider"), write) as proxy:
        yield proxy


def test_an_answer(running):
    played = running.play(NAMED["clean"])
    played.check(NAMED["clean"])
    assert played.choice["content"] == HARMLESS_TEXT
    assert played.response.json()["guardrail"]["decision"] == "pass"


@pytest.mark.parametrize("name", ["forbidden", "streaming blocked", "uncertain"])
def test_a_block(running, name):
    played = running.play(NAMED[name])
    played.check(NAMED[name])
    assert played.choice["finish_reason"] == "content_filter"
    assert HARMFUL_TEXT not in played.response.text


def test_a_stream(running):
    played = running.play(NAMED["streaming"])
    played.check(NAMED["streaming"])
    assert played.choice["content"] == HARMLESS_TEXT
    assert '"decision":"pass"' in played.response.text


def test_a_model_that_is_down(running):
    played = running.play(NAMED["upstream down"])
    played.check(NAMED["upstream down"])
    assert played.response.status_code == 503


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_other_routes_lead_through_the_guard_or_nowhere(running, path, body):
    running.play(NAMED["forbidden"])
    before = len(running.records())
    response = running.client.post(path, json={"model": "openai/scripted", **body})
    assert HARMFUL_TEXT not in response.text
    assert len(running.records()) == before + 1 or response.status_code >= 400
