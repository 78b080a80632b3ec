"""Cases of reviewers hold all that decides them; the overview tells versions of a policy apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0008"
down_revision = "0007"


_OVERVIEW = (
    "created", "record_id", "policy", "policy_digest", "mode", "action", "reason", "category",
    "would_block", "api_key_id", "upstream", "score", "radius", "calls", "cost_usd", "elapsed_s",
)  # fmt: skip


def upgrade() -> None:
    op.drop_index("records_overview", "records")
    op.create_index("records_overview", "records", list(_OVERVIEW))
    op.drop_table("cases")  # what it held could not be decided without the record
    op.create_table(
        "cases",
        sa.Column("case_id", sa.Text, primary_key=True),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("expected", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("is_sealed", sa.Boolean, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("expected IN ('stopped', 'let through')", name="cases_expected"),
    )
    op.create_index("cases_by_record", "cases", ["record_id"])
    op.create_index("cases_by_time", "cases", ["created"])
