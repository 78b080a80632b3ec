"""A shipped fake model: answers by a script, with delays and every fault a provider can have.

`Scripted` plays the script in this process; `scripted_server` in `scripted_server.py` plays the
same script over real sockets. Answers go through the same strict reading as a provider's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from guardrail.errors import UpstreamError
from guardrail.types import Usage
from guardrail.upstreams.faults import status_fault, timeout_fault
from guardrail.upstreams.request_frame import check_pictures
from guardrail.upstreams.wire import answer_from, parse_json

if TYPE_CHECKING:
    from guardrail.types import Answer, Chat, Json, Pixels
    from guardrail.upstreams.base import Watch

__all__ = ["Call", "CallLog", "Fault", "Script", "Scripted", "State", "Step", "completion", "words"]


class Fault(StrEnum):
    """What goes wrong in a step. Over sockets each is played as described."""

    STATUS = "status"
    """An error response with the step's `status` and `retry_after`."""
    HANG = "hang"
    """No answer, ever."""
    CRASH = "crash"
    """In this process an unforeseen exception; over a socket a close without an answer."""
    RESET = "reset"
    """The connection is reset."""
    UNREACHABLE = "unreachable"
    """No connection: nothing is sent. Over a socket, which is open by then, a reset."""
    GARBAGE = "garbage"
    """A body that is not JSON."""
    GARBAGE_HTTP = "garbage_http"
    """Bytes that are not HTTP."""
    HALF_BODY = "half_body"
    """A body that breaks off."""
    HALF_ANSWER = "half_answer"
    """A body that breaks off where its length is known only by the end of the connection."""
    DRIP = "drip"
    """A body that comes byte by byte and never ends."""
    HTML = "html"
    """A page for people, with status 200."""
    REDIRECT = "redirect"
    """A redirect to another place."""
    NO_CHOICE = "no_choice"
    """An empty list of choices."""
    EMPTY = "empty"
    """A message without content."""
    OVERSIZE = "oversize"
    """A body of `OVERSIZE_BYTES`."""


OVERSIZE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """What one call does: waits, then answers or fails.

    Attributes:
        text: the answer.
        delay_s: seconds before anything is answered.
        gate: nothing is answered before it is set.
        fault: what goes wrong instead of the answer.
        status: HTTP status of `Fault.STATUS`.
        retry_after: the `Retry-After` header of `Fault.STATUS`.
        finish_reason: OpenAI's word.
        message: the whole assistant message, in place of `text`.
        response: the whole response, in place of everything else; the error's body of
            `Fault.STATUS`.
        word_pause_s: seconds between two words of an answer that is streamed.
        headers: of a response with status 200; only over a socket.
    """

    text: str = "A picture."
    delay_s: float = 0.0
    gate: asyncio.Event | None = None
    fault: Fault | None = None
    status: int = 500
    retry_after: str | None = None
    finish_reason: str = "stop"
    message: Mapping[str, Json] | None = None
    response: Json = None
    word_pause_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether anything comes before the answer."""
        return bool(self.delay_s or self.gate or self.fault is Fault.HANG)

    async def wait(self) -> None:
        """Until it is time to answer, which for `Fault.HANG` never comes."""
        await asyncio.sleep(self.delay_s)
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is Fault.HANG:
            await asyncio.Event().wait()


class State(StrEnum):
    """What became of a call."""

    RUNNING = "running"
    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Call:
    """One recorded call.

    Attributes:
        index: number of the call in order of arrival, from 0.
        seed: the variant's seed; 0 over a socket, which carries none.
        body: the request as JSON; in this process without its pictures.
        pictures: as pixels in this process, as encoded bytes over a socket.
        headers: of the request, names in lower case; empty in this process.
        state: what became of it.
    """

    index: int
    seed: int
    body: Json
    pictures: tuple[Pixels | bytes, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    state: State = State.RUNNING


Script: TypeAlias = Callable[[Call], Step | str] | Sequence[Step | str]
"""A function of the call, or steps by the call's index, of which the last one is repeated."""


@dataclass(slots=True)
class CallLog:
    """Every call, in order of arrival, and the step that the script has for it."""

    script: Script
    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    peak_in_flight: int = 0

    def open(self, call: Call) -> Step:
        """Records a call that begins."""
        self.calls.append(call)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        if callable(self.script):
            step = self.script(call)
        else:
            step = self.script[min(call.index, len(self.script) - 1)]
        return step if isinstance(step, Step) else Step(step)

    def close(self, call: Call, state: State) -> None:
        """Records what became of a call."""
        self.in_flight -= 1
        call.state = state

    def count(self, state: State) -> int:
        return sum(call.state is state for call in self.calls)


