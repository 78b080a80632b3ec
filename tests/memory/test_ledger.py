"""The ledger: which numbers are held, for how long, and what happens when it is full."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.memory.ledger import ATTEMPTS_SPENT, LEDGER_FULL, LocalLedger, attempts_spent_error

WINDOW_S = 100.0


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def run(work):
    return asyncio.run(work)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return LocalLedger(WINDOW_S, clock=clock)


def take(ledger, principal="mallory"):
    return run(ledger.take(principal))


def spend(ledger, principal="mallory"):
    """A try that does not pass; its number."""
    hold = take(ledger, principal)
    run(ledger.keep(hold))
    return hold.number


def test_the_smallest_number_that_is_not_held(ledger):
    holds = [take(ledger) for _ in range(5)]
    assert [hold.number for hold in holds] == [1, 2, 3, 4, 5]
    run(ledger.give_back(holds[1]))
    run(ledger.give_back(holds[3]))
    assert run(ledger.next_number("mallory")) == 2
    assert [take(ledger).number for _ in range(3)] == [2, 4, 6]


def test_principals_do_not_pay_for_each_other(ledger):
    assert [spend(ledger, "mallory") for _ in range(3)] == [1, 2, 3]
    assert spend(ledger, "alice") == 1


def test_a_passing_principal_stays_at_one(ledger):
    for _ in range(50):
        hold = take(ledger)
        assert hold.number == 1
        run(ledger.give_back(hold))


def test_a_sliding_window(ledger, clock):
    """Each number leaves by its own time; no boundary gives all of them back at once."""
    for _ in range(4):
        spend(ledger)
        clock.now += 30.0
    assert clock.now == 1120.0  # those of 1000, 1030, 1060 and 1090
    assert spend(ledger) == 1  # the one of 1000 left at 1100
    assert run(ledger.next_number("mallory")) == 5
    clock.now = 1130.0
    assert run(ledger.next_number("mallory")) == 2
    clock.now = 1189.0
    assert run(ledger.next_number("mallory")) == 2
    clock.now = 1400.0
    assert run(ledger.next_number("mallory")) == 1


def test_a_number_leaves_exactly_a_window_after_its_try_ended(ledger, clock):
    hold = take(ledger)
    clock.now += 50.0
    run(ledger.keep(hold))
    clock.now += WINDOW_S - 0.001
    assert run(ledger.next_number("mallory")) == 2
    clock.now += 0.001
    assert run(ledger.next_number("mallory")) == 1


def test_a_try_under_way_never_expires(ledger, clock):
    hold = take(ledger)
    clock.now += 10 * WINDOW_S
    assert spend(ledger) == 2
    run(ledger.keep(hold))  # only now does its window begin
    clock.now += WINDOW_S - 1.0
    assert run(ledger.next_number("mallory")) == 3
    assert run(ledger.wait_s("mallory")) == 1.0
    clock.now += 1.0
    assert run(ledger.next_number("mallory")) == 1


def test_a_thousand_parallel_tries_hold_distinct_numbers(ledger):
    async def scene():
        return await asyncio.gather(*(ledger.take("mallory") for _ in range(1_000)))

    assert sorted(hold.number for hold in run(scene())) == list(range(1, 1_001))


def test_threads_hold_distinct_numbers(ledger):
    found, start = [], threading.Barrier(8)

    def work():
        start.wait()
        found.extend(take(ledger).number for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 401))


def test_the_wait_is_that_of_the_oldest_kept_hold(ledger, clock):
    assert run(ledger.wait_s("mallory")) is None
    under_way = take(ledger)
    assert run(ledger.wait_s("mallory")) is None
    spend(ledger)
    clock.now += 40.0
    run(ledger.keep(under_way))
    assert run(ledger.wait_s("mallory")) == 60.0
    clock.now += 60.0
    assert run(ledger.wait_s("mallory")) == 40.0
    assert run(ledger.wait_s("alice")) is None


def test_as_many_numbers_as_a_principal_may_hold(clock):
    ledger = LocalLedger(WINDOW_S, max_number=3, clock=clock)
    take(ledger)
    for _ in range(2):
        spend(ledger)
    clock.now += 30.0
    for asked in (ledger.take, ledger.next_number):
        with pytest.raises(RequestError) as raised:
            run(asked("mallory"))
        assert (raised.value.status, raised.value.code) == (429, ATTEMPTS_SPENT)
        assert raised.value.retry_after_s == 70.0
    assert spend(ledger, "alice") == 1
    clock.now += 70.0
    assert spend(ledger) == 2


def test_without_a_kept_hold_nobody_knows_when_one_leaves(clock):
    ledger = LocalLedger(WINDOW_S, max_number=1, max_holds=2, clock=clock)
    take(ledger)
    with pytest.raises(RequestError, match="retry later") as raised:
        take(ledger)
    assert raised.value.retry_after_s is None
    take(ledger, "alice")
    with pytest.raises(RequestError, match="no further attempts can be counted") as raised:
        take(ledger, "bob")
    assert raised.value.retry_after_s is None


@pytest.mark.parametrize("bounds", [{"max_principals": 2}, {"max_holds": 2}])
def test_a_full_ledger_refuses_and_forgets_nothing(clock, bounds):
    ledger = LocalLedger(WINDOW_S, clock=clock, **bounds)
    assert [spend(ledger, name) for name in ("mallory", "alice")] == [1, 1]
    clock.now += 25.0
    for _ in range(3):
        with pytest.raises(RequestError) as raised:
            take(ledger, "bob")
        assert (raised.value.status, raised.value.code) == (503, LEDGER_FULL)
        assert raised.value.retry_after_s == 75.0
    if "max_principals" in bounds:
        assert run(ledger.next_number("mallory")) == 2
    clock.now += 75.0
    assert spend(ledger, "bob") == 1


def test_its_memory_is_that_of_what_is_held(clock):
    ledger = LocalLedger(WINDOW_S, clock=clock)
    for index in range(500):
        run(ledger.give_back(take(ledger, f"passes {index}")))
        spend(ledger, f"fails {index}")
        clock.now += 1.0
    assert len(ledger._held) == len(ledger._kept) == ledger._holds == 100
    clock.now += WINDOW_S
    spend(ledger)
    assert len(ledger._held) == len(ledger._kept) == ledger._holds == 1


def test_nothing_kept_names_a_principal(ledger):
    key = "sk-a-secret-key"
    hold = take(ledger, key)
    run(ledger.keep(take(ledger, key)))
    assert key not in repr((hold, vars(ledger), ledger._held, ledger._kept))
    assert key.encode() not in hold.principal
    assert LocalLedger()._digest(key) != ledger._digest(key)  # and nobody can look it up


def test_a_hold_ends_once(ledger):
    given, kept = take(ledger), take(ledger)
    run(ledger.give_back(given))
    run(ledger.keep(kept))
    for ending in (ledger.give_back, ledger.keep):
        for hold in (given, kept):
            with pytest.raises(CertificationError, match="ended twice"):
                run(ending(hold))
    assert run(ledger.next_number("mallory")) == 1


@pytest.mark.parametrize("bounds", [{"window_s": 0.0}, {"window_s": float("nan")},
                                    {"max_principals": 0}, {"max_holds": -1},
                                    {"max_number": 0}])  # fmt: skip
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(ConfigError, match=f"field '{next(iter(bounds))}'"):
        LocalLedger(**bounds)


@pytest.mark.parametrize("name", ["", "x" * 1025])
def test_impossible_names_are_refused(ledger, name):
    with pytest.raises(ConfigError, match="principal"):
        take(ledger, name)


def test_any_text_may_be_a_name(ledger):
    assert [spend(ledger, name) for name in ("\ud800", "ü", "\0")] == [1, 1, 1]


@pytest.mark.parametrize(("wait_s", "said"), [(None, "retry later"), (0.2, "in 1 s"),
                                              (59.01, "in 60 s")])  # fmt: skip
def test_what_is_said_when_attempts_are_spent(wait_s, said):
    error = attempts_spent_error(wait_s)
    assert said in str(error)
    assert (error.status, error.code, error.retry_after_s) == (429, "attempts_spent", wait_s)


class AgainstAList(RuleBasedStateMachine):
    """The ledger against a list of [number, when it leaves or None], searched by hand."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.ledger = LocalLedger(WINDOW_S, max_number=6, clock=self.clock)
        self.under_way, self.entries = [], []

    def held(self):
        self.entries = [e for e in self.entries if e[1] is None or e[1] > self.clock.now]
        return {number for number, _ in self.entries}

    def expected(self):
        return next(number for number in range(1, 99) if number not in self.held())

    @rule()
    def take(self):
        expected = self.expected()
        if expected > 6:
            with pytest.raises(RequestError):
                take(self.ledger)
            return
        hold = take(self.ledger)
        assert hold.number == expected
        self.under_way.append(hold)
        self.entries.append([hold.number, None])

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), passed=st.booleans())
    def end(self, data, passed):
        hold = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        entry = next(e for e in self.entries if e[0] == hold.number and e[1] is None)
        if passed:
            run(self.ledger.give_back(hold))
            self.entries.remove(entry)
        else:
            run(self.ledger.keep(hold))
            entry[1] = self.clock.now + WINDOW_S

    @rule(seconds=st.sampled_from([1.0, 49.0, 100.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def agrees(self):
        leaving = [until for _, until in self.entries if until and until > self.clock.now]
        wait_s = run(self.ledger.wait_s("mallory"))
        assert wait_s == (min(leaving) - self.clock.now if leaving else None)


AgainstAList.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAgainstAList = AgainstAList.TestCase


@given(st.sets(st.integers(1, 40)))
def test_the_smallest_free_of_any_set(held):
    from guardrail.memory.ledger import _Numbers

    numbers = _Numbers()
    for number in held:
        numbers.take(number)
    assert numbers.smallest_free == next(n for n in range(1, 99) if n not in held)
    assert all(numbers.is_under_way(n) is (n in held) for n in range(1, 41))
