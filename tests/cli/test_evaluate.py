"""`guardrail evaluate`: what is decided, told apart, kept, gone on from, and written."""

import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from PIL import Image

from guardrail.cli.evaluate import command
from guardrail.evaluation.benchmark.comparing import AnswerComparer
from guardrail.evaluation.benchmark.evaluate import RunOptions, evaluate, evaluate_async
from guardrail.stats import recall_lower
from guardrail.upstreams.scripted import Fault, Scripted, Step

VERDICT = """
name: test
smoothing: {claim: verdict, sigma: 0.5, radius: 0.25, alpha: 0.001}
oracle: {}
advanced:
  sampling: {max_parallel: 8}
  limits: {retries: 0, call_timeout_s: 10.0, deadline_s: 60.0}
"""
WIDER = (
    VERDICT
    + """
threats:
  crops: {windows: 4, sees: 3}
  stickers: {max_share: 0.02, masks: 4}
  suffix: {words: 2}
"""
)
SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs" / "evaluation.schema.json").read_bytes())
)
THREATS = ("crops", "stickers", "sticker_place", "suffix")
DOWN = Step(fault=Fault.STATUS, status=500)


@pytest.fixture(autouse=True)
def _texts_only(monkeypatch):
    """The sentence model takes seconds to load."""
    monkeypatch.setattr(
        "guardrail.evaluation.benchmark.evaluate.open_comparer", lambda: AnswerComparer(None)
    )


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(VERDICT)
    return file


def write_rows(folder, rows):
    folder.mkdir(exist_ok=True)
    for i, row in enumerate(rows):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        row |= {"image": f"{i}.png", "id": row.get("id", f"r{i}")}
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "labels.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def scenes(tmp_path):
    """Twelve clean rows in two languages, eight harmful ones, and two that are adversarial."""
    clean = [
        {"prompt": f"Wass ist das, bitte, Nummer {i}?" if i % 2 else f"clean thing {i}?",
         "harmful": False, "language": "de" if i % 2 else "en", "category": f"c{i % 2}",
         "expected": "private"}
        for i in range(12)
    ]  # fmt: skip
    bad = [{"prompt": f"bad thing {i}?", "harmful": True, "category": "weapon"} for i in range(8)]
    more = [{"prompt": f"bad <b>{i}</b>?", "harmful": True, "set": "adversarial"} for i in range(2)]
    return write_rows(tmp_path / "scenes", [*clean, *bad, *more])


@pytest.fixture
def run(policy, tmp_path):
    def call(*arguments, out=tmp_path / "out"):
        return CliRunner().invoke(
            command, ["--policy", str(policy), "--out", str(out), *map(str, arguments)],
            catch_exceptions=False,
        )  # fmt: skip

    return call


def truthful(kit):
    """Harmful answers to the bad requests, clean ones to all others."""
    return lambda call: kit.HARM if "bad" in str(call.body) else kit.CLEAN


def facts_of(result):
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    SCHEMA.validate(facts)
    return facts


def by_name(groups):
    return {group["name"]: group for group in groups}


def test_a_dry_run_calls_nothing_and_writes_nothing(run, model, scenes, tmp_path):
    upstream = model(["x"])
    result = run("--data", scenes, "--dry-run")
    assert result.exit_code == 0
    assert "22 rows in 22 clusters of near-copies" in result.stderr
    assert (
        "2 harmful in 'adversarial', 12 clean in 'clean', 8 harmful in 'harmful'" in result.stderr
    )
    assert re.search(r"at most [\d,]{5} answers of the model", result.stderr)
    assert not upstream.calls
    assert not (tmp_path / "out").exists()


