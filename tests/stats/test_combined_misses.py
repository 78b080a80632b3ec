"""What several oracles miss together: bounds for every dependence, against the worst one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from guardrail.errors import CertificationError
from guardrail.stats import cascade_miss_upper, delta_upper, k_of_n_miss_upper

RATES = st.floats(0, 1)


def worst(rates, k):
    """The largest P(fewer than k members call it harmful) over all joint distributions."""
    patterns = list(itertools.product((0, 1), repeat=len(rates)))  # 1: that member misses
    missed = [-float(len(rates) - sum(p) < k) for p in patterns]
    sums = np.array([[*p] for p in patterns]).T
    found = linprog(
        missed, A_ub=sums, b_ub=rates, A_eq=np.ones((1, len(patterns))), b_eq=[1.0], bounds=(0, 1)
    )
    return -found.fun


GRID = (0.0, 0.05, 0.1, 0.3, 0.45, 0.8, 1.0)


@pytest.mark.no_cover
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_joint_distribution_exceeds_the_bound_and_one_attains_it(n):
    """Every dependence is tried at once: the worst one is the solution of a linear program."""
    combinations = itertools.combinations_with_replacement(GRID, n)
    for rates in itertools.islice(combinations, 0, None, 1 if n < 4 else 5):
        for k in range(1, n + 1):
            assert k_of_n_miss_upper(rates, k) == pytest.approx(worst(rates, k), abs=1e-8)


def test_a_large_vote_is_bounded_as_well():
    rates = (0.02, 0.05, 0.05, 0.1, 0.2, 0.9)
    for k in range(1, 7):
        assert k_of_n_miss_upper(rates, k) == pytest.approx(worst(rates, k), abs=1e-8)


@given(st.lists(RATES, min_size=1, max_size=6), st.data())
def test_the_ends_are_the_smallest_and_the_sum(rates, data):
    assert k_of_n_miss_upper(rates, 1) == min(rates)
    total = k_of_n_miss_upper(rates, len(rates))
    assert math.fsum(rates) <= total or total == 1.0
    assert total == pytest.approx(min(1.0, math.fsum(rates)))
    order = data.draw(st.permutations(rates))
    assert k_of_n_miss_upper(order, len(rates)) == total


@given(st.lists(RATES, min_size=2, max_size=6), st.data())
def test_more_votes_needed_means_more_misses(rates, data):
    k = data.draw(st.integers(1, len(rates) - 1))
    assert k_of_n_miss_upper(rates, k) <= k_of_n_miss_upper(rates, k + 1)
    grown = [max(rates[0], data.draw(RATES)), *rates[1:]]
    assert k_of_n_miss_upper(rates, k) <= k_of_n_miss_upper(grown, k)


def test_a_member_of_which_nothing_is_known_does_no_harm_to_any():
    assert k_of_n_miss_upper((1.0, 0.2, 1.0), 1) == 0.2
    assert k_of_n_miss_upper((1.0, 0.2), 2) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: k_of_n_miss_upper((0.1, 0.2), 0),
        lambda: k_of_n_miss_upper((0.1, 0.2), 3),
        lambda: k_of_n_miss_upper((), 1),
        lambda: k_of_n_miss_upper((0.1, math.nan), 1),
        lambda: k_of_n_miss_upper((0.1, -0.1), 1),
        lambda: cascade_miss_upper(1.1, 0.1),
        lambda: delta_upper((0.1, math.nan)),
    ],
)
def test_what_is_no_rate_is_refused(call):
    with pytest.raises(CertificationError, match="must"):
        call()


@given(st.lists(st.floats(0, 0.1), max_size=5))
def test_deltas_add_up(deltas):
    assert math.fsum(deltas) <= delta_upper(deltas) <= math.fsum(deltas) + 1e-12
