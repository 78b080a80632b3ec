"""The tables of records for SQLAlchemy; the migrations make them."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["ANCHORS", "CONTENTS", "PICTURES", "RECORDS", "WRITERS"]

_METADATA = sa.MetaData()
_TIME = sa.DateTime(timezone=True)

WRITERS = sa.Table(
    "writers",
    _METADATA,
    sa.Column("writer", sa.Text, primary_key=True),
    sa.Column("started", _TIME),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("digest", sa.Text),
    sa.Column("anchored", sa.BigInteger),
    sa.Column("closed", sa.Boolean),
)

RECORDS = sa.Table(
    "records",
    _METADATA,
    sa.Column("record_id", sa.Text, primary_key=True),
    sa.Column("created", _TIME),
    sa.Column("writer", sa.Text),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("previous", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("signer", sa.Text),
    sa.Column("signature", sa.Text),
    sa.Column("action", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("stopped_by", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("field", sa.Text),
    sa.Column("would_block", sa.Boolean),
    sa.Column("remembered", sa.Boolean),
    sa.Column("mode", sa.Text),
    sa.Column("observation", sa.Text),
    sa.Column("policy", sa.Text),
    sa.Column("policy_digest", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("upstream", sa.Text),
    sa.Column("principal", sa.Text),
    sa.Column("api_key_id", sa.Text),
    sa.Column("route", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("request_digest", sa.Text),
    sa.Column("score", sa.Float(53)),
    sa.Column("radius", sa.Float(53)),
    sa.Column("calls", sa.Integer),
    sa.Column("cost_usd", sa.Float(53)),
    sa.Column("elapsed_s", sa.Float(53)),
    sa.Column("document", sa.Text),
)

CONTENTS = sa.Table(
    "contents",
    _METADATA,
    sa.Column("record_id", sa.Text, primary_key=True),
    sa.Column("created", _TIME),
    sa.Column("key_id", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
)

PICTURES = sa.Table(
    "pictures",
    _METADATA,
    sa.Column("record_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created", _TIME),
    sa.Column("key_id", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
)

ANCHORS = sa.Table(
    "anchors",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("created", _TIME),
    sa.Column("digest", sa.Text),
    sa.Column("document", sa.Text),
)
