"""Records added up: what was stopped and why, by policy, key, hour, reason, category and field."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.engine.stopped_by import StoppedBy
from guardrail.errors import CertificationError
from guardrail.records.endings import HowEnded, how_ended
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["BY", "RecordsTally", "Tally", "tally_records"]

BY = ("policy", "api key", "hour (UTC)", "reason", "test", "category", "field")
"""What records are grouped by. Test, category and field stand for stopped requests alone: the test
that ended the decision (`StoppedBy`), and category and field of the worst harmful answer to the
request itself."""
_MOST_GROUPS = 10_000
_OTHERS = "all others"


@dataclass(slots=True)
class Tally:
    """Decisions added up.

    Attributes:
        decisions: how many; `remembered` of them gave an earlier verdict again.
        endings: how many ended in each way.
        calls: to the model.
        cost_usd: of those whose cost is known; `unpriced` are those with calls of unknown cost.
        prompt_tokens, completion_tokens: of those whose tokens are known; `uncounted` are those
            with calls of unknown tokens.
    """

    decisions: int = 0
    remembered: int = 0
    endings: Counter[HowEnded] = field(default_factory=Counter)
    calls: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def add(self, record: Mapping[str, Any], ended: HowEnded) -> None:
        """Adds one record, as `Record.to_dict` makes it."""
        calls = int(record["calls"])
        self.decisions += 1
        self.remembered += bool(record["remembered"])
        self.endings[ended] += 1
        self.calls += calls
        if record["cost_usd"] is None:
            self.unpriced += calls > 0
        else:
            self.cost_usd += float(record["cost_usd"])
        if record["prompt_tokens"] is None or record["completion_tokens"] is None:
            self.uncounted += calls > 0
        else:
            self.prompt_tokens += int(record["prompt_tokens"])
            self.completion_tokens += int(record["completion_tokens"])

    def to_dict(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {
            "decisions": self.decisions,
            "remembered": self.remembered,
            **{ended.name.lower(): self.endings[ended] for ended in HowEnded},
            "calls": self.calls,
            "cost_usd": None if self.unpriced == self.decisions else self.cost_usd,
            "unpriced": self.unpriced,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "uncounted": self.uncounted,
        }


@dataclass(slots=True)
class RecordsTally:
    """All records together, and in groups.

    Attributes:
        total: all of them.
        groups: by each of `BY`, by name; names beyond the first ten thousand of a kind are added
            up as one.
        first, last: when the earliest and the latest were made; None without any.
    """

    total: Tally = field(default_factory=Tally)
    groups: dict[str, dict[str, Tally]] = field(default_factory=lambda: {by: {} for by in BY})
    first: datetime | None = None
    last: datetime | None = None

    def largest(self, by: str) -> list[tuple[str, Tally]]:
        """The groups of one kind: hours in their order, others by how many were stopped."""
        groups = self.groups[by].items()
        if by.startswith("hour"):
            return sorted(groups)
        return sorted(groups, key=lambda item: (-_stopped(item[1]), -item[1].decisions, item[0]))

    def to_dict(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {
            "first": None if self.first is None else self.first.isoformat(),
            "last": None if self.last is None else self.last.isoformat(),
            "total": self.total.to_dict(),
            "by": {by: {name: tally.to_dict() for name, tally in self.largest(by)} for by in BY},
        }


def tally_records(
    documents: Iterable[Mapping[str, Any]], step: Callable[[], None] = lambda: None
) -> RecordsTally:
    """Adds records up.

    Args:
        documents: records as dictionaries, see `open_documents`.
        step: called after each.

    Raises:
        CertificationError: one is not a record of this version.
    """
    found = RecordsTally()
    for record in documents:
        try:
            _add(found, record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = str(record.get("record_id", "?"))[:64]
            raise CertificationError(
                f"the record {name!r} is not one of this version, or was changed; run guardrail "
                "verify"
            ) from error
        step()
    return found


def _add(found: RecordsTally, record: Mapping[str, Any]) -> None:
    ended = how_ended(record)
    created = datetime.fromisoformat(record["created"]).astimezone(UTC)
    found.first = created if found.first is None else min(found.first, created)
    found.last = created if found.last is None else max(found.last, created)
    found.total.add(record, ended)
    for by, name in _names(record, ended, created):
        groups = found.groups[by]
        if name not in groups and len(groups) >= _MOST_GROUPS:
            name = _OTHERS
        groups.setdefault(name, Tally()).add(record, ended)


def _names(
    record: Mapping[str, Any], ended: HowEnded, created: datetime
) -> Iterator[tuple[str, str]]:
    yield "policy", f"{record['policy']} ({record['policy_digest'][:8]})"
    yield "api key", record["api_key_id"] or "none"
    yield "hour (UTC)", f"{created:%Y-%m-%d %H}:00"
    yield "reason", record["reason"]
    if ended not in (HowEnded.STOPPED, HowEnded.WOULD_STOP):
        return
    yield "test", StoppedBy(record["stopped_by"]).value
    harmful = [one for one in record["samples"] if one["outcome"] == Outcome.HARMFUL.value]
    if harmful:
        worst = max(harmful, key=lambda one: one["score"] or 0.0)
        yield "category", worst["reason"] or "none named"
        yield "field", worst["field"] or "none named"
    elif not record["remembered"]:
        yield "category", "no harmful answer"


def _stopped(tally: Tally) -> int:
    return tally.endings[HowEnded.STOPPED] + tally.endings[HowEnded.WOULD_STOP]
