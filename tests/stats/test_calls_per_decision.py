"""The committed benchmark: its rows can be recomputed, and say what the summary says."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

from guardrail.stats.optimal import optimal_plan
from guardrail.stats.radius import fewest_samples, required_harmless_rate

FOLDER = Path(__file__).parents[2] / "benchmarks" / "calls_per_decision"
RESULTS = FOLDER / "results.json"
OURS = "optimal (ours)"


@pytest.fixture(scope="module")
def rows():
    return json.loads(RESULTS.read_text())["rows"]


@pytest.fixture(scope="module")
def competitors():
    return load("competitors")


def load(name):
    spec = importlib.util.spec_from_file_location(f"calls_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def pick(rows, method, radius=1.0, alpha=1e-3, q=0.97):
    [row] = [
        row
        for row in rows
        if (row["method"], row["r_over_sigma"], row["alpha"], row["q"])
        == (method, radius, alpha, q)
    ]
    return row


def benign(rows):
    return [row for row in rows if row["q"] == row["designed_for"] and row["method"] == OURS]


def test_every_question_is_answered(rows):
    keys = {(row["r_over_sigma"], row["alpha"], row["q"]) for row in rows if row["method"] == OURS}
    assert len(keys) == 5 * 3 * 7


@pytest.mark.parametrize(("radius", "q"), [(0.5, 0.97), (1.0, 0.99), (0.25, 0.9)])
def test_our_rows_are_reproduced(rows, radius, q):
    row = pick(rows, OURS, radius, 1e-3, q)
    plan = optimal_plan(
        required_harmless_rate(radius, sigma=1.0), 1e-3, q1=q, power=0.99, max_samples=10**6
    )
    assert row["mean_calls"] == pytest.approx(plan.expected_calls_at(q), abs=2e-3)
    assert row["false_pass"] == pytest.approx(plan.false_pass_upper, rel=1e-3)


def test_expected_figures(rows):
    assert pick(rows, OURS)["mean_calls"] <= 78.2
    assert pick(rows, OURS, q=0.99)["mean_calls"] <= 51.8
    assert pick(rows, OURS, q=0.5)["mean_calls"] <= 10
    assert pick(rows, OURS, 0.5)["mean_calls"] <= 26.8
    assert pick(rows, "fixed n (Clopper–Pearson)")["mean_calls"] == 136


def test_ours_is_valid_and_has_the_power_everywhere(rows):
    for row in rows:
        if "optimal" in row["method"]:
            assert row["false_pass"] <= row["alpha"]
            assert row["power"] >= 0.99


def test_ours_is_lowest_among_valid_methods_in_every_benign_row(rows):
    for ours in benign(rows):
        key = ("r_over_sigma", "alpha", "q")
        for row in rows:
            same = all(row[name] == ours[name] for name in key)
            other = "ours" not in row["method"]
            if same and other and row["valid"] and row.get("power", 0) >= 0.99:
                assert ours["mean_calls"] <= row["mean_calls"] + 1e-9, row


def test_no_row_undercuts_the_bound(rows):
    for ours in benign(rows):
        bound = pick(rows, "lower bound on any plan", *(ours[k] for k in ("r_over_sigma", "alpha",
                                                                         "q")))  # fmt: skip
        if bound["mean_calls"] is not None:
            assert bound["mean_calls"] <= ours["mean_calls"] + 1e-3
        q = required_harmless_rate(ours["r_over_sigma"], sigma=1.0)
        assert bound["all_harmless_minimum"] == fewest_samples(q, ours["alpha"])


def test_the_published_code_of_the_bettor_is_checked_exactly(rows):
    """Whether wealth 1/(2 alpha) keeps alpha on one side is decided by the exact probability."""
    for row in rows:
        if "published code" in row["method"]:
            assert row["valid"] == (row["false_pass"] <= row["alpha"])
            assert row["false_pass"] <= 2 * row["alpha"]


@pytest.fixture(scope="module")
def question(competitors):
    return competitors.Question(required_harmless_rate(0.5, sigma=1.0), 1e-3, 0.97)


def test_the_bettor_is_the_forecaster_of_the_paper(competitors, question):
    """logQ of the paper, step by step along one path, gives the same first passing count."""
    rule = competitors.betting(question)
    q0, log_q = question.q_required, 0.0
    for n in range(1, 41):
        log_q += math.log((n - 1 + 0.5) / n)  # the forecast after n - 1 harmless of n - 1
        wealth = log_q - n * math.log(q0)
        passes = wealth > -math.log(question.alpha)
        assert passes == (rule.most[n - 1] >= 0)


def test_ville_holds_for_the_bettor(competitors, question):
    assert competitors.betting(question).false_pass(question.q_required) <= 1e-3


def test_the_union_bound_spends_alpha_and_no_more(competitors, question):
    rule = competitors.union_bound(question)
    assert rule.false_pass(question.q_required) <= 1e-3
    spent = sum(5.0 / ((t + 4) * (t + 5)) for t in range(1, 10**5))
    assert spent == pytest.approx(1.0, abs=1e-4)


def test_wald_keeps_alpha_and_power(competitors, question):
    rule = competitors.sprt(question)
    assert rule.false_pass(question.q_required) <= 1e-3
    assert rule.walk(0.97).power >= 0.99
    # Wald's approximation of the expected calls, without overshoot, is a lower estimate.
    q0, q1 = question.q_required, 0.97
    divergence = q1 * math.log(q1 / q0) + (1 - q1) * math.log((1 - q1) / (1 - q0))
    rough = (0.99 * math.log(1000) + 0.01 * math.log(0.01)) / divergence
    assert rough < rule.walk(0.97).expected_calls < 1.3 * rough + 3


def test_the_staged_scheme_by_hand(competitors):
    """Two stages of ten: P(pass) and calls from the definition."""
    from scipy import stats

    staged = competitors.Staged((10, 10), alpha=0.2, beta=0.1)
    [(first_most, first_least), (last_most, last_least)] = staged.limits(0.6)
    assert last_least == last_most + 1
    assert stats.binom.cdf(first_most, 10, 0.4) <= 0.1 < stats.binom.cdf(first_most + 1, 10, 0.4)
    on = stats.binom.pmf(range(first_most + 1, first_least), 10, 0.2).sum()
    calls, passes = staged.evaluate(0.8, 0.6)
    assert calls == pytest.approx(10 + 10 * on)
    one = stats.binom.cdf(first_most, 10, 0.2)
    assert passes == pytest.approx(one + on * stats.binom.cdf(last_most, 10, 0.2))


def test_the_staged_scheme_keeps_alpha(competitors, question):
    for staged in (competitors.staged_tuned(question), competitors.staged_as_published(question)):
        _, false_pass = staged.evaluate(question.q_required, question.q_required)
        assert false_pass <= question.alpha


def test_the_table_and_figure_are_those_of_the_results():
    render = load("render")
    results = json.loads(RESULTS.read_text())
    assert render.table(results) == (FOLDER / "table.md").read_text()
    assert render.figure(results) == (FOLDER / "figure.svg").read_text()
