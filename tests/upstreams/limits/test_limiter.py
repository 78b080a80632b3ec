"""Who is let through, and when: by a clock in the test's hand."""

import asyncio
from random import Random

import pytest

from guardrail.errors import UpstreamError
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.limits.calls import CallEnd
from guardrail.upstreams.limits.limiter import Limiter
from guardrail.upstreams.limits.unsent import OVERLOADED, RATE_LIMITED, UNAVAILABLE

FINE, DOWN, GIVEN_UP = CallEnd(alive=True, tokens=0), CallEnd(alive=False, tokens=0), CallEnd()


async def settle():
    """Lets every task run as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Crowd:
    """Calls at one gate, by name, in the order in which they were let through."""

    def __init__(self, clock, **limits):
        self.clock = clock
        self.limiter = Limiter(CallLimits(**limits), clock=clock)
        self.tasks, self.starts, self.order = {}, {}, []

    async def come(self, name, decision=None, order=0, **line):
        entering = self._enter(name, decision or name, order, **line)
        self.tasks[name] = asyncio.create_task(entering)
        await settle()

    async def _enter(self, name, decision, order, **line):
        self.starts[name] = await self.limiter.enter(decision, order, **line)
        self.order.append(name)

    async def leave(self, name, end=FINE):
        self.limiter.leave(self.starts.pop(name), end)
        await settle()

    async def advance(self, seconds):
        self.clock.advance(seconds)
        await settle()

    def fault(self, name):
        """The code of what a call ended in; None while it waits or was let through."""
        task = self.tasks[name]
        error = task.exception() if task.done() else None
        assert error is None or isinstance(error, UpstreamError), error
        return None if error is None else error.code

    async def cancel(self, *names):
        for name in names:
            self.tasks[name].cancel()
        await settle()

    async def end(self):
        await self.cancel(*self.tasks)
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@pytest.fixture
def play(clock):
    """Runs a scene in front of a gate with these limits."""

    def run(scene, **limits):
        async def whole():
            crowd = Crowd(clock, **limits)
            await scene(crowd)
            await crowd.end()
            return crowd

        return asyncio.run(whole())

    return run


class TestConcurrency:
    def test_no_more_than_its_number_are_in_flight(self, play):
        async def scene(crowd):
            for name in "abcd":
                await crowd.come(name)
            assert crowd.order == ["a", "b"]
            assert (crowd.limiter.in_flight, crowd.limiter.waiting) == (2, 2)
            await crowd.leave("a")
            assert crowd.order == ["a", "b", "c"]
            await crowd.leave("c")
            await crowd.leave("b")
            await crowd.leave("d")
            assert (crowd.limiter.in_flight, crowd.limiter.waiting) == (0, 0)

        play(scene, max_concurrency=2)

    def test_a_large_decision_does_not_hold_up_a_small_one(self, play):
        async def scene(crowd):
            large = object()
            for index in range(200):
                await crowd.come(f"large {index}", large, index)
            await crowd.come("chat")
            while "chat" not in crowd.order:
                await crowd.leave(crowd.order[-1])
            assert crowd.order == ["large 0", "large 1", "chat"]

        play(scene, max_concurrency=1)

    def test_variants_go_in_the_order_of_their_index(self, play):
        async def scene(crowd):
            decision = object()
            for index in (7, 3, 9, 1, 5):
                await crowd.come(index, decision, index)
            for _ in range(5):
                await crowd.leave(crowd.order[-1])
            assert crowd.order == [7, 1, 3, 5, 9]  # the first found the gate free

        play(scene, max_concurrency=1)


class TestABoundedLine:
    def test_who_finds_it_full_is_refused_at_once_and_for_good(self, play):
        async def scene(crowd):
            for name in "abcd":
                await crowd.come(name)
            assert crowd.fault("d") == OVERLOADED
            error = crowd.tasks["d"].exception()
            assert (error.status, error.transient) == (503, False)
            assert error.retry_after_s > 0
            assert crowd.limiter.waiting == 2
            await crowd.leave("a")  # the line moves on
            await crowd.come("e")
            assert crowd.fault("e") is None

        play(scene, max_concurrency=1, max_queue=2)

    def test_who_gives_up_leaves_the_line(self, play):
        async def scene(crowd):
            for name in "abcd":
                await crowd.come(name)
            await crowd.cancel("b", "c")
            assert crowd.limiter.waiting == 1
            await crowd.leave("a")
            assert crowd.order == ["a", "d"]

        play(scene, max_concurrency=1)

    def test_a_turn_that_comes_as_its_caller_gives_up_goes_to_the_next(self, play):
        async def scene(crowd):
            for name in "abc":
                await crowd.come(name)
            crowd.limiter.leave(crowd.starts.pop("a"), FINE)  # b's turn, which it does not know yet
            await crowd.cancel("b")
            assert crowd.order == ["a", "c"]
            assert crowd.limiter.in_flight == 1

        play(scene, max_concurrency=1)

    def test_a_caller_that_has_given_up_is_passed_over(self, play):
        async def scene(crowd):
            for name in "abc":
                await crowd.come(name)
            crowd.tasks["b"].cancel()  # it has not run since
            await crowd.leave("a")
            assert crowd.order == ["a", "c"]
            assert (crowd.limiter.in_flight, crowd.limiter.waiting) == (1, 0)

        play(scene, max_concurrency=1)


class TestRates:
    def test_calls_go_out_evenly(self, play):
        async def scene(crowd):
            for name in "abc":
                await crowd.come(name)
            assert crowd.order == ["a"]
            await crowd.advance(1.9)
            assert crowd.order == ["a"]
            await crowd.advance(0.2)
            assert crowd.order == ["a", "b"]
            await crowd.advance(2.0)
            assert crowd.order == ["a", "b", "c"]

        play(scene, requests_per_minute=30.0)

    def test_rates_and_turns_go_together(self, play):
        async def scene(crowd):
            large = object()
            for index in range(5):
                await crowd.come(index, large, index)
            await crowd.come("chat")
            await crowd.advance(60.0)
            assert crowd.order == [0, 1, "chat", 2, 3, 4]

        play(scene, requests_per_minute=60.0)

    def test_tokens_are_learnt_from_the_answers(self, play):
        async def scene(crowd):
            for name in "abcd":
                await crowd.come(name)
            assert crowd.order == ["a"]  # nobody knows yet what a call costs
            await crowd.leave("a", CallEnd(alive=True, tokens=50))  # of 100 at once
            assert crowd.order == ["a", "b"]
            await crowd.leave("b", CallEnd(alive=True, tokens=150))
            assert crowd.order == ["a", "b"]
            await crowd.advance(15.9)  # 100 too many, and 60 for the next, at 10 a second
            assert crowd.order == ["a", "b"]
            await crowd.advance(0.2)
            assert crowd.order == ["a", "b", "c"]

        play(scene, tokens_per_minute=600.0)

    def test_a_call_that_waits_only_for_a_place_sets_no_timer(self, play, clock):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.come("b")
            assert clock.due(float("inf")) == []

        play(scene, max_concurrency=1, requests_per_minute=6000.0)


class TestRetryAfter:
    def test_it_stops_every_call_until_then(self, play):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.leave("a", CallEnd(alive=True, tokens=0, pause_s=7.0))
            await crowd.come("b")
            await crowd.come("c")
            await crowd.advance(6.9)
            assert crowd.order == ["a"]
            await crowd.advance(0.2)
            assert crowd.order == ["a", "b", "c"]

        play(scene)

    def test_a_long_wish_is_cut(self, play):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.leave("a", CallEnd(alive=True, pause_s=3600.0))
            await crowd.come("b")
            await crowd.advance(10.1)
            assert crowd.order == ["a", "b"]

        play(scene, longest_pause_s=10.0)

    def test_new_decisions_had_better_go_elsewhere_while_it_is_long(self, play):
        async def scene(crowd):
            await crowd.come("a")
            assert crowd.limiter.is_available()
            await crowd.leave("a", CallEnd(alive=True, pause_s=9.0))
            assert not crowd.limiter.is_available()
            await crowd.advance(4.0)
            assert crowd.limiter.is_available()

        play(scene)

    def test_the_longest_of_several_counts(self, play):
        async def scene(crowd):
            for name in "abc":
                await crowd.come(name)
            await crowd.leave("a", CallEnd(alive=True, pause_s=7.0))
            await crowd.leave("b", CallEnd(alive=True, pause_s=2.0))
            await crowd.come("d")
            await crowd.advance(3.0)
            assert "d" not in crowd.order
            await crowd.advance(4.1)
            assert "d" in crowd.order

        play(scene)


async def break_it(crowd):
    """Two faults, a second apart, with nothing between them."""
    for name in ("x", "y"):
        await crowd.come(name)
        await crowd.advance(1.0)
        await crowd.leave(name, DOWN)
    assert crowd.limiter.state is BreakerState.OPEN


BREAKER = {"breaker_faults": 2, "breaker_after_s": 1.0, "breaker_open_s": 10.0}


class TestTheBreaker:
    def test_while_it_is_open_calls_fail_at_once(self, play):
        async def scene(crowd):
            await break_it(crowd)
            assert not crowd.limiter.is_available()
            await crowd.advance(4.0)
            await crowd.come("late")
            error = crowd.tasks["late"].exception()
            assert (error.code, error.status, error.transient) == (UNAVAILABLE, 503, False)
            assert error.retry_after_s == 6.0

        play(scene, **BREAKER)

    def test_who_waits_when_it_opens_fails_too(self, play):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.come("b")
            await crowd.come("c")
            await crowd.advance(2.0)
            await crowd.leave("a", DOWN)
            assert crowd.order == ["a", "b"]
            await crowd.leave("b", DOWN)
            assert crowd.fault("c") == UNAVAILABLE
            assert crowd.limiter.waiting == 0

        play(scene, max_concurrency=1, **{**BREAKER, "breaker_after_s": 0.0})

    def test_who_gives_up_just_then_is_left_alone(self, play):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.come("b")
            crowd.tasks["b"].cancel()  # it has not run since
            await crowd.leave("a", DOWN)
            assert crowd.tasks["b"].cancelled()
            assert crowd.limiter.waiting == 0

        play(scene, max_concurrency=1, breaker_faults=1, breaker_after_s=0.0)

    def test_one_call_tries_and_the_others_wait_for_it(self, play):
        async def scene(crowd):
            await break_it(crowd)
            await crowd.advance(10.0)
            assert crowd.limiter.is_available()
            for name in "abc":
                await crowd.come(name)
            assert crowd.order[2:] == ["a"]
            assert not crowd.limiter.is_available()  # new decisions had better go elsewhere
            await crowd.leave("a", FINE)
            assert crowd.limiter.state is BreakerState.CLOSED
            assert crowd.order[2:] == ["a", "b", "c"]

        play(scene, **BREAKER)

    def test_a_try_that_fails_fails_for_all_that_waited(self, play):
        async def scene(crowd):
            await break_it(crowd)
            await crowd.advance(10.0)
            for name in "abc":
                await crowd.come(name)
            await crowd.leave("a", DOWN)
            assert [crowd.fault(name) for name in "bc"] == [UNAVAILABLE] * 2
            assert crowd.limiter.state is BreakerState.OPEN

        play(scene, **BREAKER)

    def test_a_try_that_is_given_up_is_followed_by_another(self, play):
        async def scene(crowd):
            await break_it(crowd)
            await crowd.advance(10.0)
            await crowd.come("a")
            await crowd.come("b")
            await crowd.leave("a", GIVEN_UP)
            assert crowd.order[2:] == ["a", "b"]
            await crowd.leave("b", FINE)
            assert crowd.limiter.state is BreakerState.CLOSED

        play(scene, **BREAKER)

    def test_calls_that_still_hang_do_not_keep_the_try_from_going(self, play):
        async def scene(crowd):
            await crowd.come("hangs")
            await break_it(crowd)
            await crowd.advance(10.0)
            await crowd.come("a")
            assert crowd.order[-1] == "a"

        play(scene, max_concurrency=2, **BREAKER)


class TestTheEnd:
    def test_closing_ends_every_wait(self, play, clock):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.come("b")
            crowd.limiter.close()
            await crowd.come("c")
            assert "closed" in str(crowd.tasks["b"].exception())
            assert "closed" in str(crowd.tasks["c"].exception())
            assert clock.due(float("inf")) == []
            await crowd.leave("a")  # what is in flight may still end

        play(scene, requests_per_minute=1.0)

    def test_without_a_clock_it_goes_by_the_event_loop(self):
        async def scene():
            gate = Limiter(CallLimits(requests_per_minute=60_000.0, max_concurrency=8))
            starts = [await gate.enter(object()) for _ in range(3)]
            for start in starts:
                gate.leave(start, CallEnd(alive=True, pause_s=0.001))
            gate.leave(await gate.enter(object()), FINE)
            return gate

        gate = asyncio.run(scene())
        assert (gate.in_flight, gate.waiting) == (0, 0)


LIMITED = CallEnd(alive=True, tokens=0, pause_s=37.0, is_rate_limit=True)


class TestModels:
    """Pauses and the breaker are a model's, places and rates the upstream's."""

    def test_the_pause_of_one_keeps_nobody_from_another(self, play):
        async def scene(crowd):
            await crowd.come("a1", model="a")
            await crowd.leave("a1", LIMITED)
            await crowd.come("a2", model="a")
            await crowd.come("b1", model="b")
            assert crowd.order == ["a1", "b1"]
            assert (crowd.limiter.is_available("a"), crowd.limiter.is_available("b")) == (
                False,
                True,
            )
            await crowd.advance(37.1)
            assert crowd.order == ["a1", "b1", "a2"]

        play(scene)

    def test_nor_where_there_is_one_place_and_the_other_waits_first(self, play):
        async def scene(crowd):
            await crowd.come("a1", model="a")
            await crowd.come("a2", model="a")
            await crowd.come("b1", model="b")
            await crowd.leave("a1", LIMITED)
            assert crowd.order == ["a1", "b1"]
            await crowd.leave("b1")
            await crowd.advance(37.1)
            assert crowd.order == ["a1", "b1", "a2"]

        play(scene, max_concurrency=1)

    def test_the_breaker_of_one_stops_nobody_else(self, play):
        async def scene(crowd):
            for name in ("x", "y"):
                await crowd.come(name, model="a")
                await crowd.advance(1.0)
                await crowd.leave(name, DOWN)
            await crowd.come("a", model="a")
            await crowd.come("b", model="b")
            assert crowd.fault("a") == UNAVAILABLE
            assert crowd.order == ["x", "y", "b"]
            assert crowd.limiter.state is BreakerState.OPEN
            await crowd.advance(10.0)
            await crowd.come("try", model="a")
            await crowd.come("after it", model="a")
            await crowd.come("b2", model="b")
            assert crowd.order == ["x", "y", "b", "try", "b2"]
            await crowd.leave("try", FINE)
            assert crowd.order[-1] == "after it"

        play(scene, **BREAKER)

    def test_all_calls_of_one_decision_are_one_fault(self, play):
        async def scene(crowd):
            for index in range(9):
                await crowd.come(index, decision="one picture", order=index)
            await crowd.advance(5.0)
            for index in range(9):
                await crowd.leave(index, DOWN)
            assert crowd.limiter.state is BreakerState.CLOSED
            await crowd.come("another")
            await crowd.leave("another", DOWN)
            assert crowd.limiter.state is BreakerState.OPEN

        play(scene, **BREAKER)

    def test_what_is_known_of_models_is_bounded(self, play):
        """Names are the clients' choice: nothing is kept of those of which nothing is known."""

        async def scene(crowd):
            for index in range(3000):
                grant = await crowd.limiter.enter(index, model=f"good {index}")
                crowd.limiter.leave(grant, FINE)
            assert len(list(crowd.limiter._lanes)) == 0
            for index in range(3000):
                grant = await crowd.limiter.enter(index, model=f"bad {index}")
                crowd.limiter.leave(grant, DOWN)
            assert len(list(crowd.limiter._lanes)) <= 1024

        play(scene)

    def test_a_known_pause_that_is_too_long_is_told_at_once(self, play, clock):
        async def scene(crowd):
            await crowd.come("a")
            await crowd.leave("a", LIMITED)
            await crowd.come("hurried", deadline=clock.time() + 30.0)
            error = crowd.tasks["hurried"].exception()
            assert (error.status, error.code, error.undrawn) == (429, RATE_LIMITED, True)
            assert error.retry_after_s == 37.0
            await crowd.come("patient", deadline=clock.time() + 60.0)
            await crowd.advance(37.1)
            assert crowd.order == ["a", "patient"]

        play(scene)

    def test_also_to_those_that_wait_already(self, play, clock):
        async def scene(crowd):
            await crowd.come("a")
            for name, seconds in (("hurried", 30.0), ("patient", 60.0)):
                await crowd.come(name, deadline=clock.time() + seconds)
            await crowd.leave("a", CallEnd(alive=True, tokens=0, pause_s=37.0))
            assert crowd.tasks["hurried"].exception().status == 503
            assert crowd.limiter.waiting == 1
            await crowd.advance(37.1)
            assert crowd.order == ["a", "patient"]

        play(scene, max_concurrency=1)

    @pytest.mark.parametrize("seed", range(30))
    def test_each_model_is_served_as_if_it_were_alone(self, clock, seed):
        """Whatever the calls to other models bring, and in whatever order."""
        random = Random(seed)
        limits = CallLimits(breaker_faults=2, breaker_after_s=0.0)
        ends = [FINE, DOWN, DOWN, CallEnd(alive=True, tokens=0, pause_s=3.0), GIVEN_UP]

        async def ask(limiter, model, end):
            task = asyncio.create_task(limiter.enter(object(), model=model))
            await settle()
            if task.done() and task.exception() is None:
                limiter.leave(task.result(), end)
                return "served"
            task.cancel()
            (fate,) = await asyncio.gather(task, return_exceptions=True)
            return getattr(fate, "code", "waits")

        async def scene():
            shared = Limiter(limits, clock=clock)
            own = {model: Limiter(limits, clock=clock) for model in "abc"}
            fates = []
            for _ in range(60):
                model, end = random.choice("abc"), random.choice(ends)
                clock.advance(random.choice([0.0, 0.0, 1.0, 11.0]))
                fates.append((await ask(shared, model, end), await ask(own[model], model, end)))
            return fates

        fates = asyncio.run(scene())
        assert all(together == alone for together, alone in fates)
        assert {"served", UNAVAILABLE} <= {alone for _, alone in fates}


