"""The search: golden numbers by brute force on small cases, and what it may not do."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.policy.goals import parse_goals
from guardrail.policy.schema import Policy
from guardrail.policy_search.draws import LabelledDraws, run_test
from guardrail.policy_search.evaluators import DrawnNoise, DrawsEvaluator
from guardrail.policy_search.grid import list_candidates, parse_search
from guardrail.policy_search.halves import choose_search_half
from guardrail.policy_search.measured import CandidateOutcomes, measure
from guardrail.policy_search.numbers import Numbers
from guardrail.policy_search.search import find_front, goal_radius, score
from guardrail.policy_search.tuned import SearchDesign, search_digest, search_policy
from guardrail.stats import Decision, PlanKind, harmless_rate_upper, held_radius, recall_lower
from tests.policies import arrange

BASE = Numbers(0.5, 224, 0.5, 0.25, 0.5, 0.001, 200)
SEEDS = 100


@pytest.fixture(scope="module")
def policy():
    fixed = {"plan": "fixed", "power": 0.9, "max_samples": 40}
    return Policy.model_validate(
        arrange(
            {
                "name": "p",
                "sampling": fixed,
                "smoothing": {"radius": 0.25, "alpha": 0.05, "floor": 0.3},
            }
        )
    )


@dataclass(frozen=True)
class Table:
    """Candidates are thresholds: a request is let through where its score lies below."""

    scores: np.ndarray
    forbidden: np.ndarray
    name: str = ""

    @property
    def digests(self):
        return tuple(f"{self.name}{i}" for i in range(len(self.scores)))

    def digest(self):
        return self.name

    def evaluate(self, numbers, *, quick):
        del quick  # one test for both
        passes = self.scores < numbers.threshold
        calls = 10.0 + 10.0 * numbers.threshold + np.zeros(len(passes))
        radius = np.where(passes, -np.inf, 1.0)
        return CandidateOutcomes(passes, calls, calls * np.nan, radius, 40, 40, None, numbers.alpha)


THRESHOLDS = [replace(BASE, threshold=t) for t in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]


def make_table(seed, count, *, shuffled=False):
    dice = np.random.default_rng(seed)
    forbidden = np.arange(2 * count) < count
    scores = np.where(forbidden, dice.beta(9, 1, 2 * count), dice.beta(1, 9, 2 * count))
    return Table(scores, dice.permutation(forbidden) if shuffled else forbidden, f"{seed}-")


def search(table, *goals, **design):
    wishes = parse_goals(goals)
    return search_policy(table, BASE, THRESHOLDS, SearchDesign(wishes, **design), lambda: None)


def count_half(table, numbers, half):
    """Ordinary requests stopped, forbidden ones let through, and how many there are of each."""
    stopped = table.scores >= numbers.threshold
    clean, harm = half & ~table.forbidden, half & table.forbidden
    return (
        int(stopped[clean].sum()), int(clean.sum()), int((~stopped)[harm].sum()), int(harm.sum())
    )  # fmt: skip


def test_it_proposes_what_brute_force_finds():
    """Every candidate on both halves, by the definitions: finalists and proposal are known."""
    proposals = 0
    for seed in range(20):
        table = make_table(seed, 200)
        half = choose_search_half(table.digests, 0)
        seen = {one: count_half(table, one, half) for one in THRESHOLDS}
        finalists = [
            one
            for one, (alarms, clean, missed, harm) in seen.items()
            if alarms / clean <= 0.08
            and ((harm - missed) / harm - 0.2) / 0.8 >= 0.8
            # Larger thresholds take more calls, so only a smaller one can beat another.
            and not any(
                other.threshold < one.threshold and a <= alarms and m <= missed
                for other, (a, _, m, _) in seen.items()
            )
        ]
        met = []
        for one in finalists:
            alarms, clean, missed, harm = count_half(table, one, ~half)
            share = 0.05 * 6 / math.pi**2 / 9
            stopped = harmless_rate_upper(alarms, clean, share)
            held = recall_lower(harm - missed, harm, share, 0.2)
            if stopped <= 0.08 and held >= 0.8:
                met.append(one)
        found = search(table, "false_alarms <= 8%", "recall >= 80% within 0.5", finalists=9)
        assert len(finalists) <= 4  # all of them stay for the second round
        assert {one.candidate for one in found.finalists} == set(finalists)
        assert {one.candidate for one in found.finalists if one.is_proposed} == set(met)
        proposed = None if found.proposed is None else found.proposed.candidate
        assert proposed == (met[0] if met else None)
        proposals += proposed is not None
    assert 0 < proposals < 20


def test_the_front_is_what_nothing_beats():
    dice = np.random.default_rng(3)
    forbidden = np.arange(12) < 6
    scored = []
    for i in range(60):
        radius = np.where(dice.random(12) < 0.5, 1.0, -np.inf)
        outcomes = CandidateOutcomes(
            dice.random(12) < 0.5, np.full(12, float(dice.integers(5, 9))), np.zeros(12), radius,
            9, 9, None, 0.001,
        )  # fmt: skip
        scored.append(score(i, measure(outcomes, forbidden, np.ones(12, dtype=bool)), (), 0.05))
    for radius in (None, 0.5):
        keys = {
            one.candidate: (
                one.measured.false_alarms,
                one.measured.missed if radius is None else 6 - one.measured.shown(radius),
                one.measured.mean_calls,
            )
            for one in scored
        }
        beaten = {
            a
            for a, b in itertools.permutations(keys, 2)
            if all(x >= y for x, y in zip(keys[a], keys[b], strict=True))
            and (keys[a] != keys[b] or b < a)
        }
        assert {one.candidate for one in find_front(scored, radius)} == set(keys) - beaten


def count_proposals(shuffled, *goals, count=60, **design):
    made = [search(make_table(seed, count, shuffled=shuffled), *goals, **design).proposed
            for seed in range(SEEDS)]  # fmt: skip
    return sum(one is not None for one in made)


def test_shuffled_labels_lead_to_nothing():
    """Whatever the goals, even ones that stopping at random would meet."""
    strict = count_proposals(True, "false_alarms <= 10%", "recall >= 60% within 0.5")
    loose = count_proposals(True, "false_alarms <= 80%", "missed_harm <= 80%")
    assert strict == 0
    assert stats.binom.sf(loose - 1, SEEDS, 0.05) > 1e-3
    assert count_proposals(False, "false_alarms <= 20%", "recall >= 50% within 0.5") > SEEDS // 2


def test_goals_that_are_just_missed_are_seldom_called_met():
    """The best candidate truly stops 12 % of ordinary requests; a goal of 12 % less a hair."""
    wrong = 0
    for seed in range(SEEDS):
        dice = np.random.default_rng(seed)
        forbidden = np.arange(400) < 200
        # Scores that no threshold tells apart better: every candidate has the same true share.
        scores = np.where(forbidden, 1.0, np.where(dice.random(400) < 0.12, 0.95, 0.0))
        found = search(Table(scores, forbidden, str(seed)), "false_alarms <= 11.9%")
        wrong += found.proposed is not None
    assert stats.binom.sf(wrong - 1, SEEDS, 0.05) > 1e-3


def test_a_refusal_says_what_is_missed_and_how_many_requests_would_do():
    found = search(make_table(1, 30), "false_alarms <= 5%", "missed_harm <= 50%")
    assert found.proposed is None
    (reason,) = found.reasons
    assert reason.check.goal.kind == "false_alarms"
    assert reason.more is None or reason.more > 30
    none = search(make_table(1, 30), "calls <= 1")
    assert [one.check.is_seen for one in none.reasons] == [False]
    with pytest.raises(ConfigError, match="price is not known"):
        search(make_table(1, 30), "price_usd <= 1")
    with pytest.raises(ConfigError, match=r"too few ordinary requests.*of these 1 one half"):
        search(make_table(1, 1), "calls <= 50")


@given(
    st.sets(st.text(max_size=8), min_size=1),
    st.sets(st.text(max_size=8)),
    st.integers(),
    st.randoms(use_true_random=False),
)
def test_a_request_stays_in_its_half_when_others_are_added(some, others, seed, dice):
    before = dict(zip(some, choose_search_half(tuple(some), seed), strict=True))
    all_of_them = [*(some | others)]
    dice.shuffle(all_of_them)
    after = dict(zip(all_of_them, choose_search_half(all_of_them, seed), strict=True))
    assert {name: after[name] for name in some} == before


def test_halves_are_about_as_large_and_follow_from_the_seed():
    digests = tuple(map(str, range(2000)))
    half = choose_search_half(digests, 0)
    assert stats.binomtest(int(half.sum()), 2000).pvalue > 1e-6
    other = choose_search_half(digests, 1)
    assert stats.binomtest(int((half == other).sum()), 2000).pvalue > 1e-6


def test_the_error_is_spent_over_runs():
    designs = [SearchDesign((), error=0.05, run=run) for run in range(1, 20_000)]
    assert designs[1].run_error == pytest.approx(designs[0].run_error / 4)
    assert designs[1].share == designs[0].next_share == pytest.approx(designs[1].run_error / 3)
    total = math.fsum(design.run_error for design in designs)
    assert 0.0499 < total < 0.05
    # What the first run shows, the second does not.
    forbidden = np.arange(100) < 50
    table = Table(forbidden.astype(float), forbidden)
    confirming = int((~choose_search_half(table.digests, 0) & ~forbidden).sum())
    shown = harmless_rate_upper(0, confirming, designs[0].share) * 1.001
    found = [search(table, f"false_alarms <= {shown}", run=run).proposed for run in (1, 2)]
    assert found[0] is not None
    assert found[1] is None


def test_nothing_of_the_confirmation_half_is_looked_at_before_it_is_counted():
    table = make_table(1, 30)
    half = choose_search_half(table.digests, 0)
    other = Table(np.where(half, table.scores, np.nan), table.forbidden, table.name)
    goals = parse_goals(["false_alarms <= 40%"])

    def stop():
        raise InterruptedError

    for one in (table, other):
        with pytest.raises(InterruptedError):
            search_policy(one, BASE, THRESHOLDS, SearchDesign(goals), lambda: None, stop)


def test_a_search_is_the_same_while_all_that_it_follows_from_is():
    table, goals = make_table(1, 30), parse_goals(["false_alarms <= 40%"])
    design = SearchDesign(goals)
    first = search_digest(table, BASE, THRESHOLDS, design)
    assert search_digest(table, BASE, THRESHOLDS, replace(design, run=7)) == first
    others = [
        search_digest(make_table(2, 30), BASE, THRESHOLDS, design),
        search_digest(table, BASE, THRESHOLDS[1:], design),
        search_digest(table, BASE, THRESHOLDS, replace(design, error=0.04)),
        search_digest(table, THRESHOLDS[0], THRESHOLDS, design),
    ]
    assert len({first, *others}) == 5


def make_draws(seed, count=40, draws=40):
    dice = np.random.default_rng(seed)
    forbidden = np.arange(2 * count) < count
    rate = np.where(forbidden, 0.1, 0.97)
    harmless = dice.random((2 * count, draws)) < rate[:, None]
    score_ = np.where(harmless, dice.beta(1, 5, harmless.shape), dice.beta(5, 1, harmless.shape))
    counted = dice.choice(4, size=harmless.shape, p=[0.94, 0.02, 0.02, 0.02]).astype(np.int8)
    return LabelledDraws(
        tuple(map(str, range(2 * count))), forbidden, counted, score_, 0.5,
        np.zeros(2 * count, dtype=np.int64), (UNSCALED,), np.full(2 * count, 0.01),
    )  # fmt: skip


@pytest.mark.parametrize("most", [40, 12])
def test_a_test_over_draws_is_the_plan_draw_by_draw(policy, most):
    """Every request by `Plan.decide`, one outcome after the other; too few draws count against."""
    draws = make_draws(2, draws=most)
    rules = compile_policy(policy)
    for threshold in (0.3, 0.5, 0.8):
        found = run_test(draws, rules, threshold)
        plan = plan_of(rules)
        for i in range(len(draws.digests)):
            harmful = [
                code in (2, 3) or (code == 0 and value >= threshold)
                for code, value in zip(draws.counted[i], draws.score[i], strict=True)
            ]
            decided = next(
                ((n, verdict) for n in range(1, most + 1) if n <= plan.max_samples
                 and (verdict := plan.decide(n, sum(harmful[:n]))) is not None), None
            )  # fmt: skip
            passes = draws.forbidden[i] if decided is None else decided[1] is Decision.PASS
            if decided is not None:
                assert found.let_through[i] == passes
                assert found.calls[i] == decided[0]
                assert found.cost_usd[i] == pytest.approx(decided[0] * 0.01)
            elif not draws.forbidden[i]:
                assert not found.let_through[i]
            passable = sum(
                code in (1, 3) or (code == 0 and value < threshold)
                for code, value in zip(draws.counted[i], draws.score[i], strict=True)
            )
            assert found.radius[i] == held_radius(
                passable, most, q_required=plan.q_required, beta=0.2, sigma=rules.sigma,
                operator_norm=1.0, grid_slack=0.0, sampler_error=UNSCALED.sampler_error,
            )  # fmt: skip


def plan_of(rules):
    return plan_for(rules, UNSCALED)


def test_the_whole_search_over_draws(policy):
    rules = compile_policy(policy)
    draws = make_draws(4, count=200)
    base = Numbers.of(policy, cuts_scores=True)
    evaluator = DrawsEvaluator({base.view: DrawnNoise(rules, draws)})
    wished = parse_search(["oracle.threshold=0.3,0.7", "smoothing.floor=0.3"])
    candidates = list_candidates(base, wished, rules, any_threshold=True)
    goals = parse_goals(["false_alarms <= 25%", "recall >= 40% within 0.2", "calls <= 39"])
    found = search_policy(evaluator, base, candidates, SearchDesign(goals), lambda: None)
    assert found.proposed is not None
    assert all(check.is_met for check in found.proposed.checks)
    changed = found.proposed.candidate.apply(policy)
    assert Numbers.of(changed, cuts_scores=True) == found.proposed.candidate
    assert set(found.whys) == set(found.proposed.candidate.changes(base))
    assert goal_radius(goals) == 0.2


def test_candidates_are_told_apart_by_what_they_do(policy):
    rules = replace(compile_policy(policy), kind=PlanKind.FIXED)
    base = Numbers.of(policy, cuts_scores=True)
    found = list_candidates(base, {}, rules, any_threshold=True)
    assert found[0] == base
    assert len(set(found)) == len(found) > 100
    assert {one.alpha for one in found} == {base.alpha}
    alphas = list_candidates(base, {"alpha": (0.01,)}, rules, any_threshold=False)
    assert {one.alpha for one in alphas} == {base.alpha, 0.01}
    assert {one.threshold for one in alphas} == {base.threshold}
    for text in ("smoothing.sigm=1", "smoothing.alpha", "smoothing.alpha=x"):
        with pytest.raises(ConfigError):
            parse_search([text])
