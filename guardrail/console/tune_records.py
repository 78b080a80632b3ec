"""The records that the page Tune looks at: arrays of one policy's newest decisions, and labels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.console.tune_settings import own_numbers, without_recall
from guardrail.errors import ConfigError, RequestError
from guardrail.labelling.export import all_labels
from guardrail.labelling.looks import settle
from guardrail.labelling.queue import read_queue
from guardrail.labelling.rounds import newest_rounds, read_round
from guardrail.records.documents import count_decisions, recent_documents
from guardrail.replay.drawn_errors import mark_labels
from guardrail.replay.intervals import Label
from guardrail.replay.loading import load_decisions
from guardrail.replay.replay import PolicyReplayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from guardrail.console.windows import DecisionWindow
    from guardrail.database.database import Database
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.numbers import Numbers
    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.drawn_errors import DecisionLabels
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["MOST_DRAWS", "TuneRecords", "load_records", "make_records"]

MOST_DRAWS = 1_000_000
"""With so many draws, arrays and running counts take about 130 MB."""
_MOST_KEPT = 16


@dataclass(frozen=True, slots=True, eq=False)
class TuneRecords:
    """What one policy decided, and the policy in force over it.

    Attributes:
        policy: in force, without its recall.
        own: its numbers.
        decisions: the newest ones of its name.
        labels: what reviewers say of them.
        taken: when they were read.
        held: how many their time holds, where that is more than are read at once; else None.
    """

    policy: Policy
    own: Numbers
    decisions: RecordedDecisions
    labels: DecisionLabels
    taken: datetime
    held: int | None
    _replayer: PolicyReplayer
    _found: OrderedDict[Numbers, PolicyReplay] = field(default_factory=OrderedDict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise that recorded answers were drawn with."""
        known = (one.content for one in self.decisions.policies if one.content is not None)
        return tuple(sorted({float(_as_dict(one)["smoothing"]["sigma"]) for one in known}))

    def prepare(self, numbers: Numbers) -> None:
        """Computes the tests of a setting; seconds. Raises ConfigError where it has none."""
        self._replayer.prepare(_apply(numbers, self.policy))

    def replay(self, numbers: Numbers) -> PolicyReplay:
        """The decisions under a setting. Raises ConfigError where it has no test."""
        with self._turn:
            found = self._found.get(numbers)
            if found is None:
                found = self._replayer.replay(_apply(numbers, self.policy))
                if len(self._found) >= _MOST_KEPT:
                    self._found.popitem(last=False)
                self._found[numbers] = found
            return found


def _as_dict(content: Any) -> dict[str, Any]:
    found: dict[str, Any] = content
    return found


def _apply(numbers: Numbers, policy: Policy) -> Policy:
    try:
        return numbers.apply(policy)
    except ValueError as error:
        raise ConfigError("these numbers are none of a policy") from error


def load_records(
    database: Database, name: str, policy: Policy, window: DecisionWindow, step: Callable[[], None]
) -> TuneRecords:
    """Reads the newest decisions of a policy; about a fifth of a millisecond each.

    Args:
        database: with records and labels.
        name: of the policy.
        policy: in force.
        window: which of them.
        step: called after each record.

    Raises:
        RequestError: they hold too many draws.
        CertificationError: one is not a record of this version.
        StorageError: they cannot be read.
    """
    recent = recent_documents(
        database, window.most, policy=name, since=window.since, until=window.until
    )
    decisions = load_decisions(_limit_answers(recent), step)
    held = 0
    if window.since is not None:
        held = count_decisions(database, name, window.since, window.until)
    labels = _read_labels(database, name)
    return make_records(policy, decisions, labels, held if held > window.most else None)


def make_records(
    policy: Policy,
    decisions: RecordedDecisions,
    labels: Mapping[str, tuple[Label, bool]],
    held: int | None = None,
) -> TuneRecords:
    """What was read, ready to be looked at; labels as `mark_labels` takes them."""
    bare = without_recall(policy)
    return TuneRecords(
        bare, own_numbers(bare), decisions, mark_labels(decisions, labels), datetime.now(UTC),
        held, PolicyReplayer(decisions),
    )  # fmt: skip


def _limit_answers(documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    draws = 0
    for document in documents:
        samples = document.get("samples")
        draws += len(samples) if isinstance(samples, list) else 0
        if draws > MOST_DRAWS:
            raise RequestError(
                f"these records hold more than {MOST_DRAWS:,} answers; choose fewer decisions"
            )
        yield document


def _read_labels(database: Database, name: str) -> dict[str, tuple[Label, bool]]:
    """What reviewers agree on, by record, and whether the record was drawn at random.

    Drawn are the decisions of the policy's newest round: rounds are never added up, as each was
    drawn from a list of its own. What was drawn and is not settled is there as unsure; labels of
    other sources are of decisions that somebody chose, as far as this page goes.
    """
    chosen = {str(row["record_id"]): Label(str(row["label"])) for row in all_labels(database)}
    found = {record_id: (label, False) for record_id, label in chosen.items()}
    head = next((one for one in newest_rounds(database) if one.policy == name), None)
    round_ = None if head is None else read_round(database, head.round_id)
    if round_ is None:
        return found
    verdicts = read_queue(database, round_, datetime.now(UTC)).verdicts()
    for item in round_.items:
        settled = settle(verdicts.get(item.item_id, ()), item.looks)
        label = Label.UNSURE if settled is None else Label(settled.value)
        found.update((record_id, (label, True)) for record_id, _ in item.records)
    for draw in (round_.let_through, round_.stopped):
        found.update((record_id, (Label.UNSURE, True)) for record_id in draw.without_content)
    return found
