"""A model that is asked whether two answers mean the same."""

import asyncio

import pytest

from guardrail.errors import OracleError
from guardrail.oracles.judge.asking import Asker
from guardrail.oracles.semantic.compare import JudgeComparer
from guardrail.upstreams.scripted import Scripted


def compared(script, reference, *texts, question=""):
    async def run():
        upstream = Scripted(script)
        comparer = JudgeComparer(Asker(upstream))
        try:
            return await comparer.differences(reference, texts, question), upstream
        finally:
            await comparer.aclose()

    return asyncio.run(run())


def test_yes_is_the_same_and_no_is_another():
    assert compared(["Yes"], "a cat", "one cat")[0] == [0.0]
    assert compared(["No"], "a cat", "a dog")[0] == [1.0]


def test_the_question_is_shown_where_there_is_one():
    _, plain = compared(["No"], "a cat", "a dog")
    _, asked = compared(["No"], "a cat", "a dog", question="what is SHOWN there?")
    assert "SHOWN" in str(asked.calls[0].body["messages"])
    assert "the question" not in str(plain.calls[0].body["messages"])


def test_equal_texts_are_not_asked_about():
    found, upstream = compared(["No"], "a cat", "a cat", "a dog", "a dog")
    assert found == [0.0, 1.0, 1.0]
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("reply", ["Perhaps", "Yes and no", "I cannot say."])
def test_no_clear_answer_is_an_error(reply):
    with pytest.raises(OracleError):
        compared([reply], "a cat", "a dog")


def test_the_revision_names_the_judge():
    first, second = (JudgeComparer(Asker(Scripted(["Yes"]), model=name)) for name in "ab")
    assert first.revision != second.revision