def test_what_passes_and_what_is_stopped_by_set_category_and_language(run, model, scenes, kit):
    model(truthful(kit))
    facts = facts_of(run("--data", scenes, "--draws=20", "--json"))
    sets, kinds, tongues = (by_name(facts[name]) for name in ("sets", "categories", "languages"))
    assert sets["clean"]["passed"] == pytest.approx(
        {"count": 12, "of": 12, "lower": 0.7353, "upper": 1.0}, abs=1e-4
    )
    assert sets["harmful"]["blocked"]["count"] == 8
    assert sets["harmful"]["one_check_stops"]["count"] == 8
    assert sets["harmful"]["reasons"] == {}
    assert sets["adversarial"]["rows"] == 2
    assert (kinds["c0"]["rows"], kinds["weapon"]["rows"]) == (6, 8)
    assert (tongues["de"]["rows"], tongues["en"]["rows"]) == (6, 6)
    assert facts["harmful_that_left"] == facts["clean_that_did_not"] == []


def test_certified_recall_stands_beside_with_a_line_for_each_floor(run, model, scenes, kit):
    model(truthful(kit))
    facts = facts_of(run("--data", scenes, "--draws=40", "--json"))
    recalls = {one["set"]: one for one in facts["certified_recall"]}
    assert {one["threat"] for one in facts["certified_recall"]} == {"pixels"}
    floors = {one["floor"]: one for one in recalls["harmful"]["floors"]}
    assert set(floors) == {0.5, 0.2, 0.1, 0.05, 0.01}
    assert floors[0.5]["smallest_radius"] == floors[0.5]["largest_radius"] == 0.25
    assert floors[0.5]["shown"] == floors[0.1]["shown"] == 8
    assert 0.0 < floors[0.5]["recall_lower"] < 0.6
    assert floors[0.01]["smallest_radius"] == pytest.approx(1.4132, abs=1e-4)
    assert (floors[0.01]["shown"], floors[0.01]["recall_lower"]) == (0, 0.0)
    assert recalls["harmful"]["calls"] == 8 * 40
    spending = {one["what"]: one for one in facts["spending"]}
    assert spending["recall"]["calls"] == 10 * 40
    assert spending["bare"]["calls"] == 22
    assert spending["guarded"]["p95_s"] >= spending["guarded"]["p50_s"] > 0


def test_clean_rows_that_a_view_stops_name_its_threat(run, model, tmp_path, kit, policy):
    policy.write_text(WIDER)
    model(lambda call: kit.CLEAN if "thing" in str(call.body) else kit.HARM)
    rows = [{"prompt": f"is number {i} a thing", "harmful": False} for i in range(2)]
    out = tmp_path / "few.out"
    scenes = write_rows(tmp_path / "few", rows)
    facts = facts_of(run("--data", scenes, "--draws=0", "--json", out=out))
    assert {row["stopped_by"] for row in facts["clean_that_did_not"]} == {"suffix"}
    (group,) = facts["totals"]
    assert (group["reasons"], group["stopped_by"]) == ({"harmful": 2}, {"suffix": 2})
    assert "by the test that stopped them: suffix 2." in (out / "evaluation.html").read_text()


def test_certified_recall_per_threat_that_the_policy_covers(
    run, model, scenes, kit, policy, tmp_path
):
    policy.write_text(WIDER)
    model(truthful(kit))
    dry = run("--data", scenes, "--draws=0", "--dry-run").stderr
    assert "threats (crops, stickers, sticker_place, suffix): at most 40 answers" in dry
    facts = facts_of(run("--data", scenes, "--draws=40", "--most=3", "--json"))
    found = {(one["set"], one["threat"]): one for one in facts["certified_recall"]}
    assert set(found) == {
        (name, threat) for name in ("adversarial", "harmful") for threat in ("pixels", *THREATS)
    }
    for threat in THREATS:
        one = found["harmful", threat]
        assert (one["requests"], one["shown_held"], one["not_shown"]) == (3, 3, [])
        # All four statements of one set share delta, as the floors do.
        assert one["recall_lower"] == recall_lower(3, 3, 0.05 / 4, 0.2)
        assert one["sentence"].startswith("Of requests drawn like the 3 that were measured")
    assert facts["threats_left_out"] == ""
    spending = {one["what"]: one for one in facts["spending"]}
    assert spending["views"]["requests"] == 5
    assert spending["views"]["calls"] == 5 * 40 * (1 + 4 + 1)  # a window, all masks, a prompt
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "adversarial, each threat: 2 requests, 40 answers to each view" in page
    assert "captions and borders (some window left whole)" in page
    assert "all 8 of these with at least 0.6" in page
    folder = tmp_path / "out" / "guard-eval-harness"
    manifest = json.loads((folder / "datasets" / "scenes" / "dataset-manifest.json").read_text())
    in_manifest = manifest["metadata"]["certified_recall"]
    assert [one for one in in_manifest if one["threat"] != "pixels"] == [
        one for one in facts["certified_recall"] if one["threat"] != "pixels"
    ]
    lines = (folder / "datasets" / "scenes" / "predictions.jsonl").read_text().splitlines()
    ours = {row["sample_id"]: row["metadata"]["guardrail"] for row in map(json.loads, lines)}
    shown = {name: one["shown_held"] for name, one in ours.items()}
    assert ours["r20"]["digest"] in {row["digest"] for row in facts["requests"]}
    assert {len(facts) for name, facts in shown.items() if int(name[1:]) < 12} == {0}
    assert shown["r20"] == {"pixels": [0.5, 0.2, 0.1, 0.05], **dict.fromkeys(THREATS, True)}


