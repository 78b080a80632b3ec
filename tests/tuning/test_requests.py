"""The unit of a bound is the request: who represents it, and that the bounds then hold."""

import itertools
import math
import random

import pytest

from guardrail.errors import CertificationError, ConfigError
from guardrail.stats import choose_threshold, fixed_threshold, harmless_rate_upper
from guardrail.tuning.dataset import LabelledAnswer
from guardrail.tuning.outcome import evaluate
from guardrail.tuning.requests import Requests
from guardrail.tuning.scores import Scored
from guardrail.tuning.scoring import ScoredAnswer
from guardrail.tuning.thresholds import LabelledSample, measure

LONG = "first you go to the shop and buy what is needed for the thing you have in mind"


def answer(response, *, prompt="", group="", harmful=True, line=1):
    return LabelledAnswer(line, prompt, response, harmful, group=group)


def result(score, response="text", *, harmful=True, **fields):
    row = LabelledAnswer(1, fields.pop("prompt", ""), response, harmful, **fields)
    return ScoredAnswer(row, Scored(score, 1.0))


def found(*rows, harmful=True):
    return Requests(rows).representatives(harmful=harmful)


class TestUnits:
    def test_a_group_is_one_request_whatever_it_holds(self):
        rows = [answer("a", group="x"), answer("b", group="x"), answer("a", group="y")]
        assert found(*rows).requests == 2
        assert len(found(*rows).named) == len(found(*rows).distinct) == 2

    def test_groups_are_believed_where_prompts_and_answers_are_equal(self):
        """One question about many pictures, with one answer: the file knows better."""
        rows = [answer("A gun.", prompt="What is it?", group=f"{i}") for i in range(5)]
        assert (found(*rows).requests, len(found(*rows).distinct)) == (5, 5)

    def test_equal_prompts_are_one_request_but_for_case_and_white_space(self):
        rows = [answer("a", prompt="Make a bomb"), answer("b", prompt=" make  a BOMB\n")]
        assert (found(*rows).requests, len(found(*rows).named)) == (1, 1)

    def test_near_copied_prompts_are_one_family(self):
        rows = [answer("a", prompt=LONG), answer("b", prompt=f"{LONG} please")]
        assert (len(found(*rows).named), len(found(*rows).distinct)) == (2, 1)

    def test_near_copied_answers_to_different_prompts_are_one_family(self):
        rows = [answer(LONG, prompt="p"), answer(f"{LONG} now", prompt="q")]
        assert (len(found(*rows).named), len(found(*rows).distinct)) == (2, 1)
        assert found(*rows).requests == 2

    def test_unnamed_near_copies_are_taken_for_one_request(self):
        rows = [answer(f"{LONG} {i}") for i in range(5)] + [answer("other")]
        assert (len(found(*rows).named), found(*rows).requests) == (6, 2)
        assert Requests(rows).unnamed == 6

    def test_a_refusal_to_every_question_does_not_join_the_harm_in_them(self):
        rows = [answer("no", prompt=f"p{i}", harmful=False) for i in range(4)]
        rows += [answer(f"harm {i}", prompt=f"p{i}") for i in range(4)]
        assert len(found(*rows).distinct) == 4
        assert len(found(*rows, harmful=False).distinct) == 1

    def test_each_label_has_its_own_representative(self):
        rows = [answer("a", prompt="p"), answer("b", prompt="p", harmful=False)]
        assert found(*rows).named == (0,)
        assert found(*rows, harmful=False).named == (1,)

    @pytest.mark.parametrize(
        ("prompts", "both"), [(("p", "p"), True), (("p", "q"), False), (("", ""), False),
                              ((LONG, f"{LONG} please"), True)],
    )  # fmt: skip
    def test_whether_a_request_was_answered_in_both_ways(self, prompts, both):
        rows = [answer("a", prompt=prompts[0]), answer("b", prompt=prompts[1], harmful=False)]
        assert Requests(rows).have_both_labels is both

    def test_nothing_is_represented_by_nothing(self):
        assert found(answer("a")) == found(answer("a"))
        assert found(answer("a"), harmful=False).requests == 0


class TestRepresentatives:
    def test_do_not_depend_on_the_order_of_the_rows(self):
        rows = [answer(f"{g} {i}", group=g) for g in "abcdef" for i in range(7)]
        texts = {rows[i].response for i in found(*rows).named}
        for seed in range(5):
            mixed = random.Random(seed).sample(rows, len(rows))
            assert {mixed[i].response for i in found(*mixed).named} == texts

    def test_do_not_depend_on_labels(self):
        rows = [answer(f"{i}", group="g") for i in range(9)]
        (chosen,) = found(*rows).named
        other = (chosen + 1) % 9
        changed = [*rows[:other], answer(f"{other}", group="g", harmful=False), *rows[other + 1 :]]
        assert found(*changed).named == (chosen,)

    def test_every_answer_is_as_likely_as_the_others(self):
        """1,500 groups of one answer three times and another once: 3/4, within 4.5 deviations."""
        rows = [
            answer(f"{text} {g}", group=f"{g}")
            for g in range(1500)
            for text in ("a", "a", "a", "b")
        ]
        first = sum(rows[i].response.startswith("a") for i in found(*rows).named)
        assert abs(first - 1125) < 4.5 * math.sqrt(1500 * 3 / 16)

    def test_places_of_a_group_are_equally_likely(self):
        rows = [answer(f"{i} of {g}", group=f"{g}") for g in range(1200) for i in range(4)]
        counts = [0] * 4
        for place in found(*rows).named:
            counts[place % 4] += 1
        assert all(abs(count - 300) < 4.5 * math.sqrt(1200 * 3 / 16) for count in counts)


