"""Spikes of blocks, minute by minute, on a clock of the test's own."""

import pytest

from guardrail.telemetry.background import _Watch
from guardrail.telemetry.block_spikes import BlockSpikes
from guardrail.telemetry.telemetry import Telemetry, TelemetrySettings

MINUTE_S = 60.0


def fill(spikes, start_s, minutes, *, passed, blocked):
    for minute in range(minutes):
        for count, is_blocked in ((passed, False), (blocked, True)):
            for _ in range(count):
                spikes.record(start_s + minute * MINUTE_S, blocked=is_blocked)


def test_a_spike_is_told_once_and_again_only_after_calm():
    spikes = BlockSpikes()
    fill(spikes, 0.0, 60, passed=20, blocked=1)
    assert spikes.check(3600.0) is None
    fill(spikes, 3600.0, 5, passed=10, blocked=10)
    spike = spikes.check(3899.0)
    assert (spike.blocked, spike.decisions) == (50, 100)
    assert spike.to_dict()["share"] == 0.5
    assert spike.share_before == pytest.approx(1 / 21, abs=0.01)
    assert spikes.check(3899.0) is None
    fill(spikes, 3900.0, 10, passed=40, blocked=0)
    assert spikes.check(4499.0) is None
    fill(spikes, 4500.0, 5, passed=0, blocked=30)
    assert spikes.check(4799.0) is not None


@pytest.mark.parametrize(
    ("passed", "blocked", "told"),
    [(0, 9, False), (0, 10, True), (91, 9, False), (95, 10, False), (90, 10, True)],
)
def test_few_blocks_and_small_shares_are_none(passed, blocked, told):
    spikes = BlockSpikes()
    fill(spikes, 0.0, 1, passed=passed, blocked=blocked)
    assert (spikes.check(1.0) is not None) is told


def test_a_share_that_was_always_high_is_none():
    spikes = BlockSpikes()
    fill(spikes, 0.0, 65, passed=5, blocked=5)
    assert spikes.check(64 * MINUTE_S) is None


def test_what_is_old_is_forgotten_and_memory_is_bounded():
    spikes = BlockSpikes()
    fill(spikes, 0.0, 500, passed=0, blocked=1)
    assert len(spikes._minutes) == 65
    fill(spikes, 1e6, 1, passed=0, blocked=20)
    assert spikes.check(1e6).share_before == 0.0


@pytest.mark.parametrize("watches", [True, False])
def test_whoever_shows_blocks_on_purpose_looks_for_no_spike(watches):
    watch = _Watch(Telemetry(TelemetrySettings(watches_spikes=watches)), None)
    work = watch.tasks()
    names = [one.__name__ for one in work]
    for one in work:
        one.close()
    assert names == (["_watch_spikes"] if watches else [])