def write_coin(folder, names):
    """A run of guard-eval-harness, of a guard that answers at random."""
    rng, inner = random.Random(5), folder / "datasets" / "scenes"
    inner.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"run_name": "a coin", "model": {"adapter": "mint"}}')
    scores = {name: rng.random() for name in names}
    lines = [
        json.dumps({"sample_id": name, "unsafe_score": score, "unsafe_label": score >= 0.5})
        for name, score in scores.items()
    ]
    (inner / "predictions.jsonl").write_text("\n".join(lines))
    return scores


def test_other_guards_stand_beside_on_the_same_requests(run, model, scenes, kit, tmp_path):
    model(truthful(kit))
    scores = write_coin(tmp_path / "coin", [f"r{i}" for i in range(1, 30)])
    first = facts_of(run("--data", scenes, "--draws=40", "--json"))
    assert first["beside"] is None
    after = model(truthful(kit))
    arguments = ("--beside", tmp_path / "coin", "--beside", tmp_path / "first")
    (tmp_path / "out").rename(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "out")
    facts = facts_of(run("--data", scenes, "--draws=40", "--json", *arguments))
    assert not after.calls  # reports may be given later
    assert facts["beside"]["requests"] == 21
    own, check, coin, again = facts["beside"]["guards"]
    assert [guard["matched"] for guard in (own, check, coin, again)] == [22, 22, 21, 22]
    assert (coin["name"], coin["report"], coin["rulings"]) == ("a coin (mint)", "coin", 29)
    assert own["harmful_sets"] == again["harmful_sets"]
    by_set = {one["set"]: one for one in own["harmful_sets"]}
    tossed = {one["set"]: one for one in coin["harmful_sets"]}
    assert by_set["harmful"]["harmful_stopped"] == by_name(facts["sets"])["harmful"]["blocked"]
    stopped = sum(scores[f"r{i}"] >= 0.5 for i in range(12, 20))
    assert tossed["harmful"]["harmful_stopped"]["count"] == stopped
    assert by_set["harmful"]["clean_passed"]["of"] == tossed["harmful"]["clean_passed"]["of"] == 11
    assert check["harmful_sets"][0]["certified_recall"] == []
    (floors,) = [one["floors"] for one in facts["certified_recall"] if one["set"] == "harmful"]
    assert [one["recall_lower"] for one in by_set["harmful"]["certified_recall"]] == [
        one["recall_lower"] for one in floors
    ]
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "Beside other guards" in page
    assert "a coin (mint)" in page
    shown = run("--data", scenes, "--draws=40", *arguments).stdout
    assert "Beside other guards, on the 21 requests of all reports, 'adversarial'" in shown


def test_a_confidence_is_rounded_down(run, model, tmp_path, kit):
    model([kit.CLEAN])
    rows = write_rows(tmp_path / "few", [{"prompt": "clean?", "harmful": False}])
    result = run("--data", rows, "--delta", "0.00001", "--no-bare")
    assert "together, with confidence 0.9999\n" in result.stdout


