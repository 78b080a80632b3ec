"""A setting of the page Tune as a version of its policy, with a comment at each changed field."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from guardrail.console.policy_draft import check_draft
from guardrail.console.policy_versions import add_draft, find_version, start_shadow
from guardrail.console.tune_look import count_decisions
from guardrail.errors import ConfigError, RequestError
from guardrail.policy.compile import policy_digest
from guardrail.policy.text_changes import change_text
from guardrail.policy_search.numbers import FIELDS
from guardrail.policy_search.wording import describe_change

if TYPE_CHECKING:
    from guardrail.console.policy_text import PolicyText
    from guardrail.console.tune_look import SettingNumbers
    from guardrail.console.tune_records import TuneRecords
    from guardrail.console.tune_work import TuneWork
    from guardrail.database.database import Database
    from guardrail.policy_search.numbers import Numbers

__all__ = ["propose", "write_text"]

_RECALL = "it was measured under other numbers, and has to be measured anew"


def propose(
    database: Database,
    target: PolicyText,
    work: TuneWork,
    records: TuneRecords,
    numbers: Numbers,
    *,
    author: str,
    note: str,
) -> str:
    """Keeps the setting as a version in shadow; its id.

    Raises:
        RequestError: 409, nothing is changed, or the file is not what decides; 422, the text cannot
            be changed so, or could not be put in the place of the policy.
        StorageError: it cannot be kept.
    """
    if not target.is_served:
        raise RequestError("the file on the server is not what decides; mend that first",
                           status=409)  # fmt: skip
    if not numbers.changes(records.own):
        raise RequestError("every slider stands where the policy in force has it", status=409)
    text = write_text(target.text, work, records, numbers)
    checked = check_draft(text, target)
    if checked.policy is None:
        told = "; ".join(one.words for one in checked.mistakes)
        raise RequestError(f"these numbers cannot take the place of the policy: {told}", status=422)
    digest = policy_digest(checked.policy)
    if digest != policy_digest(numbers.apply(records.policy)):
        raise RequestError(
            "the text of the policy cannot be changed by itself; write the numbers in the editor",
            status=422,
        )
    version_id = add_draft(
        database, target.name, text, author=author, policy_digest=digest, note=note
    )
    start_shadow(database, find_version(database, target.name, version_id))
    return version_id


def write_text(text: str, work: TuneWork, records: TuneRecords, numbers: Numbers) -> str:
    """The policy's text with the setting. Raises RequestError (422)."""
    changes: dict[str, tuple[Any, str]] = {
        FIELDS[name]: (new, f"{describe_change(name, old, new)}. {why}")
        for name, (old, new) in numbers.changes(records.own).items()
        for why in [_say_why(work, records, numbers, name)]
    }
    if work.policy.recall is not None:
        changes["recall"] = (None, _RECALL)
    try:
        return change_text(text, changes)
    except ConfigError as error:
        raise RequestError(f"{error.field}: {error.told}", status=422) from error


def _say_why(work: TuneWork, records: TuneRecords, numbers: Numbers, name: str) -> str:
    """What the old value would have done in place of the new one, on the same records."""
    before = dataclasses.replace(numbers, **{name: getattr(records.own, name)})
    chosen = _say_counts(work, records, numbers)
    old = _say_counts(work, records, before)
    total = len(records.decisions)
    return (
        f"Chosen by looking at {total:,} recorded decisions, and confirmed on no others: {chosen}; "
        f"with the old value {old}."
    )


def _say_counts(work: TuneWork, records: TuneRecords, numbers: Numbers) -> str:
    if work.look_up(numbers) != "":
        return "no test is known"
    found: SettingNumbers = count_decisions(records, numbers)
    return (
        f"{found.stopped:,} stopped, {found.let_through:,} let through, {found.unknown:,} not known"
    )
