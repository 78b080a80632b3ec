"""docs/stacks.md: what is shown there for other tools runs, and says what the guard decides.

The other tools are not here: their published forms are written out below, as far as they are used.
"""

import json
import re
import shutil
import subprocess
import types
from contextlib import contextmanager
from pathlib import Path

import httpx
import jsonschema
import pytest
from starlette.testclient import TestClient

from guardrail.assembly import build_engine
from guardrail.engine.rules import Mode
from guardrail.server.serve import running_server
from guardrail.testing.scenarios import HARMFUL_TEXT, HARMLESS_TEXT, picture_url
from guardrail.testing.setting import KEY, scenario_policy

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "stacks.md").read_text()
WORDS = {HARMLESS_TEXT: "let through", HARMFUL_TEXT: "stopped", None: "not decided"}
KGATEWAY = {
    "type": "object",
    "required": ["action"],
    "properties": {
        "action": {
            "anyOf": [
                {  # PassAction
                    "type": "object",
                    "properties": {"reason": {"type": ["string", "null"]}},
                    "additionalProperties": False,
                },
                {  # RejectAction
                    "type": "object",
                    "required": ["body", "status_code"],
                    "properties": {
                        "body": {"type": "string"},
                        "status_code": {"type": "integer"},
                        "reason": {"type": ["string", "null"]},
                    },
                    "additionalProperties": False,
                },
            ]
        }
    },
}
"""Of the webhook's OpenAPI document: the answer to `/request`, without the mask."""


def block(name):
    """The block of code below a mark `<!-- tested: NAME -->`."""
    (found,) = re.findall(rf"<!-- tested: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return found


@contextmanager
def guarding(says, **changes):
    """A real server in front of a model with one answer, or one that fails."""

    def model(_body):
        if says is None:
            raise RuntimeError("down")
        return {"model": "m", "choices": [{"message": {"role": "assistant", "content": says}}]}

    policy = scenario_policy().model_copy(update=changes)
    with running_server(policy, build_engine(policy, model, KEY)) as running:
        yield running.base_url.removesuffix("/v1")


@pytest.mark.parametrize("says", WORDS)
@pytest.mark.parametrize("mode", Mode)
def test_the_webhook_of_kgateway(says, mode, monkeypatch):
    service = types.ModuleType("service")
    asked = {"body": {"messages": [{"role": "user", "content": "What is a cat?"}]}}
    with guarding(says, mode=mode) as url:
        monkeypatch.setenv("GUARDRAIL_URL", url)
        monkeypatch.setenv("GUARDRAIL_MODEL", "m")
        exec(block("kgateway"), service.__dict__)  # noqa: S102 (our own page)
        answer = TestClient(service.app).post("/request", json=asked).json()
    jsonschema.validate(answer, KGATEWAY)
    status = {"let through": None, "stopped": 403, "not decided": 503}[WORDS[says]]
    assert answer["action"].get("status_code") == status
    assert answer["action"]["reason"] == WORDS[says]


def test_the_webhook_of_kgateway_without_a_server(monkeypatch):
    service = types.ModuleType("service")
    monkeypatch.setenv("GUARDRAIL_URL", "http://127.0.0.1:9")
    exec(block("kgateway"), service.__dict__)  # noqa: S102 (our own page)
    answer = TestClient(service.app).post("/request", json={"body": {}}).json()
    assert answer["action"]["status_code"] == 503


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("says", WORDS)
def test_the_signal_of_coop(says, tmp_path):
    """By the fields that `PluginSignalDescriptor` has, for a text and for a picture."""
    (tmp_path / "signal.mjs").write_text(block("coop"))
    (tmp_path / "run.mjs").write_text(
        """
import { createSignals } from './signal.mjs';
const [config, inputs] = process.argv.slice(2).map(JSON.parse);
const context = { integrationId: 'GUARDRAIL', getCredential: async () => config };
const [{ signalTypeId, signal }] = createSignals(context);
const results = [];
for (const value of inputs) results.push(await signal.run({ value, orgId: 'o' }));
const disabled = [await signal.getDisabledInfo('o')];
console.log(JSON.stringify({ signalTypeId, signal, results, disabled }));
"""
    )
    inputs = [
        {"type": "STRING", "value": "What is a cat?"},
        {"type": "IMAGE", "value": {"url": picture_url()}},
    ]
    with guarding(says) as url:
        config = {"url": url, "model": "m", "prompt": "What is shown?"}
        ran = subprocess.run(
            ["node", str(tmp_path / "run.mjs"), json.dumps(config), json.dumps(inputs)],
            check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    told = json.loads(ran.stdout)
    score = {"let through": 0, "stopped": 1, "not decided": 0.5}[WORDS[says]]
    assert [result["score"] for result in told["results"]] == [score, score]
    assert {result["outputType"]["scalarType"] for result in told["results"]} == {"NUMBER"}
    assert told["signal"]["id"]["type"] == told["signalTypeId"]
    assert told["signal"]["integration"] == "GUARDRAIL"
    assert told["disabled"] == [{"disabled": False}]
    fields = {
        "id", "displayName", "description", "docsUrl", "recommendedThresholds",
        "supportedLanguages", "pricingStructure", "eligibleInputs", "outputType",
        "needsMatchingValues", "eligibleSubcategories", "needsActionPenalties", "integration",
        "allowedInAutomatedRules",
    }  # fmt: skip
    assert set(told["signal"]) == fields  # and the functions, which JSON leaves out


def test_the_table_of_verdicts_is_what_the_route_answers():
    """By one request to a model of each kind."""
    for says, word in WORDS.items():
        with guarding(says) as url:
            body = {"model": "m", "messages": [{"role": "user", "content": "What is a cat?"}]}
            response = httpx.post(f"{url}/v1/guardrail/check", json=body, timeout=60.0)
        about = response.json().get("guardrail", {})
        facts = (response.status_code == 200, about["decision"], about["would_block"])
        assert (
            facts
            == {
                "let through": (True, "pass", False),
                "stopped": (True, "block", False),
                "not decided": (False, "fault", False),
            }[word]
        )
