"""What an engine tells of its work while it decides: waves, calls, judgements, verdicts.

Metrics and traces listen here; the engine does nothing by what they say. An observer is set for a
context (a request's task and all that it begins), so that what one request causes is known as its
own. Without one, nothing is told and nothing is kept.

An observer is called on the event loop, in the middle of decisions: it must neither wait nor raise.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from guardrail.context_variable import SetVariable

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.engine.certifier import Certifier
    from guardrail.engine.rules import Rules
    from guardrail.engine.verdict import Verdict
    from guardrail.stats import Decision
    from guardrail.types import Answer, Chat, Outcome

__all__ = [
    "NO_OBSERVER",
    "DecisionObserver",
    "NoteAnswer",
    "NoteVerdict",
    "ObservedCall",
    "ObservedWaves",
    "current_observer",
    "observe_with",
]


@dataclass(frozen=True, slots=True)
class ObservedCall:
    """One call to a model.

    Attributes:
        upstream: its name.
        model: as the client calls it, which may be any text.
        provider_model: as the provider calls it; likewise.
        index: the number of the variant in its decision; 0 for a call without noise.
        variant: whether it is a draw of a test.
    """

    upstream: str
    model: str
    provider_model: str
    index: int
    variant: bool


NoteAnswer: TypeAlias = "Callable[[Answer], None]"
"""Told the answer of a call before the call's context ends."""

NoteVerdict: TypeAlias = "Callable[[Verdict], None]"
"""Told the verdict of a decision before the decision's context ends."""


class DecisionObserver(Protocol):
    """Told what happens; each context lasts as long as what it is named after.

    A call, or a decision, whose context ends without a word failed, or was given up.
    """

    def observe_decision(
        self, rules: Rules, upstream: str, chat: Chat
    ) -> AbstractContextManager[NoteVerdict]:
        """One upstream's decision about a chat; the next upstream's after a failure is another."""

    def observe_wave(self, number: int, first: int, stop: int) -> AbstractContextManager[None]:
        """The draws `first` to `stop` - 1, up to the next look that may decide; from 1."""

    def observe_line(self) -> AbstractContextManager[None]:
        """The wait of a call for its turn at the upstream."""

    def observe_call(self, call: ObservedCall) -> AbstractContextManager[NoteAnswer]:
        """One call, repeats not included: each of them is one of its own."""

    def observe_judging(self, answers: int) -> AbstractContextManager[None]:
        """The oracle at work on so many texts."""

    def note_cost(self, call: ObservedCall, cost_usd: float | None) -> None:
        """What the answer to a call cost; None where that is not known."""

    def observe_follow_up(self) -> AbstractContextManager[NoteVerdict]:
        """The decision of a request whose answer has left; begins before the answer leaves.

        A context that ends without a word decided nothing, and the request stays undecided.
        """


class _Nobody:
    """The observer that there is where none is set."""

    def observe_decision(
        self, rules: Rules, upstream: str, chat: Chat
    ) -> AbstractContextManager[NoteVerdict]:
        del rules, upstream, chat
        return _QUIET

    def observe_wave(self, number: int, first: int, stop: int) -> AbstractContextManager[None]:
        del number, first, stop
        return _NOTHING

    def observe_line(self) -> AbstractContextManager[None]:
        return _NOTHING

    def observe_call(self, call: ObservedCall) -> AbstractContextManager[NoteAnswer]:
        del call
        return _QUIET

    def observe_judging(self, answers: int) -> AbstractContextManager[None]:
        del answers
        return _NOTHING

    def note_cost(self, call: ObservedCall, cost_usd: float | None) -> None:
        del call, cost_usd

    def observe_follow_up(self) -> AbstractContextManager[NoteVerdict]:
        return _QUIET


def _ignore(_: object) -> None:
    """Hears and does nothing."""


_QUIET = nullcontext(_ignore)
_NOTHING = nullcontext()
NO_OBSERVER: DecisionObserver = _Nobody()
"""Hears nothing."""

_OBSERVER: ContextVar[DecisionObserver] = ContextVar("guardrail_observer", default=NO_OBSERVER)


def current_observer() -> DecisionObserver:
    """The observer of the work that runs now."""
    return _OBSERVER.get()


def observe_with(observer: DecisionObserver) -> SetVariable[DecisionObserver]:
    """Sets the observer of this task, and of those that it begins meanwhile."""
    return SetVariable(_OBSERVER, observer)


class ObservedWaves:
    """A certifier that tells its waves: `fan_out` counts by it as by the certifier itself.

    A wave is what may be launched until the next look that could decide. One that begins ends the
    one before; `close` ends the last one.
    """

    def __init__(self, certifier: Certifier) -> None:
        self._certifier = certifier
        self._number = self._told = 0
        self._wave = ExitStack()

    @property
    def decision(self) -> Decision | None:
        return self._certifier.decision

    def launch(self, room: int) -> range:
        horizon = self._certifier.horizon
        if horizon > self._told:
            self._wave.close()
            self._number += 1
            wave = current_observer().observe_wave(self._number, self._told, horizon)
            self._wave.enter_context(wave)
            self._told = horizon
        return self._certifier.launch(room)

    def record(self, index: int, outcome: Outcome) -> None:
        self._certifier.record(index, outcome)

    def close(self) -> None:
        self._wave.close()
