"""`guardrail check`: verdicts, exit codes and bad input, from the terminal."""

import json
import re

import pytest
from click.testing import CliRunner

from guardrail.cli import check
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.errors import ConfigError, RequestError
from guardrail.upstreams.scripted import Fault, Step


@pytest.fixture
def checked(policy, pictures):
    def run(*arguments, images=("a.png",)):
        files = [str(pictures / name) for name in images]
        return CliRunner().invoke(
            check.command,
            [*files, "--policy", str(policy), *map(str, arguments)],
            catch_exceptions=False,
        )

    return run


def test_a_pass_prints_the_answer_and_the_claim(checked, model, kit):
    model([kit.CLEAN])
    result = checked()
    assert result.exit_code == 0
    assert "pass (" in result.stdout
    assert f"answer: {kit.CLEAN}" in result.stdout
    assert "Unless an event of probability at most" in result.stdout


def test_a_block_prints_no_answer(checked, model, kit):
    model([kit.HARM])
    result = checked()
    assert result.exit_code == 3
    assert kit.HARM not in result.output
    assert "block (" in result.stdout
    assert re.search(r"^harmful answers: \d+ .* in content$", result.stdout, re.MULTILINE)


def test_a_further_answer_and_the_cost_are_said(checked, model, kit, policy):
    def script(call):
        cut = "max_completion_tokens" in call.body
        return Step(kit.CLEAN, finish_reason="length" if cut else "stop")

    prices = "  prices: {'*': {input_usd_per_million: 1.0, output_usd_per_million: 1.0}}"
    short = policy.read_text().replace("max_parallel: 8", "max_parallel: 8, probe_max_tokens: 4")
    policy.write_text(f"{short}\n{prices}\n")
    model(script)
    result = checked()
    assert result.exit_code == 0
    assert "calls, US$ 0.00" in result.stdout
    assert "cut at 4 tokens" in result.stdout
    assert "it lies outside this claim" in result.stdout


def test_json_carries_a_certificate_that_holds(checked, model, kit):
    upstream = model([kit.CLEAN])
    result = checked("--json", "--prompt", "what?", "--max-tokens", 7)
    facts = json.loads(result.stdout)
    assert facts["action"] == "pass"
    assert facts["answer"] == kit.CLEAN
    assert facts["calls"] == len(upstream.calls) >= facts["certificate"]["samples"]
    verify_certificate(decode_certificate(facts["certificate"]), facts["certificate"])
    body = upstream.calls[0].body
    assert body["max_tokens"] == 7
    assert body["messages"][0]["content"][-1] == {"type": "text", "text": "what?"}


def test_several_pictures_make_one_request(checked, model, kit):
    upstream = model([kit.CLEAN])
    facts = json.loads(checked("--json", images=("a.png", "c.png")).stdout)
    assert len(upstream.calls[0].pictures) == 2
    assert len(facts["certificate"]["pictures"]) == 2


def test_a_model_may_be_named(checked, model, kit):
    upstream = model([kit.CLEAN])
    checked("--model", "the-large-one")
    assert upstream.calls[0].body["model"] == "the-large-one"


def test_a_failing_model_is_exit_code_2_and_one_line(checked, model):
    model([Step(fault=Fault.STATUS, status=401)])
    result = checked()
    assert result.exit_code == 2
    assert "answer:" not in result.stdout
    assert result.stderr.startswith("guardrail: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"no picture at all", "picture"), (b"\x89PNG\r\n\x1a\n123", "")],
)
def test_what_is_no_picture_is_refused_by_name(checked, model, kit, pictures, data, words):
    upstream = model([kit.CLEAN])
    (pictures / "bad.png").write_bytes(data)
    with pytest.raises(RequestError) as caught:
        checked(images=("bad.png",))
    assert "bad.png" in f"{caught.value} {caught.value.param}"
    assert upstream.calls == []


def test_a_picture_that_is_not_there_is_named(checked, model, kit):
    model([kit.CLEAN])
    with pytest.raises(RequestError, match=r"gone\.png"):
        checked(images=("gone.png",))


def test_a_policy_that_is_not_there_is_named(pictures):
    with pytest.raises(ConfigError, match="gone"):
        CliRunner().invoke(
            check.command, [str(pictures / "a.png"), "--policy", "gone"], catch_exceptions=False
        )


def test_a_local_model_and_the_shipped_oracle_work_together(pictures, policy, tiny_llava):
    """Nothing replaced: a random model's words through the built-in oracle."""
    result = CliRunner().invoke(
        check.command,
        [str(pictures / "a.png"), "--policy", str(policy), "--json", "--max-tokens", "3",
         "--upstream", f"transformers:{tiny_llava}"],
        catch_exceptions=False,
    )  # fmt: skip
    facts = json.loads(result.stdout)
    assert result.exit_code == {"pass": 0, "block": 3}[facts["action"]]
    assert facts["certificate"]["oracle_revision"]
    assert facts["calls"] >= 1
