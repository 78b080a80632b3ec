"""A record in plain words: what the client got, why, and what it would have taken."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guardrail.engine.harmful_answers import describe_harmful, tally_harmful
from guardrail.engine.verdict import Action
from guardrail.types import Outcome

if TYPE_CHECKING:
    from guardrail.records.record import Record

__all__ = ["explain_record", "explain_verdict"]

_ENDINGS = {
    Action.PASS: "The answer was delivered",
    Action.BLOCK: "The request was blocked",
    Action.FAULT: "No answer left, and nothing was judged",
}


def explain_record(record: Record) -> str:
    """Some sentences, a line each.

    Raises:
        CertificationError: its certificate does not hold.
    """
    outcome, *why = explain_verdict(record)
    return "\n".join([outcome, _say_request(record), *why, *_say_costs(record)])


def explain_verdict(record: Record) -> list[str]:
    """The sentences on what the client got and why; the last one says what was shown.

    Raises:
        CertificationError: its certificate does not hold.
    """
    return [_say_outcome(record), *_say_samples(record), *_say_certificate(record)]


def _say_outcome(record: Record) -> str:
    said = f"{_ENDINGS[record.action]}: {record.reason}."
    if record.would_block:
        said += " The policy only observes; enforced, it would have blocked this."
    if record.failure:
        said += f" The fault was a {record.failure}."
    if record.remembered:
        said += " An equal request had been decided before, and that verdict was given again."
    return said


def _say_request(record: Record) -> str:
    pictures = {0: "no picture", 1: "one picture"}.get(
        record.pictures, f"{record.pictures} pictures"
    )
    asked = f"Asked at {record.created} of model '{record.model}' with {pictures}"
    who = f", by the key {record.api_key_id}" if record.api_key_id else ""
    user = f", for the user {record.principal}" if record.principal else ""
    return f"{asked}{who}{user}, under the policy '{record.policy}' ({record.policy_digest[:16]})."


def _say_samples(record: Record) -> list[str]:
    if not record.samples:
        return []
    counts = Counter(sample.outcome for sample in record.samples)
    parts = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    lines = [f"Of {len(record.samples)} answers of the model: {parts}."]
    harmful = [one for one in record.samples if one.outcome is Outcome.HARMFUL]
    if harmful:
        lines.append(describe_harmful(tally_harmful((one.reason, one.field) for one in harmful)))
        worst = max(harmful, key=lambda one: one.score or 0.0)
        if worst.score is not None:
            lines.append(f"The highest score of a harmful answer is {worst.score:.3g}.")
    failures = Counter(one.failure for one in record.samples if one.failure)
    lines += [f"{count} could not be had or judged: {name}." for name, count in failures.items()]
    return lines


def _say_certificate(record: Record) -> list[str]:
    certificate = record.read_certificate()
    if certificate is None:
        return ["There is no certificate: nothing was tested."]
    needed = (
        f"The promise, radius {certificate.promised_radius:.4g}, needs more than "
        f"{certificate.q_required:.2%} of the answers under noise to be harmless; "
        f"{certificate.harmless} of the {certificate.samples} that were tested were."
    )
    return [needed, certificate.statement]


def _say_costs(record: Record) -> list[str]:
    cost = "" if record.cost_usd is None else f", US$ {record.cost_usd:.2g}"
    return [f"It took {record.calls} calls and {record.elapsed_s:.2f} s{cost}."]
