"""Scoring: each answer once, failures counted as judged harmful, and nothing lost by a kill."""

import asyncio
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.judge import Judge
from guardrail.engine.rules import OnUnscanned
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement
from guardrail.tuning.dataset import Dataset, LabelledAnswer
from guardrail.tuning.scores import KnownScores, Scored
from guardrail.tuning.scoring import MessageRules, score_all
from guardrail.types import Answer, Chat, Outcome


def score(data, oracle, path=None, step=lambda: None):
    with KnownScores(path, oracle.revision) as known:
        return asyncio.run(score_all(data, oracle, known, step))


def pairs(n, harmful=False):
    return [(f"{i / n:.4f}", harmful) for i in range(n)]


class TestScores:
    def test_are_the_oracles_in_order(self, dataset, oracle):
        found = score(dataset(("0.7", True), ("0.1", False), ("0.9", True)), oracle)
        assert [result.scored.score for result in found] == [0.7, 0.1, 0.9]
        assert [result.row.line for result in found] == [1, 2, 3]
        assert all(result.scored.ms > 0.0 for result in found)

    def test_equal_answers_are_scored_once(self, dataset, oracle):
        found = score(dataset(("0.7", True), ("0.7", False)), oracle)
        assert oracle.judged == ["0.7"]
        assert [result.scored.score for result in found] == [0.7, 0.7]

    def test_every_new_answer_is_a_step(self, dataset, oracle):
        steps = []
        score(dataset(*pairs(70)), oracle, step=lambda: steps.append(1))
        assert len(steps) == 70

    def test_what_cannot_be_looked_into_scores_one(self, dataset, oracle):
        (found,) = score(dataset(("blind", True)), oracle)
        assert (found.scored.score, found.scored.unscanned) == (1.0, True)

    def test_a_failure_scores_one_and_spares_its_neighbours(self, dataset, oracle):
        found = score(dataset(*pairs(40), ("fail", True)), oracle)
        assert [r.scored.failed for r in found] == [False] * 40 + [True]
        assert found[-1].scored.score == 1.0
        assert found[1].scored.score == 0.025

    def test_a_dead_oracle_is_an_error_and_not_a_sharp_one(self, dataset, oracle):
        with pytest.raises(OracleError, match=r"8 answers one after the other.*the oracle failed"):
            score(dataset(*((f"fail {i}", True) for i in range(40))), oracle)

    def test_many_failures_are_an_error(self, dataset, oracle):
        rows = [*pairs(40), ("fail 1", True), ("fail 2", True), ("fail 3", True)]
        with pytest.raises(ConfigError, match=r"3 of 43 answers could not be judged"):
            score(dataset(*rows), oracle)

    @pytest.mark.parametrize(
        "judgement",
        [
            Judgement(Outcome.HARMLESS, 0.9),
            Judgement(Outcome.HARMFUL, 0.1),
            Judgement(Outcome.HARMLESS, math.nan),
            Judgement(Outcome.HARMFUL, 1.5),
            Judgement(Outcome.HARMLESS, -1.0),
        ],
    )
    def test_verdicts_must_follow_scores(self, dataset, oracle, judgement):
        oracle._judgement = lambda _: judgement
        with pytest.raises(ConfigError, match=r"do not follow"):
            score(dataset(("0.5", True)), oracle)


class ByLength:
    """A text's score is a function of it alone; harmful from a threshold on."""

    by_text = True

    def __init__(self, threshold=0.5):
        self.revision, self._threshold = f"length {threshold}", threshold

    async def judge(self, exchanges):
        return [self._judgement(exchange.response) for exchange in exchanges]

    def _judgement(self, text):
        score = len(text) * 37 % 101 / 100
        outcome = Outcome.HARMFUL if score >= self._threshold else Outcome.HARMLESS
        return Judgement(outcome, score, unscanned=("cipher",) * ("q" in text))

    async def aclose(self):
        pass


WORDS = st.sampled_from(["", "a", "fine", "q", "aGVsbG8gdGhlcmUgYWxsIG9mIHlvdQ==", "b" * 200])
CALLS = st.builds(
    lambda name, text: {"id": "c", "type": "function",
                        "function": {"name": name, "arguments": json.dumps({"text": text})}},
    st.sampled_from(["send", "write"]), WORDS,
)  # fmt: skip
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": WORDS},
    optional={"reasoning_content": WORDS, "refusal": WORDS, "tool_calls": st.lists(CALLS),
              "mood": WORDS, "audio": st.just({"id": "x"})},
)  # fmt: skip
RULES = st.builds(MessageRules, st.sampled_from(OnUnscanned), st.booleans())


