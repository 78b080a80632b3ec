"""The bound of a mean: exact enumeration of small worlds, and its ends."""

import itertools
import math

import pytest

from guardrail.errors import CertificationError
from guardrail.stats import mean_upper


def test_the_bound_of_a_mean_holds_in_every_small_world():
    """All runs of four draws from three values, weighed: it fails no more often than alpha."""
    values, alpha = (0.0, 0.3, 1.0), 0.2
    bounds = {draws: mean_upper(draws, 1.0, alpha) for draws in itertools.product(values, repeat=4)}
    for weights in itertools.product((0.02, 0.2, 0.5, 0.9), repeat=3):
        shares = [weight / sum(weights) for weight in weights]
        mean = sum(v * s for v, s in zip(values, shares, strict=True))
        fails = sum(
            math.prod(shares[values.index(v)] for v in draws)
            for draws, bound in bounds.items()
            if bound < mean
        )
        assert fails <= alpha


def test_the_bound_of_a_mean_holds_at_any_stopping_time():
    """Who stops at the lowest bound that six draws bring is wrong no more often than alpha."""
    values, alpha, most_draws = (0.0, 1.0), 0.2, 6
    lowest = {
        draws: min(mean_upper(draws[:n], 1.0, alpha) for n in range(1, most_draws + 1))
        for draws in itertools.product(values, repeat=most_draws)
    }
    for mean in (0.1, 0.3, 0.5, 0.7, 0.83, 0.9):
        fails = sum(
            math.prod(mean if v else 1.0 - mean for v in draws)
            for draws, bound in lowest.items()
            if bound < mean
        )
        assert fails <= alpha
    assert min(lowest.values()) < 0.83  # it can fail


def test_the_bound_of_a_mean_is_near_it_where_numbers_spread_little():
    assert mean_upper([20.0] * 300, 200.0, 0.01) < 24.5
    assert mean_upper([], 200.0, 0.01) == 200.0
    assert mean_upper([200.0] * 50, 200.0, 0.01) == 200.0
    assert mean_upper([1.0, 2.0], 10.0, 0.01) > mean_upper([1.0, 1.0], 10.0, 0.01)
    with pytest.raises(CertificationError, match="between 0 and 10"):
        mean_upper([11.0], 10.0, 0.01)
