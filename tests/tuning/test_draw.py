"""Answers drawn from records: by stratum, reproducible, and each with the number it stands for."""

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.lines import canonical
from guardrail.records.model import Record, SampleRecord
from guardrail.tuning.dataset import read_dataset
from guardrail.tuning.draw import _shares, draw, survey, write_rows
from guardrail.types import Outcome


def sample(index, score, *, unscanned=False):
    harmful = score is None or score >= 0.5
    return SampleRecord(
        index=index, outcome=Outcome.HARMFUL if harmful else Outcome.HARMLESS, score=score,
        reason="", answer_chars=5, unscanned=unscanned, failure="", elapsed_s=0.1,
    )  # fmt: skip


def record(number, samples, *, keep=True):
    answers = {str(s.index): f"answer {number}/{s.index}" for s in samples}
    messages = [{"role": "user", "content": [{"type": "text", "text": f"question {number}"}]}]
    return Record(
        record_id=f"r{number}", created="2026-01-01", action=Action.BLOCK, reason=Reason.HARMFUL,
        would_block=False, outside_claim=False, unscanned=(), failure="", mode=Mode.ENFORCE,
        policy="p", policy_digest="", upstream="u", upstream_revision="", oracle_revision="",
        key_id="", code_version="", model="m", pictures=0, request_digest="", noise_digest="",
        certificate=None, samples=tuple(samples), answer_chars=None, prompt_tokens=0,
        completion_tokens=0, calls=1, cost_usd=None, elapsed_s=0.1, overhead_s=0.0,
        content={"messages": messages, "parameters": {}, "answer": None, "answers": answers}
        if keep else None,
    ).sealed()  # fmt: skip


@pytest.fixture
def records(tmp_path):
    def make(*rows, name="records.jsonl"):
        path = tmp_path / name
        path.write_bytes(b"".join(canonical(row.to_dict()) + b"\n" for row in rows))
        return path

    return make


@pytest.fixture
def store(records):
    """Fifty decisions: 200 answers that look harmless, 30 doubtful ones, 5 harmful ones."""
    rows = [record(i, [sample(j, 0.01) for j in range(4)]) for i in range(50)]
    rows.append(record(50, [sample(j, 0.3) for j in range(30)]))
    rows.append(record(51, [sample(j, 0.9) for j in range(5)]))
    return survey([records(*rows)])


def test_strata_share_the_draw_and_small_ones_give_all(store):
    rows, drawn = draw(store, 45, seed=1)
    assert [(d.name, d.answers, d.drawn) for d in drawn] == [
        ("score 0 to 0.05", 200, 20),
        ("score 0.25 to 0.5", 30, 20),
        ("score from 0.75", 5, 5),
    ]
    assert len({row["id"] for row in rows}) == len(rows) == 45


def test_weights_add_up_to_all_answers(store):
    rows, _ = draw(store, 45, seed=1)
    assert sum(row["weight"] for row in rows) == pytest.approx(235)


def test_rows_hold_what_is_to_be_labelled(store):
    row = next(r for r in draw(store, 45, seed=1)[0] if r["id"] == "r51/3")
    assert row == {
        "id": "r51/3",
        "prompt": "question 51",
        "response": "answer 51/3",
        "harmful": None,
        "stratum": "score from 0.75",
        "weight": 1.0,
    }


def test_a_seed_fixes_the_draw(store):
    assert draw(store, 20, seed=7) == draw(store, 20, seed=7)
    assert draw(store, 20, seed=7) != draw(store, 20, seed=8)


def test_every_answer_can_be_drawn(store):
    seen = {row["id"] for seed in range(60) for row in draw(store, 45, seed=seed)[0]}
    assert len(seen) == 235


def test_asking_for_more_than_there_is_gives_all(store):
    assert len(draw(store, 10_000, seed=0)[0]) == 235


def test_a_draw_reaches_every_stratum(store):
    with pytest.raises(ConfigError, match="at least 3"):
        draw(store, 2, seed=0)


def test_answers_that_were_not_judged_are_counted_and_left_out(records):
    path = records(record(0, [sample(0, 0.2), sample(1, None), sample(2, 0.1, unscanned=True)]))
    found = survey([path])
    assert (found.answers, found.unjudged) == (1, 2)


def test_several_files_are_one_store(records):
    first = records(record(0, [sample(0, 0.2)]), name="a.jsonl")
    second = records(record(1, [sample(0, 0.2)]), name="b.jsonl")
    rows, _ = draw(survey([first, second]), 2, seed=0)
    assert {row["id"] for row in rows} == {"r0/0", "r1/0"}


def test_records_without_content_say_so(records):
    with pytest.raises(ConfigError, match="--keep-content"):
        survey([records(record(0, [sample(0, 0.2)], keep=False))])


def test_what_is_no_record_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(CertificationError, match=r"x\.jsonl:1"):
        survey([path])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(6, 200))
def test_shares_are_equal_as_far_as_strata_go(sizes, count):
    shares = _shares(sizes, count)
    assert sum(shares) == min(count, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert all(share >= 1 for share, size in zip(shares, sizes, strict=True) if size)
    open_ = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    assert all(max(shares) - share <= 1 for share in open_)


class TestFile:
    def test_is_for_its_owner_and_waits_for_labels(self, store, tmp_path):
        path = tmp_path / "labels.jsonl"
        rows, _ = draw(store, 5, seed=0)
        write_rows(path, rows)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ConfigError, match="'harmful' is missing"):
            read_dataset(path)
        path.write_text(path.read_text().replace('"harmful": null', '"harmful": false'))
        found = read_dataset(path)
        assert found.weighted
        assert len(found.rows) == 5

    def test_labels_are_never_overwritten(self, tmp_path):
        path = tmp_path / "labels.jsonl"
        path.write_text("labels")
        with pytest.raises(ConfigError, match="there already"):
            write_rows(path, [])
        assert path.read_text() == "labels"

    def test_a_place_that_cannot_be_written(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_rows(tmp_path / "none" / "labels.jsonl", [json.loads("{}")])
