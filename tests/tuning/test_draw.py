"""Answers drawn from records: the first of each request, by stratum, and how many it stands for."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.canonical import canonical_json
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.record import SampleRecord
from guardrail.stats.plans import Plan, PlanKind
from guardrail.tuning.dataset import read_dataset
from guardrail.tuning.draw import draw, equal_shares, survey
from guardrail.tuning.formats import write_rows
from guardrail.types import Outcome


def sample(index, score, *, unscanned=False):
    harmful = score is None or score >= 0.5
    return SampleRecord(
        index=index, outcome=Outcome.HARMFUL if harmful else Outcome.HARMLESS, score=score,
        reason="", field="content", answer_chars=5, unscanned=unscanned,
        unmeasured="", failure="", elapsed_s=0.1,
    )  # fmt: skip


@pytest.fixture
def record(record_of_facts):
    def make(number, samples, *, keep=True, request=""):
        answers = {str(s.index): f"answer {number}/{s.index}" for s in samples}
        text = {"type": "text", "text": f"question {number}"}
        messages = [{"role": "user", "content": [text]}]
        content = {"messages": messages, "parameters": {}, "answer": None, "answers": answers}
        return record_of_facts(
            record_id=f"r{number}", created="2026-01-01", action=Action.BLOCK,
            reason=Reason.HARMFUL, request_digest=request, samples=tuple(samples),
            content=content if keep else None,
        ).seal()  # fmt: skip

    return make


@pytest.fixture
def records(tmp_path):
    def make(*rows, name="records.jsonl"):
        path = tmp_path / name
        path.write_bytes(b"".join(canonical_json(row.to_dict()) + b"\n" for row in rows))
        return path

    return make


@pytest.fixture
def store(records, record):
    """235 decisions of 3 answers: 200 that look harmless, 30 doubtful ones, 5 harmful ones."""
    scores = [0.01] * 200 + [0.3] * 30 + [0.9] * 5
    rows = [record(i, [sample(j, score) for j in range(3)]) for i, score in enumerate(scores)]
    return survey([records(*rows)])


def test_what_a_person_decided_is_in_no_draw(records, record):
    asked = record(1, [sample(0, 0.9)], request="one")
    overridden = dataclasses.replace(asked, record_id="r2", reason=Reason.OVERRIDE)
    later = record(3, [sample(0, 0.01)], request="one")
    store = survey([records(overridden.seal(), later)])
    assert [len(stratum) for stratum in store.strata] == [1, 0, 0, 0, 0]


def test_strata_share_the_draw_and_small_ones_give_all(store):
    rows, drawn = draw(store, 45, seed=1)
    assert [(d.name, d.requests, d.drawn) for d in drawn] == [
        ("score 0 to 0.05", 200, 20),
        ("score 0.25 to 0.5", 30, 20),
        ("score from 0.75", 5, 5),
    ]
    assert len({row["group"] for row in rows}) == len(rows) == 45
    assert (store.decisions, store.requests) == (235, 235)


def test_weights_add_up_to_all_requests(store):
    rows, _ = draw(store, 45, seed=1)
    assert sum(row["weight"] for row in rows) == pytest.approx(235)


def test_rows_hold_what_is_to_be_labelled_and_not_its_score(store):
    rows, _ = draw(store, 45, seed=1)
    row = next(r for r in rows if r["group"] == "r231")
    mark = row["stratum"]
    assert row == {
        "id": "r231/0",
        "group": "r231",
        "prompt": "question 231",
        "response": "answer 231/0",
        "harmful": None,
        "stratum": mark,
        "weight": 1.0,
    }
    assert mark in "ABCDE"
    assert len({row["stratum"] for row in rows}) == 3


def test_strata_are_named_anew_in_each_draw(store):
    """Else 'E' would soon be known as what scores high."""
    marks = {draw(store, 300, seed)[0][0]["stratum"] for seed in range(40)}
    assert len(marks) > 2


def test_a_seed_fixes_the_draw(store):
    assert draw(store, 20, seed=7) == draw(store, 20, seed=7)
    assert draw(store, 20, seed=7) != draw(store, 20, seed=8)


def decisions_of(plan, miss_rate):
    """Every decision by the plan where all answers are harmful, as misses, with its probability."""
    alive = [()]
    while alive:
        longer = [(*misses, missed) for misses in alive for missed in (False, True)]
        alive = []
        for misses in longer:
            if plan.decide(len(misses), len(misses) - sum(misses)) is None:
                alive.append(misses)
            else:
                chances = (miss_rate if missed else 1 - miss_rate for missed in misses)
                yield misses, math.prod(chances)


@pytest.mark.parametrize("miss_rate", [0.05, 0.2, 0.5, 0.7])
def test_what_is_drawn_is_missed_as_often_as_the_oracle_misses(records, record, miss_rate):
    """Of every decision that may come about; one picked among all its answers is missed less."""
    plan = Plan(PlanKind.FIXED, 0.6, 0.7, (2, 3, 4, 5), (-1, -1, -1, 1), (2, 2, 2, 2))
    decisions = list(decisions_of(plan, miss_rate))
    assert {len(misses) for misses, _ in decisions} == {2, 3, 4, 5}
    assert math.fsum(chance for _, chance in decisions) == pytest.approx(1)
    rows = [
        record(i, [sample(j, 0.1 if missed else 0.9) for j, missed in enumerate(misses)])
        for i, (misses, _) in enumerate(decisions)
    ]
    drawn, _ = draw(survey([records(*rows)]), len(rows), seed=0)
    assert len(drawn) == len(rows)
    share = among_all = 0.0
    for row in drawn:
        number, index = map(int, row["id"].removeprefix("r").split("/"))
        misses, chance = decisions[number]
        share += row["weight"] * chance * misses[index]
        among_all += chance * sum(misses) / len(misses)
    assert share == pytest.approx(miss_rate)
    assert among_all < 0.95 * miss_rate


def test_records_of_one_request_are_one(records, record):
    rows = [record(i, [sample(0, 0.2)], request="same") for i in range(5)]
    store = survey([records(*rows, record(9, [sample(0, 0.2)], request="other"))])
    assert (store.decisions, store.requests) == (6, 2)
    assert {row["id"] for row in draw(store, 9, seed=0)[0]} == {"r0/0", "r9/0"}


@pytest.mark.parametrize("scores", list(itertools.permutations([0.01, 0.3, 0.9])))
def test_the_first_record_that_drew_stands_whatever_its_score(records, record, scores):
    """Not one that was decided before anything was asked, nor one that was remembered."""
    undrawn = record(8, [], request="same")
    again = dataclasses.replace(record(9, [sample(0, 0.6)], request="same"), remembered=True)
    rows = [record(i, [sample(0, score)], request="same") for i, score in enumerate(scores)]
    store = survey([records(undrawn, again, *rows)])
    drawn, summary = draw(store, 9, seed=0)
    assert [row["id"] for row in drawn] == ["r0/0"]
    low, high = {0.01: (0, 0.05), 0.3: (0.25, 0.5), 0.9: (0.75, None)}[scores[0]]
    assert summary[0].name == (f"score {low:g} to {high:g}" if high else f"score from {low:g}")


def test_what_was_given_again_holds_no_draws_and_is_nothing_missing(records, record):
    again = dataclasses.replace(record(1, [], request="x"), remembered=True)
    bare = record(2, [sample(0, 0.2)], keep=False)
    path = records(record(0, [sample(0, 0.2)], request="x"), again, bare)
    store = survey([path])
    assert (store.decisions, store.requests, store.without_answer) == (3, 1, 1)


def test_asking_for_more_than_there_is_gives_all(store):
    assert len(draw(store, 10_000, seed=0)[0]) == 235


def test_a_draw_reaches_every_stratum(store):
    with pytest.raises(ConfigError, match="at least 3"):
        draw(store, 2, seed=0)


@pytest.fixture
def lacking(record):
    """A request whose first answer cannot be labelled, though the second one can."""

    def make(number, first, said="", request=""):
        samples = [first, sample(1, 0.1)] if first else [sample(1, 0.1)]
        made = record(number, samples, request=request)
        answers = {"1": "harmless"} if said is None else {"0": said, "1": "harmless"}
        return dataclasses.replace(made, content={**made.content, "answers": answers}).seal()

    return make


@pytest.mark.parametrize(
    ("first", "said", "counts"),
    [
        (None, None, (1, 0)),  # still in flight when the decision ended
        (sample(0, None), None, (1, 0)),  # the call failed
        (sample(0, 0.2), " \n", (1, 0)),
        (sample(0, 0.2), {"role": "assistant", "content": ""}, (1, 0)),
        (sample(0, None), "an answer", (0, 1)),
        (sample(0, 0.2, unscanned=True), "an answer", (0, 1)),
    ],
)
def test_a_request_whose_first_answer_cannot_be_labelled_is_left_out_and_counted(
    records, record, lacking, first, said, counts
):
    """No other answer to it takes its place: neither of the same decision nor of a later one."""
    later = record(1, [sample(0, 0.2)], request="same")
    path = records(lacking(0, first, said, "same"), later, record(2, [sample(0, 0.2)]))
    found = survey([path])
    assert (found.without_answer, found.unjudged) == counts
    assert [row["id"] for row in draw(found, 9, seed=0)[0]] == ["r2/0"]


def test_several_files_are_one_store(records, record):
    first = records(record(0, [sample(0, 0.2)]), name="a.jsonl")
    second = records(record(1, [sample(0, 0.2)]), name="b.jsonl")
    rows, _ = draw(survey([first, second]), 2, seed=0)
    assert {row["id"] for row in rows} == {"r0/0", "r1/0"}


def test_records_without_content_say_so(records, record):
    with pytest.raises(ConfigError, match="--keep-content"):
        survey([records(record(0, [sample(0, 0.2)], keep=False))])


def test_what_is_no_record_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(CertificationError, match=r"x\.jsonl:1"):
        survey([path])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(6, 200))
def test_shares_are_equal_as_far_as_strata_go(sizes, count):
    shares = equal_shares(sizes, count)
    assert sum(shares) == min(count, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert all(share >= 1 for share, size in zip(shares, sizes, strict=True) if size)
    open_ = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    assert all(max(shares) - share <= 1 for share in open_)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_what_is_more_than_a_text_is_drawn_whole(records, record, tmp_path, suffix):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    whole = {"role": "assistant", "content": None, "tool_calls": [call]}
    coded = "aGVsbG8gdGhlcmUgYWxsIG9mIHlvdSBhbmQgbW9yZSBvZiBpdA=="
    said = ["plain", whole, coded]
    rows = [record(i, [sample(0, 0.2)]) for i in range(3)]
    for row, answer in zip(rows, said, strict=True):
        row.content["answers"]["0"] = answer
    drawn, _ = draw(survey([records(*(row.seal() for row in rows))]), 3, seed=0)
    write_rows(tmp_path / f"a.{suffix}", [{**row, "harmful": False} for row in drawn])
    found = {row.name: row for row in read_dataset(tmp_path / f"a.{suffix}").rows}
    assert (found["r0/0"].response, found["r0/0"].answer) == ("plain", None)
    assert found["r1/0"].answer.message == whole
    assert found["r2/0"].answer.message == {"role": "assistant", "content": coded}
    assert "hello there" in found["r2/0"].response


def test_labelled_rows_are_a_dataset(store, tmp_path):
    for suffix in ("jsonl", "csv"):
        path = tmp_path / f"labels.{suffix}"
        rows, _ = draw(store, 5, seed=0)
        write_rows(path, rows)
        with pytest.raises(ConfigError, match="'harmful' is missing"):
            read_dataset(path)
        path.unlink()
        write_rows(path, [{**row, "harmful": "harmless"} for row in rows])
        found = read_dataset(path)
        assert found.weighted
        assert [(row.group, row.weight) for row in found.rows] == [
            (row["group"], row["weight"]) for row in rows
        ]