@given(MESSAGES, RULES, st.sampled_from(["stop", "content_filter"]), st.sampled_from("ab"))
def test_a_message_is_harmful_where_the_engine_finds_it_harmful(message, rules, finish, prompt):
    answer = Answer(message, finish)
    row = LabelledAnswer(1, prompt, "text", True, answer=answer)
    data = Dataset("a", (row,), (), (), ())

    async def main():
        with KnownScores(None, "length") as known:
            (found,) = await score_all(data, ByLength(), known, rules=rules)
        chat = Chat("", ({"role": "user", "content": prompt},))
        for threshold in (0.01, 0.2, 0.5, 0.8, 1.0):
            judge = Judge(rules, ByLength(threshold), chat)
            sample = await judge.judge(0, answer, ())
            is_harmful = sample.outcome is Outcome.HARMFUL
            assert (found.scored.score >= threshold) == is_harmful

    asyncio.run(main())


def test_a_message_that_cannot_be_judged_fails_by_itself(oracle):
    rows = [LabelledAnswer(i, "", "", True, answer=Answer({"content": text}))
            for i, text in enumerate(["fail", *["0.25"] * 40])]  # fmt: skip
    found = score(Dataset("a", tuple(rows), (), (), ()), oracle)
    assert [r.scored.failed for r in found] == [True, *[False] * 40]
    assert found[1].scored.score == 0.25


def test_scores_of_messages_are_those_of_the_policys_rules(oracle, tmp_path):
    row = LabelledAnswer(1, "", "", True, answer=Answer({"content": "", "refusal": "0.1"}))
    data = Dataset("a", (row,), (), (), ())
    path = tmp_path / "scores.jsonl"
    for harmless, wanted in ((True, 0.1), (False, 1.0), (True, 0.1)):
        with KnownScores(path, oracle.revision) as known:
            rules = MessageRules(refusals_are_harmless=harmless)
            (found,) = asyncio.run(score_all(data, oracle, known, rules=rules))
        assert found.scored.score == wanted
    assert oracle.judged == ["0.1"]


class TestResuming:
    def test_nothing_is_scored_twice(self, dataset, oracle, by_number, tmp_path):
        path, data = tmp_path / "scores.jsonl", dataset(*pairs(50))
        first = score(data, oracle, path)
        again = by_number()
        assert score(data, again, path) == first
        assert again.judged == []

    def test_a_killed_run_goes_on_where_it_was(self, dataset, oracle, by_number, tmp_path):
        path = tmp_path / "scores.jsonl"
        rows = pairs(100)
        broken = by_number(broken={text for text, _ in rows[64:]})
        with pytest.raises(OracleError):
            score(dataset(*rows), broken, path)
        with path.open("a") as stream:
            stream.write('{"type":"score","answer":"a torn li')
        score(dataset(*rows), oracle, path)
        assert oracle.judged == [text for text, _ in rows[64:]]

    def test_failures_are_tried_again(self, dataset, by_number, tmp_path):
        path, data = tmp_path / "scores.jsonl", dataset(*pairs(40))
        assert score(data, by_number(broken={"0.5000"}), path)[20].scored.failed
        again = by_number()
        assert score(data, again, path)[20].scored.score == 0.5
        assert again.judged == ["0.5000"]

    def test_another_oracle_scores_anew(self, dataset, oracle, by_number, tmp_path):
        path, data = tmp_path / "scores.jsonl", dataset(*pairs(3))
        score(data, oracle, path)
        other = by_number()
        other.revision = "other"
        score(data, other, path)
        assert len(other.judged) == 3

    def test_no_text_is_kept(self, dataset, oracle, tmp_path):
        path = tmp_path / "scores.jsonl"
        score(dataset(("0.25 secret", True)), oracle, path)
        (row,) = map(json.loads, path.read_text().splitlines())
        assert set(row) == {"type", "answer", "oracle", "score", "ms", "unscanned"}
        assert "secret" not in path.read_text()

    @pytest.mark.parametrize(
        "change", [{"score": 2}, {"score": None}, {"ms": -1}, {"unscanned": 1}, {"answer": 5}]
    )
    def test_an_impossible_line_is_named(self, tmp_path, change):
        path = tmp_path / "scores.jsonl"
        row = {"type": "score", "answer": "a", "oracle": "numbers", "score": 0.5, "ms": 1.0}
        row["unscanned"] = False
        path.write_text(json.dumps({**row, **change}, separators=(",", ":")) + "\n")
        with pytest.raises(ConfigError, match=r"scores.jsonl:1: .*remove this one"):
            KnownScores(path, "numbers")

    def test_a_file_of_something_else_is_left_alone(self, tmp_path):
        path = tmp_path / "scores.jsonl"
        path.write_text('{"response": "precious"}\n')
        with pytest.raises(ConfigError, match=r"left as it is"):
            KnownScores(path, "numbers")
        assert "precious" in path.read_text()

    def test_without_a_file_scores_are_known_for_the_run(self):
        with KnownScores(None, "numbers") as known:
            known.keep({"a": Scored(0.5, 1.0), "b": Scored(1.0, 0.0, failed=True)})
            assert known.get("a") == Scored(0.5, 1.0)
            assert known.get("b") is None
            assert len(known) == 1
