"""Answers compared by their meaning, with the real sentence model where it is installed."""

import asyncio
import hashlib
import importlib.util
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Judgement, ReferenceOracle
from guardrail.oracles.semantic.compare import EmbeddingComparer
from guardrail.oracles.semantic.details import same_details
from guardrail.oracles.semantic.oracle import SemanticOracle
from guardrail.oracles.text.sentence_model import DEFAULT_PACKAGE
from guardrail.oracles.text.sentences import SentenceEncoder
from guardrail.types import Outcome

SAME, OTHER, HARM = Outcome.HARMLESS, Outcome.OTHER_MEANING, Outcome.HARMFUL


class Letters:
    """Embeds a text by its first letter: what starts alike means the same."""

    revision = "letters"

    def __init__(self, fault=None):
        self.fault, self.seen = fault, []

    def encode(self, texts):
        if self.fault is not None:
            raise self.fault
        self.seen.append(list(texts))
        rows = np.zeros((len(texts), 128), np.float32)
        for row, text in enumerate(texts):
            rows[row, ord(text[0]) % 128] = 1.0
        return rows


class Bombs:
    """Finds a bomb harmful."""

    revision = "bombs"

    async def judge(self, exchanges):
        return [
            Judgement(HARM, 1.0) if "bomb" in exchange.response else Judgement(SAME, 0.0)
            for exchange in exchanges
        ]

    async def aclose(self):
        pass


def said(*texts):
    return [Exchange("", text) for text in texts]


def make(encoder=None, **options):
    harm = options.pop("harm", None)
    comparer = EmbeddingComparer(
        encoder or Letters(), **{"similarity": 0.8, "details": False, **options}
    )
    return SemanticOracle(comparer, n0=5, harm=harm)


def chosen(oracle, selection, fresh):
    """The reference of a selection, and what it makes of fresh answers."""

    async def run():
        try:
            reference = await oracle.reference(said(*selection))
            judgements = None if reference is None else await reference.oracle.judge(said(*fresh))
            return reference, judgements
        finally:
            await oracle.aclose()

    return asyncio.run(run())


def outcomes(oracle, selection, fresh):
    return [judgement.outcome for judgement in chosen(oracle, selection, fresh)[1]]


def test_it_is_an_oracle_that_compares():
    oracle = make()
    assert isinstance(oracle, ReferenceOracle)
    asyncio.run(oracle.aclose())


def test_the_largest_cluster_gives_the_reference():
    found = outcomes(make(), ["ab", "x", "ac", "ad", "y"], ["az", "xz", "a"])
    assert found == [SAME, OTHER, SAME]


def test_no_majority_is_no_reference():
    reference, _ = chosen(make(), ["a", "a", "b", "c"], [])
    assert reference is None


def test_of_equals_the_middle_one_is_the_reference():
    """It means the same as as many as its neighbours do, and is the nearest to all."""

    class Angles(Letters):
        def encode(self, texts):
            angles = np.array([float(text) for text in texts])
            return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    texts = ["0.0", "0.1", "0.2", "3.0"]
    reference, _ = chosen(make(Angles(), similarity=0.9), texts, [])
    assert reference.name == hashlib.sha256(b"0.1").hexdigest()[:16]


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_what_says_nothing_means_the_same_as_nothing(nothing):
    assert chosen(make(), [nothing] * 3, [])[0] is None
    assert chosen(make(), [nothing, nothing, "a"], [])[0] is None
    assert outcomes(make(), ["a", "a", nothing], [nothing, "a"]) == [OTHER, SAME]


def test_the_name_tells_nothing_of_the_answer():
    reference, _ = chosen(make(), ["apple"], [])
    assert (reference.kind, len(reference.name)) == ("meaning", 16)
    assert "apple" not in reference.name


def test_the_same_answers_give_the_same_reference():
    names = {chosen(make(), ["b", "ax", "ay", "az"], [])[0].name for _ in range(3)}
    assert len(names) == 1


def test_scores_follow_the_verdicts():
    _, judgements = chosen(make(), ["a"], ["a", "b"])
    assert [judgement.score >= 0.5 for judgement in judgements] == [False, True]
    assert judgements[1].reason == "other meaning"


