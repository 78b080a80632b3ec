"""What keeps decisions, as the API sees it, and the one order: decide, keep, answer."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from guardrail.engine.verdicts import from_cancellation, from_error
from guardrail.errors import GuardrailError, StorageError
from guardrail.records.origin import UNKNOWN_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guardrail.api.fault_count import FaultCount
    from guardrail.engine.verdict import Verdict
    from guardrail.records.origin import Origin
    from guardrail.records.sent_pictures import PictureRoom, SentPictures
    from guardrail.types import Chat

__all__ = ["CountedRecording", "RecordFunction", "Recording", "as_recording", "decide_and_keep"]

RecordFunction: TypeAlias = "Callable[[Verdict, Chat], str | Awaitable[str]]"
"""Keeps a decision and returns the name under which it is found; plain ones must not block."""


@runtime_checkable
class Recording(Protocol):
    """Keeps decisions; `guardrail.records.recorder.Recorder` is one."""

    @property
    def picture_room(self) -> PictureRoom | None:
        """Where pictures wait that are to be kept; None where none are."""
        ...

    async def keep(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> str:
        """Keeps a decision, and returns the name under which it is found. Raises an error if not.

        No answer leaves before this has returned.
        """
        ...

    def keep_soon(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> None:
        """Keeps a decision of which no answer leaves, as its client has gone."""

    async def check(self) -> None:
        """Raises GuardrailError where a decision that is made now could not be kept."""


class _FunctionRecording:
    """A function of the caller's, which is told of every decision for which a client waits."""

    picture_room = None

    def __init__(self, record: RecordFunction) -> None:
        self._record = record

    async def keep(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> str:
        del origin, sent
        name = self._record(verdict, chat)
        return await name if inspect.isawaitable(name) else name

    def keep_soon(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> None:
        """Nothing: nobody could wait for an async function."""

    async def check(self) -> None:
        """Nothing is known of the function's place."""


def as_recording(record: Recording | RecordFunction | None) -> Recording | None:
    """What keeps decisions, of a recorder or a function."""
    return record if record is None or isinstance(record, Recording) else _FunctionRecording(record)


class CountedRecording:
    """Another recording, whose faults are counted."""

    def __init__(self, recording: Recording, faults: FaultCount) -> None:
        self._recording = recording
        self._faults = faults

    @property
    def picture_room(self) -> PictureRoom | None:
        return self._recording.picture_room

    async def keep(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> str:
        with self._faults.watch():
            return await self._recording.keep(verdict, chat, origin, sent)

    def keep_soon(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> None:
        with self._faults.watch():
            self._recording.keep_soon(verdict, chat, origin, sent)

    async def check(self) -> None:
        with self._faults.watch():
            await self._recording.check()


async def decide_and_keep(
    recording: Recording | None,
    decide: Callable[[], Awaitable[Verdict]],
    chat: Chat,
    origin: Origin = UNKNOWN_ORIGIN,
    sent: SentPictures | None = None,
) -> tuple[Verdict, str | None]:
    """Makes a decision and keeps it, whatever it is.

    Args:
        recording: keeps it; None keeps none.
        decide: makes it; called only where it could be kept.
        chat: what it is about.
        origin: where that came from.
        sent: its pictures, which are there once `decide` has read them.

    Returns:
        The verdict and the name of its record, None where none is kept.

    Raises:
        StorageError: it could not be kept. Before the decision no call has been made yet.
        Exception: what `decide` raises; it is kept as a fault.
    """
    if recording is None:
        return await decide(), None
    await recording.check()
    try:
        verdict = await decide()
    except asyncio.CancelledError:
        recording.keep_soon(from_cancellation(), chat, origin, sent)
        raise
    except Exception as error:
        await _keep_fault(recording, error, chat, origin, sent)
        raise
    return verdict, await recording.keep(verdict, chat, origin, sent)


async def _keep_fault(
    recording: Recording,
    error: Exception,
    chat: Chat,
    origin: Origin,
    sent: SentPictures | None,
) -> None:
    """Keeps a fault; no answer leaves in any case, so that the fault itself is what is told."""
    if isinstance(error, StorageError):
        return
    try:
        await recording.keep(from_error(error), chat, origin, sent)
    except GuardrailError:
        return  # logged where it arose
