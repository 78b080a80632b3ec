"""Recorded decisions as arrays: read once, then held against any number of policies.

    decisions = load_decisions(scan_documents("records.db"))      # seconds: reads every record
    replay_policy(decisions, policy)                              # milliseconds: arithmetic alone

A page or a notebook keeps the first and calls the second for every change of a slider. Of each
decision only those draws are kept that stand in an unbroken row from the first one: tests read
draws by their index, and one behind a gap says nothing that any test could use.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardrail.records.endings import HowEnded
from guardrail.replay.endings import Ending
from guardrail.stats import Plan, PlanKind
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = [
    "BEGINNING",
    "ENDINGS",
    "HARMFUL",
    "HARMLESS",
    "MISSING",
    "OTHER_ACTION",
    "OTHER_MEANING",
    "OUTCOMES",
    "OUTCOME_CODES",
    "DrawFlag",
    "Floats",
    "Ints",
    "Kind",
    "RecordedDecisions",
    "RecordedPolicy",
    "RecordedTest",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

OUTCOMES = tuple(Outcome)
OUTCOME_CODES = {outcome.value: code for code, outcome in enumerate(OUTCOMES)}
HARMLESS = OUTCOME_CODES[Outcome.HARMLESS]
HARMFUL = OUTCOME_CODES[Outcome.HARMFUL]
OTHER_MEANING = OUTCOME_CODES[Outcome.OTHER_MEANING]
OTHER_ACTION = OUTCOME_CODES[Outcome.OTHER_ACTION]
MISSING = OUTCOME_CODES[Outcome.MISSING]
BEGINNING = "beginning of the answer"
"""The field of an answer that was broken off because what had come of it was harmful already."""
ENDINGS = {
    HowEnded.LET_THROUGH: Ending.LET_THROUGH,
    HowEnded.STOPPED: Ending.STOPPED,
    HowEnded.WOULD_STOP: Ending.STOPPED,
    HowEnded.FAULT: Ending.FAULT,
    HowEnded.LIMIT: Ending.FAULT,
    HowEnded.NOT_DECIDED: Ending.UNDECIDED,
}
"""How a record ended, as a number."""


class Kind(IntEnum):
    """How a decision was made: by one judged answer, by a test, from memory, or by neither."""

    TEXT = 0
    TEST = 1
    REMEMBERED = 2
    OTHER = 3


class DrawFlag(IntFlag):
    """What a record says of one draw beside outcome and score."""

    UNSCANNED = 1
    UNMEASURED = 2
    REFUSED = 4
    WITHHELD = 8
    BROKEN_OFF = 16
    ORACLE_FAULT = 32
    ANSWERED = 64


@dataclass(frozen=True, slots=True)
class RecordedPolicy:
    """A policy that made some of the records; `content` is None where it cannot be restored."""

    name: str
    digest: str
    content: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True)
class RecordedTest:
    """What the certificate says of the test that a decision ran, equal for many decisions.

    Attributes:
        sizes: of each picture: as sent, scaled and on its canvas, (height, width) in pixels.
        operator_norm, grid_slack, sampler_error: see `Geometry`.
        kind, q_required, alpha, looks, pass_at_most, block_at_least: the plan.
        shortens: whether variants answered with few tokens, and the delivered answer is another.
    """

    sizes: tuple[tuple[tuple[int, int], tuple[int, int], tuple[int, int]], ...]
    operator_norm: float
    grid_slack: float
    sampler_error: float
    kind: PlanKind
    q_required: float
    alpha: float
    looks: tuple[int, ...]
    pass_at_most: tuple[int, ...]
    block_at_least: tuple[int, ...]
    shortens: bool

    def plan(self) -> Plan:
        """The plan. Raises CertificationError if it is not valid."""
        return Plan(
            kind=self.kind,
            q_required=self.q_required,
            alpha=self.alpha,
            looks=self.looks,
            pass_at_most=self.pass_at_most,
            block_at_least=self.block_at_least,
        )


@dataclass(frozen=True, slots=True, eq=False)
class RecordedDecisions:
    """N decisions and their S draws, a row of every array for each.

    Attributes:
        record_ids: names, in the order of the records.
        created: seconds since 1970, UTC.
        kind: see `Kind`.
        before: how each ended, see `Ending`.
        reason: why, as a place in `REASONS`.
        policy: place in `policies`.
        test: place in `tests`; -1 without a certificate.
        passed: whether the certificate's test passed.
        used: draws that its test rested on.
        pictures, left_out: how many were asked about, and left out of a conversation.
        alpha: of the decision, all upstreams together; NaN without one.
        number: the number of the try that set alpha; -1 where tries were not counted.
        named: whether the end user was named.
        observed: whether the policy only observed.
        several_models: whether its answers came from several models.
        known_list: place in `known_lists` of the list on which a picture was found to be, and
            known_bits: how many bits of the two hashes differ, 0 for the same file; -1 without one.
        threshold: of the oracle; NaN where its verdicts follow from more than one score.
        calls, cost_usd, elapsed_s: what it took; the cost is NaN where it is not known.
        source: the row of the decision whose draws it rests on: its own, another one's where it
            was remembered, -1 where that is not here.
        request: equal for equal requests, from 0.
        rejudged: whether outcomes and scores are those of the policy that is asked about, see
            `guardrail.replay.rejudging`.
        starts: S-row of the first draw of each decision; N + 1 numbers.
        outcome: of each draw, a place in `OUTCOMES`; -1 where it is not known.
        score: of each draw; NaN where nothing was scored.
        flags: of each draw, see `DrawFlag`.
        draw_elapsed_s: of each draw.
        policies, tests, known_lists: what the rows refer to; lists by the names of their files.
    """

    record_ids: tuple[str, ...]
    created: Floats
    kind: NDArray[np.int8]
    before: NDArray[np.int8]
    reason: NDArray[np.int16]
    policy: Ints
    test: Ints
    passed: NDArray[np.bool_]
    used: Ints
    pictures: Ints
    left_out: Ints
    alpha: Floats
    number: Ints
    named: NDArray[np.bool_]
    observed: NDArray[np.bool_]
    several_models: NDArray[np.bool_]
    known_list: Ints
    known_bits: Ints
    threshold: Floats
    calls: Ints
    cost_usd: Floats
    elapsed_s: Floats
    source: Ints
    request: Ints
    rejudged: NDArray[np.bool_]
    starts: Ints
    outcome: NDArray[np.int8]
    score: Floats
    flags: NDArray[np.uint8]
    draw_elapsed_s: Floats
    policies: tuple[RecordedPolicy, ...]
    tests: tuple[RecordedTest, ...]
    known_lists: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.record_ids)

    @property
    def lengths(self) -> Ints:
        """Draws of each decision."""
        return np.diff(self.starts)

    @property
    def decision_of_draw(self) -> Ints:
        """The row of the decision that each draw belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)
