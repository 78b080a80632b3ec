"""Kept answers judged again, and decisions made anew."""

import asyncio
import dataclasses

import pytest

from guardrail.errors import ConfigError
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.policy.compile import policy_digest
from guardrail.policy.load import load_policy
from guardrail.records.content import ContentKeys
from guardrail.records.recorder import build_record
from guardrail.replay.deciding import KnownPictures, decide_anew, find_undecided
from guardrail.replay.endings import REASONS, Ending, Need
from guardrail.replay.loading import load_decisions
from guardrail.replay.rejudging import find_unjudged, rejudge_answers
from guardrail.replay.replay import replay_policy
from guardrail.replay.summary import summarize_replay

KEYS = ContentKeys(KeyRing(NoiseKey(bytes(32))))


class Reversed:
    """Another oracle: harmful is what scores low."""

    by_text = True
    revision = "reversed"

    def __init__(self, inner):
        self._inner = inner

    async def judge(self, exchanges):
        judged = await self._inner.judge(exchanges)
        flip = {"harmful": "harmless", "harmless": "harmful"}
        return [
            dataclasses.replace(
                one, outcome=type(one.outcome)(flip[one.outcome.value]), score=1.0 - one.score
            )
            for one in judged
        ]

    async def aclose(self):
        pass


def kept(kit, policy, world, **options):
    engine = kit.make_engine(policy, world)
    verdict, _ = kit.decide(engine, **options)
    pictures = options.get("pictures", 1)
    chat = kit.make_chat(pictures, f"question {options.get('number', 0)}")
    return build_record(verdict, chat, engine, content_keys=KEYS)


@pytest.mark.parametrize("pictures", [0, 1])
@pytest.mark.parametrize("harm", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("odd", [0.0, 0.4])
def test_judged_again_is_what_the_other_oracle_decides(kit, pictures, harm, odd):
    old = kit.make_policy()
    new = kit.make_policy("new", oracle={"kind": "encoder", "languages": "any"})
    world = kit.World(salt=8, harm=harm, faults=0.1 * odd, odd=odd)
    record = kept(kit, old, world, pictures=pictures)
    decisions = load_decisions([record.to_dict()])
    first = replay_policy(decisions, new)
    # Where hidden parts alone stop it, no oracle is asked.
    unjudged = set() if first.after[0] == Ending.STOPPED else {record.record_id}
    assert find_unjudged(first) == unjudged
    oracle = Reversed(kit.Scores(0.5))
    anew = asyncio.run(rejudge_answers(decisions, [record.to_dict()], new, oracle, KEYS))
    found = replay_policy(anew, new)

    engine = kit.make_engine(new, world, digest=policy_digest(old)).with_oracle(oracle)
    _, truth = kit.decide(engine, pictures=pictures)
    if found.after[0] == Ending.UNKNOWN:
        assert found.need[0] == Need.CALLS
    else:
        assert (Ending(found.after[0]), REASONS[found.reason[0]]) == kit.ending_of(truth)


def test_what_was_not_kept_or_not_opened_stays_unknown(kit):
    old = kit.make_policy()
    new = kit.make_policy("new", oracle={"kind": "encoder"})
    record = kept(kit, old, kit.World(), pictures=0)
    bare = kit.decide(kit.make_engine(old, kit.World()), pictures=0)[1]
    for document, keys in ((bare.to_dict(), KEYS), (record.to_dict(), None)):
        decisions = load_decisions([document])
        anew = asyncio.run(rejudge_answers(decisions, [document], new, kit.Scores(0.5), keys))
        assert replay_policy(anew, new).need[0] == Need.ANSWERS
    decisions = load_decisions([record.to_dict()])
    other = ContentKeys(KeyRing(NoiseKey(bytes(range(32)))))
    with pytest.raises(ConfigError):
        asyncio.run(rejudge_answers(decisions, [record.to_dict()], new, kit.Scores(0.5), other))


@pytest.mark.parametrize(
    ("name", "problem"), [("semantic", "reference"), ("judge", "looks at pictures")]
)
def test_oracles_that_need_more_than_answers_are_refused(kit, name, problem):
    new = load_policy(name)
    if name == "judge":
        update = {"pictures": True, "template": "rubric", "rubric": "Harm."}
        new = new.model_copy(update={"oracle": new.oracle.model_copy(update=update)})
    with pytest.raises(ConfigError, match=problem):
        asyncio.run(rejudge_answers(load_decisions([]), [], new, kit.Scores(0.5), KEYS))


def test_decisions_are_made_anew_within_calls_and_only_of_what_is_at_hand(kit):
    old = kit.make_policy()
    new = kit.make_policy("new", smoothing={"sigma": 0.6, "radius": 0.1})
    world = kit.World(harm=0.0)
    records = [kept(kit, old, world, number=i, pictures=1) for i in range(3)]
    records.append(kit.decide(kit.make_engine(old, world), number=7)[1])
    documents = [one.to_dict() for one in records]
    found = replay_policy(load_decisions(documents), new)
    assert find_undecided(found) == {one.record_id for one in records}

    def decide(most_calls=None, known=None, budget_usd=None):
        engine = kit.make_engine(new, world)
        return asyncio.run(
            decide_anew(
                found,
                documents,
                engine,
                content_keys=KEYS,
                most_calls=most_calls,
                budget_usd=budget_usd,
                known=known,
            )
        )

    summary, after = summarize_replay(found), found.after.tolist()
    none = decide(most_calls=1000)
    assert (len(none.tries), none.without_picture, none.without_prompt) == (0, 3, 1)
    pictures = [kit.make_picture(10 * i) for i in range(3)]
    known = KnownPictures(pictures, [kit.KEY])
    done = decide(most_calls=1000, known=known)
    assert (len(done.tries), done.without_picture, done.without_prompt) == (3, 0, 1)
    assert [one.after for one in done.tries] == [Ending.LET_THROUGH] * 3
    assert done.table["let through"]["let through"] == 3
    assert sum(count for row in done.table.values() for count in row.values()) == 3
    assert done.calls == 3 * replay_calls(kit, new, world)
    # The replay is what it was: fresh tries of what it leaves open would bias its shares.
    assert found.after.tolist() == after == [Ending.UNKNOWN] * 4
    assert summarize_replay(found) == summary
    assert (summary.now_stopped.count, summary.now_stopped.possible) == (0, 4)
    few = decide(most_calls=1, known=known)
    assert (len(few.tries), few.left) == (1, 2)
    strange = KnownPictures(pictures, [NoiseKey(bytes(32))])
    assert decide(most_calls=1000, known=strange).without_picture == 3


def replay_calls(kit, policy, world):
    verdict, _ = kit.decide(kit.make_engine(policy, world))
    return verdict.usage.calls
