"""The search by answers: it stays within the change, the queries and the pace it is given."""

import io
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardrail.attack.black_box import AskedReply, BlackBoxSettings, End, search_by_asking
from guardrail.attack.linf_squares import LinfSquares
from guardrail.attack.targets import HttpTarget
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, UpstreamError
from guardrail.middleware.loop_thread import LoopThread
from guardrail.upstreams.scripted import Fault, Step
from guardrail.upstreams.scripted_server import scripted_server

PICTURE = np.full((12, 10, 3), 128, np.uint8)
BLOCKED = Step("I cannot help with that.", finish_reason="content_filter")


class Scripted:
    """Replies in turn, the last one again and again."""

    def __init__(self, *replies):
        self.replies = replies
        self.asked = []

    def ask(self, pixels):
        self.asked.append(pixels.copy())
        return self.replies[min(len(self.asked), len(self.replies)) - 1]


def search(target, picture=PICTURE, sleep=lambda _: None, **given):
    usual = {"proposals": LinfSquares(16 / 255), "per_minute": float("inf")}
    effort = BlackBoxSettings(**{**usual, **given})
    return search_by_asking(target, picture, effort, wants=lambda t: t == "harm", sleep=sleep)


PASS, HARM = AskedReply(Action.PASS, "a dog."), AskedReply(Action.PASS, "harm")
BLOCK, FAULT = AskedReply(Action.BLOCK), AskedReply(Action.FAULT, cause="broken")


@contextmanager
def served(script):
    home = LoopThread()
    server = scripted_server(script)
    try:
        yield home.run_sync(server.__aenter__())
    finally:
        home.run_sync(server.__aexit__(None, None, None))
        home.stop()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 4), st.integers(0, 99),
    st.lists(st.sampled_from([PASS, BLOCK, FAULT]), min_size=1, max_size=20),
)  # fmt: skip
def test_it_asks_at_most_its_number_of_queries_within_the_change(queries, answers, seed, replies):
    picture = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    target = Scripted(*replies)
    answers = min(answers, queries)
    effort = {"queries": queries, "answers": answers, "seed": seed}
    found = search(target, picture, proposals=LinfSquares(10 / 255), **effort)
    assert len(target.asked) == found.queries <= queries
    assert found.end is End.FAULTS or found.queries == queries
    assert found.wanted == 0
    for asked in (*target.asked, found.pixels):
        assert np.abs(asked.astype(int) - picture).max() <= 10


def test_what_is_wanted_ends_it_and_is_what_was_asked():
    target = Scripted(PASS, PASS, BLOCK, BLOCK, HARM, BLOCK)
    found = search(target, queries=50, answers=2)
    assert (found.end, found.wanted, found.queries) == (End.FOUND, 1, 6)
    assert (found.pixels == target.asked[4]).all()
    assert found.replies == {Action.PASS: 3, Action.BLOCK: 3}


def test_it_waits_as_it_is_asked_to_and_counts_what_was_refused():
    waits = []
    refused = AskedReply(Action.FAULT, cause="HTTP 429", wait_s=7.0)
    target = Scripted(refused, BLOCK)
    found = search(target, sleep=waits.append, queries=4, answers=1, per_minute=30.0)
    assert found.replies == {Action.FAULT: 1, Action.BLOCK: 3}
    assert waits == [7.0, 2.0, 2.0, 2.0]
    assert (found.end, found.cause) == (End.QUERIES_SPENT, "HTTP 429")


def test_a_wait_of_minutes_ends_it():
    refused = AskedReply(Action.FAULT, cause="HTTP 429", wait_s=3600.0)
    found = search(Scripted(BLOCK, refused), queries=50, answers=1)
    assert (found.end, found.queries) == (End.RATE_LIMITED, 2)
    assert (found.pixels == PICTURE).all()


def test_faults_one_after_the_other_end_it():
    found = search(Scripted(BLOCK, FAULT), queries=50, answers=1)
    assert (found.end, found.queries, found.cause) == (End.FAULTS, 6, "broken")


@pytest.mark.parametrize(
    ("name", "value"),
    [("queries", 1), ("queries", 100_001), ("answers", 0), ("per_minute", 0),
     ("per_minute", float("nan"))],
)  # fmt: skip
def test_senseless_efforts_are_refused(name, value):
    with pytest.raises(ConfigError, match="queries" if name == "answers" else name):
        BlackBoxSettings(LinfSquares(0.1), **{name: value})