def test_what_the_policy_does_not_cover_is_told_in_one_line(run, model, scenes, kit, tmp_path):
    model(truthful(kit))
    result = run("--data", scenes, "--draws=20")
    assert "certified recall per threat: not measured, the policy covers small" in result.stdout
    assert "write 'threats' (crops, stickers, suffix) into it" in result.stderr
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert page.count("text behind the prompt: not measured") == 1
    assert "all 6 of these with at least 0.7" in page


def test_a_run_that_stops_among_the_views_goes_on_from_them(
    run, model, scenes, kit, policy, tmp_path
):
    policy.write_text(WIDER)
    model(truthful(kit))
    first = facts_of(run("--data", scenes, "--draws=0", "--most=2", "--json"))
    log = tmp_path / "out" / "threats.log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 4 * 6
    log.write_bytes(b"".join(lines[:13]) + lines[13][:30])
    after = model(truthful(kit))
    second = facts_of(run("--data", scenes, "--draws=0", "--most=2", "--json"))
    assert len(after.calls) == 12 * 40
    assert second["certified_recall"] == first["certified_recall"]
    assert log.read_bytes().splitlines(keepends=True)[:13] == lines[:13]
    assert b"thing" not in log.read_bytes()


def test_recall_at_few_false_alarms(run, model, scenes, kit):
    model(truthful(kit))
    facts = facts_of(run("--data", scenes, "--draws=0", "--json"))
    points = {
        (one["set"], one["by"], one["rate_shown"]): one["point"]
        for one in facts["recall_at_false_alarms"]
    }
    point = points["harmful", "guard", False]
    assert (point["found"], point["harmful"], point["false_alarms"]) == (8, 8, 0)
    assert 0.5 < point["recall_lower"] < 0.7
    assert points["harmful", "guard", True] is None
    assert points["harmful", "one check", False]["found"] == 8
    assert facts["certified_recall"] == []
    assert facts["certified_recall_left_out"] == "it was not asked for"


def test_what_delivered_answers_are_worth(run, model, scenes, kit):
    asked = []

    def answer(call):
        asked.append(call)
        # every second clean request is answered otherwise without noise
        return "something else" if len(asked) % 2 == 0 and "Wass" in str(call.body) else kit.CLEAN

    model(answer)
    facts = facts_of(run("--data", scenes, "--draws=0", "--json"))
    (clean,) = facts["usefulness"]
    assert clean["right"]["of"] == clean["bare_right"]["of"] == 12
    assert clean["same_meaning"]["count"] == clean["same_meaning"]["of"]
    assert clean["same_meaning"]["of"] + clean["not_compared"] == 12
    missed = {row["name"] for row in facts["harmful_that_left"]}
    assert missed == {f"r{i}" for i in range(12, 22)}


def test_faults_are_no_blocks(run, model, scenes, kit):
    model(lambda call: DOWN if "Wass" in str(call.body) else truthful(kit)(call))
    result = run("--data", scenes, "--draws=0", "--json")
    sets = by_name(facts_of(result)["sets"])
    assert sets["clean"]["passed"]["count"] == sets["clean"]["faults"]["count"] == 6
    assert sets["clean"]["blocked"]["count"] == 0
    assert sum(sets["clean"]["reasons"].values()) == 6
    shown = run("--data", scenes, "--draws=0").stdout
    assert "clean requests of which none left:" in shown


def test_the_schema_describes_the_whole_file(run, model, scenes, kit):
    """Every evaluation above is valid by it; a field that it does not know is not."""
    SCHEMA.check_schema(SCHEMA.schema)
    model(truthful(kit))
    facts = facts_of(run("--data", scenes, "--draws=0", "--most=1", "--json"))
    assert not SCHEMA.is_valid({**facts, "more": 1})
    assert not SCHEMA.is_valid({**facts, "certified_recall": [{"set": "x", "threat": "pixels"}]})
    described = {name for name, one in SCHEMA.schema["$defs"].items() if "description" in one}
    assert described == SCHEMA.schema["$defs"].keys() - {"named"}


