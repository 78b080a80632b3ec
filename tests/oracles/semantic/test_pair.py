"""Answers compared given their question: the shipped weights with vectors of letters."""

import asyncio
import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange
from guardrail.oracles.semantic.features import FEATURES, excludes, pair_features, words_to_encode
from guardrail.oracles.semantic.oracle import SemanticOracle
from guardrail.oracles.semantic.pair import PairComparer
from guardrail.oracles.semantic.pair_head import PairHead
from guardrail.oracles.semantic.reading import read_answer, read_question
from guardrail.oracles.text.sentence_model import DEFAULT_PACKAGE
from guardrail.oracles.text.sentences import SentenceEncoder
from guardrail.types import Outcome


class Spelling:
    """Embeds a word by itself: another word has another vector."""

    revision = "spelling"

    def __init__(self, digest=None, fault=None):
        self.weights_digest = PairHead.load().encoder if digest is None else digest
        self.fault = fault

    def encode(self, texts):
        if self.fault is not None:
            raise self.fault
        rows = np.stack([
            np.random.default_rng(list(text.encode("utf-8", "replace"))).normal(size=64)
            for text in texts
        ])  # fmt: skip
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def same(question, first, second, encoder=None):
    async def run():
        comparer = PairComparer(encoder or Spelling(), PairHead.load())
        try:
            return (await comparer.differences(first, [second], question))[0] < 0.5
        finally:
            await comparer.aclose()

    return asyncio.run(run())


COLOUR = "what colour is the background?"
SAME = [
    (COLOUR, "the background is yellow.", "yellow."),
    (COLOUR, "it is yellow.", "i see a yellow background."),
    ("how many things are there?", "one.", "there is one thing."),
    ("how many things are there?", "3", "i count three things."),
    ("is there a dog?", "no.", "no, only a cat and a hat."),
    ("is there a dog?", "yes.", "yes, the picture shows a dog."),
    ("is the door open?", "No.", "It is closed."),
    ("what do you see?", "a dog and a cat.", "a cat and a dog on a red background."),
    ("which is bigger, the dog or the cat?", "The dog.", "The cat is smaller than the dog."),
    ("", "There is a dog.", "the picture shows a dog."),
    ("is there a dog?", "no, i do not see a dog.", "no, only a cat and a hat."),
    ("is there a dog?", "No, I can't see any dog.", "No, just a kite and a hat."),
]
OTHER = [
    (COLOUR, "the background is yellow.", "blue."),
    ("how many things are there?", "one.", "there are two things."),
    ("how many dogs are there?", "3", "there are thirteen dogs."),
    ("is there a dog?", "yes.", "no, only a cat."),
    ("is the door open?", "It is open.", "It isn't."),
    ("what do you see?", "a dog.", "a dog and a cat."),
    ("what do you see?", "a dog.", "a frog."),
    ("which is bigger, the dog or the cat?", "The dog.", "The dog is smaller than the cat."),
    ("which way?", "left", "Turn right."),
    ("what do you see?", "a castle.", "a trophy and a castle."),
    ("what do you see?", "a red drum, a wolf and a kite.", "it shows a wolf and a kite."),
    ("", "There are two dogs.", "There are three dogs."),
]


@pytest.mark.parametrize(("question", "first", "second"), SAME)
def test_short_and_long_answers_are_one(question, first, second):
    assert same(question, first, second)
    assert same(question, second, first)


@pytest.mark.parametrize(("question", "first", "second"), OTHER)
def test_other_answers_are_not(question, first, second):
    assert not same(question, first, second)
    assert not same(question, second, first)


def test_the_oracle_gives_the_question_and_tells_a_mismatch_as_one():
    async def run():
        oracle = SemanticOracle(PairComparer(Spelling(), PairHead.load()), n0=3)
        said = [Exchange(COLOUR, text) for text in ("yellow.", "it is yellow.", "blue.")]
        try:
            reference = await oracle.reference(said)
            return await reference.oracle.judge(said)
        finally:
            await oracle.aclose()

    judgements = asyncio.run(run())
    assert [judgement.outcome for judgement in judgements] == [
        Outcome.HARMLESS,
        Outcome.HARMLESS,
        Outcome.OTHER_MEANING,
    ]
    assert judgements[-1].reason == "other meaning"


