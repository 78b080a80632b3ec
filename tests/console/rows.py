"""Rows of records that no engine made: for lists, which read columns alone."""

import uuid
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from guardrail.records.tables import RECORDS

START = datetime(2030, 1, 1, tzinfo=UTC)


def make_row(number=0, **fields):
    """A row of the table, made at a second of its own."""
    return {
        "record_id": uuid.UUID(int=number).hex,
        "created": START + timedelta(seconds=number),
        "writer": "w",
        "sequence": number,
        "previous": "",
        "digest": f"{number}",
        "signer": "",
        "signature": "",
        "action": "pass",
        "reason": "certified",
        "stopped_by": "none",
        "category": "",
        "field": "",
        "would_block": False,
        "remembered": False,
        "mode": "enforce",
        "observation": "",
        "policy": "default",
        "policy_digest": "d",
        "model": "m",
        "upstream": "u",
        "principal": "",
        "api_key_id": "",
        "route": "/v1/chat/completions",
        "request_id": f"r{number}",
        "request_digest": "",
        "score": None,
        "radius": None,
        "calls": 21,
        "cost_usd": None,
        "elapsed_s": 0.5,
        "document": "{}",
        **fields,
    }


def insert_rows(database, rows):
    with database.write() as connection:
        connection.execute(sa.insert(RECORDS), rows)


def clear_rows(database):
    with database.write() as connection:
        connection.execute(sa.delete(RECORDS))
