"""Single cases: limits, repeats, tries that share alpha, several upstreams, what is not known."""

import asyncio
import dataclasses

import pytest

from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError
from guardrail.images.known_pictures import KnownPicture, KnownPictures
from guardrail.images.perceptual import perceptual_hash
from guardrail.memory.remembered_verdict import as_delivered_again
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.records.recorder import build_record
from guardrail.replay.endings import REASONS, Ending, Need
from guardrail.replay.further_calls import expect_further_calls
from guardrail.replay.loading import load_decisions
from guardrail.replay.replay import replay_policy
from guardrail.stats import spent_alpha
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, Step

CALM, WILD = 0.0, 0.95


def world(kit, harm=CALM, **facts):
    return kit.World(salt=5, harm=harm, **facts)


def scripted(kit, policy, script):
    return Engine(compile_policy(policy), Scripted(script), kit.Scores(0.5), kit.KEY)


def only(found):
    return Ending(found.after[0]), REASONS[found.reason[0]], Need(found.need[0])


def test_a_decision_that_ended_at_its_deadline_stays_so_and_else_needs_calls(kit):
    policy = kit.make_policy()
    _, whole = kit.decide(kit.make_engine(policy, world(kit)))
    record = dataclasses.replace(
        whole, samples=whole.samples[:4], action=Action.FAULT, reason=Reason.DEADLINE,
        certificate={**whole.certificate, "decision": "uncertain", "counts": []},
    )  # fmt: skip
    same = kit.replay([record], policy)
    assert only(same) == (Ending.FAULT, Reason.DEADLINE, Need.NOTHING)
    longer = kit.make_policy("new", limits={"deadline_s": 2000.0})
    found = kit.replay([record], longer)
    assert only(found)[2] is Need.CALLS
    (open_,) = found.open_tests
    assert (open_.samples.tolist(), open_.harmful.tolist()) == ([4], [0])
    assert expect_further_calls(found).calls == pytest.approx(whole.certificate["samples"] - 4)
    renamed = kit.make_policy("new")
    assert only(kit.replay([record], renamed)) == (Ending.FAULT, Reason.DEADLINE, Need.NOTHING)


def test_a_shorter_deadline_is_known_only_where_the_decision_took_less(kit):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    quick = dataclasses.replace(record, elapsed_s=0.5)
    slow = dataclasses.replace(record, elapsed_s=5.0)
    found = kit.replay([quick, slow], kit.make_policy("new", limits={"deadline_s": 1.0}))
    assert found.after.tolist() == [Ending.LET_THROUGH, Ending.UNKNOWN]


def test_samples_behind_a_gap_are_not_used(kit):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    gap = tuple(one for one in record.samples if one.index != 2)
    found = load_decisions([dataclasses.replace(record, samples=gap).to_dict()])
    assert found.lengths.tolist() == [2]


def test_samples_beyond_an_early_stop_are_used_in_order_alone(kit):
    """A block at the first look, with draws behind it: a later first look reads them in order."""
    old = kit.make_policy(sampling={"max_parallel": 32})
    _, record = kit.decide(kit.make_engine(old, world(kit, WILD)))
    new = kit.make_policy("new", smoothing={"alpha": 0.001}, sampling={"max_samples": 200})
    found = kit.replay([record], new)
    assert only(found)[0] is Ending.STOPPED
    assert found.used[0] == 0 or found.used[0] <= len(record.samples)


def test_a_repeated_verdict_ends_as_its_decision_does(kit):
    policy = kit.make_policy()
    engine = kit.make_engine(policy, world(kit, 0.3))
    verdict, record = kit.decide(engine)
    again = build_record(as_delivered_again(verdict), kit.make_chat(1, "question 0"), engine)
    assert again.remembered
    assert not again.samples
    other = kit.make_policy("new", oracle={"threshold": 0.99})
    found = kit.replay([again, record], other)
    assert found.after[0] == found.after[1] == Ending.LET_THROUGH
    alone = kit.replay([again], other)
    assert only(alone)[2] is Need.SOURCE
    redraws = kit.make_policy("new", memory={"pass": "redraw"})
    assert kit.replay([again, record], redraws).need.tolist() == [Need.CALLS, Need.NOTHING]


def test_tries_that_share_alpha_keep_their_number(kit):
    policy = kit.make_policy(spending={"mode": "principal"}, sampling={"max_samples": 300})
    engine = kit.make_engine(policy, world(kit))
    alpha = spent_alpha(0.05, 3)
    verdict, _ = kit.decide(engine, alpha=alpha)
    verdict = dataclasses.replace(verdict, spending_number=3)
    record = build_record(verdict, kit.make_chat(1, "question 0"), engine)
    assert only(kit.replay([record], policy))[0] is Ending.LET_THROUGH

    looser = kit.make_policy(
        "new", spending={"mode": "principal"}, smoothing={"alpha": 0.2},
        sampling={"max_samples": 300},
    )  # fmt: skip
    found = kit.replay([record], looser)
    truth = kit.make_engine(looser, world(kit), digest=policy_digest(policy))
    expected, _ = kit.decide(truth, alpha=spent_alpha(0.2, 3))
    assert found.after[0] == Ending.LET_THROUGH
    assert found.used[0] == expected.certificate.samples < record.certificate["samples"]

    off = kit.make_policy("new", spending={"mode": "off"}, sampling={"max_samples": 300})
    assert kit.replay([record], off).used[0] < record.certificate["samples"]


