"""Reads records into the arrays of `RecordedDecisions`: once, and every record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Reason
from guardrail.errors import CertificationError
from guardrail.policy.content import find_content
from guardrail.records.endings import how_ended
from guardrail.replay.decisions import (
    BEGINNING,
    ENDINGS,
    OUTCOME_CODES,
    DrawFlag,
    Kind,
    RecordedDecisions,
    RecordedPolicy,
    RecordedTest,
)
from guardrail.replay.endings import REASON_CODES, Ending
from guardrail.stats import PlanKind
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["load_decisions"]

_REASON_OF = {reason.value: code for reason, code in REASON_CODES.items()}


def load_decisions(
    documents: Iterable[Mapping[str, Any]], step: Callable[[], None] = lambda: None
) -> RecordedDecisions:
    """The arrays of records.

    Left out is what a person decided in the guard's place (`Reason.OVERRIDE`): it says nothing of
    any policy.

    Args:
        documents: records as dictionaries (`Record.to_dict`, `scan_documents`); digests, chains and
            certificates are not checked, which is what `guardrail verify` is for.
        step: called after each record.

    Raises:
        CertificationError: one of them is not a record of this version.
    """
    loader = _Loader()
    for document in documents:
        try:
            if document["reason"] != Reason.OVERRIDE.value:
                loader.add(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = str(document.get("record_id", "?"))[:64]
            raise CertificationError(
                f"the record {name!r} cannot be read ({type(error).__name__}: it is not one of "
                "this version, or was changed); run guardrail verify"
            ) from error
        step()
    return loader.finish()


@dataclass(slots=True)
class _Row:
    """One decision, as the columns of `RecordedDecisions` want it."""

    record_id: str
    created: float
    kind: Kind
    before: Ending
    reason: int
    policy: int
    test: int
    passed: bool
    used: int
    pictures: int
    left_out: int
    alpha: float
    number: int
    named: bool
    observed: bool
    several_models: bool
    known_list: int
    known_bits: int
    threshold: float
    calls: int
    cost_usd: float
    elapsed_s: float
    request: int
    draws: int


_COLUMNS = {
    "created": np.float64, "kind": np.int8, "before": np.int8, "reason": np.int16,
    "policy": np.int64, "test": np.int64, "passed": np.bool_, "used": np.int64,
    "pictures": np.int64, "left_out": np.int64, "alpha": np.float64, "number": np.int64,
    "named": np.bool_, "observed": np.bool_, "several_models": np.bool_,
    "known_list": np.int64, "known_bits": np.int64, "threshold": np.float64,
    "calls": np.int64, "cost_usd": np.float64, "elapsed_s": np.float64, "request": np.int64,
}  # fmt: skip


class _Loader:
    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self.outcome: list[int] = []
        self.score: list[float] = []
        self.flags: list[int] = []
        self.draw_elapsed: list[float] = []
        self.known_draws: dict[Any, tuple[int, int]] = {}
        self.policies: dict[tuple[str, str], int] = {}
        self.contents: list[RecordedPolicy] = []
        self.tests: dict[RecordedTest, int] = {}
        self.known_tests: dict[Any, int] = {}
        self.requests: dict[str, int] = {}
        self.known_lists: dict[str, int] = {}
        self.drawers: dict[tuple[str, str, str], int] = {}
        self.repeats: list[tuple[int, tuple[str, str, str]]] = []

    def add(self, data: Mapping[str, Any]) -> None:
        certificate = data["certificate"]
        kind = _kind(data)
        samples = data["samples"]
        draws = 0
        if kind in (Kind.TEXT, Kind.TEST):
            draws = self._add_draws(samples, row_only=kind is Kind.TEST)
        counts = () if certificate is None else certificate["counts"]
        known = data["known_picture"]
        row = _Row(
            record_id=data["record_id"],
            created=datetime.fromisoformat(data["created"]).timestamp(),
            kind=kind,
            before=ENDINGS[how_ended(data)],
            reason=_REASON_OF[data["reason"]],
            policy=self._policy(data),
            test=-1 if certificate is None else self._test(certificate),
            passed=certificate is not None and certificate["decision"] == "pass",
            used=counts[-1][0] if counts else 0,
            pictures=data["pictures"],
            left_out=data["pictures_left_out"],
            alpha=_number(data["alpha"]),
            number=-1 if data["spending_number"] is None else data["spending_number"],
            named=bool(data["principal"]),
            observed=data["mode"] == Mode.OBSERVE.value,
            several_models=len(data["models"]) > 1,
            known_list=-1 if known is None else self._known_list(known["file"]),
            known_bits=-1 if known is None else known["distance"] or 0,
            threshold=_number(data["threshold"]),
            calls=data["calls"],
            cost_usd=_number(data["cost_usd"]),
            elapsed_s=data["elapsed_s"],
            request=self._request(data),
            draws=draws,
        )
        place = len(self.rows)
        name = data["attempt"], data["request_digest"], data["policy_digest"]
        if kind is Kind.REMEMBERED:
            self.repeats.append((place, name))
        elif kind is Kind.TEST:
            self.drawers.setdefault(name, place)
        self.rows.append(row)

    def finish(self) -> RecordedDecisions:
        rows = self.rows
        columns: dict[str, Any] = {
            name: np.array([getattr(row, name) for row in rows], dtype=kind)
            for name, kind in _COLUMNS.items()
        }
        source = np.arange(len(rows), dtype=np.int64)
        for place, name in self.repeats:
            source[place] = self.drawers.get(name, -1)
        return RecordedDecisions(
            record_ids=tuple(row.record_id for row in rows),
            source=source,
            rejudged=np.zeros(len(rows), dtype=np.bool_),
            starts=np.concatenate([[0], np.cumsum([row.draws for row in rows], dtype=np.int64)]),
            outcome=np.array(self.outcome, dtype=np.int8),
            score=np.array(self.score, dtype=np.float64),
            flags=np.array(self.flags, dtype=np.uint8),
            draw_elapsed_s=np.array(self.draw_elapsed, dtype=np.float64),
            policies=tuple(self.contents),
            tests=tuple(self.tests),
            known_lists=tuple(self.known_lists),
            **columns,
        )

    def _add_draws(self, samples: Iterable[Mapping[str, Any]], *, row_only: bool) -> int:
        """Draws in an unbroken row from the first one; of a text the one that there is."""
        count = 0
        for sample in samples:
            if row_only and sample["index"] != count:
                break
            key = (
                sample["outcome"], sample["field"], sample["unscanned"], sample["unmeasured"],
                sample["refused"], sample["withheld"], sample["failure"],
                sample["answer_chars"] is None,
            )  # fmt: skip
            # Nearly all draws are alike in this; looking at each by itself takes half the time.
            known = self.known_draws.get(key)
            if known is None:
                known = self.known_draws[key] = OUTCOME_CODES[key[0]], _flags(sample)
            score = sample["score"]
            self.outcome.append(known[0])
            self.flags.append(known[1])
            self.score.append(np.nan if score is None else score)
            self.draw_elapsed.append(sample["elapsed_s"])
            count += 1
        return count

    def _policy(self, data: Mapping[str, Any]) -> int:
        key = data["policy_digest"], data["policy"]
        place = self.policies.get(key)
        if place is None:
            place = self.policies[key] = len(self.contents)
            content = find_content(data["policy_fields"], data["policy_digest"])
            self.contents.append(RecordedPolicy(data["policy"], data["policy_digest"], content))
        return place

    def _test(self, about: Mapping[str, Any]) -> int:
        key = (
            str(about["pictures"]), about["plan_digest"], about["alpha"], about["q_required"],
            about["probe_max_tokens"] is not None,
            *(tuple(about[name]) for name in ("looks", "pass_at_most", "block_at_least")),
        )  # fmt: skip
        place = self.known_tests.get(key)
        if place is None:
            test = _read_test(about)
            place = self.known_tests[key] = self.tests.setdefault(test, len(self.tests))
        return place

    def _known_list(self, file: str) -> int:
        return self.known_lists.setdefault(file, len(self.known_lists))

    def _request(self, data: Mapping[str, Any]) -> int:
        """Records without a digest (nothing was decided) are each a request of their own."""
        name = data["request_digest"] or data["record_id"]
        return self.requests.setdefault(name, len(self.requests))


def _read_test(about: Mapping[str, Any]) -> RecordedTest:
    sizes = tuple(
        tuple((int(size[name][0]), int(size[name][1])) for name in ("client", "scaled", "canvas"))
        for size in about["pictures"]
    )
    plain = {
        field.name: about[field.name]
        for field in dataclasses.fields(RecordedTest)
        if field.name in ("operator_norm", "grid_slack", "sampler_error", "q_required", "alpha")
    }
    return RecordedTest(
        sizes=sizes,  # type: ignore[arg-type] # three names, so three pairs
        kind=PlanKind(about["plan_kind"]),
        looks=tuple(about["looks"]),
        pass_at_most=tuple(about["pass_at_most"]),
        block_at_least=tuple(about["block_at_least"]),
        shortens=about["probe_max_tokens"] is not None,
        **{name: float(value) for name, value in plain.items()},
    )


def _kind(data: Mapping[str, Any]) -> Kind:
    if data["remembered"]:
        return Kind.REMEMBERED
    if data["certificate"] is not None:
        return Kind.TEST
    is_text = data["pictures"] == 0 and len(data["samples"]) == 1
    return Kind.TEXT if is_text else Kind.OTHER


def _flags(sample: Mapping[str, Any]) -> int:
    oracle = sample["outcome"] == Outcome.MISSING.value and sample["failure"] in ("", "OracleError")
    return int(
        DrawFlag.UNSCANNED * bool(sample["unscanned"])
        | DrawFlag.UNMEASURED * bool(sample["unmeasured"])
        | DrawFlag.REFUSED * bool(sample["refused"])
        | DrawFlag.WITHHELD * bool(sample["withheld"])
        | DrawFlag.BROKEN_OFF * (sample["field"] == BEGINNING)
        | DrawFlag.ORACLE_FAULT * oracle
        | DrawFlag.ANSWERED * (sample["answer_chars"] is not None)
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
