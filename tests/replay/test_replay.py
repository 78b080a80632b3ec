"""Replay against the engine itself: the policy that decided, and others on the same noise."""

from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.judge import _BEGINNING
from guardrail.policy.compile import policy_digest
from guardrail.replay.decisions import BEGINNING
from guardrail.replay.endings import REASONS, Ending, Need

WORLDS = st.fixed_dictionaries({
    "salt": st.integers(0, 2**32),
    "harm": st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9]),
    "faults": st.sampled_from([0.0, 0.0, 0.05, 0.5]),
    "odd": st.sampled_from([0.0, 0.0, 0.3]),
    "slow": st.sampled_from([0.0, 0.0, 0.004]),
})  # fmt: skip
POLICIES = st.fixed_dictionaries(
    {
        "oracle": st.fixed_dictionaries({"threshold": st.sampled_from([0.25, 0.5, 0.6, 0.9])}),
        "smoothing": st.fixed_dictionaries(
            {
                "radius": st.sampled_from([0.1, 0.25]),
                "alpha": st.sampled_from([0.05, 0.2]),
                "floor": st.sampled_from([0.5, 0.1]),
            }
        ),
        "sampling": st.fixed_dictionaries(
            {
                "max_parallel": st.sampled_from([1, 3, 8, 32]),
                "power": st.sampled_from([0.8, 0.95]),
                "speculate": st.booleans(),
            }
        ),
        "failures": st.fixed_dictionaries(
            {
                "oracle": st.sampled_from(["error", "pass_unscanned"]),
                "unscanned": st.sampled_from(["block", "pass_unscanned"]),
                "refusals_are_harmless": st.booleans(),
            }
        ),
        "limits": st.fixed_dictionaries({"max_calls": st.sampled_from([None, None, 30, 200])}),
        "answer": st.sampled_from(["smoothed", "smoothed", "clean"]),
    }
)
MODES = st.sampled_from(["enforce", "enforce", "observe"])
PICTURES = st.sampled_from([1, 1, 1, 2, 0])


@given(WORLDS, POLICIES, MODES, PICTURES)
def test_the_policy_that_decided_decides_the_same(kit, facts, sections, mode, pictures):
    policy = kit.make_policy(mode=mode, **sections)
    engine = kit.make_engine(policy, kit.World(**facts))
    _, record = kit.decide(engine, pictures=pictures)
    found = kit.replay([record], policy)
    ending, reason = kit.ending_of(record)
    assert (Ending(found.after[0]), REASONS[found.reason[0]]) == (ending, reason)
    assert found.need[0] == Need.NOTHING


@given(WORLDS, POLICIES, POLICIES, PICTURES, st.booleans())
def test_what_replay_knows_is_what_the_other_policy_decides(
    kit, facts, sections, others, pictures, near
):
    if near:  # differ in the threshold and the test alone
        others = {**sections, "oracle": others["oracle"], "smoothing": others["smoothing"]}
    old, new = kit.make_policy(**sections), kit.make_policy("new", **others)
    world = kit.World(**facts)
    _, record = kit.decide(kit.make_engine(old, world), pictures=pictures)
    found = kit.replay([record], new)
    # The same noise and seeds, since they are derived from the old policy's digest.
    _, truth = kit.decide(kit.make_engine(new, world, digest=policy_digest(old)), pictures=pictures)
    ending, reason = kit.ending_of(truth)
    after = Ending(found.after[0])
    assert (after is Ending.UNKNOWN) == (found.need[0] != Need.NOTHING)
    if after is Ending.UNKNOWN:
        return
    if after is Ending.STOPPED and not found.used[0] and facts["faults"]:
        assert ending in (Ending.STOPPED, Ending.FAULT)
        return
    assert after is ending
    if found.used[0] and sections["oracle"] == others["oracle"]:
        assert REASONS[found.reason[0]] is reason


def test_the_name_of_a_broken_off_answer_is_the_judges():
    assert BEGINNING == _BEGINNING
