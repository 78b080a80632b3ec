"""Which test ended a decision without a pass: records are filtered and counted by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0010"
down_revision = "0009"

_TESTS = ("request", "crops", "stickers", "suffix")
_OVERVIEW = (
    "created", "record_id", "policy", "policy_digest", "mode", "action", "reason", "stopped_by",
    "category", "would_block", "api_key_id", "upstream", "score", "radius", "calls", "cost_usd",
    "elapsed_s",
)  # fmt: skip


def upgrade() -> None:
    column = sa.Column("stopped_by", sa.Text, nullable=False, server_default="none")
    op.add_column("records", column)
    for test in _TESTS:
        # Documents are canonical JSON: a quotation mark inside a text has a backslash before it,
        # so that this can be the field and nothing that somebody wrote.
        op.execute(
            sa.text("UPDATE records SET stopped_by = :test WHERE document LIKE :field").bindparams(
                test=test, field=f'%"stopped_by":"{test}"%'
            )
        )
    op.create_index("records_by_stopped_by", "records", ["stopped_by", "created", "record_id"])
    op.drop_index("records_overview", "records")
    op.create_index("records_overview", "records", list(_OVERVIEW))
