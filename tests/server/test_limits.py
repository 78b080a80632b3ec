"""Admission in order of arrival, and bodies that never grow beyond their bound."""

import asyncio
import json

import pytest
from starlette.requests import ClientDisconnect, Request

from guardrail.api.admission import Admission
from guardrail.api.bodies import Bodies
from guardrail.api.caller import ANYBODY
from guardrail.api.refusals import Refusals
from guardrail.api.wire_limits import WireLimits
from guardrail.errors import RequestError
from guardrail.server.body import read_body
from tests.virtual_time import run_in_virtual_time


async def turns(rounds=5):
    for _ in range(rounds):
        await asyncio.sleep(0)


def test_first_come_first_served(run):
    async def scenario():
        admission = Admission(2, 10)
        order = []

        async def visit(name):
            ticket = await admission.enter(ANYBODY)
            order.append(name)
            return ticket

        first, second = await visit("a"), await visit("b")
        waiting = [asyncio.create_task(visit(name)) for name in "cde"]
        await turns()
        assert (order, admission.waiting, admission.free) == (["a", "b"], 3, 0)
        first.release()
        first.release()  # twice counts once
        await turns()
        assert order == ["a", "b", "c"]
        second.release()
        await turns()
        assert order == ["a", "b", "c", "d"]
        for task in waiting[:2]:
            (await task).release()
        (await waiting[2]).release()
        assert (admission.waiting, admission.free) == (0, 2)

    run(scenario())


def test_a_full_line_is_refused_with_503(run):
    async def scenario():
        admission = Admission(1, 1)
        ticket = await admission.enter(ANYBODY)
        waiting = asyncio.create_task(admission.enter(ANYBODY))
        await turns()
        with pytest.raises(RequestError, match="retry later") as caught:
            await admission.enter(ANYBODY)
        assert (caught.value.status, caught.value.code) == (503, "overloaded")
        ticket.release()
        (await waiting).release()
        assert admission.free == 1

    run(scenario())


@pytest.mark.parametrize("handed_over", [False, True])
def test_who_leaves_the_line_loses_no_place(run, handed_over):
    async def scenario():
        admission = Admission(1, 3)
        ticket = await admission.enter(ANYBODY)
        leaver, stayer = (asyncio.create_task(admission.enter(ANYBODY)) for _ in range(2))
        await turns()
        if handed_over:
            ticket.release()  # the leaver's turn, in the same moment
        leaver.cancel()
        await turns()
        if not handed_over:
            ticket.release()
        (await stayer).release()
        assert (admission.waiting, admission.free) == (0, 1)

    run(scenario())


def test_everybody_who_waits_leaves_at_once(run):
    async def scenario():
        admission = Admission(1, 3)
        ticket = await admission.enter(ANYBODY)
        waiting = [asyncio.create_task(admission.enter(ANYBODY)) for _ in range(3)]
        await turns()
        for task in waiting:
            task.cancel()
        ticket.release()
        await turns()
        assert (admission.waiting, admission.free) == (0, 1)

    run(scenario())


class Pieces:
    """A request whose body comes in these pieces; counts those that were taken."""

    def __init__(self, *pieces, headers=None, ends="complete"):
        self.pieces = list(pieces)
        self.taken = 0
        self.ends = ends
        fields = {"content-type": "application/json"} | (headers or {})
        raw = [(k.encode(), v.encode()) for k, v in fields.items()]
        self.request = Request({"type": "http", "method": "POST", "headers": raw}, self.receive)

    async def receive(self):
        if self.taken == len(self.pieces):
            if self.ends == "disconnect":
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.taken += 1
        more = self.taken < len(self.pieces) or self.ends != "complete"
        return {"type": "http.request", "body": self.pieces[self.taken - 1], "more_body": more}

    async def read(self, max_bytes=10, **limits):
        bodies = Bodies(WireLimits(**limits), Refusals())
        body = await read_body(bodies, self.request, max_bytes=max_bytes)
        body.close()
        return await body.parse(bytes)


def refused(run, pieces, **options):
    with pytest.raises(RequestError) as caught:
        run(pieces.read(**options))
    return caught.value


def test_a_body_in_pieces(run):
    assert run(Pieces(b"01234", b"", b"56789").read()) == b"0123456789"


def test_a_body_is_measured_while_it_is_read(run):
    pieces = Pieces(*[b"01234"] * 100)
    error = refused(run, pieces)
    assert (error.status, error.code) == (413, "request_too_large")
    assert pieces.taken == 3


@pytest.mark.parametrize("declared", ["11", "9" * 400])
def test_a_declared_length_is_refused_before_anything_is_read(run, declared):
    pieces = Pieces(b"0", headers={"content-length": declared})
    assert refused(run, pieces).status == 413
    assert pieces.taken == 0


@pytest.mark.parametrize("declared", ["3", "-1", "x", ""])
def test_a_false_length_does_not_help(run, declared):
    assert refused(run, Pieces(b"0" * 11, headers={"content-length": declared})).status == 413


def test_a_body_that_does_not_come(run):
    error = refused(run, Pieces(b"0", ends="never"), body_timeout_s=0.05)
    assert (error.status, error.code) == (408, "request_timeout")


def test_a_body_whose_time_is_over_is_no_trouble_to_the_next_one():
    """Its task has not learnt of it yet when its place is asked for."""

    async def scenario():
        limits, refusals = WireLimits(max_bodies=1, body_grace_s=1.0), Refusals()
        bodies = Bodies(limits, refusals)

        async def arrive():
            async with bodies.open().arriving():
                await asyncio.Event().wait()

        slow = asyncio.create_task(arrive())
        await turns()
        loop = asyncio.get_running_loop()
        opened = loop.create_future()

        def come():
            try:
                opened.set_result(bodies.open())
            except RuntimeError as error:
                opened.set_exception(error)

        loop.call_later(1.0, come)  # due right after the slow one's time, and called with it
        loop.hold_up(5.0)
        await opened
        with pytest.raises(RequestError) as caught:
            await slow
        return caught.value.code, bodies.arriving, refusals.counts()["body_rate"]

    assert run_in_virtual_time(scenario()) == ("request_timeout", 1, 1)


def test_a_client_that_goes(run):
    with pytest.raises(ClientDisconnect):
        run(Pieces(b"0", ends="disconnect").read())


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-encoding": "gzip"},
    ],
)
def test_other_forms_of_body(run, headers):
    assert refused(run, Pieces(b"{}", headers=headers)).status == 415


@pytest.mark.parametrize("media_type", ["Application/JSON", "application/json; charset=utf-8"])
def test_spellings_of_json(run, media_type):
    assert json.loads(run(Pieces(b"{}", headers={"content-type": media_type}).read())) == {}
