"""The console's words for verdicts and reasons; records hold the engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "REASON_WORDS",
    "TEST_WORDS",
    "VERDICT_WORDS",
    "describe_category",
    "describe_reason",
    "describe_test",
]

VERDICT_WORDS: Mapping[Action, str] = {
    Action.PASS: "let through",
    Action.BLOCK: "stopped",
    Action.FAULT: "no answer",
}
REASON_WORDS: Mapping[Reason, str] = {
    Reason.CERTIFIED: "enough harmless answers",
    Reason.NO_IMAGE: "no picture: one answer judged",
    Reason.HARMFUL: "harmful answers",
    Reason.OTHER_MEANING: "answers of another meaning",
    Reason.OTHER_ACTION: "answers with another action",
    Reason.UNCERTAIN: "not clear enough",
    Reason.NO_REFERENCE: "no two answers alike",
    Reason.UNSCANNED: "a part could not be judged",
    Reason.LANGUAGE_UNMEASURED: "a language not measured",
    Reason.TEXT_IN_PICTURE: "harmful text in a picture",
    Reason.KNOWN_PICTURE: "a known harmful picture",
    Reason.DEADLINE: "time ran out",
    Reason.MAX_CALLS: "limit of calls reached",
    Reason.MAX_COST: "limit of dollars reached",
    Reason.UPSTREAM_FAILED: "the model failed",
    Reason.ORACLE_FAILED: "the oracle failed",
    Reason.PICTURE_TEXT_FAILED: "text in a picture not read",
    Reason.NOT_CERTIFIABLE: "the picture is too small or too large",
    Reason.ATTEMPTS_SPENT: "too many tries",
    Reason.INVALID_REQUEST: "invalid request",
    Reason.MISCONFIGURED: "set up wrongly",
    Reason.CANCELLED: "the client left",
    Reason.CRASHED: "the guard failed",
    Reason.NOT_DECIDED: "not decided",
    Reason.OVERRIDE: "decided by a person",
    Reason.SHUT_DOWN: "the server was shut down",
}
TEST_WORDS: Mapping[StoppedBy, str] = {
    StoppedBy.REQUEST: "the test of the request",
    StoppedBy.CROPS: "the test of a view for crops",
    StoppedBy.STICKERS: "the test of a view for stickers",
    StoppedBy.SUFFIX: "the test of a view for a suffix",
    StoppedBy.NONE: "no test",
}


def describe_reason(reason: str) -> str:
    """A record's reason in plain words; a word that is not known as it is."""
    try:
        return REASON_WORDS[Reason(reason)]
    except ValueError:
        return reason


def describe_test(stopped_by: str) -> str:
    """Which test ended a decision without a pass, in plain words."""
    return TEST_WORDS[StoppedBy(stopped_by)]


def describe_category(category: str) -> str:
    """An oracle's category as people read it."""
    return category.replace("_", " ")
