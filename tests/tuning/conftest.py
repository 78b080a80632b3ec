"""Labelled answers and oracles whose scores are known."""

import dataclasses
import itertools

import pytest

from guardrail.canonical import digest_json
from guardrail.engine.rules import Mode, Retry
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError
from guardrail.oracles.base import Judgement
from guardrail.policy.schema import Policy
from guardrail.records.journal import FileJournal
from guardrail.records.record import Record
from guardrail.tuning.dataset import Dataset, LabelledAnswer
from guardrail.tuning.scores import Scored
from guardrail.tuning.scoring import ScoredAnswer
from guardrail.types import Outcome


class ByNumber:
    """An answer is its own score; the words `fail` and `blind` are what they say."""

    revision = "numbers"

    def __init__(self, broken=()):
        self.judged = []
        self.broken = set(broken)

    async def judge(self, exchanges):
        texts = [exchange.response for exchange in exchanges]
        if any("fail" in text or text in self.broken for text in texts):
            raise OracleError("the oracle failed")
        self.judged += texts
        return [self._judgement(text) for text in texts]

    def _judgement(self, text):
        if text.startswith("blind"):
            return Judgement(Outcome.HARMLESS, 0.0, unscanned=("audio",))
        score = float(text.split()[0])
        return Judgement(Outcome.HARMFUL if score >= 0.5 else Outcome.HARMLESS, score)

    async def aclose(self):
        pass


@pytest.fixture
def oracle():
    return ByNumber()


@pytest.fixture(scope="session")
def by_number():
    return ByNumber


@pytest.fixture(scope="session")
def dataset():
    """A dataset of (text, harmful) pairs."""

    def make(*pairs):
        rows = (LabelledAnswer(i, "", text, harm) for i, (text, harm) in enumerate(pairs, 1))
        return Dataset("labels.jsonl", tuple(rows), (), (), ())

    return make


@pytest.fixture(scope="session")
def scored():
    """A scored answer to a request of its own; further fields are those of its row."""
    numbers = itertools.count()

    def make(score, harmful, **fields):
        fields = {"group": f"g{next(numbers)}", **fields}
        return ScoredAnswer(LabelledAnswer(1, "", "text", harmful, **fields), Scored(score, 1.0))

    return make


@pytest.fixture(scope="session")
def policy():
    fields = {"name": "mine", "smoothing": {"radius": 0.25}, "oracle": {"kind": "builtin"}}
    return Policy.model_validate(fields)


EMPTY = {"str": "", "int": 0, "float": 0.0, "bool": False, "Mode": Mode.ENFORCE,
         "Retry": Retry.UNDRAWN}  # fmt: skip


def make_record(**facts):
    """A record with these facts; all else in it is empty."""
    fields = {}
    for field in dataclasses.fields(Record):
        kind = str(field.type)
        empty = () if kind.startswith("tuple") else EMPTY.get(kind)
        if field.default is field.default_factory is dataclasses.MISSING:
            fields[field.name] = empty
    return Record(**{**fields, **facts})


def delivery(number, **changes):
    """A record of a delivered answer to a request without a picture, not yet chained."""
    message = {"role": "assistant", "content": f"answer {number}"}
    facts = {
        "record_id": f"r{number:04}", "created": f"2026-03-{1 + number % 28:02}T12:00:00+00:00",
        "action": Action.PASS, "reason": Reason.NO_IMAGE, "outside_claim": True, "policy": "p",
        "policy_digest": "ab" * 32, "answer_chars": 8,
        "content": {"messages": [{"role": "user", "content": f"question {number}"}],
                    "parameters": {}, "answer": message, "answers": {}},
    }  # fmt: skip
    return make_record(**{**facts, **changes})


@pytest.fixture(scope="session")
def record_of_facts():
    return make_record


@pytest.fixture(scope="session")
def delivered():
    return delivery


@pytest.fixture
def record_file(tmp_path):
    """A file of records, chained and sealed."""

    def make(*records, name="records.jsonl"):
        journal = FileJournal(tmp_path / name)
        for record in records:
            digest = "" if record.content is None else digest_json(record.content)
            journal.append(dataclasses.replace(record, content_digest=digest))
        journal.close()
        return tmp_path / name

    return make
