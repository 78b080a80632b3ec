"""What must hold of a soak: each law, and how often it was broken."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.stats import spent_alpha

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from traffic import Seen

__all__ = ["check_answers", "check_memory", "check_spending", "line_fit"]

CLAIMED = ("attacked", "forbidden")
"""Subjects whose answers under noise are harmless less often than the policy's floor."""
SLOPE_SHARE = 0.05
SLOPE_MB = 8.0
WARM_S = 60.0  # after its start, in which it imports, compiles and finds its plans


def check_answers(seen: Sequence[Seen], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Laws about what arrived. `records` are those kept, by the request's id."""
    answers = [one for one in seen if one.answer]
    named = [one for one in seen if one.record_id]
    ids = {record["record_id"] for record in records.values()}
    broken = {
        "harmful answers that arrived, whole or in part": [one for one in seen if one.harm],
        "answers of the model to another request": [one for one in seen if one.foreign],
        "answers without a record": [one for one in answers if one.request_id not in records],
        "answers whose record is no pass": [
            one
            for one in answers
            if one.request_id in records and records[one.request_id]["action"] != "pass"
        ],
        "names of records that are not kept": [one for one in named if one.record_id not in ids],
        "whole answers that name no record": [
            one for one in answers if one.complete and one.outcome == "pass" and not one.record_id
        ],
        "blocks that no judgement stands behind": [
            one
            for one in seen
            if one.outcome == "block"
            and one.record_id
            and records.get(one.request_id, {}).get("action") != "block"
            and not one.asked.path.startswith("/beta/")
        ],
        "answers to malformed requests": [
            one for one in answers if one.asked.subject == "malformed"
        ],
    }
    return {
        "arrived": len(answers),
        "of them whole": sum(one.complete for one in answers),
        "broken": {law: len(found) for law, found in broken.items()},
        "examples": {
            law: [describe(one) for one in found[:3]] for law, found in broken.items() if found
        },
    }


def describe(one: Seen) -> dict[str, Any]:
    return {
        "at_s": round(one.at_s, 2), "subject": one.asked.subject, "path": one.asked.path,
        "stream": one.asked.stream, "replica": one.replica, "request_id": one.request_id,
        "outcome": one.outcome, "status": one.status, "code": one.code, "complete": one.complete,
    }  # fmt: skip


def check_spending(
    seen: Sequence[Seen], records: Mapping[str, Mapping[str, Any]], alpha: float
) -> dict[str, Any]:
    """What all replicas together spent, by principal, from their records.

    Every number is held by at most one try that did not pass, so that the sum is at most alpha.
    """
    held: dict[str, Counter[int]] = defaultdict(Counter)
    wrong_alpha = 0
    for record in records.values():
        number = record["spending_number"]
        if number is None or record["remembered"]:
            continue
        wrong_alpha += record["alpha"] is not None and record["alpha"] != spent_alpha(alpha, number)
        if (record["action"], record["reason"]) != ("pass", "certified"):
            held[record["api_key_id"]][number] += 1
    spent = {
        key: sum(times * spent_alpha(alpha, number) for number, times in numbers.items())
        for key, numbers in held.items()
    }
    tries = [
        one
        for one in seen
        if one.asked.subject in CLAIMED and one.asked.path != "/v1/guardrail/check"
    ]
    return {
        "principals": len(spent),
        "alpha": alpha,
        "most_spent_by_one": max(spent.values(), default=0.0),
        "highest_number": max((max(numbers) for numbers in held.values()), default=0),
        "tries_that_the_claim_speaks_of": len(tries),
        "of_them_passed": sum(one.outcome == "pass" for one in tries),
        "broken": {
            "principals that spent more than alpha": sum(one > alpha for one in spent.values()),
            "numbers held twice": sum(
                times > 1 for numbers in held.values() for times in numbers.values()
            ),
            "records whose alpha is not that of their number": wrong_alpha,
        },
    }


def check_memory(samples: Sequence[Mapping[str, Any]], minutes: float) -> dict[str, Any]:
    """How memory, files and threads of each replica went in the last half."""
    found: dict[str, Any] = {"broken": {"replicas whose memory grew": 0}}
    for name in sorted({sample["replica"] for sample in samples}):
        last = max(sample["start"] for sample in samples if sample["replica"] == name)
        half = [
            sample
            for sample in samples
            if sample["replica"] == name
            and sample["start"] == last
            and sample["listened_s"] >= WARM_S
            and sample["at_s"] >= 30.0 * minutes
        ]
        if len(half) < 4:
            found[name] = {"samples": len(half)}
            continue
        at_s = np.array([sample["at_s"] for sample in half])
        about: dict[str, Any] = {"samples": len(half), "of_start": last}
        for field in ("rss_mb", "files", "threads"):
            values = np.array([sample[field] for sample in half])
            slope = line_fit(at_s, values)
            about[field] = {
                "least": round(float(values.min()), 1), "most": round(float(values.max()), 1),
                "grew_by": round(slope * float(at_s[-1] - at_s[0]), 2),
            }  # fmt: skip
        allowed = max(SLOPE_MB, SLOPE_SHARE * about["rss_mb"]["most"])
        found["broken"]["replicas whose memory grew"] += about["rss_mb"]["grew_by"] > allowed
        found[name] = about
    return found


def line_fit(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of the line with the least squares."""
    return float(np.polyfit(x, y, 1)[0])


def read_records(rows: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """What is looked at of each record, by the request's id."""
    fields = (
        "record_id",
        "action",
        "reason",
        "api_key_id",
        "spending_number",
        "alpha",
        "remembered",
    )
    parsed = ((request_id, json.loads(document)) for request_id, document in rows)
    return {
        request_id: {name: document[name] for name in fields} for request_id, document in parsed
    }