def test_a_model_that_is_down_ends_the_run_and_keeps_what_is_known(run, model, scenes, tmp_path):
    model([DOWN])
    from guardrail.errors import UpstreamError

    with pytest.raises(UpstreamError, match="the last 5 requests ended without an answer"):
        run("--data", scenes)
    log = (tmp_path / "out" / "decisions.log.jsonl").read_text().splitlines()
    assert len(log) == 1  # the settings: rows that brought nothing are not kept


def test_a_run_goes_on_from_its_log(run, model, scenes, tmp_path, kit):
    before = model(truthful(kit))
    first = facts_of(run("--data", scenes, "--draws=20", "--json"))
    log = tmp_path / "out" / "decisions.log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 22
    log.write_bytes(b"".join(lines[:10]) + lines[10][:30])  # cut within a row, as a kill does
    after = model(truthful(kit))
    second = facts_of(run("--data", scenes, "--draws=20", "--json"))
    assert len(log.read_bytes().splitlines()) == 1 + 22
    assert 0 < len(after.calls) < len(before.calls) / 2  # no recall, and 13 rows
    assert second["sets"] == first["sets"]
    assert second["certified_recall"] == first["certified_recall"]
    text = log.read_text()
    assert "thing" not in text
    assert kit.CLEAN not in text


def test_another_evaluation_in_the_folder_is_refused(run, model, scenes, kit):
    from guardrail.errors import ConfigError

    model(truthful(kit))
    facts_of(run("--data", scenes, "--draws=0", "--json"))
    with pytest.raises(ConfigError, match=r"made with other settings \(drawn\)"):
        run("--data", scenes, "--draws=0", "--most=3")


def test_without_harmful_rows_that_is_said(run, model, tmp_path, kit):
    model(truthful(kit))
    rows = [{"prompt": f"clean {i}?", "harmful": False} for i in range(3)]
    data = write_rows(tmp_path / "clean", rows)
    result = run("--data", data)
    assert (
        "certified recall: not measured, there is no harmful request with a picture"
        in result.stdout
    )
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "nothing here says that the guard stops anything" in page
    assert "none</b>harmful requests in these data" in page
    metrics = tmp_path / "out" / "guard-eval-harness" / "datasets" / "clean" / "metrics.json"
    assert json.loads(metrics.read_text())["recall"] is None


def test_without_clean_rows_that_is_said(run, model, tmp_path, kit):
    model(truthful(kit))
    data = write_rows(tmp_path / "bad", [{"prompt": "bad?", "harmful": True}])
    result = run("--data", data, "--draws=20")
    assert result.exit_code == 0
    assert "too few clean requests" in result.stdout
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "a guard that blocks everything stops all that is harmful" in page
    assert "There are no clean requests." in page


def test_broken_pictures_are_named_or_left_out(run, model, scenes, kit):
    from guardrail.errors import ConfigError

    (scenes / "3.png").write_bytes((scenes / "3.png").read_bytes()[:50])
    with pytest.raises(ConfigError, match=r"1 row cannot be used: .*labels.jsonl:4: .*3\.png"):
        run("--data", scenes)
    model(truthful(kit))
    result = run("--data", scenes, "--draws=0", "--skip-bad-rows", "--json")
    facts = facts_of(result)
    assert (facts["rows"], len(facts["left_out"])) == (21, 1)
    assert "left out: " in result.stderr


def test_rows_without_a_picture_are_decided_and_have_no_certified_recall(run, model, tmp_path, kit):
    model(truthful(kit))
    path = tmp_path / "texts.csv"
    path.write_text("prompt,harmful\nbad text?,1\nclean text?,0\n")
    facts = facts_of(run("--data", path, "--json"))
    sets = by_name(facts["sets"])
    assert sets["harmful"]["blocked"]["count"] == sets["clean"]["passed"]["count"] == 1
    assert facts["certified_recall_left_out"] == "there is no harmful request with a picture"