class Scripted:
    """An upstream in this process that plays a script and records its calls.

    Args:
        script: see `Script`.
        model: the name that it answers with and lists.
        timeout_s: a longer step ends in a timeout error; None sets no limit.
        deterministic: whether the script goes by chat, pictures and seed alone.
        undrawn: the statuses by which it says that it drew no answer, see `undrawn_statuses`.
    """

    def __init__(
        self,
        script: Script,
        *,
        model: str = "scripted",
        timeout_s: float | None = None,
        deterministic: bool = False,
        undrawn: Collection[int] = (),
    ) -> None:
        self.deterministic = deterministic
        self.log = CallLog(script)
        self.closed = False
        self.deterministic = deterministic
        self.undrawn_statuses = frozenset(undrawn)
        self._model = model
        self._timeout_s = timeout_s

    @property
    def calls(self) -> list[Call]:
        return self.log.calls

    @property
    def name(self) -> str:
        return self._model

    @property
    def revision(self) -> str:
        return self._model

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """Plays the call's step. Raises UpstreamError, or RuntimeError for `Fault.CRASH`."""
        return await self._record(chat, pictures, seed, None)

    async def complete_watched(
        self, chat: Chat, pictures: Sequence[Pixels], *, seed: int, watch: Watch
    ) -> Answer:
        """The same, watched word by word; a step that is broken off counts as cancelled."""
        return await self._record(chat, pictures, seed, watch)

    async def _record(
        self, chat: Chat, pictures: Sequence[Pixels], seed: int, watch: Watch | None
    ) -> Answer:
        check_pictures(chat, pictures)
        body = {**chat.parameters, "model": chat.model, "messages": list(chat.messages)}
        call = Call(len(self.calls), seed, body, tuple(pictures))
        step = self.log.open(call)
        state = State.FAILED
        try:
            answer = await self._play(step)
            begun = None if watch is None else await _break_off(step, watch)
            state = State.ANSWERED if begun is None else State.CANCELLED
        except asyncio.CancelledError:
            state = State.CANCELLED
            raise
        finally:
            self.log.close(call, state)
        return answer if begun is None else _beginning(answer, begun)

    async def models(self) -> list[str]:
        return [self._model]

    async def aclose(self) -> None:
        self.closed = True

    async def _play(self, step: Step) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                await step.wait()
                if step.fault is Fault.DRIP:
                    await asyncio.Event().wait()
        except TimeoutError:
            raise timeout_fault(self._timeout_s or 0.0) from None
        return _outcome(step, self._model, self.undrawn_statuses)


def words(step: Step) -> list[str]:
    """The step's text in the pieces that it is streamed in."""
    return re.findall(r"\s*\S+\s*", step.text)


async def _break_off(step: Step, watch: Watch) -> str | None:
    """What was said of the step's text when `watch` broke it off; None where it did not."""
    said = ""
    for word in words(step):
        await asyncio.sleep(step.word_pause_s)
        said += word
        if await watch({"role": "assistant", "content": said}, len(said)):
            return said
    return None


def _beginning(answer: Answer, said: str) -> Answer:
    """What is left of an answer that was broken off: its tokens are not counted."""
    message = {**answer.message, "content": said}
    return dataclasses.replace(
        answer, message=message, finish_reason="length", usage=Usage(calls=1)
    )


def completion(step: Step, model: str) -> bytes:
    """The response body of a step, faulty where its fault lies in the body."""
    if step.fault is Fault.GARBAGE:
        return b"\x00\xff not json {"
    if step.fault is Fault.HTML:
        return b"<!doctype html><title>Welcome</title>"
    if step.response is not None:
        return json.dumps(step.response).encode()
    message = step.message if step.message is not None else {"content": step.text}
    if step.fault is Fault.EMPTY:
        message = {"content": ""}
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": step.finish_reason,
    }
    response = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [] if step.fault is Fault.NO_CHOICE else [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }
    return json.dumps(response).encode()


def _outcome(step: Step, model: str, undrawn: Collection[int]) -> Answer:
    if step.fault is Fault.CRASH:
        raise RuntimeError("the scripted model crashed")
    if step.fault is Fault.STATUS:
        retry = {} if step.retry_after is None else {"retry-after": step.retry_after}
        raw = b"" if step.response is None else json.dumps(step.response).encode()
        raise status_fault(step.status, retry, raw, undrawn=undrawn)
    if step.fault is Fault.UNREACHABLE:
        raise UpstreamError(
            "the scripted model could not be reached",
            transient=True,
            code="upstream_connection",
            undrawn=True,
        )
    if step.fault is Fault.REDIRECT:
        raise status_fault(307, {}, b"")
    if step.fault in (Fault.RESET, Fault.GARBAGE_HTTP, Fault.OVERSIZE):
        raise UpstreamError(f"the scripted model failed: {step.fault}", transient=True)
    body = completion(step, model)
    half = step.fault in (Fault.HALF_BODY, Fault.HALF_ANSWER)
    return answer_from(parse_json(body[: len(body) // 2] if half else body))
