"""The most that a request can cost: stated, never the dearest call of a sample."""

from dataclasses import replace

import numpy as np
import pytest

from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.policy.goals import parse_goals
from guardrail.policy_search.draws import run_test
from guardrail.policy_search.measured import check_goal, measure
from guardrail.policy_search.price_cap import PriceCap
from tests.policy_search.test_search import make_draws, policy  # noqa: F401 (a fixture)

(PRICE,) = parse_goals(["price_usd <= 1"])
(CALLS,) = parse_goals(["calls <= 39"])


def test_a_goal_about_the_price_needs_a_cap():
    PriceCap().check_goals([CALLS])
    with pytest.raises(ConfigError, match=r"max_cost_usd_per_request.*--price-per-call"):
        PriceCap().check_goals([CALLS, PRICE])
    for cap in (PriceCap(request_usd=1.0), PriceCap(call_usd=0.1)):
        cap.check_goals([PRICE])


def test_the_lower_of_two_caps_counts():
    assert PriceCap().most_usd(10) is None
    assert PriceCap(0.5).most_usd(10) == 0.5
    assert PriceCap(call_usd=0.1).most_usd(10) == pytest.approx(1.0)
    assert PriceCap(0.5, 0.1).most_usd(10) == 0.5
    assert PriceCap(5.0, 0.1).most_usd(10) == pytest.approx(1.0)


def test_what_is_stated_stands_in_for_what_was_not_measured_and_is_no_less_than_what_was():
    measured = np.array([0.01, np.nan, 0.03])
    assert PriceCap(call_usd=0.05).price_calls(measured).tolist() == [0.01, 0.05, 0.03]
    assert PriceCap(0.05).price_calls(measured) is measured
    with pytest.raises(ConfigError, match=r"cost 0\.03 each"):
        PriceCap(call_usd=0.02).price_calls(measured)


def test_bounds_rest_on_what_was_fixed_beforehand(policy):  # noqa: F811
    """Cheap calls that were seen lower no bound by being all that were seen."""
    rules = compile_policy(policy)
    draws = make_draws(2)
    found = run_test(draws, rules, 0.5, PriceCap(call_usd=0.02))
    assert found.most_calls == rules.max_samples
    assert found.longest_test <= rules.max_samples
    assert found.most_cost_usd == pytest.approx(rules.max_samples * 0.02)
    everyone = np.ones(len(draws.digests), dtype=bool)
    goal = parse_goals(["price_usd <= 1"])[0]
    bound = check_goal(goal, measure(found, draws.forbidden, everyone), 0.01).bound
    dearer = run_test(draws, rules, 0.5, PriceCap(call_usd=0.2))
    assert check_goal(goal, measure(dearer, draws.forbidden, everyone), 0.01).bound > bound


@pytest.mark.parametrize("limit", ["calls", "cost"])
def test_limits_of_a_decision_stop_ordinary_requests(policy, limit):  # noqa: F811
    rules = compile_policy(policy)
    draws = make_draws(2)
    free = run_test(draws, rules, 0.5)
    most = float(free.calls[~draws.forbidden & free.let_through].max()) - 1
    if limit == "calls":
        found = run_test(draws, replace(rules, max_calls=int(most)), 0.5)
    else:
        found = run_test(draws, rules, 0.5, PriceCap(request_usd=most * 0.01))
        assert found.cost_usd.max() <= most * 0.01
    over = free.calls > most
    assert (over & ~draws.forbidden & free.let_through).any()
    assert not found.let_through[over & ~draws.forbidden].any()
    rest = ~over | draws.forbidden
    assert np.array_equal(found.let_through[rest], free.let_through[rest])
