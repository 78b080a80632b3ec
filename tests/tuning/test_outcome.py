"""From scores to thresholds, prices and the calibration that a policy may use."""

import json

import pytest

from guardrail.errors import CertificationError, ConfigError
from guardrail.policy.schema import Policy
from guardrail.stats import (
    choose_threshold,
    floor_with_misses,
    harmless_rate_upper,
    required_harmless_rate,
    stratified_false_alarm_upper,
    stratified_miss_upper,
)
from guardrail.tuning.outcome import calibration_of, evaluate
from guardrail.tuning.thresholds import LabelledSample, measure
from guardrail.tuning.tradeoff import TARGETS, price, tradeoffs


@pytest.fixture(scope="module")
def results(scored):
    """200 harmful answers from 0.2 up, 300 harmless ones up to 0.3."""
    harmful = [scored(0.2 + i / 250, True) for i in range(200)]
    return harmful + [scored(i / 1000, False) for i in range(300)]


@pytest.fixture(scope="module")
def weighted(scored):
    low = [scored(0.1 + i / 1000, False, weight=50.0, stratum="low") for i in range(100)]
    high = [scored(0.5 + i / 1000, True, weight=2.0, stratum="high") for i in range(90)]
    more = [scored(0.2 + i / 100, False, weight=2.0, stratum="high") for i in range(10)]
    return low + high + more


class TestMeasure:
    def test_a_chosen_threshold_reports_its_target(self, results):
        found = measure(LabelledSample(results), target=0.1, delta=0.05)
        scores = [r.scored.score for r in results if r.row.harmful]
        assert found.threshold == choose_threshold(scores, target=0.1, delta=0.05).threshold
        assert found.miss_rate_upper == 0.1 > harmless_rate_upper(found.misses, 200, 0.06)
        assert found.miss_rate == found.misses / 200

    def test_a_fixed_threshold_reports_clopper_pearson(self, results):
        found = measure(LabelledSample(results), threshold=0.25, delta=0.05)
        assert (found.misses, found.target) == (13, None)
        assert found.miss_rate_upper == harmless_rate_upper(13, 200, 0.05)
        assert found.false_alarms == 50
        assert found.false_alarm_rate_upper == harmless_rate_upper(50, 300, 0.05)

    def test_strata_count_by_their_share(self, weighted):
        sample = LabelledSample(weighted)
        found = measure(sample, threshold=0.3, delta=0.05)
        strata = sample.strata
        assert sorted(round(s.share, 6) for s in strata) == [
            round(200 / 5200, 6), round(5000 / 5200, 6),
        ]  # fmt: skip
        assert found.miss_rate == 0.0
        assert found.false_alarm_rate == pytest.approx(0.0)
        assert found.miss_rate_upper == stratified_miss_upper(strata, threshold=0.3, delta=0.05)
        assert found.false_alarm_rate_upper == stratified_false_alarm_upper(
            strata, threshold=0.3, delta=0.05
        )

    def test_strata_weigh_rates(self, weighted):
        found = measure(LabelledSample(weighted), threshold=0.15, delta=0.05)
        assert found.false_alarms == 60
        assert found.false_alarm_rate == pytest.approx((50 * 50 + 10 * 2) / (100 * 50 + 10 * 2))

    def test_weights_without_strata_are_grouped_by_weight(self, scored):
        rows = [scored(0.5, True, weight=w) for w in (1.0, 1.0, 3.0)]
        assert sorted(s.share for s in LabelledSample(rows).strata) == pytest.approx([0.4, 0.6])

    def test_no_harmful_answer_says_nothing(self, scored):
        with pytest.raises(ConfigError, match="no answer is labelled harmful"):
            LabelledSample([scored(0.5, False)])

    def test_no_harmless_answer_bounds_no_alarm(self, scored):
        found = measure(LabelledSample([scored(0.5, True)]), threshold=0.3, delta=0.05)
        assert (found.false_alarm_rate, found.false_alarm_rate_upper) == (None, 1.0)


