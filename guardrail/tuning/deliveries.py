"""Every answer that left the guard in a window, from its records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.audit import audit_file, read_records
from guardrail.records.content import open_content
from guardrail.records.origin import TRIED_ROUTE
from guardrail.types import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from guardrail.records.record import Record
    from guardrail.records.signing import RecordVerifier

__all__ = ["Deliveries", "Delivery", "DeliveryWindow", "delivered_text", "find_deliveries",
           "message_text"]  # fmt: skip

_SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class DeliveryWindow:
    """Which records count: made from `since` to `until`, both included, as far as given.

    Times without a zone are UTC.
    """

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                object.__setattr__(self, name, time.replace(tzinfo=UTC))

    def holds(self, created: datetime) -> bool:
        after = self.since is None or created >= self.since
        return after and (self.until is None or created <= self.until)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One answer that left, by its record; `reason` is the verdict's."""

    record_id: str
    record_digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deliveries:
    """All answers that left under one policy in a window.

    Attributes:
        items: in the order of the records.
        policy: name of the policy, and its digest.
        since, until: of the window; where it has no such end, of the first and last record in it.
    """

    items: tuple[Delivery, ...]
    policy: str
    policy_digest: str
    since: str
    until: str

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the records' digests, in whatever order and files they came."""
        digests = sorted(item.record_digest for item in self.items)
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def find_deliveries(
    files: Sequence[Path],
    window: DeliveryWindow,
    *,
    policy_digest: str = "",
    verifier: RecordVerifier | None = None,
) -> Deliveries:
    """Every answer that left in the window; digests and chain of each file are checked first.

    Args:
        files: of records; which of them are missing cannot be seen here.
        window: which of their records count.
        policy_digest: its first digits, where the records are of several policies.
        verifier: if given, every record must carry this key's signature.

    Raises:
        CertificationError: a file is not one of records, or does not hold.
        ConfigError: nothing left in the window, or under several policies; or a record stands
            twice.
    """
    found: dict[str, Delivery] = {}
    policies: dict[str, str] = {}
    times: list[datetime] = []
    for file in files:
        audit_file(file, verifier=verifier)
        for line, record in read_records(file):
            created = _time(record, file, line)
            asked_for = window.holds(created) and record.policy_digest.startswith(policy_digest)
            if not (_left(record) and asked_for):
                continue
            if record.record_id in found:
                raise ConfigError(
                    "this record stands here a second time; give every file once",
                    file=str(file),
                    line=line,
                )
            found[record.record_id] = Delivery(record.record_id, record.digest, record.reason)
            policies[record.policy_digest] = record.policy
            times.append(created)
    digest, name = _only_policy(files, policies)
    since, until = window.since or min(times), window.until or max(times)
    return Deliveries(tuple(found.values()), name, digest, since.isoformat(), until.isoformat())


def delivered_text(record: Record) -> str:
    """All that the client could read of the answer; empty where the record keeps none."""
    message = open_content(record, None).get("answer")
    return message_text(message) if isinstance(message, dict) else ""


def message_text(message: Mapping[str, Any]) -> str:
    """All that can be read of an answer.

    Tool calls, reasoning and content in parts follow the text as JSON.
    """
    content = message.get("content")
    plain = content is None or isinstance(content, str)
    known = {"role", "content"} if plain else {"role"}
    more = {name: value for name, value in message.items() if value and name not in known}
    text = Answer(message).text if plain else ""
    return "\n".join([text] * bool(text.strip()) + [json.dumps(more)] * bool(more))


def _left(record: Record) -> bool:
    """Whether an answer left by the guard's decision; a person's is no measure of the guard."""
    decided = record.reason is not Reason.OVERRIDE and record.route != TRIED_ROUTE
    return record.action is Action.PASS and decided


def _time(record: Record, file: Path, line: int) -> datetime:
    try:
        created = datetime.fromisoformat(record.created)
    except ValueError as error:
        raise CertificationError(
            f"{file}:{line}: the record's time is not a time; give a file that guardrail wrote"
        ) from error
    return created if created.tzinfo is not None else created.replace(tzinfo=UTC)


def _only_policy(files: Iterable[Path], policies: dict[str, str]) -> tuple[str, str]:
    if not policies:
        raise ConfigError(
            "no answer left in this window under this policy; give other files, times or another "
            "--policy-digest",
            file=", ".join(map(str, files)),
        )
    if len(policies) > 1:
        listed = ", ".join(
            f"{digest[:_SHOWN_DIGITS]} ({name})" for digest, name in policies.items()
        )
        raise ConfigError(
            f"answers left under several policies: {listed}; name one with --policy-digest",
            file=", ".join(map(str, files)),
        )
    ((digest, name),) = policies.items()
    return digest, name
