"""The console's own tables for SQLAlchemy; the migrations make them."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["SAVED_FILTERS", "SESSIONS"]

_METADATA = sa.MetaData()
_TIME = sa.DateTime(timezone=True)

SESSIONS = sa.Table(
    "console_sessions",
    _METADATA,
    sa.Column("token_digest", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text),
    sa.Column("key_mark", sa.Text),
    sa.Column("created", _TIME),
    sa.Column("seen", _TIME),
    sa.Column("expires", _TIME),
)

SAVED_FILTERS = sa.Table(
    "saved_filters",
    _METADATA,
    sa.Column("filter_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("query", sa.Text),
    sa.Column("created", _TIME),
)
