"""Actions through the proxy: the call that leaves is the certified one, and its proof verifies."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from guardrail.cli import verify
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.upstreams.scripted import Step

POLICY = Path(__file__).parents[2] / "policies" / "action.yaml"
TOOLS = [{"type": "function", "function": {"name": "drive", "parameters": {}}}]


def acting(name, **arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": "call_1", "type": "function", "function": function}
    return Step(message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls")


LEFT = acting("drive", direction="left", metres=2.1, remark="a free lane")
LEFT_TOO = acting("drive", metres=1.9, direction="Left")
RIGHT = acting("drive", direction="right", metres=2)


@pytest.fixture
def answered(run, kit):
    """The response of a proxy with the shipped policy, whose model acts by the script."""

    def ask(script, **fields):
        policy = load_policy(POLICY)

        async def chat():
            async with kit.proxy(script, oracle=compile_oracle(policy), policy=policy) as proxy:
                return await proxy.chat(images=1, tools=TOOLS, **fields)

        return run(chat())

    return ask


def mostly_left(call):
    """One call in fifty goes elsewhere, and never one of those that the action is chosen on."""
    return RIGHT if call.index == 20 else (LEFT, LEFT_TOO)[call.index % 2]


def test_the_certified_action_leaves(answered, tmp_path):
    response = answered(mostly_left)
    assert response.status_code == 200
    body = response.json()
    (call,) = body["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["direction"].lower() == "left"
    made = body["guardrail"]
    assert (made["decision"], made["reason"], made["outside_claim"]) == ("pass", "certified", False)
    assert made["calls"] == 8 + made["samples"]["total"]
    certificate = decode_certificate(made["certificate"])
    verify_certificate(certificate, made["certificate"])
    assert certificate.reference_kind == "action"
    assert certificate.reference.startswith("drive(direction=left) #")
    file = tmp_path / "response.json"
    file.write_bytes(response.content)
    result = CliRunner().invoke(verify.command, [str(file)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "action 'drive(direction=left) #" in result.output


def test_a_stream_carries_the_action_as_well(answered, kit):
    response = answered(mostly_left, stream=True)
    chunks = [event for event in kit.events_of(response.text) if event != "[DONE]"]
    assert "left" in json.dumps([chunk.get("choices") for chunk in chunks]).lower()
    assert "drive(direction=left)" in json.dumps(chunks)


@pytest.mark.parametrize(
    "script",
    [
        [acting("open_gripper")],
        [acting("drive", direction="up")],
        [Step("I drive left.")],
        lambda call: (LEFT, RIGHT)[call.index % 2],
    ],
)
def test_nothing_else_leaves(answered, script):
    body = answered(script).json()
    message = body["choices"][0]["message"]
    assert not message.get("tool_calls")
    assert message["refusal"]
    assert body["guardrail"]["decision"] == "block"
