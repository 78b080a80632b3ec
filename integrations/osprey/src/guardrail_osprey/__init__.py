"""A function for the rules of Osprey that asks a running guardrail server."""

from __future__ import annotations

from guardrail_osprey.asking import LET_THROUGH, NOT_DECIDED, STOPPED, ask_verdict

__all__ = ["LET_THROUGH", "NOT_DECIDED", "STOPPED", "ask_verdict"]