REFUSED = CallEnd(alive=True, tokens=0, refusal=UpstreamError("refused", code="upstream_auth"))


def test_the_first_call_to_a_model_goes_alone_until_it_ends(play):
    async def scene(crowd):
        for name in "abc":
            await crowd.come(name, model="m")
        await crowd.come("other", model="n")
        assert crowd.order == ["a", "other"]
        await crowd.leave("a")
        assert crowd.order == ["a", "other", "b", "c"]
        await crowd.come("d", model="m")
        assert crowd.order[-1] == "d"

    play(scene, first_alone_s=2.0)


@pytest.mark.parametrize("end", [FINE, DOWN, CallEnd(alive=True, tokens=3)])
def test_any_end_but_a_refusal_lets_the_others_go(play, end):
    async def scene(crowd):
        for name in "abc":
            await crowd.come(name)
        await crowd.leave("a", end)
        assert crowd.order == ["a", "b", "c"]

    play(scene, first_alone_s=2.0)


def test_a_call_that_was_given_up_shows_nothing_and_the_next_goes_alone(play):
    async def scene(crowd):
        for name in "abc":
            await crowd.come(name)
        await crowd.leave("a", GIVEN_UP)
        assert crowd.order == ["a", "b"]

    play(scene, first_alone_s=2.0)


