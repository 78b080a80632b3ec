"""Recall per threat: no request that is not held is shown held more often than beta."""

import functools
import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from guardrail.errors import CertificationError
from guardrail.stats import (
    fewest_view_draws,
    harmless_rate_upper,
    most_passable,
    shown_by_all,
    shown_by_some,
)

FLOOR, BETA = 0.0999, 0.2


@functools.cache
def shown_table(shown, views, draws, floor, beta):
    """Whether each combination of counts shows the request held, by exact enumeration."""
    table = np.zeros((draws + 1,) * views)
    for counts in np.ndindex(table.shape):
        table[counts] = shown(counts, draws, floor=floor, beta=beta)
    return table


def probability(shown, rates, draws, floor, beta):
    """Exactly, over all counts of all views, drawn independently."""
    weights = shown_table(shown, len(rates), draws, floor, beta)
    for rate in rates:
        weights = np.tensordot(binom.pmf(np.arange(draws + 1), draws, rate), weights, axes=1)
    return float(weights)


@pytest.mark.parametrize("floor", [0.3, 0.5])
@pytest.mark.parametrize("beta", [0.05, 0.2])
@pytest.mark.parametrize(("views", "draws"), [(1, 12), (2, 10), (3, 5)])
def test_of_no_request_without_a_view_that_holds_it_more_than_beta_are_shown(
    floor, beta, views, draws
):
    """Some of V views: not held means that every rate is at the floor or above."""
    for rates in itertools.product([floor, floor + 0.1, 0.95], repeat=views):
        assert probability(shown_by_some, rates, draws, floor, beta) <= beta


@pytest.mark.parametrize("floor", [0.3, 0.5])
@pytest.mark.parametrize("beta", [0.05, 0.2])
@pytest.mark.parametrize(("views", "draws"), [(1, 12), (2, 10), (3, 5)])
def test_of_no_request_with_a_view_that_does_not_hold_it_more_than_beta_are_shown(
    floor, beta, views, draws
):
    """All views: not held means that some rate is at the floor or above, however low the others."""
    for others in itertools.product([0.0, floor / 2, floor], repeat=views - 1):
        for worst in (floor, floor + 0.2):
            rates = (worst, *others)
            assert probability(shown_by_all, rates, draws, floor, beta) <= beta


@pytest.mark.parametrize("views", [1, 2, 9, 25])
@pytest.mark.parametrize("draws", [16, 37, 60])
def test_views_that_depend_on_each_other_change_nothing(views, draws):
    """Of views that all bring the same outcomes, and of views of which only one ever shows it."""
    most = most_passable(draws, floor=FLOOR, level=BETA / views)
    alone = binom.cdf(most, draws, FLOOR)
    assert views * alone <= BETA  # the union of disjoint events, the worst that there can be
    assert binom.cdf(most_passable(draws, floor=FLOOR, level=BETA), draws, FLOOR) <= BETA


def test_the_line_is_where_the_bound_falls_below_the_floor():
    for draws, floor, level in itertools.product(range(60), (0.0999, 0.3), (0.2, 0.2 / 9, 0.01)):
        most = most_passable(draws, floor=floor, level=level)
        assert most == max(
            (k for k in range(draws + 1) if harmless_rate_upper(k, draws, level) < floor),
            default=-1,
        )


def test_views_that_hold_are_shown():
    assert shown_by_some([40, 0, 40], 40, floor=FLOOR, beta=BETA)
    assert not shown_by_some([40, 40, 40], 40, floor=FLOOR, beta=BETA)
    assert shown_by_all([1, 0, 1], 40, floor=FLOOR, beta=BETA)
    assert not shown_by_all([1, 0, 40], 40, floor=FLOOR, beta=BETA)


def test_without_views_or_draws_nothing_is_shown():
    for shown in (shown_by_some, shown_by_all):
        assert not shown([], 40, floor=FLOOR, beta=BETA)
        assert not shown([0, 0], 0, floor=FLOOR, beta=BETA)


def test_the_fewest_draws():
    assert fewest_view_draws(floor=FLOOR, level=0.2) == 16
    assert fewest_view_draws(floor=FLOOR, level=0.2 / 9) == 37
    for floor, level in itertools.product((0.01, FLOOR, 0.5), (0.3, 0.2, 0.2 / 36, 1e-3)):
        fewest = fewest_view_draws(floor=floor, level=level)
        assert 1 - level ** (1 / fewest) < floor
        assert most_passable(fewest, floor=floor, level=level) >= 0
        assert most_passable(fewest - 1, floor=floor, level=level) == -1


@pytest.mark.parametrize("count", [-1, 11])
@pytest.mark.parametrize("shown", [shown_by_some, shown_by_all])
def test_impossible_counts_are_refused(shown, count):
    with pytest.raises(CertificationError, match="cannot be harmless"):
        shown([count], 10, floor=FLOOR, beta=BETA)


@pytest.mark.parametrize("bad", [0.0, 1.0, math.nan])
def test_numbers_out_of_range_are_refused(bad):
    calls = (
        lambda: most_passable(10, floor=bad, level=BETA),
        lambda: most_passable(10, floor=FLOOR, level=bad),
        lambda: fewest_view_draws(floor=bad, level=BETA),
        lambda: fewest_view_draws(floor=FLOOR, level=bad),
        lambda: shown_by_some([0], 10, floor=FLOOR, beta=bad),
        lambda: shown_by_all([0], 10, floor=FLOOR, beta=bad),
    )
    for call in calls:
        with pytest.raises(CertificationError):
            call()


def test_a_floor_that_no_number_of_draws_shows_is_refused():
    with pytest.raises(CertificationError, match="raise the floor"):
        fewest_view_draws(floor=1e-9, level=BETA)
