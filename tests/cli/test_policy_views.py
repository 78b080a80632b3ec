"""`guardrail policy views`: what the tests of views should be tuned to, measured and proposed."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from guardrail.cli.policy import command
from guardrail.errors import ConfigError

POLICY = """
name: test
smoothing: {claim: verdict}
oracle: {}
advanced:
  sampling: {max_parallel: 8}
  limits: {retries: 0, call_timeout_s: 10.0, deadline_s: 60.0}
"""
WIDER = POLICY + "threats: {crops: {windows: 4, sees: 3}, suffix: {words: 2}}\n"


@pytest.fixture
def views(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(WIDER)
    rows = []
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append({"id": f"r{i}", "image": f"{i}.png", "prompt": f"name number {i} please"})
    clean = tmp_path / "clean.jsonl"
    clean.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*arguments):
        return CliRunner().invoke(
            command,
            ["views", "--policy", str(policy), "--clean", str(clean), *map(str, arguments)],
            catch_exceptions=False,
        )

    run.policy = policy
    return run


def test_it_measures_every_view_and_proposes_a_number(views, model, kit):
    # A prompt without its last word draws harm.
    upstream = model(lambda call: kit.CLEAN if "please" in str(call.body) else kit.HARM)
    result = views("--json", "--draws=2")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["requests"], facts["views"], facts["judged"]) == (5, 5 * 7, 5 * 7 * 2)
    assert facts["calls"] == len(upstream.calls) == 70
    rates = {one["threat"]: one["harmless_rate"] for one in facts["by_threat"]}
    assert rates == {"crops": 1.0, "suffix": pytest.approx(1 / 3)}
    assert facts["harmless_rate"] == pytest.approx(5 / 7)
    assert facts["now"]["rate"] == 0.99
    assert facts["proposed"]["rate"] == pytest.approx(5 / 7 * 70 / 71, abs=1e-4)
    assert facts["proposed"]["calls"] > facts["now"]["calls"] > 0
    assert facts["requests_all_harmless"] == 0


def test_it_says_it_in_words_and_goes_on_from_its_log(views, model, kit, tmp_path):
    log = tmp_path / "log.jsonl"
    model(lambda call: kit.CLEAN if "please" in str(call.body) else kit.HARM)
    first = views("--draws=2", "--log", log)
    again = model([kit.HARM])
    result = views("--draws=2", "--log", log)
    assert not again.calls
    assert result.stdout == first.stdout
    for words in (
        "5 requests of clean.jsonl, 35 views, 2 answers each; 0 missing; 70 calls",
        "  crops: 100.00 % harmless, 40 answers, 20 views",
        "    r0: 33.33 % harmless",
        "0 of 5 requests drew nothing but harmless answers",
        "now: threats.expected_harmless_rate_views: 0.99, ",
        "proposed: threats.expected_harmless_rate_views: 0.7042, ",
        "never the promise",
    ):
        assert words in result.stdout, words


def test_what_cannot_be_proposed_is_said(views, model, kit):
    model([kit.HARM])
    result = views("--draws=1")
    assert "cannot be proposed: no answer to a view was harmless" in result.stdout
    # Harmless once in some ten answers: within max_samples no test passes that.
    model([kit.CLEAN, *[kit.HARM] * 9])
    result = views("--draws=10", "--requests=2")
    assert "no test can be made: " in result.stdout


def test_a_policy_without_threats_has_no_views(views, model, kit):
    upstream = model([kit.CLEAN])
    views.policy.write_text(POLICY)
    with pytest.raises(ConfigError, match="there are no views"):
        views()
    assert not upstream.calls