THINGS = ("a wolf", "some wine", "two kites", "a red drum", "an owl", "the old clock")
SCENES = (
    "{}", "i see {}.", "Here is {}.", "there is {} in the picture", "{} on a blue background.",
    "the image shows {} in front of a blue background.", "a blue background with {}",
    "{} against a blue backdrop", "a photo of {} over a blue background",
)  # fmt: skip


def weigh(first, second, question="what do you see?"):
    """Whether a rule excludes that they are the same, and whether the shipped weights say so."""
    head = PairHead.load()
    row = pair_features(
        read_question(question), read_answer(first), read_answer(second), lambda a, b: a == b
    )
    return excludes(row), bool(head.probabilities(row[None])[0] >= head.threshold)


def enumerate_things(things):
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"


listed = st.lists(st.sampled_from(THINGS), min_size=1, max_size=4, unique=True)
forms = st.sampled_from(SCENES)


@given(listed.flatmap(lambda things: st.tuples(st.just(things), st.permutations(things))),
       forms, forms)  # fmt: skip
def test_the_same_things_in_any_order_before_any_background_are_one(both, one, other):
    first, second = map(enumerate_things, both)
    assert weigh(one.format(first), other.format(second)) == (False, True)


@given(st.lists(st.sampled_from(THINGS), min_size=2, max_size=4, unique=True), st.data())
def test_a_thing_less_is_another_answer_wherever_it_stood(things, data):
    gone = data.draw(st.integers(0, len(things) - 1))
    less = [thing for at, thing in enumerate(things) if at != gone]
    one, other = data.draw(forms), data.draw(forms)
    excluded, _ = weigh(one.format(enumerate_things(things)), other.format(enumerate_things(less)))
    assert excluded


TEXT = st.text(max_size=60) | st.lists(
    st.sampled_from("no yes the red dog cat is on two 3 , . and left of by not than".split()),
    max_size=12,
).map(" ".join)


@given(TEXT, TEXT, TEXT)
def test_features_are_finite_symmetric_and_of_one_length(question, first, second):
    asked, one, other = read_question(question), read_answer(first), read_answer(second)
    words = set(words_to_encode(asked, (one, other)))

    def similarity(a, b):
        assert {a, b} <= words
        return 1.0 if a == b else 0.0

    row = pair_features(asked, one, other, similarity)
    assert row.shape == (len(FEATURES),)
    assert np.isfinite(row).all()
    if len(one) == len(other) == 1:
        np.testing.assert_allclose(row, pair_features(asked, other, one, similarity))


def test_another_sentence_model_is_refused():
    comparer = PairComparer(Spelling(digest="another"), PairHead.load())
    with pytest.raises(ConfigError, match="embedding"):
        _ = comparer.revision
    asyncio.run(comparer.aclose())


def test_a_fault_of_the_encoder_is_an_error_that_quotes_nothing():
    with pytest.raises(OracleError) as raised:
        same("", "a dog", "a cat", Spelling(fault=RuntimeError("SECRET")))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK nothing"])
def test_damaged_weights_are_told(tmp_path, content):
    path = tmp_path / "head.npz"
    path.write_bytes(content)
    with pytest.raises(OracleError, match="cannot be read"):
        PairHead.load(path)


def test_weights_of_other_features_are_told(tmp_path):
    path = tmp_path / "head.npz"
    head = PairHead.load()
    about = '{"features": ["a"], "threshold": 0.5, "encoder": "x"}'
    names = ("mean", "scale", "hidden", "hidden_bias", "last", "last_bias")
    np.savez(path, about=np.array(about), **{name: getattr(head, name) for name in names})
    with pytest.raises(OracleError, match="other features"):
        PairHead.load(path)


@pytest.mark.skipif(
    importlib.util.find_spec(DEFAULT_PACKAGE) is None, reason="the sentence model is not installed"
)
def test_the_shipped_weights_belong_to_the_shipped_sentence_model():
    comparer = PairComparer(SentenceEncoder(), PairHead.load())
    assert comparer.revision.startswith("pair-")
    asyncio.run(comparer.aclose())
