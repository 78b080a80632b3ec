"""Rounds of labels: requests drawn at random, and who has which of them before them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("labels_by_source", "labels", ["source", "created"])
    _create_rounds()
    _create_items()
    _create_leases()


def _create_rounds() -> None:
    """What was drawn from which lists, fixed before the first label."""
    op.create_table(
        "label_rounds",
        sa.Column("round_id", sa.Text, primary_key=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        # Sealed draws as JSON: of what was let through, and of what was stopped.
        sa.Column("let_through", sa.Text, nullable=False),
        sa.Column("stopped", sa.Text, nullable=False),
    )
    op.create_index("label_rounds_by_time", "label_rounds", ["created", "round_id"])


def _create_items() -> None:
    """Requests to label: all drawn records of one request are one item."""
    op.create_table(
        "label_items",
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("round_id", sa.Text, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("records", sa.Text, nullable=False),
    )
    op.create_index("label_items_by_round", "label_items", ["round_id"])


def _create_leases() -> None:
    """Who has an item before them, so that nobody else is given it until then."""
    op.create_table(
        "label_leases",
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("reviewer", sa.Text, primary_key=True),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
    )
