"""What several upstreams are together."""

import asyncio

import pytest

from guardrail.errors import UpstreamError
from guardrail.types import Chat
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.chain import UpstreamChain
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.limits.calls import CallEnd
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Scripted
from guardrail.upstreams.scripted_server import scripted_server

NOWHERE = "http://127.0.0.1:9/v1"


def test_it_has_the_names_of_all():
    lineup = UpstreamChain([Scripted(["a"], model="one"), Scripted(["b"], model="two")])
    assert isinstance(lineup, Upstream)
    assert (lineup.name, lineup.revision) == ("one, then two",) * 2


def test_models_are_those_of_all_each_once():
    async def scene():
        async with (
            scripted_server(["a"], model="x") as one,
            scripted_server(["b"], model="y") as two,
        ):
            members = [
                OpenAICompatible(one.base_url, model_map={"shared": "x"}),
                OpenAICompatible(two.base_url, model_map={"shared": "y"}),
            ]
            lineup = UpstreamChain(members)
            try:
                return await lineup.models()
            finally:
                await lineup.aclose()

    assert asyncio.run(scene()) == ["shared", "x", "y"]


@pytest.mark.parametrize("first", [True, False])
def test_one_that_answers_is_enough(first):
    async def scene():
        async with scripted_server(["a"], model="x") as server:
            bases = [server.base_url, NOWHERE] if first else [NOWHERE, server.base_url]
            lineup = UpstreamChain([OpenAICompatible(base) for base in bases])
            try:
                return await lineup.models()
            finally:
                await lineup.aclose()

    assert asyncio.run(scene()) == ["x"]


class Hanging(Scripted):
    """Its list never comes, or only once it is let go."""

    def __init__(self):
        super().__init__(["a"], model="hanging")
        self.go, self.cancelled = asyncio.Event(), False

    async def models(self):
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return ["hanging"]


@pytest.mark.parametrize("first", [True, False])
def test_one_that_hangs_does_not_hold_up_the_other(first):
    async def scene():
        hanging, well = Hanging(), Scripted(["a"], model="well")
        members = [hanging, well] if first else [well, hanging]
        return await UpstreamChain(members, patience_s=0.01).models(), hanging.cancelled

    assert asyncio.run(scene()) == (["well"], True)


def test_where_none_has_answered_yet_all_are_waited_for():
    async def scene():
        members = [Hanging(), Hanging()]
        listing = asyncio.create_task(UpstreamChain(members, patience_s=0.0).models())
        await asyncio.sleep(0.02)
        assert not listing.done()
        for member in members:
            member.go.set()
        return await listing

    assert asyncio.run(scene()) == ["hanging"]


def test_giving_up_asks_none_any_longer():
    async def scene():
        members = [Hanging(), Hanging()]
        listing = asyncio.create_task(UpstreamChain(members).models())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        listing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listing
        return [member.cancelled for member in members]

    assert asyncio.run(scene()) == [True, True]


def test_none_that_answers_is_a_fault():
    async def scene():
        lineup = UpstreamChain([OpenAICompatible(NOWHERE), OpenAICompatible(NOWHERE)])
        try:
            await lineup.models()
        finally:
            await lineup.aclose()

    with pytest.raises(UpstreamError, match="could not be reached"):
        asyncio.run(scene())


def test_all_are_closed_even_if_one_fails():
    class Stubborn(Scripted):
        async def aclose(self):
            raise RuntimeError("no")

    members = [Stubborn(["a"]), Scripted(["b"]), Scripted(["c"])]
    with pytest.raises(RuntimeError, match="no"):
        asyncio.run(UpstreamChain(members).aclose())
    assert [member.closed for member in members] == [False, True, True]


def test_the_first_one_completes():
    chat = Chat("m", ({"role": "user", "content": "Hello"},))
    lineup = UpstreamChain([Scripted(["one"]), Scripted(["two"])])
    assert asyncio.run(lineup.complete(chat, (), seed=0)).text == "one"


def test_those_known_to_be_down_are_not_ready(clock):
    eager = CallLimits(breaker_faults=1, breaker_after_s=0.0, breaker_open_s=10.0)

    async def scene():
        one, two = (LimitedUpstream(Scripted(["a"]), eager, clock=clock) for _ in range(2))
        lineup = UpstreamChain([one, Scripted(["ungoverned"]), two])
        seen = [lineup.ready("m")]
        one.limiter.leave(await one.limiter.enter("d", model="m"), CallEnd(alive=False))
        seen.append(lineup.ready("m"))
        clock.advance(10.0)
        seen.append(lineup.ready("m"))
        probe = await one.limiter.enter("d", model="m")
        seen.append(lineup.ready("m"))
        one.limiter.leave(probe, CallEnd(alive=True))
        seen.append(lineup.ready("m"))
        return seen

    assert asyncio.run(scene()) == [[0, 1, 2], [1, 2], [0, 1, 2], [1, 2], [0, 1, 2]]


def test_where_all_are_down_all_are_asked(clock):
    eager = CallLimits(breaker_faults=1, breaker_after_s=0.0)

    async def scene():
        members = [LimitedUpstream(Scripted(["a"]), eager, clock=clock) for _ in range(2)]
        for member in members:
            member.limiter.leave(await member.limiter.enter("d", model="m"), CallEnd(alive=False))
        return UpstreamChain(members).ready("m")

    assert asyncio.run(scene()) == [0, 1]