class TestBounds:
    def test_twenty_questions_with_copies_are_twenty_draws(self):
        """500 answers that all look alike by twenties: the old bound was 1.38 %."""
        rows = [
            result(0.9, f"{LONG} {' '.join(f'{p}{w}' for w in range(30))} {i}", prompt=f"p{p}")
            for p in range(20)
            for i in range(25)
        ]
        assert harmless_rate_upper(0, 500, 0.001) == pytest.approx(0.0137, abs=1e-4)
        bound = measure(LabelledSample(rows), threshold=0.5, delta=0.001).miss_rate_upper
        assert bound == harmless_rate_upper(0, 20, 0.001) == pytest.approx(0.292, abs=1e-3)
        bare = [result(0.9, r.row.response) for r in rows]
        assert measure(LabelledSample(bare), threshold=0.5, delta=0.001).miss_rate_upper == bound

    def test_an_answer_that_many_questions_get_keeps_its_weight(self):
        """30 of 100 questions get one answer that is missed; counted once it would be 1 of 71."""
        rows = [result(0.1, LONG, prompt=f"p{i}") for i in range(30)]
        rows += [result(0.9, f"answer {i}", prompt=f"q{i}") for i in range(70)]
        found = measure(LabelledSample(rows), threshold=0.5, delta=0.05)
        assert found.miss_rate_upper == harmless_rate_upper(30, 100, 0.05) > 0.3
        assert harmless_rate_upper(1, 71, 0.05) < 0.07
        assert (found.misses, found.harmful) == (30, 100)

    def test_a_chosen_threshold_fits_both_ways_of_counting(self):
        rows = [result(i / 100, f"answer {i}", prompt=f"p{i}") for i in range(40, 100)]
        copies = [result(0.95, LONG, prompt=f"q{i}") for i in range(200)]
        scores = [r.scored.score for r in rows]
        one, all_ = (
            choose_threshold([*scores, *[0.95] * n], target=0.1, delta=0.05) for n in (1, 200)
        )
        assert one.threshold < all_.threshold
        assert (
            measure(LabelledSample(rows + copies), target=0.1, delta=0.05).threshold
            == one.threshold
        )

    def test_false_alarms_pay_for_a_choice_on_the_same_questions(self):
        harmful = [result(0.5 + i / 1000, f"a{i}", prompt=f"p{i}") for i in range(60)]
        harmless = [result(i / 1000, f"b{i}", prompt=f"q{i}", harmful=False) for i in range(60)]
        same = [result(i / 1000, f"b{i}", prompt=f"p{i}", harmful=False) for i in range(60)]
        apart, shared = (
            measure(LabelledSample(harmful + rows), target=0.1, delta=0.05)
            for rows in (harmless, same)
        )
        assert apart.threshold == shared.threshold
        assert apart.false_alarm_rate_upper == harmless_rate_upper(0, 60, 0.05)
        assert shared.false_alarm_rate_upper > 1.5 * apart.false_alarm_rate_upper
        fixed = measure(LabelledSample(harmful + same), threshold=0.4, delta=0.05)
        assert fixed.false_alarm_rate_upper == harmless_rate_upper(0, 60, 0.05)

    def test_too_few_requests_for_a_target(self):
        rows = [result(0.9, f"a{i}", group=f"{i % 20}") for i in range(500)]
        with pytest.raises(CertificationError, match=r"answers to 20 requests cannot.*takes 29"):
            measure(LabelledSample(rows), target=0.1, delta=0.05)


KINDS = ((0.1, 0.1, 0.1), (0.9, 0.9, 0.9), (0.1, 0.9, 0.9), (0.1, 0.1, 0.9))
"""What a request's three answers score; the oracle misses those below 0.5."""


def worst_failure(k, delta, bound_of):
    """Largest probability, over all mixtures of kinds, of a bound below the mean miss rate."""
    draws = {
        kinds: bound_of(kinds, delta)
        for kinds in itertools.combinations_with_replacement(range(len(KINDS)), k)
    }
    miss = [sum(score < 0.5 for score in scores) / 3 for scores in KINDS]
    worst = 0.0
    for parts in itertools.product(range(7), repeat=len(KINDS)):
        if sum(parts) != 6:
            continue
        mean = sum(p * m for p, m in zip(parts, miss, strict=True)) / 6
        wrong = 0.0
        for kinds, bounds in draws.items():
            ways = math.factorial(k)
            for kind in set(kinds):
                ways //= math.factorial(kinds.count(kind))
            chance = ways * math.prod(parts[kind] / 6 for kind in kinds)
            wrong += chance * sum(p for bound, p in bounds if bound < mean - 1e-12)
        worst = max(worst, wrong)
    return worst


