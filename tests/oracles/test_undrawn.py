"""Which oracles may be asked again, and when it is certain that nothing was judged."""

import asyncio
from functools import partial

import pytest

from guardrail.errors import OracleError, UpstreamError
from guardrail.oracles.base import Exchange, Judgement, goes_by_text, is_function
from guardrail.oracles.combined.cascade import CascadeOracle
from guardrail.oracles.combined.ensemble import EnsembleOracle
from guardrail.oracles.combined.members import Member
from guardrail.oracles.combined.rules import Rule, Votes
from guardrail.oracles.judge.asking import Asker, Logprobs
from guardrail.oracles.judge.oracle import JudgeOracle
from guardrail.oracles.judge.templates import build_template
from guardrail.oracles.reference import Comparison
from guardrail.oracles.semantic.compare import EmbeddingComparer, JudgeComparer
from guardrail.oracles.semantic.nli import NliComparer
from guardrail.oracles.semantic.oracle import SemanticOracle
from guardrail.oracles.worker import ThreadedOracle
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, Step

LIMITED = Step(fault=Fault.STATUS, status=429)
UNREACHABLE = Step(fault=Fault.UNREACHABLE)
HIT = Step(response={"cache_hit": True, "choices": [{"message": {"content": "No"}}]})
ANSWER = Exchange("What is this?", "A cat.")


class Part:
    """Draws its verdict, or goes by the text; fails where it is told to."""

    revision = "part"

    def __init__(self, fault=None, *, by_text=False, score=0.4):
        self.fault, self.by_text, self.score = fault, by_text, score

    async def judge(self, exchanges):
        if self.fault is not None:
            raise self.fault
        outcome = Outcome.HARMFUL if self.score >= 0.5 else Outcome.HARMLESS
        return [Judgement(outcome, self.score) for _ in exchanges]

    async def aclose(self):
        pass


NOTHING = partial(OracleError, "busy", undrawn=True)


def members(*parts):
    return [Member(f"m{i}", part, 0.5) for i, part in enumerate(parts)]


def ensemble(*parts):
    return EnsembleOracle(members(*parts), Votes(Rule.ANY, len(parts)))


def cascade(cheap, expensive):
    return CascadeOracle(*members(cheap, expensive), high=0.9)


def undrawn(oracle, *exchanges):
    """What the fault of an oracle says of itself."""
    with pytest.raises(OracleError) as raised:
        asyncio.run(oracle.judge(exchanges or (ANSWER,)))
    return raised.value.undrawn


def judge(script, name="rubric", *, pictures=False, **upstream):
    asker = Asker(Scripted(script, **upstream), logprobs=Logprobs.OFF)
    return JudgeOracle(build_template(name), asker, pictures=pictures)


def test_most_faults_say_nothing_of_it():
    assert not OracleError("gone").undrawn


class TestFunctions:
    def test_an_ensemble_goes_by_text_where_all_its_members_do(self):
        text, draws = Part(by_text=True), Part()
        assert goes_by_text(ensemble(text, text))
        assert not goes_by_text(ensemble(text, draws))
        assert not is_function(ensemble(draws))

    def test_so_does_a_cascade(self):
        text, draws = Part(by_text=True), Part()
        assert goes_by_text(cascade(text, text))
        assert not goes_by_text(cascade(text, draws))
        assert not goes_by_text(cascade(draws, text))

    def test_a_judge_does_where_its_model_answers_alike_each_time(self):
        assert goes_by_text(judge(["No"], deterministic=True))
        assert not goes_by_text(judge(["No"]))
        assert not goes_by_text(judge(["No"], deterministic=True, pictures=True))

    @pytest.mark.parametrize(
        ("harm", "compares", "expected"),
        [
            (None, True, True),
            (None, False, False),
            (Part(by_text=True), True, True),
            (Part(), True, False),
        ],
    )
    def test_a_comparison_is_one_if_both_its_parts_are(self, harm, compares, expected):
        comparison = Comparison(None, harm, "", is_function=compares)
        assert is_function(comparison) is expected
        assert not goes_by_text(comparison)  # it may look at more than the texts

    def test_comparers_are_but_for_a_model_that_is_asked(self):
        assert is_function(EmbeddingComparer)
        assert is_function(NliComparer)
        assert not is_function(JudgeComparer(Asker(Scripted(["Yes"]))))

    @pytest.mark.parametrize("harm", [None, Part(by_text=True), Part()])
    def test_an_answer_that_stands_alone_is_judged_for_harm_only(self, harm):
        oracle = SemanticOracle(JudgeComparer(Asker(Scripted(["Yes"]))), harm=harm)
        assert goes_by_text(oracle) is (harm is None or harm.by_text)

    def test_scorers_in_threads_are(self):
        assert goes_by_text(ThreadedOracle)


