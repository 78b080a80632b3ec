"""The console's own tables for SQLAlchemy; the migrations make them."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["POLICY_RUNS", "POLICY_VERSIONS", "SAVED_FILTERS", "SESSIONS"]

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

POLICY_VERSIONS = sa.Table(
    "policy_versions",
    _METADATA,
    sa.Column("version_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("policy_digest", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("author", sa.Text),
    sa.Column("created", _TIME),
    sa.Column("state", sa.Text),
    sa.Column("changed", _TIME),
    sa.Column("approved_by", sa.Text),
    sa.Column("note", sa.Text),
)

POLICY_RUNS = sa.Table(
    "policy_runs",
    _METADATA,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("version_id", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("asked_by", sa.Text),
    sa.Column("started", _TIME),
    sa.Column("beat", _TIME),
    sa.Column("state", sa.Text),
    sa.Column("done", sa.Integer),
    sa.Column("total", sa.Integer),
    sa.Column("result", sa.Text),
)
