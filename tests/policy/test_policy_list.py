"""Several policies in one file, and which of them decides a request."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.policy.policy_list import Asked, MatchSection, find_folders, load_policies
from guardrail.policy.schema import Policy
from guardrail.policy.strictness import describe_looser


def policy(name, **fields):
    return Policy.model_validate({"name": name, **fields})


@pytest.fixture
def write(tmp_path):
    """Writes policies and a list of them; returns the list's file."""

    def written(*entries, **policies):
        for name, fields in policies.items():
            content = {"name": name, "extends": "default", **fields}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        file = tmp_path / "policies.yaml"
        file.write_text(yaml.safe_dump({"policies": [*entries]}))
        return file

    return written


def test_the_first_that_fits_decides(write):
    file = write(
        {"policy": "strict", "match": {"tenants": ["kids-*"]}},
        {"policy": "own.yaml", "match": {"models": ["gpt-*"], "routes": ["/v1/responses"]}},
        {"policy": "default"},
        own={},
    )
    listed = load_policies(file)
    assert [one.policy.name for one in listed] == ["strict", "own", "default"]

    def first(**fields):
        return next(one.policy.name for one in listed if one.fits(Asked(**fields)))

    assert first(tenant="kids-1", model="gpt-4o") == "strict"
    assert first(model="gpt-4o", route="/v1/responses") == "own"
    assert first(model="gpt-4o", route="/v1/chat/completions") == "default"
    assert first() == "default"
    assert find_folders(listed, [file]) == (file.parent.resolve(),)


def test_a_policy_may_leave_requests_to_those_below_it(write):
    file = write(
        {"policy": "default", "except": {"tenants": ["trial"]}},
        {"policy": "watch.yaml"},
        watch={"mode": "observe"},
    )
    listed = load_policies(file)
    assert [one.fits(Asked(tenant="trial")) for one in listed] == [False, True]
    assert [one.fits(Asked(tenant="other")) for one in listed] == [True, True]


WRONG = {
    "the last one matches": (
        [{"policy": "default", "match": {"models": ["a"]}}], {}, "take all requests"),
    "the last one leaves some": (
        [{"policy": "default", "except": {"models": ["a"]}}], {}, "take all requests"),
    "one twice": ([{"policy": "default"}, {"policy": "default"}], {}, "rename one"),
    "observe above enforce": (
        [{"policy": "a.yaml", "match": {"tenants": ["x"]}}, {"policy": "default"}],
        {"a": {"mode": "observe"}}, r"stricter than 'a' above it \(mode\)"),
    "a smaller radius above a larger one": (
        [{"policy": "a.yaml", "match": {"tenants": ["x"]}}, {"policy": "default"}],
        {"a": {"smoothing": {"radius": 0.1}}}, r"\(smoothing\.radius\)"),
    "unknown field": ([{"policy": "default", "matches": {}}], {}, "mean 'policies.0.match'"),
    "unknown condition": (
        [{"policy": "default", "match": {"model": ["x"]}}, {"policy": "strict"}], {}, "models"),
    "no such policy": ([{"policy": "defualt"}], {}, "did you mean 'default'"),
    "no policy": ([], {}, "policies"),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "policies", "words"), WRONG.values(), ids=WRONG)
def test_mistakes_are_named(write, entries, policies, words):
    file = write(*entries, **policies)
    with pytest.raises(ConfigError, match=words):
        load_policies(file)


@pytest.mark.parametrize(
    ("match", "asked", "fits"),
    [
        ({}, {}, True),
        ({"headers": {"x-team": "a*"}}, {"headers": {"x-team": "abc"}}, True),
        ({"headers": {"x-team": "a*"}}, {"headers": {}}, False),
        ({"headers": {"x-team": "*"}}, {"headers": {}}, True),
        ({"keys": ["a"], "tenants": ["b"]}, {"key": "a", "tenant": "b"}, True),
        ({"keys": ["a"], "tenants": ["b"]}, {"key": "a", "tenant": "c"}, False),
        ({"models": ["gpt-4o"]}, {"model": "GPT-4o"}, False),
        ({"models": []}, {"model": "x"}, False),
    ],
)
def test_all_conditions_must_hold(match, asked, fits):
    assert MatchSection.model_validate(match).fits(Asked(**asked)) is fits


