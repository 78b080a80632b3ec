"""`Guard.moderate`: a stream of pictures in, a stream of outcomes out, with and without a loop."""

import asyncio
import sys

import pytest

from guardrail.bulk.frames import to_frame
from guardrail.errors import ConfigError
from guardrail.upstreams.scripted import Scripted
from tests.bulk.conftest import answer, save_picture
from tests.middleware.conftest import make_guard, make_policy


@pytest.fixture
def files(tmp_path):
    return [save_picture(tmp_path / f"{i}.png", i) for i in range(3)]


@pytest.fixture
def guard():
    policy = make_policy(
        smoothing={"alpha": 0.05}, sampling={"plan": "fixed", "expected_harmless_rate": 0.99}
    )
    with make_guard(Scripted(answer), policy=policy) as made:
        yield made


def items_of(files):
    return [files[0], (files[1].read_bytes(), "HARM?"),
            {"image": str(files[2]), "prompt": "FAIL?", "id": "third"},
            b"no picture", {"prompt": "and none at all"}]  # fmt: skip


EXPECTED = {
    1: ("pass", "certified"),
    2: ("block", "harmful"),
    3: ("not decided", "upstream failed"),
    4: ("not decided", "unreadable picture"),
    5: ("not decided", "unreadable picture"),
}


def check(outcomes, files):
    assert {one.row: (one.decision.value, one.reason) for one in outcomes} == EXPECTED
    by_row = {one.row: one for one in outcomes}
    assert by_row[1].name == str(files[0])
    assert by_row[1].radius >= 0.25
    assert by_row[3].name == "third"


def test_without_a_loop(guard, files):
    check(list(guard.moderate_sync(items_of(files), jobs=2)), files)


@pytest.mark.parametrize("is_async", [False, True])
def test_on_a_loop(guard, files, is_async):
    async def stream():
        for item in items_of(files):
            yield item

    async def run():
        items = stream() if is_async else items_of(files)
        return [one async for one in guard.moderate(items, jobs=2)]

    check(asyncio.run(run()), files)


def test_a_caller_that_leaves_ends_what_is_under_way(guard, files):
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield files[i % 3]

    outcomes = guard.moderate_sync(items(), jobs=2)
    assert next(outcomes).decision.value == "pass"
    outcomes.close()
    assert len(taken) <= 8


def test_a_frame_has_a_row_for_each_outcome(guard, files):
    pytest.importorskip("pandas")
    frame = to_frame(guard.moderate_sync(files, keep_answers=True))
    assert set(frame["decision"]) == {"pass"}
    assert (frame["radius"] >= 0.25).all()
    assert set(frame["answer"]) == {"a picture of a cat"}
    assert list(to_frame([]).columns) == list(frame.columns)


def test_pandas_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[frames\]'"):
        to_frame([])


def test_no_job_at_a_time_is_none(guard, files):
    with pytest.raises(ConfigError, match="jobs"):
        guard.moderate_sync(files, jobs=0)