def test_tries_that_were_not_counted_are_not_known_where_they_count(kit):
    policy = kit.make_policy(spending={"mode": "off"})
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    counts = kit.make_policy("new", spending={"mode": "principal"})
    assert only(kit.replay([record], counts))[2] is Need.TRIES
    named = kit.make_policy("new", spending={"mode": "end_user"})
    assert only(kit.replay([record], named))[2] is Need.NOTHING
    user = dataclasses.replace(record, principal="ab" * 16)
    assert only(kit.replay([user], named))[2] is Need.TRIES


def test_a_share_of_alpha_stays_the_share_of_its_upstream(kit):
    policy = kit.make_policy(sampling={"max_samples": 300})
    rules = compile_policy(policy)
    down = Scripted([Step(fault=Fault.UNREACHABLE)])
    engine = FailoverEngine(rules, [down, Scripted(["0.1"])], kit.Scores(0.5), kit.KEY)
    verdict, record = kit.decide(engine)
    assert verdict.certificate.alpha == pytest.approx(0.005)
    assert only(kit.replay([record], policy))[0] is Ending.LET_THROUGH
    looser = kit.make_policy("new", smoothing={"alpha": 0.5}, sampling={"max_samples": 300})
    found = kit.replay([record], looser)
    other = FailoverEngine(
        compile_policy(looser), [down, Scripted(["0.1"])], kit.Scores(0.5), kit.KEY
    )
    expected, _ = kit.decide(other)
    assert found.used[0] == expected.certificate.samples


@pytest.mark.parametrize(
    "sections",
    [
        {"smoothing": {"sigma": 0.6}},
        {"smoothing": {"canvas_max_side_px": 16}},
        {"images": {"variant_format": "jpeg"}},
        {"sampling": {"probe_max_tokens": 5}},
    ],
)
def test_other_noise_needs_new_answers_unless_there_is_no_picture(kit, sections):
    policy = kit.make_policy(smoothing={"canvas_max_side_px": 8})
    small = kit.make_engine(policy, world(kit))
    _, text = kit.decide(small, pictures=0)
    chat = kit.make_chat(1)
    large = kit.make_picture(height=20, width=12)
    verdict = asyncio.run(small.decide(chat, [large]))
    found = kit.replay([text, build_record(verdict, chat, small)], kit.make_policy("n", **sections))
    assert found.need.tolist() == [Need.NOTHING, Need.NEW_DRAWS]


def test_a_canvas_that_no_picture_reaches_changes_nothing(kit):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    wider = kit.make_policy("new", smoothing={"canvas_max_side_px": 64})
    assert only(kit.replay([record], wider)) == (
        Ending.LET_THROUGH, Reason.CERTIFIED, Need.NOTHING,
    )  # fmt: skip


def test_another_policy_of_which_nothing_is_known(kit):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    lost = dataclasses.replace(record, policy_fields={"name": "old"})
    assert only(kit.replay([lost], policy))[2] is Need.POLICY


def test_oracles_that_are_no_cut_of_a_score_need_the_answers(kit):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit, 0.2)))
    other = kit.make_policy("new", oracle={"threshold": 0.4})
    assert only(kit.replay([record], other))[2] in (Need.NOTHING, Need.CALLS)
    uncut = dataclasses.replace(record, threshold=None)
    assert only(kit.replay([uncut], other))[2] is Need.ANSWERS
    languages = kit.make_policy("new", oracle={"languages": "any"})
    assert only(kit.replay([record], languages))[2] is Need.ANSWERS


def test_what_is_withheld_for_its_language_stays_so_at_any_threshold(kit):
    """The worst field scores 0.7; behind it another one is withheld whatever it scores."""
    policy = kit.make_policy()

    def script(call):
        message = {"content": "0.7", "reasoning_content": "foreign"}
        return Step(message=message)

    _, record = kit.decide(scripted(kit, policy, script), pictures=0)
    (sample,) = record.samples
    assert (sample.outcome, sample.score, sample.withheld) == (Outcome.HARMFUL, 0.7, True)
    higher = kit.make_policy("new", oracle={"threshold": 0.9})
    assert only(kit.replay([record], higher))[0] is Ending.STOPPED


