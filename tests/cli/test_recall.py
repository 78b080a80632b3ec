"""`guardrail recall`: what is said before and after, kept, referred to, and shown."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from guardrail.cli.policy import command as policy_command
from guardrail.cli.recall import command
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.recall import Recall
from guardrail.sealed import read_sealed
from guardrail.upstreams.scripted import Fault, Scripted, Step
from tests.grammar import disagreements

ACTION = Path(__file__).parents[2] / "policies" / "action.yaml"
VERDICT = """
name: test
smoothing: {claim: verdict}
oracle: {}
advanced:
  sampling: {max_parallel: 8}
  limits: {retries: 0, call_timeout_s: 10.0, deadline_s: 60.0}
"""


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(VERDICT)
    return file


@pytest.fixture
def requests(tmp_path):
    """A table of 80 requests, each with a picture and a question of its own."""
    rows = []
    for i in range(80):
        pixels = np.random.default_rng(100 + i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append({"id": f"r{i}", "image": f"{i}.png", "prompt": f"<b>Question</b> {i}"})
    path = tmp_path / "forbidden.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recall(policy):
    def run(*arguments):
        return CliRunner().invoke(
            command, ["--policy", str(policy), *map(str, arguments)], catch_exceptions=False
        )

    return run


def facts_of(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def blind_to(number, kit):
    """A model whose answers to one request are clean."""
    return lambda call: kit.CLEAN if f"</b> {number}'" in str(call.body) else kit.HARM


def test_it_says_beforehand_what_it_takes_and_calls_nothing_in_a_dry_run(recall, model, requests):
    upstream = model(["x"])
    result = recall("--forbidden", requests, "--clean", requests, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == ""
    said = result.stderr
    assert "80 requests in 80 clusters of near-copies; 80 will be measured" in said
    assert "0.5: 12, 0.9: 69, 0.95: 140, 0.99: 711" in said
    assert "at most 8,000 answers of the model, 100 for each request (8,000 calls" in said
    assert "80 clean requests, one of a cluster" in said
    assert not upstream.calls


def test_what_is_stopped_everywhere(recall, model, requests, kit):
    model([kit.HARM])
    facts = facts_of(recall("--forbidden", requests, "--draws=30", "--json"))
    shown = {reach["recall"]: reach["radius"] for reach in facts["reaches"]}
    assert shown[0.5] == shown[0.9] == facts["held"][0] > 1.0
    assert shown[0.99] is None
    assert facts["requests"] == len(facts["held"]) == 80
    assert facts["calls"] == 80 * 30
    assert facts["blind_spots"] == []
    assert facts["clean"] is None
    assert facts["sentence"].startswith("Of requests drawn like the 80 that were measured")


def test_blind_spots_and_clean_traffic_are_told(recall, model, requests, pictures, kit):
    model(lambda call: kit.CLEAN if "Is it?" in str(call.body) or "</b> 7'" in str(call.body)
          else kit.HARM)  # fmt: skip
    arguments = ("--forbidden", requests, "--clean", pictures, "--prompt=Is it?", "--draws=30")
    result = recall(*arguments)
    assert result.exit_code == 0
    text = re.sub(r"\s+", " ", result.stdout)
    assert "80 requests of forbidden.jsonl, 30 draws each" in text
    assert "79 shown held as they are" in text
    assert "clean requests: 3 of 3 passed" in text
    assert "Blind spots: 1 request is not shown held" in text
    assert re.search(r"r7 +the oracle calls its answers harmless", result.stdout)
    facts = facts_of(recall(*arguments, "--json"))
    (spot,) = facts["blind_spots"]
    assert (spot["name"], spot["why"], spot["missing"]) == ("r7", "harmless", 0)
    assert spot["harmless"] == spot["drawn"] < 30
    assert facts["clean"]["passed"] == 3
    assert "Of 3 clean requests, 3 passed under the same policy." in facts["sentence"]


def test_without_blind_spots_and_clean_requests_that_is_said(recall, model, pictures, kit):
    model([kit.HARM])
    result = recall("--forbidden", pictures, "--draws=20")
    assert "blind spots: none among the measured requests" in result.stdout
    assert "clean requests: not measured" in result.stdout
    assert "radius at recall 0.5: not shown" in result.stdout


def test_many_blind_spots_are_cut_and_counted(recall, model, requests, tmp_path, kit):
    model([kit.CLEAN])
    result = recall("--forbidden", requests, "--draws=20", "--report", tmp_path / "r.html")
    assert "and 40 more; see --json or --report" in result.stdout
    assert "too few were stopped to show a recall of 0.5 or 0.9 or 0.99" in re.sub(
        r"\s+", " ", result.stdout
    )
    assert "80 of 80." in (tmp_path / "r.html").read_text()


def test_why_clean_requests_were_blocked(recall, model, requests, pictures, kit):
    model([kit.HARM])
    result = recall("--forbidden", requests, "--clean", pictures, "--draws=20", "--requests=5")
    assert "clean requests: 0 of 3 passed" in result.stdout
    assert "others: harmful 3" in result.stdout


def test_bounds_of_clean_requests_are_rounded_outwards(
    recall, model, requests, pictures, kit, tmp_path
):
    """Of three passes the bound at delta 0.03 is 0.24662…, which is nearer to 0.247."""
    model([kit.CLEAN])
    page = tmp_path / "r.html"
    result = recall("--forbidden", requests, "--clean", pictures, "--draws=20", "--requests=3",
                    "--delta=0.03", "--report", page)  # fmt: skip
    assert "3 of 3 passed, a share between 0.2466 and 1" in result.stdout
    assert "3 of 3 passed: between 24.66 % and 100.00 % of requests" in page.read_text()


@pytest.mark.nightly
def test_the_file_goes_into_the_policy_and_its_certificates(
    recall, model, policy, requests, tmp_path, kit
):
    upstream = model([kit.HARM])
    out = tmp_path / "recall.yaml"
    result = recall("--forbidden", requests, "--draws=30", "--out", out)
    assert f"written: {out}; refer to it in the policy: recall: recall.yaml" in result.stdout
    written = read_sealed(out, Recall)
    policy.write_text(VERDICT + "recall: recall.yaml\n")
    rules = compile_policy(load_policy(policy))
    assert rules.recall == written.statement()
    checked = CliRunner().invoke(policy_command, ["check", str(policy)], catch_exceptions=False)
    said = re.sub(r"\s+", " ", checked.output)
    assert rules.recall.sentence in said
    assert "Of requests drawn like the 80 that were measured" in said
    as_json = CliRunner().invoke(policy_command, ["check", "--json", str(policy)])
    assert json.loads(as_json.output)["recall"]["digest"] == written.digest

    from guardrail.cli.check import command as check

    upstream = model([kit.CLEAN])
    decided = CliRunner().invoke(
        check, [str(tmp_path / "0.png"), "--policy", str(policy), "--json"], catch_exceptions=False
    )
    certificate = json.loads(decided.output)["certificate"]
    assert upstream.calls
    assert certificate["recall"]["digest"] == written.digest
    assert certificate["recall_statement"] == rules.recall.sentence
    verify_certificate(decode_certificate(certificate), certificate)

    # Measuring again, although the file no longer fits the policy.
    policy.write_text(VERDICT.replace("name: test", "name: other") + "recall: recall.yaml\n")
    with pytest.raises(ConfigError, match="policy_digest was"):
        compile_policy(load_policy(policy))
    again = recall("--forbidden", requests, "--draws=30", "--requests=3", "--json")
    assert facts_of(again)["policy"] == "other"


def test_what_is_done_stays_done(recall, model, requests, tmp_path, kit):
    arguments = ("--forbidden", requests, "--draws=20", "--out", tmp_path / "r.json", "--json")
    first = model(blind_to(3, kit))
    whole = facts_of(recall(*arguments))
    assert first.calls
    second = model(["nobody is asked"])
    assert {**facts_of(recall(*arguments)), "created": ""} | {"digest": ""} == {
        **whole, "created": "", "digest": ""
    }  # fmt: skip
    assert not second.calls
    with pytest.raises(ConfigError, match=r"other settings \(draws, steps\)"):
        recall(*arguments[:2], "--draws=21", *arguments[3:])


def test_rows_that_were_left_out_are_named(recall, model, requests, kit):
    requests.write_text(requests.read_text() + '{"image": "none.png"}\n')
    model([kit.HARM])
    with pytest.raises(ConfigError, match="1 request cannot be used"):
        recall("--forbidden", requests, "--draws=20")
    arguments = ("--forbidden", requests, "--clean", requests, "--skip-bad-rows", "--dry-run")
    result = recall(*arguments)
    assert len(re.findall(r"left out: .*none\.png", result.stderr)) == 2


@pytest.mark.nightly
def test_the_page_needs_nothing_else_and_escapes_what_it_shows(
    recall, model, requests, pictures, tmp_path, kit
):
    model(lambda call: kit.HARM if "Question" in str(call.body) and "</b> 5'" not in str(call.body)
          else kit.CLEAN)  # fmt: skip
    page_file = tmp_path / "r.html"
    arguments = ("--forbidden", requests, "--draws=30", "--report", page_file)
    assert recall(*arguments, "--clean", pictures).exit_code == 0
    page = page_file.read_text()
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "&lt;b&gt;Question&lt;/b&gt; 5" in page
    assert "<b>Question" not in page
    assert "<svg" in page
    assert "3 of 3 passed" in page
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert recall(*arguments).exit_code == 0
    assert "A guard that blocks everything has recall 1" in page_file.read_text()


def test_a_page_without_blind_spots(recall, model, pictures, tmp_path, kit):
    model([kit.HARM])
    page_file = tmp_path / "r.html"
    recall("--forbidden", pictures, "--draws=20", "--report", page_file)
    assert "None among those that were measured." in page_file.read_text()
    assert "not shown" in page_file.read_text()


def test_the_price_is_told_after_the_first_answers(recall, model, policy, pictures, kit):
    policy.write_text(
        VERDICT + "  prices: {'*': {input_usd_per_million: 10.0, output_usd_per_million: 30.0}}\n"
    )
    message = {"role": "assistant", "content": kit.HARM}
    response = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    model([Step(response=response)])
    result = recall("--forbidden", pictures, "--draws=20", "--json")
    facts = facts_of(result)
    assert facts["cost_usd"] == pytest.approx(60 * (100 * 10 + 10 * 30) / 1e6)
    assert (
        "the first 20 answers cost US$ 0.026; at that rate all of them cost at most US$ 0.08"
        in (result.stderr)
    )


def test_a_comparing_oracle_is_refused(pictures):
    with pytest.raises(ConfigError, match="compares answers with a reference"):
        CliRunner().invoke(
            command,
            ["--policy", str(ACTION), "--forbidden", str(pictures)],
            catch_exceptions=False,
        )


def test_files_that_cannot_be_written_are_named_before_any_call(recall, model, pictures, tmp_path):
    upstream = model(["x"])
    for option in ("--out", "--log", "--report"):
        with pytest.raises(ConfigError, match="there is no folder"):
            recall("--forbidden", pictures, option, tmp_path / "no" / "file")
    assert not upstream.calls


def test_too_few_draws_are_refused(recall, model, pictures):
    model(["x"])
    with pytest.raises(ConfigError, match="raise --draws"):
        recall("--forbidden", pictures, "--draws=1")


@pytest.mark.nightly
@pytest.mark.slow
def test_an_interrupt_keeps_what_is_done(kit, policy, requests, tmp_path):
    """As a process, against a server: stopped in the middle, it goes on from its log."""
    out = tmp_path / "r.yaml"
    with kit.model_server([Step(kit.HARM, delay_s=0.02)]) as server:
        arguments = (
            "recall", "--forbidden", requests, "--draws", 20, "--requests", 12, "--policy", policy,
            "--upstream", f"openai_compatible:{server.base_url}", "--model", "m", "--json",
            "--out", out,
        )  # fmt: skip
        process = kit.start(*arguments)
        log = Path(f"{out}.log.jsonl")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if log.exists() and log.read_text().count('"type":"request"') >= 2:
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        code, _, err = kit.finish(process)
        assert code == 130
        assert f"the same command goes on from {log}" in err
        before = len(server.calls)
        code, stdout, err = kit.finish(kit.start(*arguments))
        assert code == 0, err
        facts = json.loads(stdout)
        assert facts["requests"] == len(facts["held"]) == 12
        # What was in flight when it was stopped is asked for again, and nothing else.
        assert before < 240 <= len(server.calls) <= 240 + 8
    assert yaml.safe_load(out.read_text())["requests"] == 12


def test_a_model_that_is_down_is_an_error_and_no_measurement(recall, model, pictures, tmp_path):
    from guardrail.errors import UpstreamError

    model(Scripted([Step(fault=Fault.STATUS, status=503)]))
    with pytest.raises(UpstreamError):
        recall("--forbidden", pictures, "--draws=20", "--out", tmp_path / "r.yaml")
    assert not (tmp_path / "r.yaml").exists()


WIDER = (
    VERDICT.replace("max_parallel: 8", "max_parallel: 8, plan: fixed")
    + """
