"""Two policies side by side."""

import pytest

from guardrail.policy.load import load_policy
from guardrail.replay.difference import Strictness, compare_policies
from guardrail.replay.wording import describe_numbers


@pytest.mark.parametrize(
    ("old", "new", "strictness"),
    [
        ({}, {"smoothing": {"radius": 0.3}}, "stricter"),
        ({}, {"smoothing": {"radius": 0.2}}, "looser"),
        ({}, {"smoothing": {"radius": 0.1, "floor": 0.1}}, "looser"),
        ({}, {"smoothing": {"radius": 1.0, "floor": 0.1}}, "stricter"),
        ({}, {"smoothing": {"alpha": 0.01}}, "stricter"),
        ({}, {"smoothing": {"alpha": 0.01, "radius": 0.2}}, "neither"),
        ({}, {"oracle": {"threshold": 0.3}}, "stricter"),
        ({}, {"oracle": {"threshold": 0.7}}, "looser"),
        ({}, {"oracle": {"threshold": 0.7}, "smoothing": {"alpha": 0.01}}, "neither"),
        ({}, {"oracle": {"kind": "encoder"}}, "neither"),
        ({}, {"smoothing": {"sigma": 0.6}}, "neither"),
        ({}, {"mode": "observe"}, "looser"),
        ({}, {"failures": {"unscanned": "pass_unscanned"}}, "looser"),
        ({}, {"failures": {"refusals_are_harmless": False}}, "stricter"),
        ({}, {"spending": {"mode": "principal"}}, "stricter"),
        ({}, {"spending": {"mode": "off"}}, "looser"),
        ({}, {"text_in_pictures": "ocr"}, "stricter"),
        (
            {"known_pictures": {"lists": ["known.txt"]}},
            {"known_pictures": {"lists": ["known.txt"], "distance": 8}},
            "stricter",
        ),
        ({}, {"known_pictures": {"distance": 8}}, "as strict"),
        ({}, {"known_pictures": {"lists": ["known.txt"], "distance": 8}}, "neither"),
        ({}, {"known_pictures": {"lists": ["known.txt"]}}, "neither"),
        ({}, {"overrides": "on"}, "looser"),
        ({}, {"sampling": {"power": 0.8}}, "as strict"),
        ({}, {"block": {"text": "No."}}, "as strict"),
        ({}, {"smoothing": {"radius_space": "client"}}, "looser"),
        ({}, {"smoothing": {"radius_space": "client", "radius": 0.26}}, "neither"),
        ({}, {}, "as strict"),
    ],
)
def test_which_is_the_stricter_one(kit, old, new, strictness):
    first, second = kit.make_policy(**old), kit.make_policy("new", **new)
    found = compare_policies(first, second)
    assert found.strictness == strictness
    back = compare_policies(second, first).strictness
    swapped = {"stricter": Strictness.LOOSER, "looser": Strictness.STRICTER}
    assert back == swapped.get(strictness, strictness)
    assert {one.field for one in found.fields} == {one.field for one in compare_policies(
        second, first).fields}  # fmt: skip


def test_numbers_are_told_in_words_without_greek_letters(kit):
    found = compare_policies(kit.make_policy(), kit.make_policy("new", mode="observe"))
    words = [describe_numbers(one) for one in found.numbers]
    text = " ".join(f"{name} {value}" for one in words for name, value in one.items())
    assert not any("α" <= character <= "ω" for character in text)
    assert words[1]["stops requests"] == "no, it only observes"
    assert found.fields[0].meaning.startswith("enforce: block")


def test_a_policy_differs_from_itself_in_nothing():
    policy = load_policy("observe")
    assert compare_policies(policy, policy).fields == ()
