"""Views of clean requests, drawn from models of known truth."""

import asyncio

import pytest

from guardrail.engine.threats import Threat
from guardrail.errors import ConfigError, UpstreamError
from guardrail.evaluation.clean_views import (
    CleanView,
    CleanViews,
    CleanViewsOutcome,
    measure_clean_views,
)
from guardrail.evaluation.recall_log import RecallLog
from guardrail.evaluation.threat_facts import ViewCounts
from tests.evaluation.test_threat_recall import (
    CLEAN,
    DOWN,
    HARM,
    LIMITS,
    SIGNAL,
    engine,
    requests_of,
    shows_signal,
)


def measure(guard, requests, *, draws=4, path=None):
    done = []

    async def run():
        with RecallLog(path, {}, command="guardrail policy views") as log:
            return await measure_clean_views(
                guard, draws, requests, "scripted", LIMITS, log, lambda: done.append(1)
            )

    outcome = asyncio.run(run())
    assert len(done) == len(outcome.results)
    return outcome


def test_every_view_that_a_decision_tests_is_drawn(tmp_path):
    guard = engine([CLEAN])
    outcome = measure(guard, requests_of(tmp_path, 2))
    # Four windows, four masks, and the prompt without its last 0, 1 and 2 words.
    assert [len(one.views) for one in outcome.results] == [11, 11]
    assert len(guard.upstream.calls) == outcome.judged == 2 * 11 * 4
    assert outcome.rate() == outcome.rate(Threat.CROPS) == 1.0
    assert outcome.all_harmless == 2
    assert outcome.lowest(Threat.CROPS) == ()
    # As if one more answer had been harmful: 88 of 89, rounded down.
    assert outcome.proposal == 0.9887


def test_harm_in_some_views_is_told_by_threat_and_request(tmp_path):
    """One corner draws harm wherever it is shown: one window of four, three masks of four."""
    assert SIGNAL == 251
    guard = engine(lambda call: HARM if shows_signal(call) else CLEAN)
    requests = requests_of(tmp_path, 3, signals=[(0, 0)])
    outcome = measure(guard, requests)
    assert outcome.rate(Threat.CROPS) == pytest.approx(3 / 4)
    assert outcome.rate(Threat.STICKERS) == pytest.approx(1 / 4)
    assert outcome.rate(Threat.SUFFIX) == 0.0  # its views show the picture as it is
    assert outcome.rate() == pytest.approx(4 / 11)
    assert outcome.all_harmless == 0
    assert {one.name for one in outcome.lowest(Threat.SUFFIX)} == {"r0", "r1", "r2"}
    assert outcome.proposal == pytest.approx(4 / 11 * 132 / 133, abs=1e-4)


def test_missing_answers_are_left_out_of_the_share(tmp_path):
    outcome = measure(engine([CLEAN, DOWN]), requests_of(tmp_path, 2))
    assert 0 < outcome.judged < 2 * 11 * 4
    assert outcome.rate() == 1.0


def view(threat, harmless, judged, missing=0):
    return CleanView(threat, ViewCounts(judged + missing, harmless, missing, judged, 0.0))


def test_each_request_has_the_same_weight():
    few = CleanViews("few", (view(Threat.CROPS, 0, 1),))
    many = CleanViews("many", tuple(view(Threat.CROPS, 4, 4) for _ in range(9)))
    none = CleanViews("none", (view(Threat.SUFFIX, 0, 0, missing=4),))
    outcome = CleanViewsOutcome(4, (few, many, none))
    assert outcome.rate() == 0.5
    assert outcome.rate(Threat.SUFFIX) is outcome.rate(Threat.STICKERS) is None
    assert outcome.lowest(Threat.CROPS) == (few,)
    assert CleanViewsOutcome(4, (none,)).proposal is None
    assert CleanViewsOutcome(4, (few,)).proposal is None
    # However many answers are harmless, the proposal stays below 1.
    endless = CleanViews("endless", (view(Threat.CROPS, 10**9, 10**9),))
    assert CleanViewsOutcome(4, (endless,)).proposal == 0.9999


def test_a_stopped_run_draws_nothing_again_and_one_that_is_down_stops(tmp_path):
    path = tmp_path / "log.jsonl"
    requests = requests_of(tmp_path / "set", 2)
    with pytest.raises(UpstreamError):
        measure(engine([DOWN]), requests, path=path)
    first = measure(engine([CLEAN]), requests, path=path)
    guard = engine([HARM])
    assert measure(guard, requests, path=path) == first
    assert not guard.upstream.calls


def test_a_picture_too_small_for_its_views_is_refused_by_name(tmp_path):
    guard = engine([CLEAN], {"crops": {"windows": 4, "sees": 13}})
    with pytest.raises(ConfigError, match="picture sizes of 'r0'"):
        measure(guard, requests_of(tmp_path, 1))
