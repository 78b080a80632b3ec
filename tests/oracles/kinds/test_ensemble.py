"""Oracles within oracles: a policy's fields become members, a rule and a bound."""

import asyncio

import pytest

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange
from guardrail.oracles.combined import members
from guardrail.oracles.options import MissRateBound, OracleOptions
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

POLICY = """\
name: mine
oracle:
  kind: ensemble
  rule: any
  members:
    - kind: builtin
      threshold: 0.25
      miss_rate_upper: 0.277
    - kind: lexicon
      file: words.yaml
      threshold: 0.5
    - kind: cascade
      high: 0.9
      cheap: {threshold: 0.1, miss_rate_upper: 0.02}
      expensive: {threshold: 0.25, miss_rate_upper: 0.2, delta: 0.01}
"""
WORDS = "version: 1\nentries:\n  - {phrase: xyzzy, category: magic}\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "words.yaml").write_text(WORDS)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def choice(**oracle):
    return Policy.model_validate({"name": "p", "oracle": oracle}).oracle


def judged(oracle, *texts):
    async def judge():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return asyncio.run(judge())


def test_a_policy_s_members_vote(path):
    policy = load_policy(path)
    calm, magic = judged(
        compile_oracle(policy),
        "The picture shows a cat on a sofa.",
        "The picture shows a cat on a sofa. Xyzzy!",
    )
    assert calm.outcome is Outcome.HARMLESS
    assert magic.outcome is Outcome.HARMFUL
    assert magic.reason == "any: lexicon (lexicon: magic)"


def test_all_members_are_closed(path):
    oracle = compile_oracle(load_policy(path))
    judged(oracle, "a cat")
    with pytest.raises(OracleError, match="closed"):
        judged(oracle, "a cat")


def test_the_rules_get_the_bound_of_what_is_known(path):
    """The lexicon says nothing of its misses, and the cascade's are the smallest."""
    path.write_text(f"{POLICY}smoothing: {{claim: harmlessness}}\n")
    rules = compile_policy(load_policy(path))
    assert rules.miss_rate_upper == pytest.approx(0.22)
    assert rules.delta == pytest.approx(0.001 + 0.001 + 0.01)


def parts(*rates):
    return [{"miss_rate_upper": rate, "delta": 0.01} if rate else {} for rate in rates]


@pytest.mark.parametrize(
    ("rates", "fields", "upper", "delta"),
    [
        ((0.3, 0.1, 0.2), {"rule": "any"}, 0.1, 0.03),
        ((0.3, 0.1, 0.2), {"rule": "all"}, 0.6, 0.03),
        ((0.3, 0.1, 0.2), {"rule": "k_of_n", "k": 2}, 0.3, 0.03),
        ((0.2, 0.2, 0.2), {"rule": "k_of_n", "k": 2}, 0.3, 0.03),
        ((0.3, None, 0.2), {"rule": "any"}, 0.2, 0.02),
        ((0.3, None, 0.2), {"rule": "k_of_n", "k": 2}, 0.5, 0.02),
    ],
)
def test_the_bound_of_each_rule(tmp_path, rates, fields, upper, delta):
    found = choice(kind="ensemble", members=parts(*rates), **fields).bound_miss_rate(tmp_path)
    assert found.miss_rate_upper == pytest.approx(upper)
    assert found.delta == pytest.approx(delta)


@pytest.mark.parametrize(
    ("rates", "fields"),
    [
        ((0.3, None), {"rule": "all"}),
        ((None, None), {"rule": "any"}),
        ((0.6, 0.6), {"rule": "all"}),
        ((0.1, 0.1), {"rule": "weighted", "weights": [1.0, 2.0]}),
        ((0.1, 0.1), {"rule": "any", "threshold": 0.6}),
    ],
)
def test_where_nothing_follows_nothing_is_claimed(tmp_path, rates, fields):
    bare = {"kind": "ensemble", "members": parts(*rates), **fields}
    assert choice(**bare).bound_miss_rate(tmp_path) is None
    measured = choice(**bare, miss_rate_upper=0.4, delta=0.02)
    assert measured.bound_miss_rate(tmp_path) == MissRateBound(0.4, 0.02)


def test_what_was_measured_together_wins(tmp_path):
    found = choice(kind="ensemble", rule="all", members=parts(0.1, 0.1), miss_rate_upper=0.12)
    assert found.bound_miss_rate(tmp_path) == MissRateBound(0.12, 0.001)


def test_a_lower_threshold_keeps_the_bound(tmp_path):
    found = choice(kind="ensemble", rule="any", members=parts(0.1), threshold=0.3)
    assert found.bound_miss_rate(tmp_path) == MissRateBound(0.1, 0.01)


@pytest.mark.parametrize(
    ("oracle", "line", "field"),
    [
        ("kind: ensemble\n  rule: any\n  members: []", 5, "oracle.members"),
        ("kind: ensemble\n  rule: most\n  members: [{}]", 4, "oracle.rule"),
        ("kind: ensemble\n  rule: k_of_n\n  members: [{}]", 2, "oracle"),
        ("kind: ensemble\n  rule: any\n  k: 1\n  members: [{}]", 2, "oracle"),
        ("kind: ensemble\n  rule: weighted\n  weights: [1.0]\n  members: [{}, {}]", 2, "oracle"),
        (
            "kind: ensemble\n  rule: any\n  members:\n    - {}\n    - threshold: 7.0",
            7,
            "oracle.members.1.threshold",
        ),
        ("kind: ensemble\n  rule: any\n  members: [{kind: magic}]", 5, "oracle.members.0.kind"),
        ("kind: cascade\n  cheap: {}", 2, "oracle.expensive"),
        ("kind: cascade\n  cheap: {}\n  expensive: {}\n  high: 0.25", 2, "oracle"),
        ("kind: cascade\n  cheap:\n    treshold: 0.1\n  expensive: {}", 5, "oracle.cheap.treshold"),
    ],
)
def test_mistakes_are_named_by_their_place(tmp_path, oracle, line, field):
    path = tmp_path / "policy.yaml"
    path.write_text(f"name: mine\noracle:\n  {oracle}\n")
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    assert (caught.value.line, caught.value.field) == (line, field)


def test_a_member_that_needs_a_reference_is_refused(tmp_path):
    class Compares:
        revision, n0 = "compares", 1

        async def judge(self, exchanges): ...

        async def aclose(self): ...

        async def reference(self, selection): ...

    class Chosen(OracleOptions):
        kind: str = "action"

        def build(self, _folder):
            return Compares()

    with pytest.raises(ConfigError, match="'action' compares answers with a reference"):
        members.build_members([Chosen()], tmp_path)


def test_members_of_one_kind_are_told_apart(tmp_path):
    built = members.build_members(
        choice(
            kind="ensemble", rule="any", members=[{"kind": "builtin"}, {"kind": "builtin"}]
        ).members,
        tmp_path,
    )
    assert [member.name for member in built] == ["builtin 1", "builtin 2"]
    for member in built:
        asyncio.run(member.oracle.aclose())
