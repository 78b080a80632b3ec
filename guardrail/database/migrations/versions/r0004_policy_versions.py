"""Versions of policies that people write in the console, and what was tried with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _create_versions()
    _create_runs()


def _create_versions() -> None:
    """Texts stay as they were written; only their state changes.

    `name` is that of the served policy, `digest` that of the text's bytes, `policy_digest` the one
    that records name, empty where the text cannot be used. `author` is empty for a text that was
    found in the file.
    """
    op.create_table(
        "policy_versions",
        sa.Column("version_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("policy_digest", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("changed", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'shadow', 'live', 'retired')", name="policy_versions_state"
        ),
    )
    op.create_index("policy_versions_by_name", "policy_versions", ["name", "created"])
    # At most one is live: of two processes that put one into force at once, one fails.
    live = sa.text("state = 'live'")
    op.create_index(
        "policy_versions_live",
        "policy_versions",
        ["name"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )


def _create_runs() -> None:
    """Kept in the database, as the process that shows a run may be another than the one at it."""
    op.create_table(
        "policy_runs",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("version_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('tests', 'replay')", name="policy_runs_kind"),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name="policy_runs_state"),
    )
    op.create_index("policy_runs_by_version", "policy_runs", ["version_id", "kind", "started"])
