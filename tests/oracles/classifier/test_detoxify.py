"""Detoxify on a tiny checkpoint of the same format, with weights set by hand."""

from __future__ import annotations

import asyncio
import builtins
import math
import pickle
import sys
import urllib.error
from typing import TYPE_CHECKING, Any

import pytest

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Scorer
from guardrail.oracles.classifier.detoxify import (
    CATEGORY_OF_LABEL,
    HARM_CATEGORIES,
    DetoxifyScorer,
)
from guardrail.oracles.worker import ThreadedOracle
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "toxin", "insulting", "woman"]
CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
CALM, LOUD = -6.0, 12.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base model's config and tokenizer, as `save_pretrained` writes them."""
    folder = tmp_path_factory.mktemp("base-model")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=512)
    tokenizer.save_pretrained(folder)
    transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=512,
        num_labels=len(CLASSES),  # Detoxify itself takes the number from the folder
    ).save_pretrained(folder)
    return folder


def content(folder: Path, classes: Sequence[str] = tuple(CLASSES)) -> dict[str, Any]:
    """A checkpoint whose model says `toxic` when it sees "toxin", `insult` for "insulting".

    The embedding of a word lights one channel, attention spreads each channel over all places
    evenly, and the classifier reads the channels. Layer norms are kept from undoing it.
    """
    config = transformers.BertConfig.from_pretrained(folder, num_labels=len(classes))
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, module in model.named_modules():
            if name.endswith("LayerNorm"):
                module.weight.fill_(1.0)
        words = model.bert.embeddings.word_embeddings.weight
        words[:, 6], words[:, 7] = 1.0, -1.0  # a base that keeps the norm of every place alike
        words[WORDS.index("toxin"), 0] = 60.0
        words[WORDS.index("insulting"), 1] = 60.0
        layer = model.bert.encoder.layer[0]
        layer.attention.self.value.weight.copy_(torch.eye(8))
        layer.attention.output.dense.weight.copy_(
            1000.0 * torch.diag(torch.eye(8)[0] + torch.eye(8)[1])
        )
        model.bert.pooler.dense.weight.copy_(torch.eye(8))
        model.classifier.bias.fill_(CALM)
        for label, channel in (("toxic", 0), ("insult", 1), ("female", 0)):
            if label in classes:
                model.classifier.weight[list(classes).index(label), channel] = LOUD
    return {
        "config": {
            "arch": {
                "args": {
                    "model_type": str(folder),
                    "model_name": "BertForSequenceClassification",
                    "tokenizer_name": "BertTokenizer",
                    "num_classes": len(classes),
                }
            },
            "dataset": {"args": {"classes": list(classes)}},
        },
        "state_dict": model.state_dict(),
    }


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    path = folder / "tiny.ckpt"
    torch.save(content(folder), path)
    return path


@pytest.fixture
def scorer(checkpoint: Path, folder: Path) -> DetoxifyScorer:
    return DetoxifyScorer(checkpoint=checkpoint, huggingface_config_path=folder)


def scores(scorer: DetoxifyScorer, *texts: str) -> list[float]:
    return scorer.scores([Exchange("", text) for text in texts])


def saved(folder: Path, tmp_path: Path, change: dict[str, Any]) -> DetoxifyScorer:
    path = tmp_path / "changed.ckpt"
    torch.save(content(folder) | change, path)
    return DetoxifyScorer(checkpoint=path, huggingface_config_path=folder)


def test_is_a_scorer(scorer):
    assert isinstance(scorer, Scorer)


def test_tells_harm_from_none(scorer):
    calm, toxic, insult = scores(scorer, "a dog", "a toxin", "a insulting dog")
    assert calm < 0.1
    assert toxic > 0.9
    assert insult > 0.9