SMOOTHING = st.fixed_dictionaries({
    "radius": st.sampled_from([0.1, 0.25]),
    "floor": st.sampled_from([0.1, 0.5]),
    "alpha": st.sampled_from([0.01, 0.001]),
})  # fmt: skip
SPACES = st.sampled_from([{"smoothing": {"radius_space": space}} for space in ("client", "canvas")])
FAILURES = st.fixed_dictionaries({
    "oracle": st.sampled_from(["error", "pass_unscanned"]),
    "several_models": st.sampled_from(["error", "mark"]),
})  # fmt: skip
THREATS = st.fixed_dictionaries({
    "crops": st.sampled_from([{}, {"windows": 4, "sees": 32}, {"windows": 9, "sees": 32}]),
    "suffix": st.sampled_from([{}, {"words": 5}, {"words": 9}]),
    "temperature": st.sampled_from([0.0, 1.0]),
})  # fmt: skip
POLICIES = st.builds(
    lambda smoothing, failures, mode, advanced, threats: policy(
        "p", smoothing=smoothing, failures=failures, mode=mode, advanced=advanced, threats=threats
    ),
    SMOOTHING, FAILURES, st.sampled_from(["enforce", "observe"]), SPACES, THREATS,
)  # fmt: skip


@given(POLICIES, POLICIES, POLICIES)
def test_looser_is_an_order(a, b, c):
    assert describe_looser(a, a) == ""
    assert not (describe_looser(a, b) and describe_looser(b, a))
    if describe_looser(a, b) and describe_looser(b, c):
        assert describe_looser(a, c)


def test_the_same_number_is_less_in_client_pixels():
    client = policy("a", advanced={"smoothing": {"radius_space": "client"}})
    assert describe_looser(client, policy("b")) == "advanced.smoothing.radius_space"
    assert describe_looser(policy("b"), client) == ""
    more = policy("c", smoothing={"radius": 0.41}, advanced=client.advanced.model_dump())
    assert describe_looser(more, policy("b")) == describe_looser(policy("b"), more) == ""


WIDER = {
    "crops": {"windows": 9, "sees": 32},
    "stickers": {"max_share": 0.02},
    "suffix": {"words": 10},
}


@pytest.mark.parametrize(
    ("less", "field"),
    [
        ({}, "threats.crops"),
        ({**WIDER, "crops": {}}, "threats.crops"),
        ({**WIDER, "stickers": {}}, "threats.stickers"),
        ({**WIDER, "suffix": {"words": 9}}, "threats.suffix.words"),
        ({**WIDER, "floor": 0.05}, "threats.floor"),
    ],
)
def test_covering_less_is_looser(less, field):
    more, loose = policy("more", threats=WIDER), policy("less", threats=less)
    assert field in describe_looser(loose, more)
    assert describe_looser(more, loose) == ""
    # Stricter in one way and looser in another: neither.
    far = policy("far", threats=less, smoothing={"radius": 0.6})
    assert describe_looser(more, far) == describe_looser(far, more) == ""


@pytest.mark.parametrize(
    "other",
    [
        {"crops": {"windows": 16, "sees": 32}},
        {"crops": {"windows": 9, "sees": 33}},
        {"stickers": {"max_share": 0.02, "masks": 16}},
        {"stickers": {"max_share": 0.01}},
        {"suffix": {"characters": 10}},
        {"temperature": None},
    ],
)
def test_other_views_are_neither_stricter_nor_looser(other):
    """Which of them hold more requests only a measurement shows."""
    first = policy("a", threats=WIDER)
    second = policy("b", threats={**WIDER, **other}, smoothing={"radius": 0.1})
    assert describe_looser(first, second) == describe_looser(second, first) == ""


def test_what_is_looser_is_named():
    loose = policy("a", smoothing={"radius": 0.1, "alpha": 0.01})
    assert set(re.split(", ", describe_looser(loose, policy("b")))) == {
        "smoothing.radius",
        "smoothing.alpha",
    }
