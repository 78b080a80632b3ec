"""Answers drawn from records: one a request, by stratum, each with the number it stands for."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.canonical import canonical_json
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.record import SampleRecord
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
    return survey([records(*rows)], seed=1)


def test_strata_share_the_draw_and_small_ones_give_all(store):
    rows, drawn = draw(store, 45, seed=1)
    assert [(d.name, d.requests, d.drawn) for d in drawn] == [
        ("score 0 to 0.05", 200, 20),
        ("score 0.25 to 0.5", 30, 20),
        ("score from 0.75", 5, 5),
    ]
    assert len({row["group"] for row in rows}) == len(rows) == 45
    assert (store.answers, store.requests) == (705, 235)


def test_weights_add_up_to_all_requests(store):
    rows, _ = draw(store, 45, seed=1)
    assert sum(row["weight"] for row in rows) == pytest.approx(235)


def test_rows_hold_what_is_to_be_labelled_and_not_its_score(store):
    rows, _ = draw(store, 45, seed=1)
    row = next(r for r in rows if r["group"] == "r231")
    index = row["id"].removeprefix("r231/")
    mark = row["stratum"]
    assert row == {
        "id": f"r231/{index}",
        "group": "r231",
        "prompt": "question 231",
        "response": f"answer 231/{index}",
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


def test_every_answer_can_be_drawn(records, record):
    rows = [record(i, [sample(j, 0.2 + j / 10) for j in range(4)]) for i in range(6)]
    path = records(*rows)
    seen = {
        row["id"]
        for seed in range(80)
        for row in draw(survey([path], seed), 10, seed)[0]
    }  # fmt: skip
    assert len(seen) == 24


def test_records_of_one_request_are_one(records, record):
    rows = [record(i, [sample(0, 0.2)], request="same") for i in range(5)]
    store = survey([records(*rows, record(9, [sample(0, 0.2)], request="other"))], seed=0)
    assert (store.decisions, store.answers, store.requests) == (6, 6, 2)
    assert {row["group"] for row in draw(store, 9, seed=0)[0]} == {"same", "other"}


def test_what_was_given_again_holds_no_draws_and_is_nothing_missing(records, record):
    again = dataclasses.replace(record(1, [], request="x"), remembered=True)
    bare = record(2, [sample(0, 0.2)], keep=False)
    path = records(record(0, [sample(0, 0.2)], request="x"), again, bare)
    store = survey([path], seed=0)
    assert (store.decisions, store.requests, store.without_content) == (3, 1, 1)


def test_the_answer_is_taken_whatever_its_score(records, record):
    """Each of four answers to 400 requests for a quarter of them, within 4.5 deviations."""
    rows = [record(i, [sample(j, (0.01, 0.1, 0.3, 0.9)[j]) for j in range(4)]) for i in range(400)]
    store = survey([records(*rows)], seed=2)
    sizes = [len(stratum) for stratum in store.strata]
    assert all(abs(size - 100) < 4.5 * (400 * 3 / 16) ** 0.5 for size in sizes if size)
    assert sum(size > 0 for size in sizes) == 4


def test_asking_for_more_than_there_is_gives_all(store):
    assert len(draw(store, 10_000, seed=0)[0]) == 235


def test_a_draw_reaches_every_stratum(store):
    with pytest.raises(ConfigError, match="at least 3"):
        draw(store, 2, seed=0)


def test_answers_that_were_not_judged_are_counted_and_left_out(records, record):
    path = records(record(0, [sample(0, 0.2), sample(1, None), sample(2, 0.1, unscanned=True)]))
    found = survey([path], seed=0)
    assert (found.requests, found.answers, found.unjudged) == (1, 1, 2)


def test_several_files_are_one_store(records, record):
    first = records(record(0, [sample(0, 0.2)]), name="a.jsonl")
    second = records(record(1, [sample(0, 0.2)]), name="b.jsonl")
    rows, _ = draw(survey([first, second], seed=0), 2, seed=0)
    assert {row["id"] for row in rows} == {"r0/0", "r1/0"}


def test_records_without_content_say_so(records, record):
    with pytest.raises(ConfigError, match="--keep-content"):
        survey([records(record(0, [sample(0, 0.2)], keep=False))], seed=0)


def test_what_is_no_record_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(CertificationError, match=r"x\.jsonl:1"):
        survey([path], seed=0)


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
    drawn, _ = draw(survey([records(*(row.seal() for row in rows))], seed=0), 3, seed=0)
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