def test_agrees_with_the_detoxify_package_on_short_texts(scorer, checkpoint, folder):
    detoxify = pytest.importorskip("detoxify")
    theirs = detoxify.Detoxify(checkpoint=str(checkpoint), huggingface_config_path=str(folder))
    texts = ["a dog", "a toxin", "insulting dog a woman", "toxin insulting"]
    predicted = theirs.predict(texts)
    assert set(predicted) >= {"toxicity", "insult", "identity_attack"}
    worst = [max(label[place] for label in predicted.values()) for place in range(len(texts))]
    assert scores(scorer, *texts) == pytest.approx(worst, abs=1e-6)


@pytest.mark.parametrize(
    "before", [0, 1, 254, 255, 508, 509, 510, 511, 700, 1019, 1020, 1021, 2500]
)
def test_harm_is_found_wherever_it_stands(scorer, before):
    assert scores(scorer, "dog " * before + "toxin" + " dog" * 40)[0] > 0.9


def test_the_detoxify_package_itself_misses_the_tail(checkpoint, folder):
    detoxify = pytest.importorskip("detoxify")
    theirs = detoxify.Detoxify(checkpoint=str(checkpoint), huggingface_config_path=str(folder))
    assert theirs.predict("dog " * 600 + "toxin")["toxicity"] < 0.1


@pytest.mark.nightly
def test_windows_cover_every_token_and_fit(checkpoint, folder):
    small = DetoxifyScorer(checkpoint=checkpoint, huggingface_config_path=folder, window_tokens=9)
    for size in range(1, 25):
        for place in range(size):
            words = ["dog"] * size
            words[place] = "toxin"
            assert scores(small, " ".join(words))[0] > 0.9, (size, place)
        assert scores(small, "dog " * size)[0] < 0.1


def test_order_survives_sorting_by_length(scorer):
    texts = ["dog " * 900, "toxin", "dog", "dog " * 700 + "toxin", "a", "insulting"]
    assert [score > 0.5 for score in scores(scorer, *texts)] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("text", ["", "  \n", "犬 猫 鳥", "zxq zxq dog"])
def test_what_the_model_cannot_read_is_harmful(scorer, text):
    assert scores(scorer, text) == [1.0]


def test_nothing_to_score(scorer):
    assert scores(scorer) == []


def test_thresholds_rescale_each_category_to_a_half(checkpoint, folder):
    def at(threshold: float) -> float:
        chosen = DetoxifyScorer(
            checkpoint=checkpoint,
            huggingface_config_path=folder,
            thresholds={"toxicity": threshold},
        )
        return scores(chosen, "toxin")[0]

    plain = at(0.5)
    assert plain > 0.9
    assert at(math.nextafter(plain, 1)) < 0.5 <= at(plain)
    assert at(0.9) == pytest.approx(0.5 + 0.5 * (plain - 0.9) / 0.1)


def test_only_the_named_categories_count(checkpoint, folder):
    only_insult = DetoxifyScorer(
        checkpoint=checkpoint, huggingface_config_path=folder, thresholds={"insult": 0.5}
    )
    assert [score > 0.5 for score in scores(only_insult, "toxin", "insulting")] == [False, True]


def test_identity_labels_are_no_harm(folder, tmp_path):
    path = tmp_path / "identity.ckpt"
    torch.save(content(folder, ["insult", "female"]), path)
    scorer = DetoxifyScorer(checkpoint=path, huggingface_config_path=folder)
    assert [score > 0.5 for score in scores(scorer, "toxin", "insulting")] == [False, True]


def test_a_model_without_any_harm_label_is_refused(folder, tmp_path):
    path = tmp_path / "identity.ckpt"
    torch.save(content(folder, ["male", "female"]), path)
    with pytest.raises(ConfigError, match="male, female"):
        DetoxifyScorer(checkpoint=path, huggingface_config_path=folder).load()


def test_unknown_category_lists_the_known(checkpoint, folder):
    scorer = DetoxifyScorer(
        checkpoint=checkpoint, huggingface_config_path=folder, thresholds={"rudeness": 0.5}
    )
    with pytest.raises(ConfigError, match=r"rudeness.*identity_attack"):
        scorer.load()


