"""Text classifiers of several architectures, tiny, saved and loaded as a user's would be."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Scorer
from guardrail.oracles.classifier.classifier import ClassifierScorer

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "bad", "ask", "##x"]
SMALL = {
    "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 40,
}  # fmt: skip
LABELS = ("fine", "rude", "cruel")
KINDS = ("Bert", "DistilBert", "Roberta", "XLMRoberta")


def word_tokenizer(folder: Path) -> Any:
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=40)


def byte_tokenizer(folder: Path) -> Any:
    letters = ["Ġ", *"abcdefghijklmnopqrstuvwxyz"]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.RobertaTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=38
    )


def unigram_tokenizer(_: Path) -> Any:
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    return transformers.XLMRobertaTokenizer(vocab=pieces, model_max_length=38)


def config_of(kind: str, **fields: Any) -> Any:
    names = dict(enumerate(LABELS))
    fields = {"id2label": names, "label2id": {v: k for k, v in names.items()}, **fields}
    if kind == "DistilBert":
        sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
        return transformers.DistilBertConfig(
            vocab_size=32, max_position_embeddings=40, **sizes, **fields
        )
    padding = {"pad_token_id": 1} if "Roberta" in kind else {}
    return getattr(transformers, f"{kind}Config")(**SMALL, **padding, **fields)


def save(folder: Path, kind: str, **fields: Any) -> Path:
    """A model whose random weights are large enough for its answers to differ."""
    folder.mkdir()
    make = {"Roberta": byte_tokenizer, "XLMRoberta": unigram_tokenizer}.get(kind, word_tokenizer)
    make(folder).save_pretrained(folder)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config_of(kind, **fields))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(20.0 if "embeddings" in name else 8.0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def any_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "bert", "Bert")


@pytest.fixture(scope="module")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    problem = "multi_label_classification"
    return save(tmp_path_factory.mktemp("models") / "multi", "Bert", problem_type=problem)


def scores(scorer: ClassifierScorer, *texts: str, prompt: str = "") -> list[float]:
    return scorer.scores([Exchange(prompt, text) for text in texts])


def plain(folder: Path, *texts: str) -> Any:
    """What transformers itself makes of texts that fit; logits, one row for each text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(*texts, return_tensors="pt")).logits[0]


def test_it_is_a_scorer(bert):
    assert isinstance(ClassifierScorer(bert, labels={"rude": 0.5}), Scorer)


@pytest.mark.parametrize("text", ["a dog", "bad", "dog bad a dog a bad dog"])
def test_every_architecture_scores_as_transformers_does(any_kind, text):
    expected = plain(any_kind, text).softmax(-1)
    for column, name in enumerate(LABELS):
        scorer = ClassifierScorer(any_kind, labels={name: 0.5})
        assert scores(scorer, text)[0] == pytest.approx(float(expected[column]), abs=1e-5)


@pytest.mark.parametrize("texts", [("ask", "a dog"), ("ask a dog", "bad")])
def test_every_architecture_takes_pairs_as_transformers_does(any_kind, texts):
    expected = float(plain(any_kind, *texts).softmax(-1)[1])
    scorer = ClassifierScorer(any_kind, labels={"rude": 0.5}, pair="prompt_and_response")
    prompt, answer = texts
    assert scores(scorer, answer, prompt=prompt)[0] == pytest.approx(expected, abs=1e-5)
    assert scores(scorer, answer, prompt="dog dog dog")[0] != pytest.approx(expected, abs=1e-5)


def test_without_a_pair_the_prompt_changes_nothing(bert):
    scorer = ClassifierScorer(bert, labels={"rude": 0.5})
    assert scores(scorer, "a dog", prompt="bad") == scores(scorer, "a dog")


def test_company_changes_no_score(any_kind):
    scorer = ClassifierScorer(any_kind, labels={"rude": 0.5, "cruel": 0.3})
    texts = ["bad", "a dog", "dog " * 7, "a " * 30 + "bad", "a dog bad", "dog " * 200]
    alone = [scores(scorer, text)[0] for text in texts]
    assert scores(scorer, *texts) == pytest.approx(alone, abs=1e-5)
    assert scores(scorer, *texts[::-1]) == pytest.approx(alone[::-1], abs=1e-5)


def test_labels_that_do_not_exclude_each_other_are_judged_each(multi):
    expected = plain(multi, "a dog").sigmoid()
    for column, name in enumerate(LABELS):
        scorer = ClassifierScorer(multi, labels={name: 0.5})
        assert scores(scorer, "a dog")[0] == pytest.approx(float(expected[column]), abs=1e-5)