def test_a_first_call_that_hangs_holds_the_others_up_for_so_long(play):
    async def scene(crowd):
        for name in "abc":
            await crowd.come(name)
        await crowd.advance(1.9)
        assert crowd.order == ["a"]
        await crowd.advance(0.2)
        assert crowd.order == ["a", "b", "c"]

    play(scene, first_alone_s=2.0)


def test_a_refusal_ends_its_decision_and_the_next_ones_go_one_by_one(play):
    async def scene(crowd):
        for name in ("a1", "a2", "b1", "b2", "c1"):
            await crowd.come(name, decision=name[0])
        assert crowd.order == ["a1"]
        await crowd.leave("a1", REFUSED)
        # The other call of the decision ends with it, and is never sent.
        assert crowd.fault("a2") == "upstream_auth"
        assert crowd.order == ["a1", "b1"]
        await crowd.leave("b1", REFUSED)
        assert crowd.order == ["a1", "b1", "c1"]
        assert crowd.fault("b2") == "upstream_auth"
        errors = [crowd.tasks[name].exception() for name in ("a2", "b2")]
        assert errors[0] is not errors[1]
        await crowd.leave("c1")
        for name in ("d1", "d2"):
            await crowd.come(name, decision="d")
        assert crowd.order[-2:] == ["d1", "d2"]

    play(scene, first_alone_s=2.0)


def test_a_key_that_is_revoked_later_costs_what_is_in_flight(play):
    async def scene(crowd):
        await crowd.come("first")
        await crowd.leave("first")
        for name in "abc":
            await crowd.come(name, decision="one")
        await crowd.leave("a", REFUSED)
        await crowd.come("d")
        assert "d" not in crowd.order
        await crowd.leave("b", REFUSED)
        await crowd.leave("c", GIVEN_UP)
        assert crowd.order[-1] == "d"  # alone
        await crowd.come("e")
        assert crowd.order[-1] == "d"

    play(scene, first_alone_s=2.0)


def test_names_of_models_that_clients_choose_are_not_kept_for_ever(play):
    async def scene(crowd):
        for number in range(1100):
            await crowd.come(str(number), model=f"m{number}")
            await crowd.leave(str(number))
        assert len(crowd.limiter._proven) == 1024

    play(scene, first_alone_s=2.0)


def test_without_the_limit_nothing_waits(play):
    async def scene(crowd):
        for name in "abc":
            await crowd.come(name)
        assert crowd.order == ["a", "b", "c"]

    play(scene)