def test_answers_that_were_broken_off_may_have_ended_well(kit):
    old = kit.make_policy(sampling={"judge_every_chars": 50})
    _, record = kit.decide(kit.make_engine(old, world(kit, WILD)))
    broken = tuple(
        dataclasses.replace(one, field="beginning of the answer") for one in record.samples
    )
    record = dataclasses.replace(record, samples=broken)
    whole = kit.make_policy("new")
    assert only(kit.replay([record], whole))[2] is Need.CALLS
    lower = kit.make_policy("new", sampling={"judge_every_chars": 50}, oracle={"threshold": 0.4})
    assert only(kit.replay([record], lower))[0] is Ending.STOPPED


def test_reading_pictures_makes_passes_unknown_and_leaves_stops(kit):
    policy = kit.make_policy()
    _, passed = kit.decide(kit.make_engine(policy, world(kit)))
    _, stopped = kit.decide(kit.make_engine(policy, world(kit, WILD)), number=1)
    reads = kit.make_policy("new", text_in_pictures="ocr")
    found = kit.replay([passed, stopped], reads)
    assert found.need.tolist() == [Need.PICTURES, Need.NOTHING]


@pytest.mark.parametrize(
    ("section", "need"),
    [({"lists": ["lists/known.txt", "b.txt"], "distance": 3}, Need.NOTHING),
     ({"lists": ["known.txt"], "distance": 9}, Need.NOTHING),
     ({"lists": ["known.txt"], "distance": 2}, Need.CALLS),
     ({"lists": ["other.txt"], "distance": 9}, Need.CALLS),
     ({}, Need.CALLS)],
)  # fmt: skip
@pytest.mark.parametrize("alike", [True, False])
def test_a_known_picture_stays_stopped_while_the_policy_goes_by_its_entry(
    kit, section, need, alike
):
    old = kit.make_policy()
    plain = kit.make_engine(old, world(kit))
    engine = Engine(
        plain.rules, plain.upstream, plain.oracle, kit.KEY,
        known_pictures=KnownPictures({}, [(perceptual_hash(kit.make_picture(0).pixels) ^ 7,
                                           ("known.txt", 4))], 6),
    )  # fmt: skip
    _, stopped = kit.decide(engine)
    _, passed = kit.decide(engine, number=1)
    new = {} if alike else {"limits": {"deadline_s": 2000.0}}
    found = kit.replay([stopped, passed], kit.make_policy("new", known_pictures=section, **new))
    assert stopped.known_picture == KnownPicture("known.txt", 4, 3)
    assert found.need.tolist() == [need, Need.NOTHING]
    assert REASONS[found.reason[0]] is Reason.KNOWN_PICTURE
    assert Ending(found.after[0]) is (Ending.UNKNOWN if need else Ending.STOPPED)


def test_faults_are_not_decided_by_another_policy(kit):
    policy = kit.make_policy()
    _, record = kit.decide(scripted(kit, policy, [Step(fault=Fault.STATUS, status=401)]))
    assert only(kit.replay([record], policy))[:2] == (Ending.FAULT, Reason.UPSTREAM_FAILED)
    other = kit.make_policy("new", smoothing={"radius": 0.1})
    assert only(kit.replay([record], other))[2] is Need.FAULT
    text = scripted(kit, policy, [Step(fault=Fault.STATUS, status=401)])
    _, record = kit.decide(text, pictures=0)
    assert only(kit.replay([record], other)) == (
        Ending.FAULT, Reason.UPSTREAM_FAILED, Need.NOTHING,
    )  # fmt: skip
    patient = kit.make_policy("new", limits={"call_timeout_s": 30.0})
    assert only(kit.replay([record], patient))[2] is Need.FAULT


def test_pictures_for_which_the_new_policy_has_no_test(kit):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    decisions = load_decisions([record.to_dict()])
    # One alpha for which max_samples leaves no test: a late number of a principal.
    late = dataclasses.replace(decisions, number=decisions.number + 2**20 + 1)
    new = kit.make_policy("new", spending={"mode": "principal"}, smoothing={"alpha": 0.06})
    found = replay_policy(late, new)
    assert only(found) == (Ending.FAULT, Reason.ATTEMPTS_SPENT, Need.NOTHING)


@pytest.mark.parametrize("field", ["samples", "certificate", "reason", "created", "policy_fields"])
def test_what_is_no_record_is_named(kit, field):
    policy = kit.make_policy()
    _, record = kit.decide(kit.make_engine(policy, world(kit)))
    broken = {name: value for name, value in record.to_dict().items() if name != field}
    with pytest.raises(CertificationError, match=record.record_id):
        load_decisions([broken])
    with pytest.raises(CertificationError):
        load_decisions([{**record.to_dict(), field: 7}])


def test_nothing_is_a_replay_too(kit):
    found = replay_policy(load_decisions([]), kit.make_policy())
    assert len(found.after) == 0
