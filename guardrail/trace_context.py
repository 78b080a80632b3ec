"""W3C Trace Context: which trace a request belongs to, read from its headers and sent on.

https://www.w3.org/TR/trace-context/ says how the headers are written. What is not well-formed is
dropped as if it had not been sent, `tracestate` alone where `traceparent` is sound.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.context_variable import SetVariable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TraceContext", "current_trace", "read_trace", "trace_headers", "use_trace"]

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_KEY = r"[a-z0-9][a-z0-9_*/-]{0,240}(?:@[a-z][a-z0-9_*/-]{0,13})?"
_STATE_MEMBER = re.compile(
    _KEY + r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MOST_STATE_CHARS = 512
_MOST_STATE_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits in lower case.
        span_id: 16 of them: the span whose children are begun here.
        flags: 2 of them; the last bit says whether the trace is sampled.
        state: the vendors' own fields, as `tracestate` writes them; may be empty.
    """

    trace_id: str
    span_id: str
    flags: str = "00"
    state: str = ""

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def headers(self) -> dict[str, str]:
        """What the next server is sent."""
        state = {"tracestate": self.state} if self.state else {}
        return {"traceparent": self.traceparent, **state}


_CURRENT: ContextVar[TraceContext | None] = ContextVar("guardrail_trace", default=None)


def read_trace(parents: Sequence[str], states: Sequence[str] = ()) -> TraceContext | None:
    """The trace that a request names; None where it names none, or not in the form of the standard.

    Args:
        parents: the values of all its headers `traceparent`; several are none.
        states: those of `tracestate`, in order.
    """
    if len(parents) != 1:
        return None
    found = _TRACEPARENT.fullmatch(parents[0].strip(" \t"))
    if found is None or (found[1] == "00" and found[5]):  # later versions may be longer
        return None
    return TraceContext(found[2], found[3], found[4], _read_state(states))


def _read_state(states: Sequence[str]) -> str:
    members = [member.strip(" \t") for state in states for member in state.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    joined = ",".join(members)
    sound = (
        len(joined) <= _MOST_STATE_CHARS
        and len(keys) == len(members) <= _MOST_STATE_MEMBERS
        and all(_STATE_MEMBER.fullmatch(member) for member in members)
    )
    return joined if sound else ""


def current_trace() -> TraceContext | None:
    """The trace of the work that runs now; None where it belongs to none."""
    return _CURRENT.get()


def use_trace(trace: TraceContext | None) -> SetVariable[TraceContext | None]:
    """Makes a trace the current one, for this task and those that it begins meanwhile."""
    return SetVariable(_CURRENT, trace)


def trace_headers() -> Mapping[str, str]:
    """The headers that carry the current trace to an upstream; empty where there is none."""
    trace = _CURRENT.get()
    return {} if trace is None else trace.headers()
