"""Looks up what people decided about single requests, and answers by it.

The list is asked for each request, so that an entry counts at once in every process. Where it
cannot be read, no entry holds and the guard decides; it is then not asked again for two seconds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from guardrail.database.address import is_database
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.errors import GuardrailError, StorageError
from guardrail.memory.allowance import reserve_answer
from guardrail.records.replay import name_request
from guardrail.upstreams.chain import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.database.database import Database
    from guardrail.engine.engine import Engine
    from guardrail.images.codec import Picture
    from guardrail.memory.allowance import Allowance
    from guardrail.records.override_chain import Override
    from guardrail.types import Chat
    from guardrail.upstreams.base import Upstream

__all__ = ["OverrideList", "answer_by_override", "open_overrides"]

_THREADS = 4  # as many as the database keeps connections

_log = logging.getLogger(__name__)


class OverrideList:
    """The entries of one database; used from one event loop, and closed once.

    Args:
        database: with the entries; its maker closes it, after this.
        wait_s: how long a request waits for the list.
        pause_s: for how long it is not asked after a failure.
    """

    def __init__(self, database: Database, *, wait_s: float = 2.0, pause_s: float = 2.0) -> None:
        from guardrail.records.overrides import (
            find_active,
        )  # SQLAlchemy, which not all servers need

        self._look = partial(find_active, database, lock_wait_s=wait_s)
        self._wait_s = wait_s
        self._pause_s = pause_s
        self._resumes_at = 0.0
        # Threads of its own: what hangs in the database takes none from others.
        self._threads = ThreadPoolExecutor(_THREADS, "guardrail-overrides")

    async def find(self, engine: Engine, digest: bytes) -> Override | None:
        """The entry that decides a request in the guard's place; None where none does.

        One that stops comes before one that lets through. The latter must have been made of a
        decision by the same policy, model and oracle.
        """
        name = name_request(digest.hex(), engine.key)
        found = await self._read(name)
        for entry in found:
            if entry.action is Action.BLOCK:
                return entry
        return next((entry for entry in found if _fits(entry, engine)), None)

    async def _read(self, name: str) -> list[Override]:
        if time.monotonic() < self._resumes_at:
            return []
        loop, now = asyncio.get_running_loop(), datetime.now(UTC)
        try:
            async with asyncio.timeout(self._wait_s):
                return await loop.run_in_executor(self._threads, self._look, name, now)
        except TimeoutError:
            self._fail(StorageError(f"they could not be read within {self._wait_s:g} s"))
        except GuardrailError as error:
            self._fail(error)
        return []

    def _fail(self, error: GuardrailError) -> None:
        self._resumes_at = time.monotonic() + self._pause_s
        _log.error("overrides cannot be looked up, and the guard decides: %s", error)

    def close(self) -> None:
        """Ends the threads; what hangs in the database is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@contextmanager
def open_overrides(place: str | os.PathLike[str] | None) -> Iterator[OverrideList | None]:
    """The list beside the records at a place; None where that is no database.

    Raises:
        ConfigError: the database cannot be opened.
        StorageError: it cannot be reached.
    """
    if place is None or not is_database(os.fspath(place)):
        yield None
        return
    from guardrail.database.migrate import open_database

    with (
        closing(open_database(os.fspath(place))) as database,
        closing(OverrideList(database)) as overrides,
    ):
        yield overrides


async def answer_by_override(
    engine: Engine,
    entry: Override,
    chat: Chat,
    pictures: Sequence[Picture],
    digest: bytes,
    *,
    allowance: Allowance | None = None,
    deadline: float | None = None,
) -> Verdict:
    """The verdict of an entry: a refusal without a call, or the model's own single answer.

    Nothing judges that answer and no certificate speaks of it. A fault of the model is one here.

    Raises:
        RequestError: the allowance has too little left for the answer.
    """
    if entry.action is Action.BLOCK:
        return Verdict(
            action=Action.BLOCK,
            reason=Reason.OVERRIDE,
            cost_usd=0.0,
            override=entry.override_id,
            request_digest=digest.hex(),
        )
    upstream = _find_upstream(entry, engine)
    assert upstream is not None  # the entry fits
    is_alone = upstream is engine.upstream
    asked = engine if is_alone else engine.with_upstream(upstream)
    async with reserve_answer(asked, allowance) as spent:
        verdict = await asked.answer_unjudged(
            chat, pictures, deadline=deadline, caller=spent.caller
        )
        if verdict.answer is not None:
            spent.note(verdict.usage.calls, verdict.cost_usd)
    if not is_alone:
        verdict = dataclasses.replace(
            verdict, upstream=upstream.name, upstream_revision=upstream.revision
        )
    if verdict.answer is None:
        return verdict
    return dataclasses.replace(
        verdict,
        reason=Reason.OVERRIDE,
        override=entry.override_id,
        request_digest=digest.hex(),
    )


def _fits(entry: Override, engine: Engine) -> bool:
    same_rules = entry.policy_digest == engine.rules.digest
    same_oracle = entry.oracle_revision == engine.oracle.revision
    return same_rules and same_oracle and _find_upstream(entry, engine) is not None


def _find_upstream(entry: Override, engine: Engine) -> Upstream | None:
    """The model that decided when the entry was made; None where it is not asked any more."""
    named = entry.upstream, entry.upstream_revision
    found = (one for one in members(engine.upstream) if (one.name, one.revision) == named)
    return next(found, None)