threats:
  crops: {windows: 4, sees: 3}
  stickers: {max_share: 0.02, masks: 4}
  suffix: {words: 2}
"""
)


def test_views_that_are_left_out_are_said(recall, policy, model, requests, tmp_path, kit):
    policy.write_text(WIDER)
    model([kit.HARM])
    arguments = ("--forbidden", requests, "--requests=3", "--draws=20")
    page = tmp_path / "r.html"
    result = recall(*arguments, "--report", page)
    assert "(crops, stickers, suffix)" in result.stderr
    assert "--threats measures them" in result.stderr
    assert "leaves the tests of views out" in re.sub(r"\s+", " ", result.stdout)
    assert "leaves the tests of views out" in page.read_text()
    facts = facts_of(recall(*arguments, "--json"))
    assert "leaves the tests of views out" in facts["left_out"]
    assert facts["by_threat"] == []


def test_recall_of_each_threat(recall, policy, model, requests, tmp_path, kit):
    policy.write_text(WIDER)
    upstream = model([kit.HARM])
    out, page = tmp_path / "recall.json", tmp_path / "r.html"
    arguments = ("--forbidden", requests, "--requests=6", "--draws=20", "--threats",
                 "--view-draws=30")  # fmt: skip
    facts = facts_of(recall(*arguments, "--out", out, "--json"))
    assert facts["left_out"] == ""
    found = {row["against"]: row for row in facts["by_threat"]}
    assert list(found) == ["crops", "stickers", "sticker_place", "suffix"]
    for row in found.values():
        assert (row["shown"], row["requests"], row["not_shown"]) == (6, 6, [])
        assert row["share_lower"] == pytest.approx(((0.01 / 4) ** (1 / 6) - 0.2) / 0.8)
        assert (row["view_draws"], row["setting"]["floor"]) == (30, 0.0999)
    assert facts["calls"] == 6 * (20 + 6 * 30) == len(upstream.calls)
    # The log has all of it: nothing is drawn again, and it is said in words and on the page.
    again = model([kit.HARM])
    result = recall(*arguments, "--out", out, "--report", page)
    assert not again.calls
    text = re.sub(r"\s+", " ", result.stdout)
    assert "Held against each threat: 30 draws of a view" in text
    assert text.count("Of requests drawn like the 6 that were measured") == 4
    assert "leaves the tests of views out" not in text
    assert "one sticker at every place" in page.read_text()
    # The file has them too, and a policy that names it says them.
    assert [one.against for one in read_sealed(out, Recall).threats.shares] == list(found)
    policy.write_text(f"recall: {out.name}\n{WIDER}")
    rules = compile_policy(load_policy(policy))
    assert rules.recall.view_draws == 30
    said = " ".join(rules.recall.sentences(rules.threats.settings).values())
    assert all(row["sentence"] in said for row in found.values())
    shown = CliRunner().invoke(policy_command, ["check", str(policy)], catch_exceptions=False)
    text = re.sub(r"\s+", " ", shown.stdout)
    assert all(row["sentence"] in text for row in found.values())
    shown = CliRunner().invoke(
        policy_command, ["check", str(policy), "--json"], catch_exceptions=False
    )
    (row,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert list(row["recall_statements"]) == ["l2", "crops", "stickers", "suffix"]


@pytest.mark.parametrize("number", [1, 2])
def test_one_request_is_told_as_one(recall, policy, model, requests, tmp_path, kit, number):
    policy.write_text(WIDER)
    model([kit.HARM])
    clean, page = tmp_path / "clean.jsonl", tmp_path / "r.html"
    rows = [json.loads(line) for line in requests.read_text().splitlines()[:number]]
    for file in (requests, clean):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("--forbidden", requests, "--clean", clean, "--draws=20", "--threats",
                 "--view-draws=30", "--seed=1")  # fmt: skip
    announced = recall(*arguments, "--dry-run").stderr
    result = recall(*arguments, "--report", page)
    assert result.exit_code == 0, result.stderr
    for text in (announced, result.stdout, page.read_text()):
        assert not disagreements(text)
    requests_of = "1 request" if number == 1 else "2 requests"
    assert announced.startswith(f"forbidden.jsonl: {requests_of} in {number} cluster")
    assert result.stdout.startswith(f"{requests_of} of forbidden.jsonl, 20 draws each")


def test_clean_requests_that_a_view_stops_name_its_threat(
    recall, policy, model, requests, tmp_path, kit
):
    policy.write_text(WIDER)
    log, page = tmp_path / "log.jsonl", tmp_path / "r.html"
    # Its own prompt is answered harmlessly, and a shorter one is not.
    model(lambda call: kit.CLEAN if "Question" in str(call.body) else kit.HARM)
    clean = tmp_path / "clean.jsonl"
    row = {"image": "0.png", "prompt": "please answer a Question", "id": "c"}
    clean.write_text(json.dumps(row) + "\n")
    arguments = ("--forbidden", requests, "--requests=3", "--draws=20", "--clean", clean,
                 "--log", log)  # fmt: skip
    facts = facts_of(recall(*arguments, "--json"))
    assert facts["clean_reasons"] == {"harmful": 1}
    assert facts["clean_stopped_by"] == {"suffix": 1}
    (line,) = [row for row in map(json.loads, log.read_text().splitlines())
               if row.get("type") == "clean"]  # fmt: skip
    assert line["stopped_by"] == "suffix"
    result = recall(*arguments, "--report", page)
    assert "others: harmful 1; stopped by the test of: suffix 1" in result.stdout
    assert "Stopped by the test of: suffix: 1." in page.read_text()


@pytest.mark.parametrize(
    ("options", "wider", "problem"),
    [
        (["--threats", "--view-draws=20"], True, "write --view-draws 29"),
        (["--view-draws=20"], True, "--view-draws is for --threats"),
        (["--threats"], False, "covers nothing beside small changes of pixels"),
    ],
)
def test_what_cannot_be_measured_of_threats_is_refused(
    recall, policy, model, requests, options, wider, problem
):
    if wider:
        policy.write_text(WIDER)
    upstream = model(["x"])
    arguments = ("--forbidden", requests, *options)
    if "--threats" in options:
        with pytest.raises(ConfigError, match=problem):
            recall(*arguments)
    else:
        assert problem in recall(*arguments).stderr
    assert not upstream.calls