def test_the_problem_can_be_said_anew(multi):
    scorer = ClassifierScorer(multi, labels={"rude": 0.5}, problem="single_label")
    expected = float(plain(multi, "a dog").softmax(-1)[1])
    assert scores(scorer, "a dog")[0] == pytest.approx(expected, abs=1e-5)


def test_each_threshold_becomes_a_half(bert):
    probability = scores(ClassifierScorer(bert, labels={"rude": 0.5}), "a dog")[0]

    def at(threshold: float) -> float:
        return scores(ClassifierScorer(bert, labels={"rude": threshold}), "a dog")[0]

    assert at(probability) >= 0.5 > at(math.nextafter(probability, 1.0))


def test_the_worst_of_the_labels_counts(bert):
    each = [scores(ClassifierScorer(bert, labels={name: 0.5}), "bad")[0] for name in LABELS]
    both = ClassifierScorer(bert, labels={"rude": 0.5, "cruel": 0.5})
    assert scores(both, "bad") == [max(each[1:])]


def test_a_harmless_label_leaves_the_rest_to_harm(bert):
    fine = scores(ClassifierScorer(bert, labels={"fine": 0.5}), "bad")[0]
    scorer = ClassifierScorer(bert, harmless_label="fine")
    assert scores(scorer, "bad")[0] == pytest.approx(1.0 - fine)


