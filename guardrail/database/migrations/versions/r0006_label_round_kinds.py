"""Rounds of labels of several kinds: decisions, answers for a calibration, requests for recall."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "label_rounds", sa.Column("kind", sa.Text, nullable=False, server_default="decisions")
    )
    # What was drawn of answers or requests, as JSON; empty for a round of decisions.
    op.add_column("label_rounds", sa.Column("sample", sa.Text, nullable=False, server_default=""))
