"""The tables of what reviewers say of decisions, for SQLAlchemy; the migrations make them.

`labels.item` is `request` for the whole request, `asked` for what was asked alone, whatever came of
it, else the number of a draw. Rows stay: of several
labels of one reviewer on one item the latest counts. `labels.source` is `page` where the reviewer
chose what to label, else the name of a random draw: only such labels say how often something is so.

`label_rounds` are such draws, `label_items` the requests in them, `label_leases` say who has which
of them open.

`cases` are what policies are tried on: `document` is a file with one case, in UTF-8 or sealed under
`case_id`, see `guardrail/cases/reviewers.py`.

`override_events` is what people decided about single requests, see `overrides.py`.
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["ASKED", "CASES", "CHOSEN", "LABELS", "LABEL_ITEMS", "LABEL_LEASES", "LABEL_ROUNDS",
           "OVERRIDE_EVENTS", "WHOLE_REQUEST"]  # fmt: skip

WHOLE_REQUEST = "request"
"""The item of a label that speaks of the whole request."""

ASKED = "asked"
"""The item of a label that speaks of what was asked: whether such requests shall be stopped."""

CHOSEN = "page"
"""The source of a label on what its reviewer chose."""

_METADATA = sa.MetaData()
_TIME = sa.DateTime(timezone=True)

LABELS = sa.Table(
    "labels",
    _METADATA,
    sa.Column("label_id", sa.Text, primary_key=True),
    sa.Column("record_id", sa.Text),
    sa.Column("item", sa.Text),
    sa.Column("reviewer", sa.Text),
    sa.Column("verdict", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("created", _TIME),
)

OVERRIDE_EVENTS = sa.Table(
    "override_events",
    _METADATA,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("override_id", sa.Text),
    sa.Column("state", sa.Text),
    sa.Column("request_digest", sa.Text),
    sa.Column("record_id", sa.Text),
    sa.Column("created", _TIME),
    sa.Column("digest", sa.Text),
    sa.Column("document", sa.Text),
)

CASES = sa.Table(
    "cases",
    _METADATA,
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("record_id", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("expected", sa.Text),
    sa.Column("document", sa.LargeBinary),
    sa.Column("is_sealed", sa.Boolean),
    sa.Column("reviewer", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("created", _TIME),
)

LABEL_ROUNDS = sa.Table(
    "label_rounds",
    _METADATA,
    sa.Column("round_id", sa.Text, primary_key=True),
    sa.Column("created", _TIME),
    sa.Column("reviewer", sa.Text),
    sa.Column("policy", sa.Text),
    sa.Column("let_through", sa.Text),
    sa.Column("stopped", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("sample", sa.Text),
)

LABEL_ITEMS = sa.Table(
    "label_items",
    _METADATA,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("round_id", sa.Text),
    sa.Column("looks", sa.Integer),
    sa.Column("records", sa.Text),
)

LABEL_LEASES = sa.Table(
    "label_leases",
    _METADATA,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("reviewer", sa.Text, primary_key=True),
    sa.Column("expires", _TIME),
)
