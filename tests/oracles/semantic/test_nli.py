"""Answers compared by entailment: the rule itself, and a tiny model as a policy names it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange
from guardrail.oracles.kinds.semantic import SemanticOptions
from guardrail.oracles.semantic.nli import NliComparer
from guardrail.oracles.semantic.oracle import SemanticOracle
from guardrail.types import Outcome

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "car", "dog"]


class Subset:
    """A text follows from every text that has all of its words, in part if some are missing."""

    revision = "subset"

    def __init__(self, fault=None):
        self.fault, self.seen = fault, []

    def scores(self, exchanges):
        if self.fault is not None:
            raise self.fault
        self.seen += [(exchange.prompt, exchange.response) for exchange in exchanges]
        return [self._score(set(e.prompt.split()), set(e.response.split())) for e in exchanges]

    @staticmethod
    def _score(premise, hypothesis):
        return len(hypothesis - premise) / max(len(hypothesis), 1)


def differences(reference, *texts, scorer=None, **options):
    async def run():
        comparer = NliComparer(scorer or Subset(), **options)
        try:
            return await comparer.differences(reference, texts)
        finally:
            await comparer.aclose()

    return asyncio.run(run())


def test_each_must_follow_from_the_other():
    same, less, more, other = differences(
        "a red car", "car a red", "a car", "a big red fast car", "two dogs"
    )
    assert same == 0.0
    assert less < 0.5  # "red" alone is missing, a third of the words
    assert 0.0 < less < more < other == 1.0


def test_the_direction_that_follows_less_decides():
    """A shorter answer follows from the reference, which does not follow from it."""
    (difference,) = differences("a big red fast car", "a car")
    assert difference >= 0.5
    assert difference == differences("a car", "a big red fast car")[0]


@given(st.floats(0.01, 0.99), st.lists(st.sampled_from("abcd"), min_size=1, max_size=4))
def test_the_limit_is_where_the_policy_sets_it(entailment, letters):
    premise = {"a", "b"}
    probability = 1.0 - max(
        Subset._score(premise, set(letters)), Subset._score(set(letters), premise)
    )
    (difference,) = differences("a b", " ".join(letters), entailment=entailment)
    if abs(probability - entailment) > 1e-9:
        assert (difference < 0.5) == (probability > entailment)
    assert 0.0 <= difference <= 1.0


def test_equal_texts_are_asked_for_once_and_the_same_text_never():
    scorer = Subset()
    found = differences("a car", "a car", "a dog", "a dog", scorer=scorer)
    assert found[0] == 0.0
    assert found[2] == found[1] > 0.0
    assert sorted(scorer.seen) == [("a car", "a dog"), ("a dog", "a car")]


def test_nothing_to_compare_is_no_call():
    scorer = Subset()
    assert differences("a car", scorer=scorer) == []
    assert scorer.seen == []


def test_a_fault_of_the_model_is_an_error_that_quotes_nothing():
    with pytest.raises(OracleError) as raised:
        differences("a", "b", scorer=Subset(RuntimeError("SECRET")))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("entailment", [0.0, 1.0, float("nan")])
def test_the_limit_lies_between_0_and_1(entailment):
    with pytest.raises(ConfigError, match="entailment"):
        NliComparer(Subset(), entailment=entailment)


def test_the_revision_covers_model_and_limit():
    other = Subset()
    other.revision = "other"
    made = [NliComparer(Subset()), NliComparer(Subset(), entailment=0.6), NliComparer(other)]
    assert len({comparer.revision for comparer in made}) == 3


def test_it_chooses_a_reference():
    async def run():
        oracle = SemanticOracle(NliComparer(Subset()), n0=3)
        try:
            said = [Exchange("", text) for text in ("a dog", "a red car", "car red a")]
            reference = await oracle.reference(said)
            return await reference.oracle.judge(said)
        finally:
            await oracle.aclose()

    assert [one.outcome for one in asyncio.run(run())] == [
        Outcome.OTHER_MEANING,
        Outcome.HARMLESS,
        Outcome.HARMLESS,
    ]


class TestModel:
    """A model in the Hugging Face format, as a policy names it."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        folder = tmp_path_factory.mktemp("policy") / "nli"
        folder.mkdir()
        (folder / "vocab.txt").write_text("\n".join(WORDS))
        transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(
            folder
        )
        torch.manual_seed(0)
        names = {0: "contradiction", 1: "neutral", 2: "entailment"}
        model = transformers.BertForSequenceClassification(
            transformers.BertConfig(
                vocab_size=len(WORDS),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=32,
                id2label=names,
                label2id={name: number for number, name in names.items()},
            )
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(8.0)
        model.save_pretrained(folder)
        return folder

    def built(self, folder, **fields):
        choice = {"kind": "semantic", "method": "nli", "model": folder.name, **fields}
        return SemanticOptions.model_validate(choice).build(folder.parent)

    def test_it_says_what_the_model_itself_says(self, folder):
        import torch
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()

        def entailed(premise, hypothesis):
            with torch.inference_mode():
                logits = model(**tokenizer(premise, hypothesis, return_tensors="pt")).logits
            return float(logits.softmax(-1)[0, 2])

        first, second = "a red car", "a dog"
        limit = min(entailed(first, second), entailed(second, first))
        for entailment, same in ((limit * 0.99, True), (limit * 1.01, False)):
            oracle = self.built(folder, entailment=entailment, n0=1)
            reference = asyncio.run(oracle.reference([Exchange("", first)]))
            (judgement,) = asyncio.run(reference.oracle.judge([Exchange("", second)]))
            asyncio.run(oracle.aclose())
            assert (judgement.outcome is Outcome.HARMLESS) == same

    def test_a_label_that_the_model_lacks_is_named(self, folder):
        with pytest.raises((ConfigError, OracleError), match="entails"):
            _ = self.built(folder, label="entails").revision