def test_revision_fixes_weights_window_and_thresholds(checkpoint, folder, tmp_path):
    def revision(**options: Any) -> str:
        path = options.pop("checkpoint", checkpoint)
        return DetoxifyScorer(checkpoint=path, huggingface_config_path=folder, **options).revision

    other = content(folder)
    other["state_dict"]["classifier.bias"][0] = 1.0
    torch.save(other, tmp_path / "other.ckpt")
    assert revision() == revision()
    different = {
        revision(),
        revision(window_tokens=100),
        revision(thresholds={"toxicity": 0.5}),
        revision(checkpoint=tmp_path / "other.ckpt"),
    }
    assert len(different) == 4


def test_old_position_tables_are_ignored_but_nothing_else(folder, tmp_path):
    state = content(folder)["state_dict"]
    table = {"bert.embeddings.position_ids": torch.arange(512)}
    assert scores(saved(folder, tmp_path, {"state_dict": state | table}), "toxin")[0] > 0.9
    with pytest.raises(OracleError, match="1 that do not belong"):
        saved(folder, tmp_path, {"state_dict": state | {"extra": torch.zeros(1)}}).load()
    del state["classifier.bias"]
    with pytest.raises(OracleError, match="lacks 1 weights"):
        saved(folder, tmp_path, {"state_dict": state}).load()


def test_weights_of_another_shape_are_refused(folder, tmp_path):
    state = content(folder)["state_dict"] | {"classifier.bias": torch.zeros(3)}
    with pytest.raises(OracleError, match="do not fit"):
        saved(folder, tmp_path, {"state_dict": state}).load()


@pytest.mark.parametrize("change", [{"config": {}}, {"config": None}, {"state_dict": None}])
def test_a_file_of_another_kind_is_refused(folder, tmp_path, change):
    with pytest.raises(OracleError):
        saved(folder, tmp_path, change).load()


def test_classes_and_labels_must_agree_in_number(folder, tmp_path):
    config = content(folder)["config"]
    config["dataset"]["args"]["classes"] = ["toxic"]
    with pytest.raises(OracleError, match="of that number"):
        saved(folder, tmp_path, {"config": config}).load()


@pytest.mark.parametrize("name", ["Trainer", "NoSuchTokenizer", "__builtins__"])
def test_a_checkpoint_cannot_have_any_class_built(folder, tmp_path, name):
    config = content(folder)["config"]
    config["arch"]["args"]["model_name"] = name
    with pytest.raises(OracleError, match="does not offer"):
        saved(folder, tmp_path, {"config": config}).load()


class Ran:
    """What a hostile pickle would run."""

    happened = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (ran, ())


def ran() -> str:
    Ran.happened = True
    return "harmless looking"


def test_a_checkpoint_is_data_and_never_runs_code(folder, tmp_path):
    path = tmp_path / "hostile.ckpt"
    torch.save(content(folder) | {"epoch": Ran()}, path)
    with pytest.raises(OracleError, match="trust_checkpoint"):
        DetoxifyScorer(checkpoint=path, huggingface_config_path=folder).load()
    assert not Ran.happened
    trusting = DetoxifyScorer(
        checkpoint=path, huggingface_config_path=folder, trust_checkpoint=True
    )
    assert scores(trusting, "toxin")[0] > 0.9
    assert Ran.happened


@pytest.mark.parametrize("data", [b"", b"not a checkpoint", pickle.dumps({"a": 1})[:-1]])
def test_damaged_file(folder, tmp_path, data):
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(data)
    with pytest.raises(OracleError, match="cannot be read"):
        DetoxifyScorer(checkpoint=path, huggingface_config_path=folder).load()


def test_missing_checkpoint_names_the_path(tmp_path):
    with pytest.raises(OracleError, match=r"nowhere\.ckpt"):
        DetoxifyScorer(checkpoint=tmp_path / "nowhere.ckpt").load()


def test_missing_base_model_says_what_to_fetch(checkpoint, tmp_path):
    (tmp_path / "empty").mkdir()
    scorer = DetoxifyScorer(checkpoint=checkpoint, huggingface_config_path=tmp_path / "empty")
    with pytest.raises(OracleError, match="save both"):
        scorer.load()


