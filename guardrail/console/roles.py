"""Who may open which page."""

from __future__ import annotations

from guardrail.keys.api_key import KeyScope

__all__ = ["ADMINS", "ANY_ROLE", "EDITORS", "REVIEWERS"]


REVIEWERS = frozenset({KeyScope.REVIEWER})
EDITORS = frozenset({KeyScope.EDITOR})
ADMINS = frozenset({KeyScope.ADMIN})
ANY_ROLE = REVIEWERS | EDITORS | ADMINS
"""Whoever may sign in at all: a key for clients alone may not."""
