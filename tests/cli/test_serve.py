"""`guardrail serve` as a process: it answers, and a signal ends it in order."""

import re
import signal
import urllib.request

import pytest


def url_of(process):
    """The address in the first line, which names the port that was found free."""
    line = process.stderr.readline()
    found = re.search(r"with policy 'test' at (http://127\.0\.0\.1:[1-9]\d*)/v1$", line)
    assert found, line
    return found[1]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(kit, policy, kind):
    with kit.model_server([kit.CLEAN]) as model:
        process = kit.start(
            "serve", "--upstream", f"openai_compatible:{model.base_url}", "--policy", policy,
            "--port", 0,
        )  # fmt: skip
        url = url_of(process)
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as response:  # noqa: S310
            assert response.status == 200
        process.send_signal(kind)
        _, _, told = kit.finish(process)
    assert "Traceback" not in told
    assert process.returncode in (0, -kind)


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