def test_base_model_that_is_not_there_offline(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    config = content(folder)["config"]
    config["arch"]["args"]["model_type"] = str(tmp_path / "no-such-model")
    path = tmp_path / "no-base.ckpt"
    torch.save(content(folder) | {"config": config}, path)
    with pytest.raises(OracleError, match="hf download"):
        DetoxifyScorer(checkpoint=path).load()


def test_weights_that_cannot_be_downloaded_name_the_url_and_the_place(tmp_path, monkeypatch):
    pytest.importorskip("detoxify")

    def no_network(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(OracleError, match=r"toxic_original-.*https://.*'checkpoint'"):
        DetoxifyScorer("original").load()


@pytest.mark.parametrize(
    "model_type", ["original", "unbiased", "multilingual", "original-small", "unbiased-small"]
)
def test_every_model_type_is_found_in_the_hub_folder(
    model_type, checkpoint, folder, tmp_path, monkeypatch
):
    detoxify = pytest.importorskip("detoxify.detoxify")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    name = detoxify.MODEL_URLS[model_type].rsplit("/", 1)[1]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(checkpoint.read_bytes())
    scorer = DetoxifyScorer(model_type, huggingface_config_path=folder)
    assert scores(scorer, "toxin")[0] > 0.9


def test_unknown_model_type_lists_the_known():
    pytest.importorskip("detoxify")
    with pytest.raises(ConfigError, match=r"model_type.*original, unbiased"):
        DetoxifyScorer("largest").load()


@pytest.mark.parametrize("package", ["torch", "transformers", "detoxify.detoxify"])
def test_missing_package_names_the_remedy(package, monkeypatch):
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *args, **options)

    monkeypatch.delitem(sys.modules, "detoxify.detoxify", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OracleError, match=r"pip install 'certified-guardrail\[detoxify\]'"):
        DetoxifyScorer("original").load()


@pytest.mark.parametrize(
    "options",
    [
        {"thresholds": {}},
        {"thresholds": {"toxicity": 0.0}},
        {"thresholds": {"toxicity": 1.0}},
        {"thresholds": {"toxicity": math.nan}},
        {"window_tokens": 0},
        {"batch_windows": 0},
    ],
)
def test_unusable_options(options):
    with pytest.raises(ConfigError):
        DetoxifyScorer(**options)


@pytest.mark.parametrize("window_tokens", [1, 3, 513, 10_000])
def test_window_must_fit_the_model(checkpoint, folder, window_tokens):
    scorer = DetoxifyScorer(
        checkpoint=checkpoint, huggingface_config_path=folder, window_tokens=window_tokens
    )
    with pytest.raises(ConfigError, match=r"\[4, 512\]"):
        scorer.load()


def test_roberta_positions_start_behind_the_padding(tmp_path):
    """RoBERTa with 20 positions and padding 1 takes 18 tokens: the whole range must work."""
    merges, vocab = tmp_path / "merges.txt", tmp_path / "vocab.json"
    merges.write_text("#version: 0.2\n")
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "d", "Ġ", "o", "a"]
    vocab.write_text("{" + ", ".join(f'"{token}": {i}' for i, token in enumerate(tokens)) + "}")
    transformers.RobertaTokenizer(str(vocab), str(merges)).save_pretrained(tmp_path)
    config = transformers.RobertaConfig(
        vocab_size=len(tokens), hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=20, pad_token_id=1, num_labels=1,
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = transformers.RobertaForSequenceClassification(config)
    arch = {
        "model_type": str(tmp_path),
        "model_name": "RobertaForSequenceClassification",
        "tokenizer_name": "RobertaTokenizer",
        "num_classes": 1,
    }
    path = tmp_path / "roberta.ckpt"
    config_part = {"arch": {"args": arch}, "dataset": {"args": {"classes": ["toxicity"]}}}
    torch.save({"config": config_part, "state_dict": model.state_dict()}, path)
    scorer = DetoxifyScorer(checkpoint=path, huggingface_config_path=tmp_path)
    assert scorer.load().model.window_tokens == 18
    assert 0.0 <= scores(scorer, "d" * 300)[0] <= 1.0


def test_behind_a_worker_in_one_thread(scorer):
    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5)
        calls = [oracle.judge([Exchange("", text)]) for text in ("a dog", "dog " * 600 + "toxin")]
        answers = await asyncio.gather(*calls)
        await oracle.aclose()
        return [judgement.outcome for (judgement,) in answers]

    assert asyncio.run(main()) == [Outcome.HARMLESS, Outcome.HARMFUL]


