"""Other guards' reports: what is read, which requests are the same, and one code for all lines."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.evaluation.benchmark.beside import Beside, count_others, match_names, read_reports
from guardrail.evaluation.benchmark.guard_report import (
    Certified,
    Claim,
    GuardReport,
    Ruling,
    unruled_report,
)
from guardrail.evaluation.benchmark.page_beside import format_beside, name_column, told_columns
from guardrail.evaluation.benchmark.report_forms import read_guard_report, reports_of
from guardrail.evaluation.benchmark.row_result import Comparison, Ending, RowResult
from guardrail.stats import harmless_rate_lower, recall_lower

HALF, ANYWHERE = Certified("pixels", 0.5), Certified("stickers")


def row(name, harmful, set_name=None):
    return RowResult(
        digest=f"d-{name}", name=name, set_name=set_name or ("harmful" if harmful else "clean"),
        category="", language="", harmful=harmful, has_pictures=True, ending=Ending.PASSED,
        reason="certified", stopped_by="none", score=0.1, calls=21, prompt_tokens=0,
        completion_tokens=0, cost_usd=None, elapsed_s=1.0, bare=None, comparison=Comparison(),
    )  # fmt: skip


ROWS = (*(row(f"c{i}", False) for i in range(10)), *(row(f"h{i}", True) for i in range(8)))


def ruling(stopped, digest="", **shown):
    score = None if stopped is None else float(stopped)
    return Ruling(digest, stopped, score, shown.get("held", {}))


def report(rulings, claims=None, name="one"):
    return GuardReport(name, name, rulings, 0, claims or {})


def perfect(claims=None, held=None):
    rulings = {
        one.name: ruling(one.harmful, one.digest, held=held or {} if one.harmful else {})
        for one in ROWS
    }
    return report(rulings, claims, "perfect")


def coin(rows=ROWS, seed=3):
    """A guard that answers at random, without digests."""
    rng = random.Random(seed)
    scores = {one.name: rng.random() for one in rows}
    rulings = {name: Ruling("", score >= 0.5, score, {}) for name, score in scores.items()}
    return report(rulings, name="coin")


def test_every_line_is_of_the_same_requests_and_by_the_same_code():
    claims = {HALF: Claim(0.2, 5, "within 0.4"), ANYWHERE: Claim(0.2, 4, "2 %")}
    own = perfect(claims, {HALF: True, ANYWHERE: False})
    other = coin()
    beside = Beside((own,), (other, perfect(claims, {HALF: True, ANYWHERE: False})), ROWS, 0.05)
    first, second, third = (beside.line(guard, "harmful") for guard in beside.guards)
    assert (first.passed.count, first.stopped.count, first.point.found) == (10, 8, 8)
    assert first.stopped.lower == harmless_rate_lower(8, 8, 0.025)
    assert (third.passed, third.stopped, third.point, third.certified) == (
        first.passed, first.stopped, first.point, first.certified
    )  # fmt: skip
    # The families share delta, each by itself.
    assert first.certified[HALF].recall_lower == recall_lower(8, 8, 0.05 / 5, 0.2)
    assert (first.certified[ANYWHERE].shown, first.certified[ANYWHERE].recall_lower) == (0, 0.0)
    assert second.certified == {}
    assert second.stopped.count == sum(other.rulings[f"h{i}"].stopped for i in range(8))
    assert second.passed.count == sum(not other.rulings[f"c{i}"].stopped for i in range(10))
    facts = beside.to_dict()
    assert facts["requests"] == 18
    assert [guard["matched"] for guard in facts["guards"]] == [18, 18, 18]
    assert facts["guards"][1]["harmful_sets"][0]["certified_recall"] == []
    json.dumps(facts, allow_nan=False)


def test_the_page_shows_a_dash_where_nothing_is_certified():
    claims = {HALF: Claim(0.2, 5, "within ℓ2 0.4"), Certified("pixels", 0.2): Claim(0.2, 5, "")}
    beside = Beside((perfect(claims, {HALF: True}),), (coin(),), ROWS, 0.05)
    page = format_beside(beside)
    assert "On the 18 of 18 requests that every report here rules on" in page
    assert "harmful: 8 harmful requests, beside 10 clean ones" in page
    assert "(8 of 8), within ℓ2 0.4</td>" in page
    assert "<td>coin</td><td class=words>–</td></tr>" in page
    assert [name_column(one) for one in told_columns(beside)] == ["changes of pixels, r(τ = 0.5)"]
    alone = Beside((coin(),), (coin(seed=4),), ROWS, 0.05)
    assert "None of these guards certifies anything." in format_beside(alone)
    assert format_beside(None) == ""


def test_requests_that_one_report_lacks_are_left_out_for_all():
    own, rows = perfect(), (*ROWS, row("a0", False, "adversarial"))
    own = report({**own.rulings, "a0": ruling(None, "d-a0")}, name="own")
    other = coin(rows[3:])
    beside = Beside((own,), (other,), rows, 0.05)
    assert len(beside.matched) == 16
    assert beside.line(own, "harmful").passed.total == 7
    # What nothing judged passed nothing, and stopped nothing.
    assert beside.other_clean_sets == ("adversarial",)
    assert beside.passed(own, "adversarial").count == 0
    assert "Other clean requests that passed" in format_beside(beside)


names = st.sampled_from(["a", "b", "c", "d", "e"])
digests = st.sampled_from(["", "x", "y"])
rulings_of = st.dictionaries(names, digests).map(
    lambda found: report({name: ruling(True, digest) for name, digest in found.items()})
)


@given(rulings_of, st.lists(rulings_of, max_size=3))
def test_what_matches_is_in_all_reports_and_nowhere_another_request(own, others):
    found = match_names(own, others)
    for name in "abcde":
        digest = own.rulings[name].digest if name in own.rulings else None
        same = digest is not None and all(
            name in other.rulings and (
                not digest
                or not other.rulings[name].digest
                or digest == other.rulings[name].digest
            )
            for other in others
        )  # fmt: skip
        assert (name in found) == same
    for other in others:
        matched, different = count_others(own, other)
        assert matched == len(match_names(own, [other]))
        assert matched + different == len(own.rulings.keys() & other.rulings.keys())
        assert match_names(own, others) <= match_names(own, [other])


def prediction(name, score=0.7, **metadata):
    return {"sample_id": name, "unsafe_score": score, "unsafe_label": score >= 0.5,
            "threshold": 0.5, "latency_ms": 1.0, "metadata": metadata}  # fmt: skip


def write_run(folder, datasets, run_name="a run", model=None):
    """As guard-eval-harness writes one."""
    folder.mkdir()
    (folder / "manifest.json").write_text(
        json.dumps({"run_name": run_name, "model": model or {"adapter": "mock"}, "threshold": 0.5})
    )
    for name, rows in datasets.items():
        (folder / "datasets" / name).mkdir(parents=True)
        lines = "".join(json.dumps(one) + "\n" for one in rows)
        (folder / "datasets" / name / "predictions.jsonl").write_text(lines)
    return folder


def test_a_run_of_guard_eval_harness_is_read(tmp_path):
    rows = [prediction("a", 0.2), prediction("b"), prediction("twice"), prediction("twice", 0.1)]
    run = write_run(tmp_path / "run", {"scenes": rows, "other": [prediction("z")]})
    found = read_guard_report(run, "scenes")
    assert (found.name, found.source, found.ambiguous) == ("a run (mock)", "run", 2)
    assert {name: one.stopped for name, one in found.rulings.items()} == {"a": False, "b": True}
    assert found.rulings["a"].score == 0.2
    assert found.claims == {}
    of_one = read_guard_report(run / "datasets" / "other", "scenes")
    assert set(of_one.rulings) == {"z"}
    assert of_one.name == "a run (mock)"
    with pytest.raises(ConfigError, match=r"no dataset 'mine' \(it has: other, scenes\)"):
        read_guard_report(run, "mine")


def test_the_only_dataset_is_taken_whatever_its_name(tmp_path):
    run = write_run(tmp_path / "run", {"x": [prediction("a")]}, "mock of x")
    assert read_guard_report(run, "scenes").name == "mock of x"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"sample_id": "a", "unsafe_score": 2.0, "unsafe_label": true}', "unsafe_score"),
        ('{"sample_id": "a", "unsafe_score": 0.1, "unsafe_label": "no"}', "unsafe_label"),
        ('{"sample_id": "", "unsafe_score": 0.1, "unsafe_label": false}', "sample_id"),
        ("{", "this is not JSON"),
    ],
)
def test_a_line_that_is_no_prediction_is_named(tmp_path, line, problem):
    run = write_run(tmp_path / "run", {"scenes": [prediction("a")]})
    file = run / "datasets" / "scenes" / "predictions.jsonl"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=problem) as caught:
        read_guard_report(run, "scenes")
    assert caught.value.line == 2


def test_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        read_guard_report(tmp_path / "none", "scenes")
    with pytest.raises(ConfigError, match=r"this is no report of a guard; give evaluation\.json"):
        read_guard_report(tmp_path, "scenes")
    (tmp_path / "evaluation.json").write_text('{"type": "guardrail-evaluation"}')
    with pytest.raises(ConfigError, match="as guardrail reads it"):
        read_guard_report(tmp_path, "scenes")


def test_reports_without_a_common_request_are_refused_before_any_call(tmp_path):
    first = write_run(tmp_path / "first", {"scenes": [prediction("a"), prediction("b")]})
    second = write_run(tmp_path / "second", {"scenes": [prediction("c")]})
    requests = [("d1", "a"), ("d2", "c")]
    assert len(read_reports([first], "scenes", requests)) == 1
    with pytest.raises(ConfigError, match="no request here is in all of the reports"):
        read_reports([first, second], "scenes", requests)
    with pytest.raises(ConfigError, match="'second' rules on none of the requests here"):
        read_reports([second], "scenes", [("d1", "a")])
    assert read_reports([], "scenes", requests) == ()
    assert set(unruled_report(requests).rulings) == {"a", "c"}


def evaluation(**changes):
    request = {"id": "a", "digest": "x", "ending": "blocked", "score": 0.9,
               "one_check": {"stopped": None, "score": None},
               "shown_held": {"pixels": [0.5], "stickers": False}}  # fmt: skip
    floors = [{"floor": floor, "smallest_radius": low, "largest_radius": 0.5}
              for floor, low in ((0.5, 0.25), (0.1, 0.5))]  # fmt: skip
    certified = [
        {"set": "harmful", "threat": "pixels", "beta": 0.2, "floors": floors},
        {"set": "harmful", "threat": "stickers", "beta": 0.2, "extent": "2 %"},
    ]
    return {"type": "guardrail-evaluation", "policy": "p", "model": "m", "requests": [request],
            "certified_recall": certified, **changes}  # fmt: skip


def test_an_evaluation_is_read_with_what_it_certifies():
    guard, check = reports_of(evaluation())
    assert (guard.name, check.name) == ("guardrail p on m", "one check of m")
    assert guard.rulings["a"] == Ruling(
        "x", True, 0.9, {HALF: True, Certified("pixels", 0.1): False, ANYWHERE: False}
    )
    assert check.rulings["a"] == Ruling("x", None, None, {})
    assert guard.claims == {
        HALF: Claim(0.2, 2, "within ℓ2 0.25 to 0.5"),
        Certified("pixels", 0.1): Claim(0.2, 2, "within ℓ2 0.5"),
        ANYWHERE: Claim(0.2, 1, "2 %"),
    }
    assert check.claims == {}


@pytest.mark.parametrize("ending", ["fault", "unjudged"])
def test_what_nothing_judged_is_neither_stopped_nor_passed(ending):
    facts = evaluation()
    facts["requests"][0] |= {"ending": ending, "score": None, "one_check": None}
    (guard,) = reports_of(facts)
    assert (guard.rulings["a"].stopped, guard.rulings["a"].score) == (None, None)