class TestTradeOffs:
    def test_rows_share_delta(self, results, policy):
        rows = tradeoffs(LabelledSample(results), policy, delta=0.05, price_per_call_usd=0.01)
        assert [row.target for row in rows] == list(TARGETS)
        for row in rows:
            if row.measured is not None:
                assert row.measured.delta == 0.05 / len(TARGETS)
                assert row.measured.miss_rate_upper == row.target

    def test_too_few_labels_are_no_row(self, results, policy):
        rows = tradeoffs(LabelledSample(results), policy, delta=0.05, price_per_call_usd=0.0)
        assert rows[0].measured is None
        assert rows[0].price is None
        assert rows[-1].measured is not None

    def test_a_price_is_that_of_the_policys_promise(self, results, policy):
        measured = measure(LabelledSample(results), target=0.15, delta=0.05)
        found = price(policy, measured, price_per_call_usd=0.5)
        expected = required_harmless_rate(0.25, sigma=0.5, floor=floor_with_misses(0.5, 0.15))
        assert found.q_required == pytest.approx(expected, abs=1e-6)
        answered = policy.advanced.sampling.expected_success_rate
        assert found.harmless_rate == (1.0 - measured.false_alarm_rate) * answered
        assert found.calls > 19
        assert found.usd == 0.5 * found.calls

    def test_a_price_beyond_the_policys_samples_says_so(self, results, policy):
        """The false alarms leave a rate that 200 samples cannot tell from the required one."""
        found = price(
            policy, measure(LabelledSample(results), target=0.1, delta=0.05), price_per_call_usd=0.5
        )
        assert found.q_required < found.harmless_rate < 0.9
        assert (found.calls, found.usd, found.calls_in_words) == (None, None, "over 200")

    def test_a_laxer_oracle_must_show_more(self, results, policy):
        rows = tradeoffs(LabelledSample(results), policy, delta=0.05, price_per_call_usd=0.0)
        rates = [row.price.q_required for row in rows if row.price is not None]
        assert rates == sorted(rates)
        assert len(set(rates)) > 3

    def test_alarms_on_everything_never_pass(self, scored, policy):
        rows = [scored(0.9, True) for _ in range(60)] + [scored(0.95, False) for _ in range(60)]
        found = price(
            policy, measure(LabelledSample(rows), target=0.2, delta=0.05), price_per_call_usd=0.1
        )
        assert (found.harmless_rate, found.calls, found.usd) == (0.0, None, None)
        assert found.calls_in_words == "cannot pass"

    def test_a_radius_that_no_rate_can_show(self, results):
        far = Policy.model_validate(
            {"name": "far", "smoothing": {"radius": 50.0}, "oracle": {"kind": "builtin"}}
        )
        found = price(
            far, measure(LabelledSample(results), target=0.1, delta=0.05), price_per_call_usd=0.0
        )
        assert (found.q_required, found.calls) == (None, None)


class TestOutcome:
    def test_facts_are_json_and_hold_no_text(self, results, policy, dataset):
        outcome = evaluate(results, policy, delta=0.05, target=0.1)
        facts = outcome.facts(dataset(("a text", True)))
        promised = (
            "auc threshold miss_rate miss_rate_upper false_alarm_rate false_alarm_rate_upper "
            "n_harmful n_harmless ms_per_answer"
        )
        assert set(promised.split()) <= set(facts)
        assert "text" not in json.dumps(facts, allow_nan=False)
        assert (facts["n_harmful"], facts["n_harmless"], facts["chosen_by"]) == (200, 300, "target")

    def test_a_calibration_says_what_was_measured(self, results, policy, dataset):
        outcome, data = evaluate(results, policy, delta=0.05, target=0.1), dataset(("a", True))
        made = calibration_of(outcome, data, "revision")
        assert (made.oracle, made.oracle_revision, made.data) == (
            "builtin",
            "revision",
            "labels.jsonl",
        )
        assert (made.threshold, made.miss_rate_upper) == (outcome.measured.threshold, 0.1)
        assert made.digest == made.computed_digest()
        assert made.data_digest == data.digest

    def test_strata_have_no_recalls(self, weighted, policy):
        outcome = evaluate(weighted, policy, delta=0.05, threshold=0.3)
        assert (outcome.design, outcome.recalls) == ("stratified", ())

    def test_an_oracle_that_misses_everything_has_no_calibration(self, scored, policy, dataset):
        outcome = evaluate([scored(0.1, True) for _ in range(5)], policy, delta=0.05, threshold=0.5)
        with pytest.raises(ConfigError, match="lower the threshold"):
            calibration_of(outcome, dataset(("a", True)), "revision")

    def test_too_few_labels_for_the_target(self, scored, policy):
        with pytest.raises(CertificationError, match="it takes 29"):
            evaluate([scored(0.9, True) for _ in range(10)], policy, delta=0.05, target=0.1)