def test_equal_texts_are_encoded_once():
    encoder = Letters()
    chosen(make(encoder), ["a", "a", "a"], ["a", "a"])
    assert max(map(len, encoder.seen)) == 1


def test_harm_beside_the_meaning_makes_it_another_one():
    oracle = make(harm=Bombs())
    assert outcomes(oracle, ["a cat"], ["a dog", "a bomb", "the bomb"]) == [SAME, HARM, OTHER]


def test_alone_an_answer_is_judged_for_harm_if_that_is_asked_for():
    async def run(oracle):
        try:
            return await oracle.judge(said("a bomb"))
        finally:
            await oracle.aclose()

    assert asyncio.run(run(make(harm=Bombs())))[0].outcome is HARM
    (judgement,) = asyncio.run(run(make()))
    assert (judgement.outcome, judgement.reason) == (SAME, "not compared")


@pytest.mark.parametrize("fault", [RuntimeError("SECRET"), OracleError("no model")])
def test_a_fault_of_the_encoder_is_an_error(fault):
    with pytest.raises(OracleError) as raised:
        chosen(make(Letters(fault)), ["a"], [])
    assert "SECRET" not in str(raised.value)


def test_a_difference_that_is_none_is_an_error():
    class Odd(Letters):
        def encode(self, texts):
            return super().encode(texts) * np.float32("nan")

    with pytest.raises(OracleError, match=r"\[0, 1\]"):
        chosen(make(Odd()), ["a"], [])


def test_who_waits_too_long_hears_of_it():
    class Slow(Letters):
        def encode(self, texts):
            time.sleep(0.3)
            return super().encode(texts)

    with pytest.raises(OracleError, match="within"):
        chosen(make(Slow(), deadline_s=0.25), ["a"], [])


def test_options_out_of_range_are_named():
    with pytest.raises(ConfigError, match="similarity"):
        EmbeddingComparer(Letters(), similarity=1.0)
    comparer = EmbeddingComparer(Letters(), similarity=0.5)
    with pytest.raises(ConfigError, match="n0"):
        SemanticOracle(comparer, n0=0)


def test_the_revision_covers_the_settings():
    made = [make(), make(similarity=0.7), make(details=True), make(harm=Bombs())]
    assert len({oracle.revision for oracle in made}) == 4


DETAILS = [
    ("the light is red", "the light is not red", False),
    ("it isn't open", "it is not open", True),
    ("there are 3 dogs", "there are three dogs", True),
    ("there are 3 dogs", "there are 5 dogs", False),
    ("one dog", "a dog", True),
    ("no dogs, never", "dogs, always", False),
    ("neither dogs nor cats", "no dogs or cats", True),
    ("a red car", "a blue car", False),
    ("a grey car", "the car is gray", True),
    ("a car", "a red car", False),
    ("it is under the table", "it is below the table", True),
    ("it is under the table", "it is on the table", False),
    ("the door is open", "the door is closed", False),
    ("the dog bites the man", "the man bites the dog", False),
    ("the dog bites the man", "The dog bites the man!", True),
    ("turn left at 12:30", "turn left at 12:45", False),
]


@pytest.mark.parametrize(("first", "second", "same"), DETAILS)
def test_what_embeddings_hardly_see(first, second, same):
    assert same_details(first, second) is same


@given(st.text(), st.text())
def test_details_are_symmetric(first, second):
    assert same_details(first, second) == same_details(second, first)
    assert same_details(first, first)


@pytest.mark.skipif(
    importlib.util.find_spec(DEFAULT_PACKAGE) is None, reason="the sentence model is not installed"
)
def test_the_real_model_tells_a_paraphrase_from_another_thing():
    import torch

    torch.set_num_threads(1)
    oracle = make(SentenceEncoder(), similarity=0.75, details=True)
    found = outcomes(
        oracle,
        ["There is a red car in the picture.", "The picture shows a red car."],
        ["A red car is shown in the picture.", "There is a frog.", "There is no red car in it."],
    )
    assert found == [SAME, OTHER, OTHER]
