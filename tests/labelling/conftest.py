"""A database of decisions of which it is known what was right."""

import asyncio
import base64
import dataclasses
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from guardrail.database.migrate import open_database
from guardrail.labelling.round_draw import RoundPlan, start_round
from guardrail.labelling.rounds import read_round
from guardrail.records.content import digest_content
from guardrail.records.kept_pictures import NewRecord
from guardrail.records.open import open_journal
from guardrail.records.writer import RecordWriter
from tests.records.conftest import CLEAN, CONTENT_KEYS, HARM, make_record

NOW = datetime(2030, 6, 1, tzinfo=UTC)
TEMPLATES = {}
PATIENT = {"retries": 0, "call_timeout_s": 300.0, "deadline_s": 600.0}  # on a busy machine as well


@dataclasses.dataclass(frozen=True)
class Decision:
    """One decision: what came of it, on which request, with which answer (None keeps none)."""

    action: str
    request: str
    answer: str | None
    route: str = "/v1/chat/completions"


def make(decision, number):
    """A record as the engine makes them, of another request and answer."""
    if decision.action not in TEMPLATES:
        script = (CLEAN,) if decision.action == "pass" else (HARM,)
        TEMPLATES[decision.action] = make_record(script, limits=PATIENT)
    template, record_id = TEMPLATES[decision.action], os.urandom(16).hex()
    sealed = None
    if decision.answer is not None:
        said = {"role": "assistant", "content": decision.answer}
        content = {
            "messages": [{"role": "user", "content": f"asked {decision.request}"}],
            "parameters": {},
            "answer": said if decision.action == "pass" else None,
            "answers": {str(one.index): decision.answer for one in template.samples},
        }
        sealed = CONTENT_KEYS.seal(content, record_id)
    return dataclasses.replace(
        template,
        record_id=record_id,
        created=(NOW - timedelta(seconds=number + 1)).isoformat(timespec="milliseconds"),
        request_digest=decision.request,
        route=decision.route,
        cost_usd=0.01,
        content=None if sealed is None else base64.b64encode(sealed).decode(),
        content_digest="" if sealed is None else digest_content(sealed),
    )


def keep_all(address, decisions):
    """Their ids, in order."""

    records = [make(one, number) for number, one in enumerate(decisions)]

    async def go():
        for record in records:
            await writer.keep(partial(NewRecord, record))
        return [record.record_id for record in records]

    journal = open_journal(address)
    writer = RecordWriter(journal)
    try:
        return asyncio.run(go())
    finally:
        writer.close()
        journal.close()


@contextmanager
def open_kept(address, decisions):
    """The database of these decisions, and their ids."""
    ids = keep_all(address, decisions)
    database = open_database(address)
    try:
        yield database, ids
    finally:
        database.close()


def begin(database, count=50, **plan):
    """A round over all decisions."""
    fields = {"policy": "test", "since": NOW - timedelta(days=1), "until": NOW, "count": count}
    round_id = start_round(
        database, RoundPlan(**fields | plan), reviewer="r", keys=CONTENT_KEYS, now=NOW
    )
    return read_round(database, round_id)


def some(passes=6, blocks=4, **fields):
    """Decisions on different requests."""
    return [
        *(Decision("pass", f"p{i}", f"a fine answer {i}", **fields) for i in range(passes)),
        *(Decision("block", f"b{i}", f"a bad answer {i}", **fields) for i in range(blocks)),
    ]


@pytest.fixture(scope="session")
def lab():
    """The helpers of this file."""
    return sys.modules[__name__]
