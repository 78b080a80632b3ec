"""How a decision ended, in the words of tables and pages."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HowEnded", "how_ended"]

_LIMITS = frozenset({Reason.DEADLINE, Reason.MAX_CALLS, Reason.MAX_COST, Reason.ATTEMPTS_SPENT})
_JUDGED_HARMLESS = frozenset({Reason.CERTIFIED, Reason.NO_IMAGE})


class HowEnded(StrEnum):
    """What became of a request.

    `LET_THROUGH` and `STOPPED` are judgements; `WOULD_STOP` is one that observe mode did not
    enforce. `FAULT` and `LIMIT` ended the decision without any, and no answer left, but for that of
    observe mode. `NOT_DECIDED`: observe mode let the answer pass and never decided. `OVERRIDDEN`: a
    person had decided about this very request, and the guard did not.
    """

    LET_THROUGH = "let through"
    STOPPED = "stopped"
    WOULD_STOP = "would be stopped"
    FAULT = "fault"
    LIMIT = "limit"
    NOT_DECIDED = "not decided"
    OVERRIDDEN = "overridden"


def how_ended(document: Mapping[str, Any]) -> HowEnded:
    """How the decision of a record ended.

    Args:
        document: `Record.to_dict`, or a list's summary: action, reason, mode, would_block.

    Raises:
        ValueError: its action or its reason is none.
    """
    reason, action = Reason(document["reason"]), Action(document["action"])
    if reason is Reason.OVERRIDE:
        return HowEnded.OVERRIDDEN
    if document["would_block"]:
        return HowEnded.WOULD_STOP
    if action is Action.BLOCK:
        return HowEnded.STOPPED
    if reason is Reason.NOT_DECIDED:
        return HowEnded.NOT_DECIDED
    observed = document["mode"] == Mode.OBSERVE.value
    if reason in _JUDGED_HARMLESS or (action is Action.PASS and not observed):
        return HowEnded.LET_THROUGH
    return HowEnded.LIMIT if reason in _LIMITS else HowEnded.FAULT
