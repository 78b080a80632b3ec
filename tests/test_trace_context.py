"""Trace context: what is well-formed goes on unchanged, all else is as if it had not been sent."""

import asyncio
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.trace_context import (
    TraceContext,
    current_trace,
    read_trace,
    trace_headers,
    use_trace,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def hexes(count):
    texts = st.text("0123456789abcdef", min_size=count, max_size=count)
    return texts.filter(lambda text: set(text) != {"0"})


@given(hexes(32), hexes(16), st.text("0123456789abcdef", min_size=2, max_size=2))
def test_what_is_well_formed_goes_on_unchanged(trace, span, flags):
    sent = f"00-{trace}-{span}-{flags}"
    found = read_trace([sent], ["vendor=1,other@x=a b"])
    assert found == TraceContext(trace, span, flags, "vendor=1,other@x=a b")
    assert found.headers() == {"traceparent": sent, "tracestate": "vendor=1,other@x=a b"}


@pytest.mark.parametrize(
    "parents",
    [
        [], [""], [GOOD, GOOD], [GOOD.upper()], [GOOD[:-1]], [f"{GOOD}-more"], [f"{GOOD}0"],
        [f"ff-{TRACE}-{SPAN}-01"], [f"00-{'0' * 32}-{SPAN}-01"], [f"00-{TRACE}-{'0' * 16}-01"],
        [GOOD + "\r\nx: y"], [GOOD.replace("-", "_")],
    ],
)  # fmt: skip
def test_what_is_not_is_dropped(parents):
    assert read_trace(parents, ["vendor=1"]) is None


def test_a_later_version_may_be_longer():
    assert read_trace([f"01-{TRACE}-{SPAN}-01-more"]).traceparent == GOOD


@pytest.mark.parametrize(
    "states",
    [
        ["no value"], ["Upper=1"], ["a=1,a=2"], ["a=" + "x" * 600], ["a=\x01"], ["a=b=c"],
        [",".join(f"k{i}=1" for i in range(33))], ["a=é"],
    ],
)  # fmt: skip
def test_a_state_that_is_not_well_formed_is_dropped_alone(states):
    assert read_trace([GOOD], states) == TraceContext(TRACE, SPAN, "01")


def test_several_states_are_one():
    assert read_trace([GOOD], ["a=1", " b=2 ,, "]).state == "a=1,b=2"


@given(st.text(string.printable), st.text(string.printable))
def test_nothing_that_is_sent_on_can_break_a_header(parent, state):
    found = read_trace([parent, *([] if parent else [GOOD])], [state])
    for value in ({} if found is None else found.headers()).values():
        assert value.isprintable()


@given(st.text(string.printable))
def test_no_state_breaks_a_header_or_is_changed(state):
    kept = read_trace([GOOD], [state]).state
    assert kept.isprintable()
    assert set(kept.split(",")) <= {part.strip(" \t") for part in state.split(",")} | {""}


def test_the_current_trace_is_that_of_the_task_and_what_it_begins():
    async def ask():
        return dict(trace_headers())

    async def scenario():
        with use_trace(read_trace([GOOD])):
            inside = asyncio.create_task(ask())
        return await inside, await ask()

    assert asyncio.run(scenario()) == ({"traceparent": GOOD}, {})
    assert current_trace() is None
