"""`guardrail tune`: what it draws, proposes, refuses and goes on from."""

import json
import re

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from guardrail.cli.tune import command
from guardrail.errors import ConfigError, UpstreamError
from guardrail.policy.load import load_policy
from guardrail.upstreams.scripted import Fault, Step

POLICY = """
name: test
goals: {false_alarms: '<= 30%', recall: '>= 50% within 0.2'}
advanced:
  sampling: {plan: fixed, max_parallel: 8}
  limits: {retries: 0, call_timeout_s: 10.0, deadline_s: 60.0}
"""
COUNT = 32
DRAWS = 22


@pytest.fixture
def folder(tmp_path):
    """A policy, and 32 requests of either kind, each with a picture and a question of its own."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    dice = np.random.default_rng(0)
    for kind in ("forbidden", "clean"):
        rows = []
        for i in range(COUNT):
            pixels = dice.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{kind}{i}.png")
            rows.append({"image": f"{kind}{i}.png", "prompt": f"{kind} question {i}"})
        (tmp_path / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def tune(folder):
    def run(*arguments):
        sets = ["--forbidden", folder / "forbidden.jsonl", "--clean", folder / "clean.jsonl"]
        options = ["--policy", folder / "policy.yaml", "--draws", DRAWS, *sets, *arguments]
        return CliRunner().invoke(command, [str(one) for one in options], catch_exceptions=False)

    return run


JUDGED = []


def finds_secrets(text):
    """Another oracle, for `--oracle`."""
    JUDGED.append(text)
    return "secret" in text


finds_secrets.revision = "1"


def by_kind(kit):
    return lambda call: kit.HARM if "forbidden question" in str(call.body) else kit.CLEAN


def test_it_proposes_a_policy_with_a_comment_at_every_change(tune, folder, model, kit):
    model(by_kind(kit))
    out, page = folder / "new" / "tuned.yaml", folder / "r.html"
    out.parent.mkdir()
    told = tune("--out", out, "--report", page, "--run-folder", folder / "run")
    assert told.exit_code == 0, told.output
    words = " ".join(told.stdout.split())
    assert re.search(r"false alarms at most 30%: met; 0 of \d+ ordinary requests stopped", words)
    assert "recall at least 50% within 0.2: met" in words
    written = out.read_text()
    changed = yaml.safe_load(written)
    assert changed["extends"] == "../policy.yaml"
    lines = written.splitlines()
    for section, fields in changed.items():
        if section in ("name", "extends", "goals"):
            continue
        for field in fields:
            place = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{field}:"))
            before = "\n".join(lines[max(0, place - 6) : place])
            assert "# was " in before
            assert "Why:" in before
    tuned = load_policy(out)
    assert [goal.text for goal in tuned.goals.wishes] == ["<= 30%", ">= 50% within 0.2"]
    assert tuned.advanced.sampling.max_parallel == 8  # what it extends still holds
    html = page.read_text()
    assert "The proposed policy" in html
    assert "<script" not in html
    assert "question" not in html


def test_nothing_is_drawn_twice(tune, folder, model, kit):
    upstream = model(by_kind(kit))
    run = ("--run-folder", folder / "run", "--json", "--goal", "false_alarms <= 60%")
    # The last option wins.
    tune(*run, "--draws", 10)
    assert len(upstream.calls) == 2 * COUNT * 10
    first = json.loads(tune(*run).stdout)
    assert len(upstream.calls) == 2 * COUNT * DRAWS
    again = json.loads(tune(*run, "--goal", "calls <= 40").stdout)
    assert len(upstream.calls) == 2 * COUNT * DRAWS
    assert first["proposed"]["false_alarms"] == first["proposed"]["missed_harm"] == 0
    assert set(again["goals"]) == {"false_alarms", "calls"}


def test_labels_that_say_nothing_lead_to_a_refusal(tune, model, kit):
    model(lambda call: kit.HARM if sum(map(ord, str(call.body)[-60:])) % 2 else kit.CLEAN)
    told = tune("--goal", "false_alarms <= 90%", "--goal", "missed_harm <= 95%")
    assert told.exit_code == 1
    assert "nothing is proposed" in told.stdout


def test_a_refusal_names_goal_and_number_of_requests(tune, folder, model, kit):
    model(by_kind(kit))
    told = tune("--goal", "false_alarms <= 5%", "--report", folder / "r.html")
    assert told.exit_code == 1
    words = " ".join(told.stdout.split())
    assert re.search(r"alarms at most 5%: not met; 0 of \d+ ordinary requests stopped", words)
    # In run 2 ln(0.05 * 6 / pi² / 4 / 3) / ln(0.95) rounded up is 117, for each of the two halves.
    assert "about 234 labelled ordinary requests in all would show it in the next run" in words
    assert "over all runs on these requests together: this is run 1" in words
    assert "Nothing is proposed" in (folder / "r.html").read_text()


def test_a_model_without_answers_stops_it(tune, folder, model):
    upstream = model([Step(fault=Fault.RESET)])
    with pytest.raises(UpstreamError):
        tune("--run-folder", folder / "run")
    assert len(upstream.calls) <= 5 * DRAWS
    (log,) = (folder / "run").glob("*.jsonl")
    assert len(log.read_text().splitlines()) == 1  # its settings alone


@pytest.mark.nightly
def test_another_oracle_judges_what_was_drawn_once(tune, folder, model):
    """The policy's own oracle does not find this harm; the other one does, at no further call."""
    upstream = model(lambda call: "a secret" if "forbidden question" in str(call.body) else "a day")
    kind = f"{__name__}:finds_secrets"
    run = ("--run-folder", folder / "run", "--goal", "false_alarms <= 50%",
           "--goal", "missed_harm <= 50%", "--json")  # fmt: skip
    assert tune(*run).exit_code == 1
    assert tune(*run, "--oracle", kind).exit_code == 2  # the folder would hold answers
    JUDGED.clear()
    keep = ("--content-key", folder / "content.key", "--out", folder / "tuned.yaml")
    first = tune(*run, *keep, "--oracle", kind)
    assert first.exit_code == 0, first.output
    assert len(upstream.calls) == 2 * 2 * COUNT * DRAWS  # once more, since no answer was kept
    assert len(JUDGED) == 2 * COUNT * DRAWS
    found = json.loads(first.stdout)
    assert found["changes"]["oracle"] == {"old": "default", "new": kind}
    assert found["proposed"]["oracle"] == kind
    assert load_policy(folder / "tuned.yaml").oracle.kind == kind
    assert b"secret" not in b"".join(file.read_bytes() for file in (folder / "run").iterdir())
    again = tune(*run, *keep, "--search", f"oracle.kind={kind}")
    assert json.loads(again.stdout) == found
    assert len(upstream.calls) == 2 * 2 * COUNT * DRAWS
    assert len(JUDGED) == 2 * COUNT * DRAWS


