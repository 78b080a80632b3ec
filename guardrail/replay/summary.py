"""A replay in numbers and words: the one source of the command, the report and `--json`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.replay.effects import Effect
from guardrail.replay.endings import ENDING_WORDS, NEED_WORDS, REASONS, Ending, tabulate_endings
from guardrail.replay.further_calls import expect_further_calls
from guardrail.replay.intervals import compare_with_labels, share_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.replay.effects import FieldChange
    from guardrail.replay.further_calls import FurtherCalls
    from guardrail.replay.intervals import Label, LabelledChanges, ShareInterval
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["ChangedRecord", "ReplaySummary", "summarize_replay"]

_UNSEEN = (Effect.REQUESTS,)
_MOST_EXAMPLES = 200


@dataclass(frozen=True, slots=True)
class ChangedRecord:
    """A decision that changes."""

    record_id: str
    before: str
    after: str
    old_reason: str
    new_reason: str


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What a replay found.

    Attributes:
        policy: name of the new policy; `only_observes` where it enforces nothing.
        decisions, requests: how many, equal requests counted once in the second.
        table: counts by how decisions ended before (outer names) and after.
        now_stopped, now_let_through: of the decided requests, those that change.
        needs: how many unknown decisions lack what, in words.
        further_calls: what it would take to know those that calls can decide.
        calls: calls of the recorded decisions whose new test is known, before and after, counting
            the draws that each test rests on.
        made_by: recorded policies: name, digest, records, and the fields that differ; None where
            the policy is not known.
        unseen: fields that differ and that replay does not look at: they say which requests are
            taken at all.
        changed: the decisions that change, at most two hundred of each direction.
        labelled: errors against labels; None without labels.
    """

    policy: str
    only_observes: bool
    decisions: int
    requests: int
    table: Mapping[str, Mapping[str, int]]
    now_stopped: ShareInterval
    now_let_through: ShareInterval
    needs: Mapping[str, int]
    further_calls: FurtherCalls
    calls: tuple[int, int]
    made_by: tuple[tuple[str, str, int, tuple[str, ...] | None], ...]
    unseen: tuple[str, ...]
    changed: tuple[ChangedRecord, ...]
    labelled: LabelledChanges | None

    @property
    def stay(self) -> int:
        """Decisions that are the same."""
        return sum(self.table[name][name] for name in self.table)

    @property
    def unknown(self) -> int:
        """Decisions that are not known."""
        return sum(row[ENDING_WORDS[Ending.UNKNOWN]] for row in self.table.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {
            **dataclasses.asdict(self),
            "made_by": [
                {"policy": name, "digest": digest, "records": count,
                 "differs_in": None if fields is None else list(fields)}
                for name, digest, count, fields in self.made_by
            ],
            "calls": {"before": self.calls[0], "after": self.calls[1]},
        }  # fmt: skip


def summarize_replay(
    found: PolicyReplay, labels: Mapping[str, Label] | None = None
) -> ReplaySummary:
    """The numbers of a replay.

    Args:
        found: the replay.
        labels: by the id of the record, see `read_labels`.
    """
    of = found.decisions
    known = found.used > 0
    unseen = {
        change.field
        for one in found.comparisons
        if one is not None
        for change in one.changes
        if change.effect in _UNSEEN
    }
    return ReplaySummary(
        policy=found.rules.name,
        only_observes=found.rules.mode.value == "observe",
        decisions=len(of),
        requests=len(np.unique(of.request)),
        table=tabulate_endings(found.count),
        now_stopped=share_now(found, Ending.LET_THROUGH, Ending.STOPPED),
        now_let_through=share_now(found, Ending.STOPPED, Ending.LET_THROUGH),
        needs={
            words: count for need, words in NEED_WORDS.items() if (count := found.count_need(need))
        },
        further_calls=expect_further_calls(found),
        calls=(int(_draws_before(found)[known].sum()), int(found.used[known].sum())),
        made_by=tuple(_made_by(found)),
        unseen=tuple(sorted(unseen)),
        changed=(
            *_examples(found, Ending.LET_THROUGH, Ending.STOPPED),
            *_examples(found, Ending.STOPPED, Ending.LET_THROUGH),
        ),
        labelled=None if labels is None else compare_with_labels(found, labels),
    )


def _draws_before(found: PolicyReplay) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    of = found.decisions
    return np.where(of.test >= 0, of.used, 1)


def _made_by(
    found: PolicyReplay,
) -> list[tuple[str, str, int, tuple[str, ...] | None]]:
    of = found.decisions
    counts = np.bincount(of.policy, minlength=len(of.policies)).tolist()
    rows = zip(of.policies, found.comparisons, counts, strict=True)
    return [
        (old.name, old.digest, count, None if one is None else tuple(map(_name, one.changes)))
        for old, one, count in rows
    ]


def _name(change: FieldChange) -> str:
    return change.field


def _examples(found: PolicyReplay, before: Ending, after: Ending) -> list[ChangedRecord]:
    of = found.decisions
    return [
        ChangedRecord(
            of.record_ids[row],
            ENDING_WORDS[before],
            ENDING_WORDS[after],
            REASONS[of.reason[row]].value,
            REASONS[found.reason[row]].value,
        )
        for row in found.rows_where(before, after)[:_MOST_EXAMPLES].tolist()
    ]
