"""What an engine tells its observer: decisions, waves, calls, judging, costs, in their order."""

import itertools
from contextlib import contextmanager

import pytest

from guardrail.engine.observer import NO_OBSERVER, current_observer, observe_with
from guardrail.errors import UpstreamError
from guardrail.upstreams.prices import Price, PriceBook, Tier
from guardrail.upstreams.scripted import Fault, Step


class Listener:
    """Keeps what it is told; a context is a pair of lines."""

    def __init__(self):
        self.heard = []

    @contextmanager
    def _span(self, *words, note=False):
        self.heard.append(("begin", *words))
        try:
            yield (lambda said: self.heard.append(("told", words[0], said))) if note else None
        finally:
            self.heard.append(("end", *words))

    def observe_decision(self, rules, upstream, chat):
        assert chat.model == "model"
        return self._span("decision", rules.name, upstream, note=True)

    def observe_wave(self, number, first, stop):
        return self._span("wave", number, first, stop)

    def observe_line(self):
        return self._span("line")

    def observe_call(self, call):
        return self._span("call", call, note=True)

    def observe_judging(self, answers):
        return self._span("judging", answers)

    def note_cost(self, call, cost_usd):
        self.heard.append(("cost", call.index, cost_usd))

    def count(self, *words):
        return sum(line[: len(words)] == words for line in self.heard)


def decide(kit, listener, script=("A cat.",), *, pictures=1, **rules):
    engine = kit.make_engine(script, **rules)
    with observe_with(listener):
        return kit.run(engine.decide(kit.make_chat(pictures), kit.make_pictures(pictures)))


def test_a_decision_tells_its_waves_calls_and_verdict(kit):
    listener = Listener()
    verdict = decide(kit, listener)
    heard = listener.heard
    assert heard[0] == ("begin", "decision", "test", "scripted")
    assert heard[-2:] == [("told", "decision", verdict), ("end", "decision", "test", "scripted")]
    waves = [line[1:] for line in heard if line[:2] == ("begin", "wave")]
    assert waves[0][:3] == ("wave", 1, 0)
    assert sum(stop - first for _, _, first, stop in waves) >= verdict.certificate.samples
    assert listener.count("end", "wave") == len(waves)
    calls = [line[2] for line in heard if line[:2] == ("begin", "call")]
    assert sorted(call.index for call in calls) == list(range(verdict.usage.calls))
    assert all(call.variant and call.model == "model" for call in calls)
    assert listener.count("told", "call") == listener.count("end", "call") == len(calls)
    assert listener.count("begin", "line") == listener.count("end", "line") == len(calls)
    assert listener.count("begin", "judging") == listener.count("end", "judging") > 0


@pytest.mark.no_cover
def test_later_waves_begin_where_the_ones_before_end(kit):
    listener = Listener()
    script = [kit.HARM, *["A cat."] * 400]
    decide(
        kit, listener, script,
        floor=0.5, expected_harmless_rate=0.8, kind=kit.PlanKind.OPTIMAL, max_samples=400,
    )  # fmt: skip
    waves = [line[2:] for line in listener.heard if line[:2] == ("begin", "wave")]
    assert len(waves) > 1
    assert [number for number, _, _ in waves] == list(range(1, len(waves) + 1))
    assert all(one[2] == other[1] for one, other in itertools.pairwise(waves))


def test_a_text_is_one_call_without_waves(kit):
    listener = Listener()
    decide(kit, listener, pictures=0)
    assert listener.count("begin", "wave") == 0
    (call,) = [line[2] for line in listener.heard if line[:2] == ("begin", "call")]
    assert not call.variant


def test_a_call_that_failed_ends_without_an_answer_and_each_repeat_is_one(kit):
    listener = Listener()
    script = [Step(fault=Fault.UNREACHABLE), "A cat."]
    decide(kit, listener, script, pictures=0, retries=1)
    assert listener.count("begin", "call") == listener.count("end", "call") == 2
    assert listener.count("told", "call") == 1


def test_a_decision_that_failed_tells_its_fault(kit):
    listener = Listener()
    decide(kit, listener, [Step(fault=Fault.STATUS, status=401)], pictures=0)
    (verdict,) = [line[2] for line in listener.heard if line[:2] == ("told", "decision")]
    assert isinstance(verdict.failure, UpstreamError)


@pytest.mark.parametrize(
    ("own", "known"), [({"*": Price((Tier(0, 0.5, 1.0),))}, True), ({}, False)]
)
def test_costs_are_told_where_they_are_known(kit, own, known):
    listener = Listener()
    verdict = decide(kit, listener, pictures=0, prices=PriceBook(own))
    assert [line[2] for line in listener.heard if line[0] == "cost"] == [verdict.cost_usd]
    assert (verdict.cost_usd is not None) is known


def test_without_an_observer_nothing_is_kept(kit):
    listener = Listener()
    with observe_with(listener):
        pass
    assert current_observer() is not listener
    engine = kit.make_engine()
    kit.run(engine.decide(kit.make_chat(1), kit.make_pictures(1)))
    assert listener.heard == []
    with NO_OBSERVER.observe_follow_up() as note:
        note(None)