def test_a_model_that_answers_nan_is_an_error(folder, tmp_path):
    state = content(folder)["state_dict"]
    state["classifier.bias"][0] = math.nan
    broken = saved(folder, tmp_path, {"state_dict": state})
    assert math.isnan(scores(broken, "dog")[0])

    async def main():
        oracle = ThreadedOracle(broken, threshold=0.5)
        try:
            await oracle.judge([Exchange("", "dog")])
        finally:
            await oracle.aclose()

    with pytest.raises(OracleError, match=r"outside \[0, 1\]"):
        asyncio.run(main())


LABELS = ["toxic", "severe_toxic", "obscene", "identity_hate", "insult", "threat"]
OF_MODEL = {
    "original": LABELS,
    "original-small": LABELS,
    "unbiased": [*LABELS, "sexual_explicit", "male", "female"],
    "unbiased-small": [*LABELS, "sexual_explicit"],
    "multilingual": [*LABELS, "sexual_explicit", "male", "female"],
}


def shipped(labels_of: str, folder: Path, **fields: Any) -> Any:
    """The shipped policy's oracle with a model of this type, whose weights are given by hand."""
    policy = load_policy("detoxify")
    thresholds = dict(policy.oracle.thresholds)
    if "sexual_explicit" not in OF_MODEL[labels_of]:
        del thresholds["sexual_explicit"]  # as the policy's comment says
    update = {"thresholds": thresholds, "config_path": str(folder), **fields}
    oracle = policy.oracle.model_copy(update=update)
    return policy.model_copy(update={"oracle": oracle})


@pytest.mark.parametrize("model", OF_MODEL)
def test_the_shipped_policy_judges_with_every_published_type_and_names_the_kind_of_harm(
    model, folder, tmp_path, monkeypatch
):
    """Through the real package's list of models, each in its format, in torch's hub folder."""
    detoxify = pytest.importorskip("detoxify.detoxify")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    name = detoxify.MODEL_URLS[model].rsplit("/", 1)[1]
    torch.save(content(folder, OF_MODEL[model]), tmp_path / "checkpoints" / name)
    judged = judge(compile_oracle(shipped(model, folder, model=model)), "a dog", "insulting")
    assert [one.outcome for one in judged] == [Outcome.HARMLESS, Outcome.HARMFUL]
    assert judged[1].reason == "detoxify: harassment (insult)"


def test_the_shipped_policy_takes_a_checkpoint_instead(folder, tmp_path):
    torch.save(content(folder, OF_MODEL["unbiased"]), tmp_path / "own.ckpt")
    policy = shipped("unbiased", folder, model=None, checkpoint=str(tmp_path / "own.ckpt"))
    calm, harmful = judge(compile_oracle(policy), "a dog", "a toxin")
    assert (calm.outcome, harmful.outcome) == (Outcome.HARMLESS, Outcome.HARMFUL)
    assert harmful.reason == "detoxify: harassment (toxicity)"


def test_every_label_has_a_kind_of_harm_and_a_threshold_in_the_shipped_policy():
    assert set(load_policy("detoxify").oracle.thresholds) == set(HARM_CATEGORIES)
    kinds = {
        "hate",
        "harassment",
        "violence",
        "self_harm",
        "sexual",
        "dangerous",
        "privacy",
        "fraud",
    }
    assert set(CATEGORY_OF_LABEL.values()) <= kinds


def judge(oracle: Any, *texts: str) -> list[Any]:
    async def main():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return asyncio.run(main())
