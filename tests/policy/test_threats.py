"""The section `threats`: what it means, what it costs, and which settings are impossible."""

import dataclasses

import pytest

from guardrail.canonical import digest_json
from guardrail.cli.policy import promise_lines
from guardrail.engine.plan import view_plan_for
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit, Threat, plan_views
from guardrail.errors import CertificationError, ConfigError
from guardrail.policy.compile import check_first_try, compile_policy
from guardrail.policy.content import find_content, find_differing, policy_content
from guardrail.policy.facts import describe_rules
from guardrail.policy.mistakes import list_mistakes
from guardrail.policy.schema import Policy
from guardrail.policy.threat_facts import describe_threats, fewest_view_calls
from guardrail.policy.threats import ThreatsSection, compile_threats
from guardrail.stats import combined_power
from tests.policies import arrange

ALL = {
    "crops": {"windows": 9, "sees": 32},
    "stickers": {"max_share": 0.02},
    "suffix": {"words": 10},
}


def policy(threats=ALL, **changes):
    return Policy.model_validate({"name": "mine", "threats": threats, **changes}, strict=True)


def test_nothing_is_covered_beside_l2_unless_it_is_said():
    assert compile_threats(ThreatsSection()) is None
    assert compile_threats(ThreatsSection(floor=0.3)) is None
    assert compile_policy(policy({})).threats is None
    assert describe_threats(compile_policy(policy({}))) is None
    assert fewest_view_calls(compile_policy(policy({}))) == 0


def test_a_policy_without_threats_has_the_digest_that_it_had():
    content = policy_content(policy({"floor": 0.3}))
    assert "threats" not in content
    assert content == policy_content(policy({}))


def test_threats_are_part_of_the_digest_and_come_back_from_what_is_kept():
    content = policy_content(policy())
    digest = digest_json(content)
    assert digest != digest_json(policy_content(policy({})))
    assert digest != digest_json(policy_content(policy({**ALL, "suffix": {"words": 9}})))
    assert find_content(find_differing(content), digest) == content


def test_the_engine_is_told_all_of_them():
    threats = compile_policy(policy()).threats
    assert threats.settings == {
        Threat.CROPS: Crops(9, 32),
        Threat.STICKERS: Stickers(9, 0.02),
        Threat.SUFFIX: Suffix(SuffixUnit.WORDS, 10),
    }
    characters = compile_policy(policy({"suffix": {"characters": 7}})).threats
    assert characters.settings == {Threat.SUFFIX: Suffix(SuffixUnit.CHARACTERS, 7)}


@pytest.mark.parametrize(
    ("threats", "words"),
    [
        ({"crops": {"windows": 9}}, "windows and sees together"),
        ({"crops": {"sees": 9}}, "windows and sees together"),
        ({"crops": {"windows": 8, "sees": 9}}, "4, 9, 16, 25, 36, 49, 64, 81 or 100"),
        ({"stickers": {"masks": 9}}, "give that, too"),
        ({"stickers": {"max_share": 0.7}}, "less than or equal to 0.5"),
        ({"suffix": {"words": 3, "characters": 4}}, "not in both"),
        ({"floor": 0.0}, "greater than or equal to"),
        ({"temperature": 2.5}, "less than or equal to 2"),
        ({"temperature": -1}, "greater than or equal to 0"),
    ],
)
def test_impossible_sections_are_refused(threats, words):
    with pytest.raises(ValueError, match=words):
        policy(threats)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"smoothing": {"claim": "harmlessness"}, "oracle": {"miss_rate_upper": 0.01}},
            "not measured on answers to views",
        ),
        ({"oracle": {"kind": "semantic"}}, "cannot be compared"),
        ({"advanced": {"limits": {"max_calls": 60}}}, "that takes 108 calls at least"),
        ({"threats": {**ALL, "floor": 0.98}}, "no picture could ever pass"),
    ],
)
def test_policies_that_cannot_be_kept_are_refused(changes, words):
    fields = arrange({"name": "mine", "threats": ALL, **changes})
    with pytest.raises(ConfigError) as caught:
        compile_policy(Policy.model_validate(fields))
    assert any(words in str(mistake) for mistake in list_mistakes(caught.value)), caught.value


def test_a_first_try_has_a_test_for_its_views():
    mine = policy({**ALL, "floor": 0.6})
    rules = compile_policy(mine)
    check_first_try(mine, rules)
    tight = dataclasses.replace(
        rules, max_samples=_fewest_samples(rules), promised_radius=0.01, floor=0.2
    )
    view_plan_for(tight, tight.threats, 29)
    with pytest.raises(ConfigError, match="first try could never pass"):
        check_first_try(mine, tight)


def _fewest_samples(rules):
    """The fewest at which the views have a test at the whole alpha."""
    for most in range(1, 200):
        try:
            view_plan_for(dataclasses.replace(rules, max_samples=most), rules.threats, 29)
        except CertificationError:
            continue
        return most
    raise AssertionError


def test_views_and_calls_are_told_for_a_stated_size():
    rules = compile_policy(policy())
    facts = describe_threats(rules)
    assert (facts.width_px, facts.height_px) == (640, 480)
    assert [(one.threat, one.views) for one in facts.threats] == [
        ("crops", 9),
        ("stickers", 9),
        ("suffix", 11),
    ]
    plan = view_plan_for(rules, rules.threats, 29)
    for one in facts.threats:
        assert one.fewest_calls == one.views * 4
        assert one.most_calls == one.views * plan.max_samples
        assert one.calls == pytest.approx(one.views * plan.expected_calls_at(0.99))
    rate = rules.threats.expected_harmless_rate * rules.expected_success_rate
    assert combined_power([plan.power_at(rate)] * 29) >= 0.99
    assert 0.98 <= facts.power < plan.power_at(rate)
    assert facts.text_calls == pytest.approx(12 * plan.expected_calls_at(0.99), rel=0.02)
    assert len(plan_views(rules.threats, [(480, 640)])) == 29


def test_a_picture_for_large_windows_is_as_large_as_they_need():
    facts = describe_threats(compile_policy(policy({"crops": {"windows": 4, "sees": 900}})))
    assert (facts.width_px, facts.height_px) == (900, 900)


def test_the_check_says_what_each_is_and_costs():
    rules = compile_policy(policy())
    text = " ".join(" ".join(promise_lines(rules, describe_rules(rules))).split())
    assert "crops A request of which some window of one picture, as it is, draws answers" in text
    assert "A picture of 640 x 480 px has 9 views, 36.4 calls" in text
    assert "29 views of one picture of 640 x 480 px take 117.2 calls" in text
    assert "Not covered: text glued to the last word" in text
    plain = compile_policy(policy({}))
    assert "threats" not in " ".join(promise_lines(plain, describe_rules(plain)))
