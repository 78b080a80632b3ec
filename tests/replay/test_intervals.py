"""Shares, errors against labels, and their intervals, by brute force on small cases."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from guardrail.replay.endings import Ending, Need
from guardrail.replay.intervals import (
    DELTA,
    Label,
    compare_with_labels,
    exact_interval,
    mcnemar_p,
    share_now,
)
from guardrail.replay.policy_replay import PolicyReplay
from guardrail.replay.wording import describe_error

LET, STOP, FAULT, UNKNOWN = Ending.LET_THROUGH, Ending.STOPPED, Ending.FAULT, Ending.UNKNOWN


class Rows:
    """What the statistics look at of recorded decisions."""

    def __init__(self, before, requests=None, kinds=None, observed=False, policies=None):
        count = len(before)
        self.before = np.array(before, dtype=np.int8)
        self.request = np.arange(count) if requests is None else np.array(requests)
        self.kind = np.zeros(count, dtype=np.int8) if kinds is None else np.array(kinds)
        self.observed = np.full(count, observed)
        self.policy = np.zeros(count, dtype=np.int64) if policies is None else np.array(policies)
        self.record_ids = tuple(f"r{i}" for i in range(count))


def replayed(pairs, **facts):
    before, after = zip(*pairs, strict=True) if pairs else ((), ())
    after = np.array(after, dtype=np.int8)
    need = np.where(after == UNKNOWN, Need.CALLS, Need.NOTHING).astype(np.int8)
    return PolicyReplay(Rows(before, **facts), None, after, None, need, None, (), ())


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("p", [0.0, 0.01, 0.1, 0.5, 0.93, 1.0])
def test_intervals_hold_as_often_as_they_say(n, p):
    hit = 0.0
    for k in range(n + 1):
        lower, upper = exact_interval(k, n)
        assert lower <= k / n <= upper
        hit += binom.pmf(k, n, p) * (lower <= p <= upper)
    assert hit >= 1.0 - DELTA - 1e-12
    assert exact_interval(0, 0) == (0.0, 1.0)


def test_shares_are_of_decided_requests_and_bounded_by_what_is_unknown():
    pairs = [(LET, STOP)] * 2 + [(LET, LET)] * 5 + [(LET, UNKNOWN)] * 3 + [(STOP, LET)] + [
        (STOP, UNKNOWN), (FAULT, FAULT), (FAULT, UNKNOWN)]  # fmt: skip
    found = replayed(pairs)
    now = share_now(found, LET, STOP)
    assert (now.count, now.possible, now.total) == (2, 5, 12)
    assert now.lower == exact_interval(2, 12)[0]
    assert now.upper == exact_interval(5, 12)[1]
    freed = share_now(found, STOP, LET)
    assert (freed.count, freed.possible, freed.total) == (1, 2, 12)


def test_equal_requests_count_once_and_repeats_not_at_all():
    pairs = [(LET, STOP)] * 3 + [(LET, LET)]
    found = replayed(pairs, requests=[4, 4, 4, 5], kinds=[0, 0, 2, 1])
    now = share_now(found, LET, STOP)
    assert (now.count, now.total) == (1, 2)


def test_a_request_counts_by_its_first_decision_not_by_a_record_that_decided_nothing():
    """Observed requests have a record of the answer that left, then one of the decision."""
    pairs = [(Ending.UNDECIDED, Ending.UNKNOWN), (FAULT, FAULT), (LET, STOP)]
    now = share_now(replayed(pairs, requests=[3, 3, 3]), LET, STOP)
    assert (now.count, now.total) == (1, 1)


@pytest.mark.parametrize(("mended", "made"), [(0, 0), (0, 1), (3, 3), (9, 1), (1, 9), (0, 20)])
def test_mcnemar_is_the_fair_coin(mended, made):
    total = mended + made
    wanted = binomtest(mended, total, 0.5).pvalue if total else 1.0
    assert mcnemar_p(mended, made) == pytest.approx(wanted)


def test_errors_against_labels_are_paired():
    pairs = [(STOP, LET), (STOP, STOP), (LET, STOP), (LET, LET), (LET, LET), (STOP, FAULT)]
    labels = {"r0": Label.HARMLESS, "r1": Label.HARMLESS, "r2": Label.HARMLESS,
              "r3": Label.HARMFUL, "r4": Label.UNSURE, "r5": Label.HARMFUL,
              "elsewhere": Label.HARMFUL}  # fmt: skip
    told = compare_with_labels(replayed(pairs), labels)
    alarms, missed = told.false_alarms, told.missed_harm
    assert (alarms.labelled, alarms.before.count, alarms.after.count) == (3, 2, 2)
    assert (alarms.mended, alarms.made, alarms.p) == (1, 1, 1.0)
    assert alarms.difference_lower < 0 < alarms.difference_upper
    assert (missed.labelled, missed.before.count, missed.after.count) == (2, 1, 1)
    assert (told.unsure, told.undecided, told.absent) == (1, 0, 1)


OPEN = Ending.UNDECIDED


def test_a_label_of_an_observed_answer_counts_for_the_decision_that_follows_it():
    pairs = [(OPEN, OPEN), (OPEN, OPEN), (STOP, LET), (OPEN, OPEN), (LET, STOP), (FAULT, FAULT)]
    found = replayed(pairs, requests=[0, 1, 0, 2, 0, 3], observed=True)
    all_harmless = {f"r{i}": Label.HARMLESS for i in range(6)}
    told = compare_with_labels(found, all_harmless)
    alarms = told.false_alarms
    # Of request 0 alone something was decided; requests 1, 2 and 3 are neither right nor wrong.
    assert (alarms.labelled, alarms.before.count, alarms.mended, alarms.made) == (1, 1, 1, 0)
    assert told.undecided == 3
    only_answers = compare_with_labels(found, {"r0": Label.HARMFUL, "r1": Label.HARMFUL})
    assert (only_answers.missed_harm.labelled, only_answers.missed_harm.made) == (1, 1)
    assert (only_answers.missed_harm.before.count, only_answers.undecided) == (0, 1)
    # The decision's own label wins over that of the answer.
    both = compare_with_labels(found, {"r0": Label.HARMFUL, "r2": Label.HARMLESS})
    assert (both.missed_harm.labelled, both.false_alarms.labelled) == (0, 1)
    # A decision of another policy is not the one that follows.
    other = replayed(pairs[:3], requests=[0, 1, 0], observed=True, policies=[0, 0, 1])
    assert compare_with_labels(other, {"r0": Label.HARMFUL}).undecided == 1


def test_a_request_that_a_fault_ended_without_an_answer_counts_as_it_ended():
    told = compare_with_labels(replayed([(FAULT, LET)]), {"r0": Label.HARMFUL})
    assert (told.missed_harm.labelled, told.missed_harm.made, told.undecided) == (1, 1, 0)


def test_the_interval_of_a_difference_is_written_outwards():
    change = compare_with_labels(
        replayed([(STOP, LET)] * 3 + [(LET, STOP)] * 2 + [(LET, LET)] * 5),
        {f"r{i}": Label.HARMLESS for i in range(10)},
    ).false_alarms
    for ends, words in (
        ((-0.012341, -0.000021), "-1.24 % to +0.00 %"),
        ((0.012349, 0.012341), "+1.23 % to +1.24 %"),
        ((-1.0, 1.0), "-100.00 % to +100.00 %"),
    ):
        one = dataclasses.replace(change, difference_lower=ends[0], difference_upper=ends[1])
        assert words in "".join(describe_error("x", one))


def test_unknown_decisions_widen_and_never_help():
    known = compare_with_labels(
        replayed([(STOP, LET)] * 9 + [(LET, LET)] * 5),
        {f"r{i}": Label.HARMLESS for i in range(14)},
    ).false_alarms
    open_ = compare_with_labels(
        replayed([(STOP, LET)] * 9 + [(LET, UNKNOWN)] * 5),
        {f"r{i}": Label.HARMLESS for i in range(14)},
    ).false_alarms
    assert open_.p == max(mcnemar_p(9, made) for made in range(6))
    assert open_.p > known.p
    assert open_.difference_upper > known.difference_upper
    assert open_.after.possible == 5


def test_the_interval_of_the_difference_holds_over_all_outcomes():
    """Exact coverage: every way in which n requests can be changed, by three probabilities."""
    n = 6
    for p_mended, p_made in [(0.0, 0.0), (0.3, 0.0), (0.2, 0.5), (0.05, 0.05)]:
        hit = 0.0
        for mended, made in itertools.product(range(n + 1), repeat=2):
            if mended + made > n:
                continue
            rest = n - mended - made
            chance = (
                math.comb(n, mended) * math.comb(n - mended, made)
                * p_mended**mended * p_made**made * (1 - p_mended - p_made) ** rest
            )  # fmt: skip
            pairs = [(STOP, LET)] * mended + [(LET, STOP)] * made + [(LET, LET)] * rest
            labels = {f"r{i}": Label.HARMLESS for i in range(n)}
            one = compare_with_labels(replayed(pairs), labels).false_alarms
            hit += chance * (one.difference_lower <= p_made - p_mended <= one.difference_upper)
        assert hit >= 1.0 - DELTA


def test_without_labels_of_a_kind_nothing_is_said():
    told = compare_with_labels(replayed([(LET, LET)]), {"r0": Label.UNSURE})
    assert told.false_alarms.labelled == 0
    assert (told.false_alarms.before.lower, told.false_alarms.before.upper) == (0.0, 1.0)
