"""`guardrail serve` as a process: it answers, and a signal ends it in order."""

import asyncio
import os
import re
import signal
import time
import urllib.request

import httpx
import pytest
from click.testing import CliRunner

from guardrail.cli import serve
from guardrail.server.reload import reloading


def url_of(process):
    """The address in the first line, which names the port that was found free."""
    line = process.stderr.readline()
    found = re.search(r"with policy 'test' at (http://127\.0\.0\.1:[1-9]\d*)/v1$", line)
    assert found, line
    return found[1]


@pytest.mark.parametrize(
    "kind", [pytest.param(signal.SIGINT, marks=pytest.mark.nightly), signal.SIGTERM]
)
def test_it_says_what_its_oracle_was_not_measured_on_and_serves_until_it_is_told_to_end(
    kit, policy, kind
):
    with kit.model_server([kit.CLEAN]) as model:
        process = kit.start(
            "serve", "--upstream", f"openai_compatible:{model.base_url}", "--policy", policy,
            "--port", 0,
        )  # fmt: skip
        url = url_of(process)
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as response:  # noqa: S310
            assert response.status == 200
        lines = [process.stderr.readline().rstrip() for _ in range(3)]
        process.send_signal(kind)
        _, _, told = kit.finish(process)
    assert lines[0].startswith("oracle default: the built-in oracle")
    assert lines[2].startswith("oracle default: answers that are not in English are withheld")
    assert "multilingual" in lines[2]
    assert "Traceback" not in told
    assert process.returncode in (0, -kind)


def test_a_hangup_ends_nothing_while_there_is_nothing_to_reload(monkeypatch):
    """Neither before the server runs, nor after it."""
    heard = []

    async def run_and_end():
        async with reloading(None, (), every_s=0.0, on_signal=True):
            pass
        os.kill(os.getpid(), signal.SIGHUP)

    def start(**_options):
        os.kill(os.getpid(), signal.SIGHUP)
        asyncio.run(run_and_end())

    monkeypatch.setattr(serve, "_serve", start)
    before = signal.signal(signal.SIGHUP, lambda *_: heard.append("hangup"))
    try:
        result = CliRunner().invoke(serve.command, [], catch_exceptions=False)
        assert (result.exit_code, heard) == (0, [])
        os.kill(os.getpid(), signal.SIGHUP)
        assert heard == ["hangup"]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.nightly
def test_the_rule_for_repeats_is_said_of_each_upstream(kit, policy, tmp_path):
    with kit.model_server([kit.CLEAN]) as one, kit.model_server([kit.CLEAN]) as two:
        file = tmp_path / "upstreams.yaml"
        file.write_text(
            f"upstreams:\n  - upstream: openai_compatible:{one.base_url}\n"
            f"  - upstream: openai_compatible:{two.base_url}\n    direct: true\n"
        )
        process = kit.start("serve", "--upstreams", file, "--policy", policy, "--port", 0)
        url_of(process)
        lines = [process.stderr.readline().rstrip() for _ in range(3)][1:]
        process.send_signal(signal.SIGTERM)
        kit.finish(process)
    first, second = (f"openai_compatible:{server.base_url}" for server in (one, two))
    assert lines[0].startswith(f"{first}: calls are repeated only after: nothing was sent; a 429")
    assert lines[1] == f"{second}: calls are repeated only after: nothing was sent, status 429"


def test_a_port_in_use_is_one_line(kit, policy):
    with kit.model_server([kit.CLEAN]) as model:
        code, _, told = kit.finish(
            kit.start(
                "serve", "--upstream", f"openai_compatible:{model.base_url}", "--policy", policy,
                "--port", model.port,
            )
        )  # fmt: skip
    assert code == 2
    assert "Traceback" not in told
    assert str(model.port) in told.splitlines()[-1]


def test_an_unknown_upstream_is_one_line(kit, policy):
    code, _, told = kit.finish(kit.start("serve", "--upstream", "magic", "--policy", policy))
    assert code == 2
    assert told.startswith("guardrail: ")
    assert "builtin" in told


def test_several_policies_are_read_again_on_a_hangup(kit, policy, tmp_path):
    listed = tmp_path / "policies.yaml"
    other = tmp_path / "other.yaml"
    text = policy.read_text()
    other.write_text(text.replace("name: test", "name: other\nblock: {text: First.}"))
    listed.write_text(
        f"policies:\n  - policy: other.yaml\n    match: {{models: ['small-*']}}\n"
        f"  - policy: {policy}\n"
    )
    body = {"model": "small-1", "messages": [{"role": "user", "content": "Hello?"}]}

    def words():
        reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20, trust_env=False)
        return reply.json()["choices"][0]["message"]["content"]

    def await_words(wanted):
        end = time.monotonic() + 20
        while (said := words()) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        return said

    with kit.model_server([kit.HARM]) as model:
        process = kit.start(
            "serve", "--upstream", f"openai_compatible:{model.base_url}", "--policies", listed,
            "--port", 0, "--reload-every", 0,
        )  # fmt: skip
        first = process.stderr.readline()
        url = re.search(r"with policy 'other' at (http://127\.0\.0\.1:\d+)/v1$", first)[1]
        assert words() == "First."
        other.write_text(other.read_text().replace("First.", "Second."))
        assert words() == "First."
        process.send_signal(signal.SIGHUP)
        assert await_words("Second.") == "Second."
        other.write_text("name: [")
        process.send_signal(signal.SIGHUP)
        assert words() == "Second."
        process.send_signal(signal.SIGTERM)
        _, _, told = kit.finish(process)
    assert "Traceback" not in told


def test_one_policy_or_several(kit, policy, tmp_path):
    code, _, told = kit.finish(kit.start("serve", "--policy", policy, "--policies", policy))
    assert code == 2
    assert "give policy or policies, not both" in told