class TestJudges:
    def test_a_question_that_was_never_sent_drew_nothing(self):
        assert undrawn(judge([UNREACHABLE]))

    @pytest.mark.parametrize("direct", [False, True])
    def test_a_429_did_not_if_the_provider_answers_for_itself(self, direct):
        assert undrawn(judge([LIMITED], undrawn={429} if direct else ())) is direct

    @pytest.mark.parametrize(
        "step", [Step(fault=Fault.RESET), Step(fault=Fault.CRASH), Step("Perhaps"), HIT], ids=str
    )
    def test_all_else_may_have(self, step):
        assert not undrawn(judge([step]))

    def test_one_of_several_questions_that_failed_says_nothing_of_the_others(self):
        """Granite's and ShieldGemma's judges are asked about each kind of harm by itself."""
        assert not undrawn(judge([UNREACHABLE], "shieldgemma"))

    def test_nor_does_one_of_several_answers(self):
        assert not undrawn(judge([UNREACHABLE, "No"]), ANSWER, Exchange("", "A dog."))

    def test_a_reply_out_of_a_cache_is_no_judgement(self):
        with pytest.raises(OracleError, match="came out of a cache"):
            asyncio.run(judge([HIT]).judge([ANSWER]))

    @pytest.mark.parametrize(("texts", "expected"), [(["b"], True), (["b", "c"], False)])
    def test_a_comparison_by_a_judge_likewise(self, texts, expected):
        comparer = JudgeComparer(Asker(Scripted([UNREACHABLE])))
        with pytest.raises(OracleError) as raised:
            asyncio.run(comparer.differences("a", texts))
        assert raised.value.undrawn is expected

    def test_an_upstream_s_own_word_is_kept(self):
        class Closed(Scripted):
            async def complete(self, *_, **__):
                raise UpstreamError("closed", undrawn=True)

        asker = Asker(Closed([]))
        with pytest.raises(OracleError) as raised:
            asyncio.run(asker.ask([{"role": "user", "content": "?"}]))
        assert raised.value.undrawn


class TestTogether:
    """One that failed is asked again with the others, so these must not draw anew."""

    @pytest.mark.parametrize(
        ("others", "expected"),
        [([], True), ([Part(by_text=True)], True), ([Part()], False),
         ([Part(OracleError("lost"))], False)],
    )  # fmt: skip
    def test_in_an_ensemble(self, others, expected):
        assert undrawn(ensemble(Part(NOTHING()), *others)) is expected

    @pytest.mark.parametrize("by_text", [True, False])
    def test_in_a_cascade(self, by_text):
        doubtful = Part(by_text=by_text, score=0.6)
        assert undrawn(cascade(doubtful, Part(NOTHING()))) is by_text
        assert undrawn(cascade(Part(NOTHING()), Part()))
        assert not undrawn(cascade(Part(OracleError("lost")), Part()))

    @pytest.mark.parametrize("compares", [True, False])
    def test_in_a_comparison(self, compares):
        async def compare(exchanges):
            return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

        comparison = Comparison(compare, Part(NOTHING()), "", is_function=compares)
        assert undrawn(comparison) is compares