def test_the_bare_model_need_not_be_asked(run, model, scenes, tmp_path, kit):
    model(truthful(kit))
    facts = facts_of(run("--data", scenes, "--draws=0", "--no-bare", "--json"))
    assert facts["usefulness"] == []
    assert {one["by"] for one in facts["recall_at_false_alarms"]} == {"guard"}
    assert "the bare model was not asked" in (tmp_path / "out" / "evaluation.html").read_text()


def test_the_page_and_the_files_of_guard_eval_harness(run, model, scenes, tmp_path, kit):
    model(truthful(kit))
    result = run("--data", scenes, "--draws=20")
    assert result.exit_code == 0
    assert re.search(r"clean +clean +12 of 12 \(73.53 % to 100.00 %\)", result.stdout)
    assert "recall of 'harmful' at 1% false alarms, guard: 8 of 8" in result.stdout
    out = tmp_path / "out"
    page = (out / "evaluation.html").read_text()
    assert "certified recall of harmful, at least, at r(τ = 0.5)" in page
    assert "<svg" in page
    assert "<script" not in page
    assert "thing" not in page  # nothing that a row holds
    folder = out / "guard-eval-harness" / "datasets" / "scenes"
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 22
    assert all((row["unsafe_score"] >= row["threshold"]) is row["unsafe_label"] for row in rows)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["tp"], metrics["tn"], metrics["auroc"]) == (10, 12, 1.0)
    manifest = json.loads((out / "guard-eval-harness" / "manifest.json").read_text())
    assert manifest["datasets"][0]["metadata"]["certified_recall"][0]["threat"] == "pixels"


def test_from_python(policy, scenes, kit, tmp_path):
    def answer(body):
        text = kit.HARM if "bad" in str(body) else kit.CLEAN
        return {"choices": [{"message": {"role": "assistant", "content": text}}]}

    found = evaluate(
        scenes, tmp_path / "py", policy=policy, upstream=answer, oracle=kit.Words(),
        options=RunOptions(draws=0, model="m"),
    )  # fmt: skip
    assert {group.name: group.right.count for group in found.sets} == {
        "adversarial": 2, "clean": 12, "harmful": 8
    }  # fmt: skip
    assert (tmp_path / "py" / "evaluation.json").is_file()


async def _call_inside():
    with pytest.raises(RuntimeError):
        evaluate("x")
    from guardrail.errors import ConfigError

    with pytest.raises(ConfigError, match="no such file or folder"):
        await evaluate_async("none", upstream=Scripted(["x"]), options=RunOptions(model="m"))


def test_on_a_running_loop_the_other_one_is_awaited():
    import asyncio
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the coroutine that asyncio.run refused
        asyncio.run(_call_inside())


@pytest.mark.nightly
@pytest.mark.parametrize("killed_in", ["decisions", "threats"])
def test_a_run_that_is_killed_goes_on(kit, policy, scenes, tmp_path, killed_in):
    policy.write_text(WIDER)

    def answer(call):
        time.sleep(0.02)
        return truthful(kit)(call)

    with kit.model_server(answer) as server:
        arguments = (
            "evaluate", "--data", scenes, "--out", tmp_path / "out", "--policy", policy,
            "--upstream", f"openai_compatible:{server.base_url}", "--model", "m", "--draws", "20",
            "--json",
        )  # fmt: skip
        log = tmp_path / "out" / f"{killed_in}.log.jsonl"
        process = kit.start(*arguments)
        while process.poll() is None:
            if log.is_file() and log.read_bytes().count(b"\n") > 4:
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.01)
        kit.finish(process)
        done = log.read_bytes().count(b"\n") - 1
        assert 4 <= done < (22 if killed_in == "decisions" else 60)
        code, out, err = kit.finish(kit.start(*arguments))
    assert code == 0, err
    facts = json.loads(out)
    assert by_name(facts["sets"])["clean"]["passed"]["of"] == 12
    assert [one["shown_held"] for one in facts["certified_recall"] if one["set"] == "harmful"] == [
        8
    ] * 5
    assert log.read_bytes().count(b"\n") - 1 == (22 if killed_in == "decisions" else 60)
