"""The function, loaded as Osprey loads plugins, against a real guardrail server on loopback.

Osprey itself is on no registry. What stands for it here is `osprey_stand_in`, made after its
published interface: this is not a test against the real package.
"""

import json
import runpy
import socket
from contextlib import contextmanager
from pathlib import Path

import guardrail_osprey
import osprey
import pytest
from guardrail_osprey import LET_THROUGH, NOT_DECIDED, STOPPED, ask_verdict, asking
from osprey.engine.executor.execution_context import ExecutionContext
from osprey.worker.adaptor.plugin_manager import find_functions

from guardrail.assembly import build_engine
from guardrail.engine.rules import Mode
from guardrail.server.serve import running_server
from guardrail.testing.adapters import check_adapter
from guardrail.testing.attempts import same_attempt
from guardrail.testing.scenarios import HARMFUL_TEXT, HARMLESS_TEXT, SCENARIOS
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.testing.stage import running_model
from guardrail.upstreams.openai_http import OpenAICompatible

EXPECTED = {
    "clean": LET_THROUGH,
    "forbidden": STOPPED,
    "uncertain": STOPPED,
    "upstream down": NOT_DECIDED,
}
CHOSEN = [scenario for scenario in SCENARIOS if scenario.name in EXPECTED]


@pytest.fixture(autouse=True)
def _fresh_clients():
    """No client of another test, and none left open."""
    yield
    asking.close_clients()


@contextmanager
def server(scenario, monkeypatch):
    policy = scenario_policy()
    with same_attempt(), running_model(scenario) as model:
        engine = build_engine(policy, OpenAICompatible(model.base_url), KEY)
        with running_server(policy, engine) as running:
            monkeypatch.setenv("GUARDRAIL_URL", running.base_url.removesuffix("/v1"))
            monkeypatch.setenv("GUARDRAIL_MODEL", scenario.request["model"])
            yield running


def asked(scenario):
    """Picture and question of a scenario."""
    parts = scenario.request["messages"][-1]["content"]
    (picture,) = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    (text,) = [part["text"] for part in parts if part["type"] == "text"]
    return picture, text


def test_the_scenarios_are_there():
    assert {scenario.name for scenario in CHOSEN} == set(EXPECTED)


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.name)
def test_the_function_says_what_the_guard_decides(scenario, monkeypatch):
    """As the rules call it: arguments by name, those left out by their default."""
    function = find_functions()["CertifiedVerdict"]
    assert "stand-in" in osprey.__doc__
    assert (function.execute_async, function.get_rvalue_type()) == (True, str)
    picture, text = asked(scenario)
    arguments = function.get_arguments_type()(None, {"image": picture, "prompt": text}, True)
    with server(scenario, monkeypatch):
        verdict = function(None, arguments).execute(ExecutionContext(), arguments)
    assert verdict == EXPECTED[scenario.name]


@pytest.mark.parametrize(
    ("text", "expected"), [(HARMLESS_TEXT, LET_THROUGH), (HARMFUL_TEXT, STOPPED)]
)
def test_observe_mode_says_what_enforcement_would_do(text, expected, monkeypatch):
    def model(_body):
        return {"model": "m", "choices": [{"message": {"role": "assistant", "content": text}}]}

    policy = scenario_policy().model_copy(update={"mode": Mode.OBSERVE})
    with running_server(policy, build_engine(policy, model)) as running:
        monkeypatch.setenv("GUARDRAIL_URL", running.base_url.removesuffix("/v1"))
        monkeypatch.setenv("GUARDRAIL_MODEL", "m")
        assert ask_verdict("", "What is shown?") == expected


def test_a_picture_may_be_base64_alone_and_the_model_the_servers_first(monkeypatch):
    (clean,) = [scenario for scenario in CHOSEN if scenario.name == "clean"]
    picture, text = asked(clean)
    with server(clean, monkeypatch):
        monkeypatch.delenv("GUARDRAIL_MODEL")
        assert ask_verdict(picture.partition(",")[2], text) == LET_THROUGH


def test_what_was_not_judged_is_not_decided(monkeypatch, caplog):
    (clean,) = [scenario for scenario in CHOSEN if scenario.name == "clean"]
    picture, text = asked(clean)
    with server(clean, monkeypatch):
        assert ask_verdict(picture, text, policy="none of these") == NOT_DECIDED
        assert ask_verdict("no picture at all", text) == NOT_DECIDED
        monkeypatch.setenv("GUARDRAIL_TIMEOUT_S", "never")
        assert ask_verdict(picture, text) == NOT_DECIDED
        monkeypatch.setenv("GUARDRAIL_TIMEOUT_S", "0.0001")
        assert ask_verdict(picture, text) == NOT_DECIDED
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GUARDRAIL_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert ask_verdict(picture, text) == NOT_DECIDED
    monkeypatch.setenv("GUARDRAIL_URL", "http://[")
    assert ask_verdict(picture, text) == NOT_DECIDED
    assert text not in caplog.text


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"decision": "pass"},
        {"decision": "pass", "would_block": None, "unscanned": []},
        {"decision": "pass", "would_block": False, "unscanned": ["answer"]},
        {"decision": "fault", "would_block": False, "unscanned": []},
        {"decision": "PASS", "would_block": False, "unscanned": []},
        {"decision": ["pass"], "would_block": 0, "unscanned": []},
        None,
    ],
)
def test_only_a_pass_that_was_judged_lets_through(about, monkeypatch):
    """Whatever a server of another version, or none of ours, answers."""
    import httpx

    answer = httpx.Response(200, content=json.dumps({"guardrail": about}))
    monkeypatch.setattr(httpx.Client, "post", lambda *_, **__: answer)
    answer.request = httpx.Request("POST", "http://guard")
    monkeypatch.setenv("GUARDRAIL_MODEL", "m")
    assert ask_verdict("", "What?") == NOT_DECIDED


def test_the_adapter_is_thin():
    check_adapter(guardrail_osprey)


def test_the_example_runs(capsys):
    runpy.run_path(str(Path(__file__).parents[1] / "example.py"), run_name="__main__")
    assert capsys.readouterr().out.split("\n")[:2] == ["a cat: let through", "a threat: stopped"]