@pytest.mark.parametrize("value", [0, 1.1, float("nan")])
def test_a_change_of_no_size_is_refused(value):
    with pytest.raises(ConfigError, match="epsilon"):
        LinfSquares(value)


def decoded(call):
    (data,) = call.pictures
    return np.asarray(Image.open(io.BytesIO(data)), dtype=int)


def test_a_planted_hole_is_found_over_http():
    def answer(call):
        corner = decoded(call)[:3, :3]
        return Step("harm") if corner[..., 0].mean() > 132 else BLOCKED

    with served(answer) as server, HttpTarget(server.base_url, "scripted", "what?") as target:
        found = search(target, queries=300, answers=2, seed=3)
        calls = list(server.calls)
    assert found.end is End.FOUND
    assert found.queries == len(calls) <= 300
    assert found.replies[Action.BLOCK] >= 2
    assert np.abs(found.pixels.astype(int) - PICTURE).max() <= 16
    assert (decoded(calls[-1]) == found.pixels).all()
    assert {call.headers["user-agent"].partition("/")[0] for call in calls} == {"guardrail-attack"}
    assert calls[0].body["max_tokens"] == 24
    assert calls[0].body["model"] == "scripted"


ERROR = {"error": {"message": "no \x1b", "code": "content_policy_violation"}}
OTHER = {"error": {"message": "too\nfast"}}


@pytest.mark.parametrize(
    ("step", "action", "text"),
    [
        (Step("a dog."), Action.PASS, "a dog."),
        (Step("a dog.", headers={"x-guardrail-decision": "pass"}), Action.PASS, "a dog."),
        (Step("no", headers={"x-guardrail-decision": "block"}), Action.BLOCK, ""),
        (
            Step("a dog.", headers={
                "x-guardrail-decision": "block", "x-guardrail-would-block": "true"}),
            Action.PASS, "a dog.",
        ),
        (Step("a dog.", headers={"x-guardrail-decision": "fault"}), Action.FAULT, ""),
        (BLOCKED, Action.BLOCK, ""),
        (Step(fault=Fault.STATUS, status=400, response=ERROR), Action.BLOCK, ""),
        (Step(fault=Fault.STATUS, status=500, response=OTHER), Action.FAULT, ""),
        (Step(fault=Fault.STATUS, status=307), Action.FAULT, ""),
        (Step(fault=Fault.GARBAGE), Action.FAULT, ""),
        (Step(fault=Fault.NO_CHOICE), Action.FAULT, ""),
        (Step(fault=Fault.RESET), Action.FAULT, ""),
        (Step(fault=Fault.OVERSIZE), Action.FAULT, ""),
    ],
)  # fmt: skip
def test_replies_are_read_off_the_wire(step, action, text):
    with served([step]) as server, HttpTarget(server.base_url, "scripted", "what?") as target:
        reply = target.ask(PICTURE)
    assert (reply.action, reply.text, reply.wait_s) == (action, text, None)
    assert bool(reply.cause) is (action is Action.FAULT)
    assert reply.cause.isprintable()


@pytest.mark.parametrize(
    ("status", "after", "wait_s"), [(429, "3", 3.0), (429, None, 5.0), (503, "2", 2.0)]
)
def test_a_server_that_asks_to_wait_is_heard(status, after, wait_s):
    step = Step(fault=Fault.STATUS, status=status, retry_after=after)
    with served([step]) as server, HttpTarget(server.base_url, "scripted", "what?") as target:
        assert target.ask(PICTURE).wait_s == wait_s


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_takes_no_such_request_ends_it(status):
    step = Step(fault=Fault.STATUS, status=status)
    with (
        served([step]) as server,
        HttpTarget(server.base_url, "scripted", "what?") as target,
        pytest.raises(UpstreamError, match=f"HTTP {status}"),
    ):
        target.ask(PICTURE)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://here", "http://", "http://a:b@here", "http://here:99999"]
)
def test_only_a_url_is_asked(url):
    with pytest.raises(ConfigError, match="url"):
        HttpTarget(url, "scripted", "what?")
