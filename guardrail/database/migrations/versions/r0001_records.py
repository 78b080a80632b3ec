"""Records of decisions, who wrote them, what was said, and what fixes the ends of their chains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0001"
down_revision = None

_FILTERS = (
    "action", "reason", "category", "policy", "model", "upstream", "principal", "api_key_id",
)  # fmt: skip


def upgrade() -> None:
    _create_writers()
    _create_records()
    _create_contents()
    _create_anchors()


def _create_writers() -> None:
    """A row for each process that wrote, with the end of its chain."""
    op.create_table(
        "writers",
        sa.Column("writer", sa.Text, primary_key=True),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("anchored", sa.BigInteger, nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False),
    )


def _create_records() -> None:
    """`document` is the whole record; the other columns repeat what people look for."""
    op.create_table(
        "records",
        sa.Column("record_id", sa.Text, primary_key=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("signer", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("would_block", sa.Boolean, nullable=False),
        sa.Column("remembered", sa.Boolean, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("observation", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("policy_digest", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("api_key_id", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("score", sa.Float(53)),
        sa.Column("radius", sa.Float(53)),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("cost_usd", sa.Float(53)),
        sa.Column("elapsed_s", sa.Float(53), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("writer", "sequence", name="records_chain"),
    )
    op.create_index("records_by_time", "records", ["created", "record_id"])
    for column in _FILTERS:
        op.create_index(f"records_by_{column}", "records", [column, "created", "record_id"])
    for column in ("request_digest", "request_id"):
        op.create_index(f"records_by_{column}", "records", [column])
    # Few decisions would have been blocked, so that this index stays small.
    op.create_index(
        "records_would_block",
        "records",
        ["created", "record_id"],
        sqlite_where=sa.text("would_block = 1"),
        postgresql_where=sa.text("would_block"),
    )


def _create_contents() -> None:
    """What was asked and answered, encrypted, apart from the records that outlive it."""
    op.create_table(
        "contents",
        sa.Column("record_id", sa.Text, primary_key=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("contents_by_time", "contents", ["created"])


def _create_anchors() -> None:
    """Each names the ends of chains at one time, and the anchor before it."""
    op.create_table(
        "anchors",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