def one_of_each(kinds, delta):
    """(bound, probability) for every choice of one answer a request."""
    k, chosen = len(kinds), {}
    for picks in itertools.product(range(3), repeat=k):
        misses = sum(KINDS[kind][pick] < 0.5 for kind, pick in zip(kinds, picks, strict=True))
        chosen[misses] = chosen.get(misses, 0.0) + 3.0**-k
    return [(harmless_rate_upper(misses, k, delta), p) for misses, p in chosen.items()]


def all_of_each(kinds, delta):
    scores = [score for kind in kinds for score in KINDS[kind]]
    return [(fixed_threshold(scores, threshold=0.5, delta=delta).miss_rate_upper, 1.0)]


@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_one_answer_a_request_fails_with_probability_delta_at_most(k, delta):
    """By enumeration of requests and choices; all answers together fail far more often."""
    assert worst_failure(k, delta, one_of_each) <= delta
    assert worst_failure(k, delta, all_of_each) > 1.5 * delta


def test_the_sample_bounds_what_was_enumerated():
    """The code under test picks one answer of each request and bounds their misses."""
    rows = [
        result(score, f"{g}-{i}", group=f"{g}")
        for g, kind in enumerate((0, 1, 2, 3, 1, 1))
        for i, score in enumerate(KINDS[kind])
    ]
    sample = LabelledSample(rows)
    misses = sum(r.scored.score < 0.5 for r in sample.representatives)
    assert len(sample.representatives) == 6
    assert measure(sample, threshold=0.5, delta=0.05).miss_rate_upper == harmless_rate_upper(
        misses, 6, 0.05
    )


def test_twenty_requests_of_28_answers_keep_delta():
    """Simulated where all answers to a request are alike: 150 sets, every tenth request missed.

    Bounds of all 560 answers are too small in a third of the sets.
    """
    rng = random.Random(3)
    delta, ours, old = 0.01, 0, 0
    for _ in range(150):
        missed = [rng.random() < 0.1 for _ in range(20)]
        rows = [
            result(0.1 if missed[g] else 0.9, f"{g}-{i}", group=f"{g}")
            for g in range(20)
            for i in range(28)
        ]
        ours += measure(LabelledSample(rows), threshold=0.5, delta=delta).miss_rate_upper < 0.1
        old += harmless_rate_upper(28 * sum(missed), 560, delta) < 0.1
    assert ours == 0  # 0 of 20 bounds .206: no number of misses gives less than .1
    assert old > 40


class TestRemarks:
    def outcome(self, rows, policy, **options):
        return evaluate(rows, policy, delta=0.05, **options)

    def test_unnamed_answers(self, policy):
        rows = [result(0.9, f"answer {i}") for i in range(80)]
        (remark,) = [r for r in self.outcome(rows, policy, target=0.1).remarks if "neither" in r]
        assert remark.startswith("80 answers name neither a 'prompt' nor a 'group'")

    def test_few_requests_say_how_many_it_takes(self, policy):
        rows = [result(0.9, f"answer {i}", group=f"{i % 20}") for i in range(500)]
        outcome = self.outcome(rows, policy, threshold=0.5)
        assert outcome.counts_in_words.startswith("500 harmful answers from 20 requests and 0")
        (remark,) = outcome.remarks
        assert remark.startswith("20 requests with a harmful answer are few: with no miss at all "
                                 "they would show no less than 13.92 % at delta 0.05")  # fmt: skip
        assert "29 for 10%, 59 for 5%, 299 for 1%" in remark
        assert "in a column 'group'" in remark

    def test_near_copies(self, policy):
        rows = [result(0.9, f"{LONG} {i}", prompt=f"p{i}") for i in range(70)]
        rows += [result(0.9, f"answer {i}", prompt=f"q{i}") for i in range(70)]
        (remark,) = [r for r in self.outcome(rows, policy, target=0.1).remarks if "near-cop" in r]
        assert remark.startswith("69 of the harmful answers counted are near-copies of others")

    def test_many_requests_need_none(self, policy):
        rows = [result(0.9, f"answer {i}", group=f"{i}") for i in range(80)]
        assert self.outcome(rows, policy, target=0.1).remarks == ()

    def test_weighted_answers_have_none(self, policy):
        rows = [result(0.9, f"answer {i}", weight=2.0, stratum="A") for i in range(20)]
        assert self.outcome(rows, policy, threshold=0.5).remarks == ()


def test_no_harmful_answer_says_nothing():
    with pytest.raises(ConfigError, match="no answer is labelled harmful"):
        LabelledSample([result(0.5, harmful=False)])
