"""What people decided about single requests: one chain of events in place of the list."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_table("overrides")  # nothing ever wrote to it
    op.create_table(
        "override_events",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("override_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.CheckConstraint(
            "state IN ('asked', 'active', 'declined', 'removed')", name="override_events_state"
        ),
    )
    op.create_index("overrides_by_request", "override_events", ["request_digest"])
    op.create_index("overrides_by_record", "override_events", ["record_id"])
    op.create_index("overrides_by_id", "override_events", ["override_id", "sequence"])
