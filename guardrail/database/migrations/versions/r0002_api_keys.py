"""API keys: their digests, whose they are, what they may do, and how much."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("calls_per_minute", sa.BigInteger),
        sa.Column("max_concurrency", sa.BigInteger),
        sa.Column("usd_per_day", sa.Float(53)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.Column("old_digest", sa.Text, unique=True),
        sa.Column("old_until", sa.DateTime(timezone=True)),
    )
    # One row that counts the changes, so that servers need not read all keys to see that none was.
    version = op.create_table("api_keys_version", sa.Column("changes", sa.BigInteger))
    op.bulk_insert(version, [{"changes": 0}])
