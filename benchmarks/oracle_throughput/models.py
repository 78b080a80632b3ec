"""Detoxify's architectures with random weights, as checkpoints in its own format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
import transformers
from detoxify import Detoxify
from texts import corpus
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer
from tokenizers.implementations import BertWordPieceTokenizer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CLASSES", "detoxify", "write"]

CLASSES = {
    "original": ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"],
    "unbiased": [
        *["toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat"],
        *["sexual_explicit", "male", "female", "homosexual_gay_or_lesbian", "christian"],
        *["jewish", "muslim", "black", "white", "psychiatric_or_mental_illness"],
    ],
}
CLASSES["original-small"] = CLASSES["original"]
_STANDARD = {
    "toxic": "toxicity",
    "severe_toxic": "severe_toxicity",
    "identity_hate": "identity_attack",
}
_NAMES = {"original": "Bert", "unbiased": "Roberta", "original-small": "Albert"}


def write(model_type: str, folder: Path) -> Path:
    """Tokenizer, config and checkpoint of one model; the checkpoint's path."""
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(model_type, folder)
    tokenizer.save_pretrained(folder)
    config = _config(model_type)
    config.save_pretrained(folder)
    torch.manual_seed(0)
    name = f"{_NAMES[model_type]}ForSequenceClassification"
    model = getattr(transformers, name)(config)
    arch = {
        "model_type": str(folder),
        "model_name": name,
        "tokenizer_name": type(tokenizer).__name__,
        "num_classes": config.num_labels,
    }
    classes = {"args": {"classes": CLASSES[model_type]}}
    content = {"config": {"arch": {"args": arch}, "dataset": classes}}
    torch.save({**content, "state_dict": model.state_dict()}, folder / "model.ckpt")
    return folder / "model.ckpt"


def detoxify(model_type: str, folder: Path) -> Detoxify:
    """Detoxify's own class around the same weights; its loader needs the network."""
    loaded = torch.load(folder / "model.ckpt", weights_only=True)
    arch = loaded["config"]["arch"]["args"]
    found = Detoxify.__new__(Detoxify)
    found.model = getattr(transformers, arch["model_name"])(_config(model_type)).eval()
    found.model.load_state_dict(loaded["state_dict"])
    found.tokenizer = getattr(transformers, arch["tokenizer_name"]).from_pretrained(folder)
    found.class_names = [_STANDARD.get(name, name) for name in CLASSES[model_type]]
    found.device = "cpu"
    return found


def _config(model_type: str) -> Any:
    """As published: bert-base-uncased, roberta-base and albert-base-v2."""
    labels = len(CLASSES[model_type])
    match model_type:
        case "original":
            return transformers.BertConfig(num_labels=labels)
        case "unbiased":
            return transformers.RobertaConfig(
                vocab_size=50265, max_position_embeddings=514, type_vocab_size=1,
                layer_norm_eps=1e-5, num_labels=labels,
            )  # fmt: skip
        case _:
            return transformers.AlbertConfig(
                hidden_size=768, num_attention_heads=12, intermediate_size=3072, num_labels=labels,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            )  # fmt: skip


def _tokenizer(model_type: str, folder: Path) -> Any:
    """Of the architecture's own kind, trained on texts like those that are judged."""
    if model_type == "original":
        trained = BertWordPieceTokenizer()
        trained.train_from_iterator(corpus(), vocab_size=30522, show_progress=False)
        trained.save_model(str(folder))
        return transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=512)
    if model_type == "unbiased":
        trained = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trained.train_from_iterator(
            corpus(), vocab_size=50265, special_tokens=special, show_progress=False
        )
        trained.save_model(str(folder))
        return transformers.RobertaTokenizer(
            str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=512
        )
    unigram = SentencePieceUnigramTokenizer()
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    unigram.train_from_iterator(
        corpus(),
        vocab_size=20000,
        special_tokens=special,
        unk_token=special[1],
        show_progress=False,
    )
    return _albert(unigram)


def _albert(unigram: Any) -> Any:
    vocabulary = json.loads(unigram.to_str())["model"]["vocab"]
    return transformers.AlbertTokenizer(
        vocab=[(piece, score) for piece, score in vocabulary], model_max_length=512
    )
