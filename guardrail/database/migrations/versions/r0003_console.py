"""The console: who is signed in, saved filters, and what reviewers say of decisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0003"
down_revision = "0002"

_OVERVIEW = (
    "created", "record_id", "policy", "mode", "action", "reason", "category", "would_block",
    "api_key_id", "upstream", "score", "radius", "calls", "cost_usd", "elapsed_s",
)  # fmt: skip


def upgrade() -> None:
    # Holds all that the overview counts and that ranges of numbers are filtered by, so that no
    # row, whose document is long, has to be read for either.
    op.create_index("records_overview", "records", list(_OVERVIEW))
    _create_sessions()
    _create_saved_filters()
    _create_labels()
    _create_overrides()
    _create_cases()


def _create_sessions() -> None:
    """Who is signed in; of the token in the cookie only a digest is kept."""
    op.create_table(
        "console_sessions",
        sa.Column("token_digest", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, nullable=False),
        # Digest of the digest of the secret that was used: a replaced secret ends its sessions.
        sa.Column("key_mark", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("console_sessions_by_expiry", "console_sessions", ["expires"])


def _create_saved_filters() -> None:
    op.create_table(
        "saved_filters",
        sa.Column("filter_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("owner", "name", name="saved_filters_by_name"),
    )


def _create_labels() -> None:
    """Every judgement is a row that stays; the latest of a reviewer on an item counts.

    `source` is `page` where the reviewer chose what to label, else the name of a random draw: only
    such labels say how often something happens.
    """
    op.create_table(
        "labels",
        sa.Column("label_id", sa.Text, primary_key=True),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('harmful', 'harmless', 'unsure')", name="labels_verdict"),
    )
    op.create_index("labels_by_record", "labels", ["record_id", "item", "reviewer", "created"])
    op.create_index("labels_by_time", "labels", ["created", "label_id"])


def _create_overrides() -> None:
    """What a reviewer decided about equal requests, against the guard's decision."""
    op.create_table(
        "overrides",
        sa.Column("override_id", sa.Text, primary_key=True),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.CheckConstraint("action IN ('pass', 'block')", name="overrides_action"),
    )
    op.create_index("overrides_by_request", "overrides", ["request_digest", "created"])
    op.create_index("overrides_by_record", "overrides", ["record_id"])


def _create_cases() -> None:
    """Requests that a policy must decide in a known way; what was asked stands sealed."""
    op.create_table(
        "cases",
        sa.Column("case_id", sa.Text, primary_key=True),
        sa.Column("record_id", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("expected", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("expected IN ('pass', 'block')", name="cases_expected"),
    )
    op.create_index("cases_by_record", "cases", ["record_id"])
