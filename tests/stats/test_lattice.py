"""Backward induction, prices and polishing, against recursions written from the definition."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.stats import lattice as lattice_module
from guardrail.stats import search
from guardrail.stats.lattice import (
    Lattice,
    LatticeBatch,
    Schedule,
    calls_to_next_look,
    log_path,
    solve,
)
from guardrail.stats.polish import Table, flow, polish
from guardrail.stats.search import Target, guess_prices, search_prices
from guardrail.stats.traffic import Traffic


def least_cost(q0, q1, rates, shares, looks, leave, lam, mu):
    """The definition: in every state the cheapest of passing, blocking and going on.

    Works with path probabilities themselves and plain recursion, from the start.
    """
    horizon = looks[-1]

    def path(q, n, h):
        return q ** (n - h) * (1 - q) ** h

    @functools.cache
    def value(n, h):
        """Least cost from here, times the probability of one path to here."""
        here = sum(s * path(q, n, h) for q, s in zip(rates, shares, strict=True))
        stop = min(lam * path(q0, n, h), mu * path(q1, n, h))
        if n == horizon:
            return stop
        on = here * (1 + leave.get(n, 0.0)) + value(n + 1, h) + value(n + 1, h + 1)
        return min(stop, on) if n in looks else on

    return value(0, 0)


questions = st.tuples(
    st.floats(0.2, 0.8), st.floats(0.3, 0.95), st.floats(0.0, 8.0), st.floats(0.0, 6.0)
)


@pytest.mark.no_cover
@settings(max_examples=60)
@given(
    questions,
    st.sets(st.integers(1, 11), max_size=6),
    st.floats(0.0, 3.0),
    st.integers(1, 4),
    st.booleans(),
)
def test_the_value_is_the_least_cost(question, inner, weight, parallel, mixed):
    q0, share, log_lam, log_mu = question
    q1 = q0 + (1 - q0) * share
    looks = (*sorted(inner), 12)
    parts = [(q1, 0.7), (0.3, 0.3)] if mixed else [(q1, 1.0)]
    traffic = Traffic.mixture(parts)
    schedule = Schedule.of([looks], weight, parallel)
    solved = solve(
        Lattice(q0, q1, traffic), schedule, LatticeBatch(np.array([log_lam]), np.array([log_mu]))
    )
    points = (0, *looks)
    leave = {a: weight * -(-(b - a) // parallel) for a, b in itertools.pairwise(points)}
    expected = least_cost(
        q0, q1, traffic.rates, traffic.weights, looks, leave, math.exp(log_lam), math.exp(log_mu)
    )
    assert solved.value[0] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30)
@given(questions)
def test_value_false_pass_and_power_belong_together(question):
    """The value is cost + lambda · false pass + mu · miss of the very rule that is returned."""
    q0, share, log_lam, log_mu = question
    q1 = q0 + (1 - q0) * share
    lattice = Lattice(q0, q1, Traffic.at(q1))
    schedule = Schedule.of([tuple(range(1, 21))], 0.0, 1)
    solved = solve(lattice, schedule, LatticeBatch(np.array([log_lam]), np.array([log_mu])))
    table = as_table(solved, tuple(range(1, 21)), schedule)
    found = flow(lattice, table)
    assert found.false_pass == pytest.approx(solved.false_pass[0], abs=1e-12)
    assert found.power == pytest.approx(solved.power[0], abs=1e-12)
    total = found.cost + math.exp(log_lam) * found.false_pass + math.exp(log_mu) * (1 - found.power)
    assert total == pytest.approx(solved.value[0], rel=1e-9)


def as_table(solved, looks, schedule):
    most, least = np.array(solved.tables).T
    least = np.minimum(least, np.array(looks) + 1)
    least[-1] = most[-1] + 1
    return Table(np.array(looks), most, least, schedule.leave[0])


def test_rows_of_a_batch_do_not_disturb_each_other():
    lattice = Lattice(0.7, 0.95, Traffic.at(0.95))
    schedule = Schedule.of([tuple(range(1, 61))], 0.0, 1)
    lam, mu = np.array([2.0, 6.0, 9.0]), np.array([5.0, 1.0, 4.0])
    together = solve(lattice, schedule, LatticeBatch(lam, mu))
    for i in range(3):
        alone = solve(lattice, schedule, LatticeBatch(lam[i : i + 1], mu[i : i + 1]))
        for name in ("value", "false_pass", "power"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name)[0], rel=1e-12)


def test_many_schedules_at_once():
    lattice = Lattice(0.7, 0.95, Traffic.at(0.95))
    rows = [(10, 20, 40), (40,), (5, 15, 25, 40)]
    together = solve(
        lattice, Schedule.of(rows, 2.0, 4), LatticeBatch(np.full(3, 7.0), np.full(3, 4.0))
    )
    for i, row in enumerate(rows):
        alone = solve(
            lattice, Schedule.of([row], 2.0, 4), LatticeBatch(np.array([7.0]), np.array([4.0]))
        )
        assert together.value[i] == pytest.approx(alone.value[0], rel=1e-12)


def test_rows_are_remembered_and_forgotten(monkeypatch):
    monkeypatch.setattr(lattice_module, "_ROWS_KEPT", 5)
    lattice = Lattice(0.7, 0.95, Traffic.at(0.95))
    assert lattice.row(3, 4) is lattice.row(3, 2)
    assert lattice.row(3, 9).good.size == 9
    for n in range(20):
        lattice.row(n, 3)
    assert len(lattice._rows) <= 7


@given(st.floats(0.01, 0.99), st.integers(0, 40))
def test_log_path(q, n):
    h = np.arange(n + 1.0)
    assert np.exp(log_path(q, n, h)) == pytest.approx(q ** (n - h) * (1 - q) ** h, rel=1e-9)


@pytest.mark.no_cover
@given(questions)
def test_the_bound_holds_for_every_price(question):
    """Weak duality: no price gives a bound above the cost of a plan that meets the target."""
    q0, share, log_lam, log_mu = question
    q1 = q0 + (1 - q0) * max(share, 0.5)
    target = Target(0.1, 0.7)
    lattice = Lattice(q0, q1, Traffic.at(q1))
    schedule = Schedule.of([tuple(range(1, 31))], 0.0, 1)
    found = search_prices(lattice, schedule, target, guess_prices(target, 15), rounds=3)
    solved = solve(lattice, schedule, LatticeBatch(np.array([log_lam]), np.array([log_mu])))
    bound = solved.value[0] - math.exp(log_lam) * target.alpha - math.exp(log_mu) * 0.3
    assert bound <= found.cost + 1e-9
    assert found.cost_lower <= found.cost + 1e-9


def tables(draw_from):
    most = draw_from.draw(st.lists(st.integers(-1, 4), min_size=8, max_size=8))
    most = np.maximum.accumulate(np.minimum(most, np.arange(8)))
    least = most + 1 + np.array(draw_from.draw(st.lists(st.integers(0, 4), min_size=8, max_size=8)))
    least = np.minimum(least, np.arange(2, 10))
    least = np.maximum(least, most + 1)
    least[-1] = most[-1] + 1
    kept = np.array(sorted({*draw_from.draw(st.sets(st.integers(0, 6))), 7}))
    return Table(kept + 1, most[kept], least[kept], np.zeros(9))


@given(st.data())
def test_the_flow_counts_what_a_plan_counts(data):
    table = tables(data)
    lattice = Lattice(0.6, 0.9, Traffic.mixture([(0.9, 0.8), (0.2, 0.2)]))
    found = flow(lattice, table)
    for index, q in ((0, 0.6), (1, 0.9)):
        expected = play_table(table, q)
        assert found.onward[index, 0, 0] == pytest.approx(expected[0], abs=1e-12)
    cost = 0.8 * play_table(table, 0.9)[1] + 0.2 * play_table(table, 0.2)[1]
    assert found.cost == pytest.approx(cost, abs=1e-10)


def play_table(table, q):
    alive, power, calls, drawn = {0: 1.0}, 0.0, 0.0, 0
    for n, most, least in zip(table.looks, table.most, table.least, strict=True):
        for _ in range(n - drawn):
            after = {}
            for h, p in alive.items():
                after[h] = after.get(h, 0.0) + p * q
                after[h + 1] = after.get(h + 1, 0.0) + p * (1 - q)
            alive = after
        drawn = n
        power += sum(p for h, p in alive.items() if h <= most)
        calls += n * sum(p for h, p in alive.items() if h <= most or h >= least)
        alive = {h: p for h, p in alive.items() if most < h < least}
    return power, calls


@settings(max_examples=30)
@given(st.data())
def test_polishing_never_costs_and_never_breaks_the_target(data):
    table = tables(data)
    lattice = Lattice(0.6, 0.9, Traffic.at(0.9))
    before = flow(lattice, table)
    target = Target(max(before.false_pass, 1e-6) * 1.05, before.power * 0.98)
    after = flow(lattice, polish(lattice, table, target, 5))
    assert after.cost <= before.cost + 1e-12
    assert after.meets(target)


def test_polishing_finds_what_prices_cannot():
    q = 0.6914624612740131
    lattice = Lattice(q, 0.97, Traffic.at(0.97))
    looks = tuple(range(1, 87))
    schedule = Schedule.of([looks], 0.0, 1)
    target = Target(1e-3, 0.99)
    prices = search_prices(lattice, schedule, target, guess_prices(target, 43))
    batch = LatticeBatch(np.array(prices.feasible[:1]), np.array(prices.feasible[1:]))
    rough = as_table(solve(lattice, schedule, batch), looks, schedule)
    fine = polish(lattice, rough, target, 6)
    assert flow(lattice, fine).cost < flow(lattice, rough).cost - 0.1
    assert polish(lattice, rough, target, 0) is rough


def test_nothing_to_polish():
    """One look, one boundary, no other valid choice: the table comes back."""
    lattice = Lattice(0.6, 0.9, Traffic.at(0.9))
    table = Table(np.array([1]), np.array([-1]), np.array([0]), np.zeros(2))
    assert polish(lattice, table, Target(1e-9, 0.0), 3) is table


def test_a_target_out_of_reach_finds_no_price():
    lattice = Lattice(0.6, 0.62, Traffic.at(0.62))
    schedule = Schedule.of([(1, 2, 3)], 0.0, 1)
    target = Target(1e-3, 0.99)
    found = search_prices(lattice, schedule, target, guess_prices(target, 3), rounds=2)
    assert found.feasible is None
    assert found.cost == math.inf


def test_long_horizons_are_searched_more_coarsely(monkeypatch):
    lattice = Lattice(0.7, 0.97, Traffic.at(0.97))
    schedule = Schedule.of([tuple(range(1, 101))], 0.0, 1)
    target = Target(0.01, 0.95)
    fine = search_prices(lattice, schedule, target, guess_prices(target, 30))
    monkeypatch.setattr(search, "_LONG", 50)
    coarse = search_prices(lattice, schedule, target, guess_prices(target, 30))
    assert coarse.cost_lower == pytest.approx(fine.cost_lower, rel=1e-2)
    assert coarse.cost == pytest.approx(fine.cost, rel=0.05)


@given(st.sets(st.integers(1, 30), min_size=1))
def test_calls_to_the_next_look(looks):
    row = np.array(sorted(looks))
    for n, wait in enumerate(calls_to_next_look(row)):
        assert wait == min(look - n for look in row if look >= n)