def test_runs_on_the_same_requests_are_counted(tune, folder, model, kit):
    model(by_kind(kit))
    run = ("--run-folder", folder / "run", "--json")
    first, other, again = (
        json.loads(tune(*run, *more).stdout)
        for more in ([], ["--goal", "calls <= 40"], ["--report", folder / "r.html"])
    )
    # The third is the first once more: it shows nothing new.
    assert [one["run"] for one in (first, other, again)] == [1, 2, 1]
    assert other["run_error"] == pytest.approx(first["run_error"] / 4)
    assert again == first
    assert len((folder / "forbidden.jsonl.confirmations.jsonl").read_text().splitlines()) == 2
    with pytest.raises(ConfigError, match="cut by --seed 0"):
        tune(*run, "--seed", 1)
    elsewhere = tune(*run, "--seed", 1, "--confirmations", folder / "other.jsonl")
    assert json.loads(elsewhere.stdout)["run"] == 1


def test_a_goal_about_the_price_takes_a_price_that_is_stated(tune, folder, model, kit):
    upstream = model(by_kind(kit))
    with pytest.raises(ConfigError, match="stated before any call is seen"):
        tune("--goal", "price_usd <= 0.1")
    assert not upstream.calls
    run = ("--run-folder", folder / "run", "--json", "--goal", "price_usd <= 0.1")
    told = json.loads(tune(*run, "--price-per-call", "0.001").stdout)
    (check,) = told["proposed"]["checks"]
    assert check["seen"] == pytest.approx(0.001 * told["proposed"]["calls"])
    assert check["seen"] < check["bound"] <= 0.1


def test_it_says_beforehand_what_it_takes(tune, model, kit):
    upstream = model([kit.CLEAN])
    told = tune("--dry-run", "--search", "smoothing.sigma=0.25")
    assert told.exit_code == 0
    assert f"at most {2 * 2 * COUNT * DRAWS:,} answers" in told.stderr
    assert not upstream.calls


def test_what_cannot_be_asked_is_refused(tune, folder):
    both = tune("--records", folder / "x.db")
    assert both.exit_code == 2
    assert "give --forbidden and --clean, or --records and --labels" in both.stderr
    with pytest.raises(ConfigError, match="write a share that is allowed, such as '<= 1%'"):
        tune("--goal", "false_alarms < 1")
    with pytest.raises(ConfigError, match="names nothing to search"):
        tune("--search", "smoothing.sigm=1")


def test_views_of_a_policy_with_threats_are_said_to_be_left_out(tune, folder, model, kit):
    with (folder / "policy.yaml").open("a") as file:
        file.write("threats: {suffix: {words: 2}}\n")
    model(by_kind(kit))
    result = tune("--report", folder / "page.html", "--search", "smoothing.radius=0.1")
    said = "leaves the tests of views out: fewer ordinary requests pass than is said here"
    for text in (result.stderr, result.stdout, (folder / "page.html").read_text()):
        assert said in re.sub(r"\s+", " ", text)
    facts = json.loads(tune("--json", "--search", "smoothing.radius=0.1").stdout)
    assert said in facts["left_out"]
    (folder / "policy.yaml").write_text(POLICY)
    assert json.loads(tune("--json", "--search", "smoothing.radius=0.1").stdout)["left_out"] == ""