@pytest.mark.parametrize("pair", ["none", "prompt_and_response"])
@pytest.mark.parametrize("size", [1, 30, 39, 70, 200])
def test_harm_is_found_wherever_it_stands(tmp_path, pair, size):
    """A model that reads one channel: no place of a long answer is out of its sight."""
    folder = save(tmp_path / "model", "Bert")
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    seeing_only("bad", model)
    model.save_pretrained(folder)
    scorer = ClassifierScorer(folder, labels={"rude": 0.5}, pair=pair)
    words = ["dog"] * size
    for place in {0, size // 3, size // 2, size - 1}:
        answer = " ".join([*words[:place], "bad", *words[place + 1 :]])
        assert scores(scorer, answer, prompt="ask " * 90)[0] > 0.9, place
    assert scores(scorer, " ".join(words), prompt="ask " * 90)[0] < 0.1


def seeing_only(word: str, model: Any) -> None:
    """Attention that spreads one channel over all places, and a head that reads it."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, module in model.named_modules():
            if name.endswith("LayerNorm"):
                module.weight.fill_(1.0)
        words = model.bert.embeddings.word_embeddings.weight
        words[:, 6], words[:, 7] = 1.0, -1.0
        words[WORDS.index(word), 0] = 60.0
        layer = model.bert.encoder.layer[0].attention
        layer.self.value.weight.copy_(torch.eye(16))
        layer.output.dense.weight[0, 0] = 1000.0
        model.bert.pooler.dense.weight.copy_(torch.eye(16))
        model.classifier.weight[1, 0] = 12.0
        model.classifier.bias.copy_(torch.tensor([6.0, 0.0, -6.0]))


@pytest.mark.parametrize("text", ["", " \n\t ", "zzz qqq", "犬 猫"])
def test_what_the_model_cannot_read_is_harmful(bert, text):
    assert scores(ClassifierScorer(bert, labels={"rude": 0.99}), text) == [1.0]


def test_the_names_of_special_tokens_are_text(bert):
    scorer = ClassifierScorer(bert, labels={"rude": 0.5})
    (tokens,) = scorer.load().model.tokens(["dog [SEP] [PAD] \ud800"])
    assert not set(tokens) & {0, 2, 3, 4}


def test_unknown_labels_list_the_known(bert):
    with pytest.raises(ConfigError, match=r"labels.*nasty.*fine, rude, cruel"):
        ClassifierScorer(bert, labels={"nasty": 0.5}).load()
    with pytest.raises(ConfigError, match=r"harmless_label.*safe.*fine, rude, cruel"):
        ClassifierScorer(bert, harmless_label="safe").load()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labels": {}},
        {"labels": {"rude": 0.5}, "harmless_label": "fine"},
        {"labels": {"rude": 1.0}},
        {"labels": {"rude": math.nan}},
        {"labels": {"rude": 0.5}, "window_tokens": 0},
        {"labels": {"rude": 0.5}, "batch_windows": 0},
        {"labels": {"rude": 0.5}, "precision": "int4"},
        {"labels": {"rude": 0.5}, "precision": "int8", "device": "cuda"},
    ],
)
def test_unusable_options(options):
    with pytest.raises(ConfigError):
        ClassifierScorer("somewhere", **options)


def test_a_device_that_is_not_there(bert):
    with pytest.raises(ConfigError, match="device"):
        ClassifierScorer(bert, labels={"rude": 0.5}, device="nowhere").load()


@pytest.mark.parametrize(("pair", "least"), [("none", 4), ("prompt_and_response", 7)])
def test_a_window_must_fit_the_model_and_hold_text(bert, pair, least):
    def loaded(window: int) -> int:
        scorer = ClassifierScorer(bert, labels={"rude": 0.5}, pair=pair, window_tokens=window)
        return scorer.load().model.window_tokens

    assert (loaded(least), loaded(40)) == (least, 40)
    for window in (least - 1, 41):
        with pytest.raises(ConfigError, match=rf"\[{least}, 40\]"):
            loaded(window)


def test_a_model_that_gives_no_probabilities_is_refused(tmp_path):
    folder = save(tmp_path / "model", "Bert", problem_type="regression")
    with pytest.raises(ConfigError, match=r"problem.*regression"):
        ClassifierScorer(folder, labels={"rude": 0.5}).load()


def test_one_label_alone_is_judged_by_itself(tmp_path):
    folder = save(tmp_path / "model", "Bert", id2label={0: "rude"}, label2id={"rude": 0})
    expected = float(plain(folder, "a dog").sigmoid()[0])
    scorer = ClassifierScorer(folder, labels={"rude": 0.5})
    assert scores(scorer, "a dog")[0] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ConfigError, match="excludes nothing"):
        ClassifierScorer(folder, labels={"rude": 0.5}, problem="single_label").load()


def test_two_labels_of_one_name_are_refused(tmp_path):
    folder = save(tmp_path / "model", "Bert")
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"cruel"', '"rude"', 1))
    with pytest.raises(OracleError, match="one name"):
        ClassifierScorer(folder, labels={"rude": 0.5}).load()


def test_pickled_weights_are_read_only_where_trusted(tmp_path):
    folder = save(tmp_path / "model", "Bert")
    expected = scores(ClassifierScorer(folder, labels={"rude": 0.5}), "a dog")
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OracleError, match=r"safetensors.*trust_checkpoint"):
        ClassifierScorer(folder, labels={"rude": 0.5}).load()
    trusting = ClassifierScorer(folder, labels={"rude": 0.5}, trust_checkpoint=True)
    assert scores(trusting, "a dog") == expected


def test_code_of_a_model_s_own_is_never_run(bert, tmp_path):
    folder = tmp_path / "coded"
    shutil.copytree(bert, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    classes = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    path.write_text(json.dumps({**config, "model_type": "own", "auto_map": classes}))
    (folder / "own.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(OracleError, match="needs no code of its own"):
        ClassifierScorer(folder, labels={"rude": 0.5}).load()


def test_a_model_without_its_head_is_refused(tmp_path):
    folder = save(tmp_path / "model", "Bert")
    transformers.BertModel.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(OracleError, match="lacks weights"):
        ClassifierScorer(folder, labels={"LABEL_0": 0.5}).load()


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_a_missing_file(tmp_path, lost):
    folder = save(tmp_path / "model", "Bert")
    (folder / lost).unlink()
    with pytest.raises(OracleError, match=str(folder)):
        ClassifierScorer(folder, labels={"rude": 0.5}).load()


def test_damaged_weights(tmp_path):
    folder = save(tmp_path / "model", "Bert")
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(OracleError, match="cannot be loaded"):
        ClassifierScorer(folder, labels={"rude": 0.5}).load()


def test_an_id_that_cannot_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OracleError, match="hf download no/such-model"):
        ClassifierScorer("no/such-model", labels={"rude": 0.5}).load()


def test_the_revision_fixes_all_that_moves_a_score(bert, multi, tmp_path):
    def revision(model: Path = bert, **options: Any) -> str:
        return ClassifierScorer(model, **{"labels": {"rude": 0.5}, **options}).revision

    copied = tmp_path / "elsewhere"
    shutil.copytree(bert, copied)
    assert revision() == revision(copied) == revision(batch_windows=3)
    options: list[dict[str, Any]] = [
        {},
        {"model": multi},
        {"labels": {"rude": 0.6}},
        {"labels": {"cruel": 0.5}},
        {"labels": None, "harmless_label": "fine"},
        {"problem": "multi_label"},
        {"pair": "prompt_and_response"},
        {"window_tokens": 20},
        {"precision": "bfloat16"},
        {"model": save(tmp_path / "other", "Bert", layer_norm_eps=1e-6)},
    ]
    found = [lenient(revision, **chosen) for chosen in options]
    assert len(set(found)) == len(options)


def lenient(revision: Any, **options: Any) -> str:
    """The revision, whether or not these noisy weights agree with themselves in bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guardrail.oracles.classifier.precision.TOLERANCE", 1.0)
        return str(revision(**options))
