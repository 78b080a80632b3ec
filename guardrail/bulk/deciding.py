"""Decides one row: its picture is read, looked up, and only then is a model asked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from guardrail.api.pictures.fetch import RemoteImages
from guardrail.api.pictures.loader import Embedded, ImageLoader
from guardrail.api.recording import decide_and_keep
from guardrail.bulk.log import repeat_known
from guardrail.bulk.outcome import UNREADABLE, RowOutcome
from guardrail.bulk.rows import read_image
from guardrail.engine.prepared_request import ATTEMPT_BYTES
from guardrail.engine.verdict import Reason
from guardrail.engine.verdicts import from_error
from guardrail.errors import (
    ConfigError,
    GuardrailError,
    LimitError,
    RequestError,
    StorageError,
)
from guardrail.memory.allowance import reserve_budget
from guardrail.policy.compile import image_limits
from guardrail.records.sent_pictures import SentPictures
from guardrail.types import picture_chat
from guardrail.upstreams.base import attempt_salt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.recording import Recording
    from guardrail.bulk.content_key import JobSettings
    from guardrail.bulk.index import KnownDecision
    from guardrail.bulk.log import KnownContents
    from guardrail.bulk.rows import BulkRow
    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Verdict
    from guardrail.images.keys import NoiseKey
    from guardrail.images.known_pictures import KnownPictures
    from guardrail.memory.allowance import Allowance
    from guardrail.policy.schema import Policy
    from guardrail.types import Json

__all__ = [
    "Ask",
    "ContentLeases",
    "EngineAsk",
    "NextAttempt",
    "RowAttempt",
    "RowDecider",
    "make_loader",
]

_LABEL = b"guardrail/bulk-attempt/1"

_PICTURE_CODES = frozenset(
    {"image_type_mismatch", "image_too_large", "images_too_large", "invalid_image",
     "unsupported_image_type"}
)  # fmt: skip


def make_loader(policy: Policy) -> ImageLoader:
    """Decodes the pictures of a job, as many pixels at a time as the policy allows; no links."""
    return ImageLoader(
        image_limits(policy),
        RemoteImages(),
        max_link_bytes=0,
        max_pixels=policy.advanced.limits.max_pixels_at_once,
    )


@dataclass(frozen=True, slots=True)
class RowAttempt:
    """One attempt to decide about a content: the same one when a killed job is called again.

    An attempt that ended without a decision is over, and the next one is another.

    Attributes:
        key: of the content, see `JobSettings.content_key`.
        earlier: how many attempts before it ended without a decision.
    """

    key: str
    earlier: int

    def derive(self, noise_key: NoiseKey, salt: bytes) -> bytes:
        """What noise and seeds follow from, see `prepared_request.py`; fixed by these alone."""
        place = self.earlier.to_bytes(8, "big")
        return noise_key.derive(_LABEL, salt, bytes.fromhex(self.key), place)[:ATTEMPT_BYTES]


NextAttempt: TypeAlias = Callable[[], Awaitable[RowAttempt]]


class Ask(Protocol):
    """Decides about an encoded picture and a question."""

    async def __call__(self, row: BulkRow, data: bytes, attempt: NextAttempt) -> Verdict:
        """The verdict. Raises RequestError where the picture cannot be decoded.

        Args:
            row: what is decided.
            data: its picture.
            attempt: numbers this attempt, for those to whom it matters.
        """


@dataclass(frozen=True, slots=True)
class EngineAsk:
    """Asks an engine of this process.

    Attributes:
        engine: decides.
        model: what it asks for.
        loader: of the pictures, which are held decoded during their decisions.
        parameters: further fields of every request.
        allowance: what all decisions together may cost; None for no limit.
        recording: keeps records of the decisions; None keeps none.
    """

    engine: Engine
    model: str
    loader: ImageLoader
    parameters: Mapping[str, Json] = field(default_factory=dict)
    allowance: Allowance | None = None
    recording: Recording | None = None

    async def __call__(self, row: BulkRow, data: bytes, attempt: NextAttempt) -> Verdict:
        chat = picture_chat(self.model, row.prompt, self.parameters)
        sent = SentPictures()
        if self.recording is not None:
            sent.fill([data], self.recording.picture_room)
        salt = attempt_salt(self.engine.upstream)
        draws = None if salt is None else (await attempt()).derive(self.engine.key, salt)
        async with self.loader.open([Embedded(data, None, row.name)]) as pictures:

            async def decide() -> Verdict:
                held = reserve_budget(self.engine, pictures, self.model, None, self.allowance)
                async with held as budget:
                    return await self.engine.decide(chat, pictures, budget=budget, attempt=draws)

            verdict, _ = await decide_and_keep(self.recording, decide, chat, sent=sent)
            return verdict


class ContentLeases(Protocol):
    """Lets one process at a time decide about a content, where several share a log."""

    async def take(self, key: str) -> None:
        """Waits until no other process decides about it. Raises LimitError, StorageError."""

    def free(self, key: str) -> None:
        """Says that its outcome is in the log, or that there is none; nothing where it has none."""


class RowDecider:
    """Decides rows, each content once; many at a time, on one event loop.

    Args:
        ask: asks the model.
        settings: what all rows have in common.
        loader: of pictures.
        lists: of known pictures, in which the engine looks as well: what was decided before they
            changed is looked up again, and paid for only where they no longer hold it.
        log: what was decided before; None where nothing is kept.
        leases: of contents; None where this process decides alone.
        keep_answers: whether outcomes hold the answers that pass.
    """

    def __init__(
        self,
        ask: Ask,
        settings: JobSettings,
        loader: ImageLoader,
        *,
        lists: KnownPictures | None = None,
        log: KnownContents | None = None,
        leases: ContentLeases | None = None,
        keep_answers: bool = False,
    ) -> None:
        self._ask = ask
        self._settings = settings
        self._loader = loader
        self._lists = lists
        self._lists_digest = "" if lists is None else lists.digest
        self._log = log
        self._leases = leases
        self._keep_answers = keep_answers
        self._under_way: dict[str, asyncio.Future[RowOutcome]] = {}
        self._attempts: dict[str, int] = {}  # of contents under way, those in the log included

    async def decide(self, row: BulkRow) -> RowOutcome | None:
        """What becomes of a row; None where it was decided before.

        Raises:
            LimitError: the money of the job is spent; nothing was asked.
            ConfigError: a package is missing, or the guard cannot decide at all.
            StorageError: a record could not be kept, or what the model's calls need to be kept.
        """
        try:
            data, sha256 = await asyncio.to_thread(self._read, row)
        except RequestError as error:
            return RowOutcome.undecided(row, error, UNREADABLE)
        key = self._settings.content_key(sha256, row.prompt)
        while (before := self._under_way.get(key)) is not None:
            await asyncio.wait({before})
            if not before.cancelled() and before.result().is_decided:
                return await self._repeat(before.result(), row, key)
            if self._under_way.get(key) is before:
                break  # it failed, so this row is asked about itself, and has its lease
        own = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            if before is None and self._leases is not None:
                await self._leases.take(key)
            outcome = await self._look_up_or_ask(row, data, key, sha256)
        except BaseException:
            own.cancel()
            self._end(key)  # nobody replaces a future that is not done
            raise
        if outcome is None:
            own.cancel()
            self._end(key)
            return None
        own.set_result(outcome)
        return outcome

    async def _repeat(self, found: RowOutcome, row: BulkRow, key: str) -> RowOutcome | None:
        """What an equal row was found to be; None where the log says so of this row already."""
        # What repeats another row was found in the log, where this one may be decided as well.
        known = None if self._log is None or not found.same_as else self._log.is_decided
        if known is not None and await asyncio.to_thread(known, row, key):
            return None
        return found.repeat_for(row)

    def forget(self, outcome: RowOutcome) -> None:
        """Says that this outcome is in the log, where it is found from now on.

        An equal row that is asked about by now, as this one failed, stays under way.
        """
        own = self._under_way.get(outcome.key)
        if own is not None and own.done() and own.result() is outcome:
            self._end(outcome.key)

    def _end(self, key: str) -> None:
        del self._under_way[key]
        self._attempts.pop(key, None)
        if self._leases is not None:
            self._leases.free(key)

    async def _look_up_or_ask(
        self, row: BulkRow, data: bytes, key: str, sha256: str
    ) -> RowOutcome | None:
        try:
            if self._log is not None:
                before = await asyncio.to_thread(self._log.find, key)
                if before is not None and await self._still_holds(before, row, data):
                    if await asyncio.to_thread(self._log.is_decided, row, key):
                        return None
                    return repeat_known(before, row, key)
            verdict = await self._ask(row, data, lambda: self._next_attempt(key))
            if isinstance(verdict.failure, StorageError):
                raise verdict.failure
        except RequestError as error:
            reason = UNREADABLE if error.code in _PICTURE_CODES else Reason.INVALID_REQUEST.value
            return RowOutcome.undecided(row, error, reason, key=key, sha256=sha256)
        except (ConfigError, LimitError, StorageError):
            raise  # no fault of this row: the job cannot go on
        except GuardrailError as error:
            reason = from_error(error).reason.value
            return RowOutcome.undecided(row, error, reason, key=key, sha256=sha256)
        return RowOutcome.from_verdict(
            row,
            verdict,
            key=key,
            sha256=sha256,
            keep_answer=self._keep_answers,
            known_lists=self._lists_digest,
        )

    async def _next_attempt(self, key: str) -> RowAttempt:
        """The attempt after those that failed, in this run and in those of the log."""
        earlier = self._attempts.get(key)
        if earlier is None:
            log = self._log
            earlier = 0 if log is None else await asyncio.to_thread(log.count_failed, key)
        self._attempts[key] = earlier + 1
        return RowAttempt(key, earlier)

    async def _still_holds(self, before: KnownDecision, row: BulkRow, data: bytes) -> bool:
        """Whether the lists of known pictures say now what they said of this picture then."""
        listed = before.reason == Reason.KNOWN_PICTURE.value
        if self._lists is None or before.known_lists == self._lists_digest:
            return self._lists is not None or not listed
        async with self._loader.open([Embedded(data, None, row.name)]) as pictures:
            found = await asyncio.to_thread(self._lists.find, pictures)
        return (found is not None) is listed

    def _read(self, row: BulkRow) -> tuple[bytes, str]:
        data = read_image(row, self._loader.limits.max_bytes)
        return data, hashlib.sha256(data).hexdigest()
