"""How a decision ended, why, and what replay lacks where it cannot say: numbers for arrays."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ENDING_WORDS",
    "NEED_WORDS",
    "REASONS",
    "REASON_CODES",
    "Ending",
    "Need",
    "tabulate_endings",
]

REASONS = tuple(Reason)
REASON_CODES = {reason: code for code, reason in enumerate(REASONS)}


class Ending(IntEnum):
    """What became of a request.

    `LET_THROUGH` and `STOPPED` are judgements (in observe mode what would have been). `FAULT`: a
    fault or a limit ended it, no answer left and nothing was judged. `UNDECIDED`: observe mode let
    it pass and never decided it. `UNKNOWN`: replay cannot say, see `Need`.
    """

    LET_THROUGH = 0
    STOPPED = 1
    FAULT = 2
    UNDECIDED = 3
    UNKNOWN = 4


ENDING_WORDS = {
    Ending.LET_THROUGH: "let through", Ending.STOPPED: "stopped", Ending.FAULT: "fault or limit",
    Ending.UNDECIDED: "not decided", Ending.UNKNOWN: "not known",
}  # fmt: skip
"""Each ending in words."""


def tabulate_endings(count: Callable[[Ending, Ending], int]) -> dict[str, dict[str, int]]:
    """Counts in words: by how decisions ended before, then by how after."""
    return {
        ENDING_WORDS[before]: {ENDING_WORDS[after]: count(before, after) for after in Ending}
        for before in Ending
        if before is not Ending.UNKNOWN
    }


class Need(IntEnum):
    """What it would take to say how another policy decides."""

    NOTHING = 0
    CALLS = 1
    ANSWERS = 2
    NEW_DRAWS = 3
    PICTURES = 4
    SOURCE = 5
    POLICY = 6
    TRIES = 7
    FAULT = 8
    VIEWS = 9


NEED_WORDS = {
    Need.CALLS: "further calls: the recorded answers end before the new test decides",
    Need.ANSWERS: "the answers: they must be judged again, and they were not kept or not given",
    Need.NEW_DRAWS: "new answers: the recorded ones answer pictures with other noise",
    Need.PICTURES: "the pictures: what is written in them must be judged, and none is kept",
    Need.SOURCE: "the record of the decision that was repeated: it is not among these",
    Need.POLICY: "the policy that decided: its fields are not in the record",
    Need.TRIES: "the number of earlier tries: the recording policy did not count them",
    Need.VIEWS: "the answers to views of the request (threats), which are not kept",
    Need.FAULT: "a decision: a fault ended it before enough was answered",
}
"""Each need in words, as `needs …`."""
