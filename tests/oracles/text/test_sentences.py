"""The sentence encoder: on the shipped model where it is installed, and on tiny ones made here."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.text import sentence_model
from guardrail.oracles.text.sentence_model import DEFAULT_PACKAGE
from guardrail.oracles.text.sentences import SentenceEncoder, window_starts

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from guardrail.oracles.packed_linear import PackedLinear, can_pack  # noqa: E402 (needs torch)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "runs", "sleeps"]
has_default = pytest.mark.skipif(
    importlib.util.find_spec(DEFAULT_PACKAGE) is None, reason="the extra 'embedding' is missing"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` writes it, with random weights."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=32)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(plain, tmp_path / "model")


def with_modules(folder: Path, *kinds: str, pooling: dict | None = None, **settings) -> Path:
    modules = [{"path": kind, "type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "Pooling").mkdir()
    (folder / "Pooling" / "config.json").write_text(json.dumps(pooling or {}))
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    return folder


def states(folder: Path, text: str) -> np.ndarray:
    """What the model itself says of every token of one text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_pools_by_the_mean_over_tokens_without_other_word(plain):
    found = SentenceEncoder(plain).encode(["a dog runs"])
    np.testing.assert_allclose(found[0], unit(states(plain, "a dog runs").mean(0)), atol=1e-5)


def test_pools_by_cls_where_the_folder_says_so(folder):
    with_modules(folder, "Transformer", "Pooling", pooling={"pooling_mode_cls_token": True})
    found = SentenceEncoder(folder).encode(["a dog runs"])
    np.testing.assert_allclose(found[0], unit(states(folder, "a dog runs")[0]), atol=1e-5)


def test_reads_the_newer_name_of_the_pooling(folder):
    with_modules(folder, "Transformer", "Pooling", pooling={"pooling_mode": "cls"})
    found = SentenceEncoder(folder).encode(["a cat sleeps"])
    np.testing.assert_allclose(found[0], unit(states(folder, "a cat sleeps")[0]), atol=1e-5)


def test_lower_cases_where_the_folder_says_so(folder):
    transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False).save_pretrained(
        folder
    )
    before = SentenceEncoder(folder, window_tokens=32).encode(["DOG", "dog"])
    with_modules(folder, "Transformer", "Pooling", do_lower_case=True)
    after = SentenceEncoder(folder, window_tokens=32).encode(["DOG", "dog"])
    assert not np.allclose(before[0], before[1])
    np.testing.assert_array_equal(after[0], after[1])


def test_fewer_layers_stop_early(plain):
    tokenizer = transformers.AutoTokenizer.from_pretrained(plain)
    model = transformers.AutoModel.from_pretrained(plain).eval()
    with torch.inference_mode():
        found = model(**tokenizer("a dog runs", return_tensors="pt"), output_hidden_states=True)
    early = SentenceEncoder(plain, layers=1)
    expected = unit(found.hidden_states[1][0].numpy().mean(0))
    np.testing.assert_allclose(early.encode(["a dog runs"])[0], expected, atol=1e-5)
    assert early.weights_digest != SentenceEncoder(plain).weights_digest


def test_more_layers_than_there_are_weights_for_are_refused(plain):
    with pytest.raises(OracleError, match="lacks weights"):
        SentenceEncoder(plain, layers=3).load()


def test_takes_the_window_that_the_model_was_made_for(folder):
    with_modules(folder, "Transformer", "Pooling", max_seq_length=20)
    assert SentenceEncoder(folder).window_tokens == 20
    assert SentenceEncoder(folder, window_tokens=32).window_tokens == 32


def test_a_text_has_the_same_vector_alone_and_in_any_company(plain):
    texts = ["a dog", "cat " * 70, "", "a cat sleeps", "dog runs " * 9]
    encoder = SentenceEncoder(plain, batch_windows=3)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)


def test_every_vector_has_length_one(plain):
    matrix, _ = SentenceEncoder(plain).encode_windows(["a", "dog " * 100, ""])
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1.0, atol=1e-5)
    assert matrix.dtype == np.float32


def test_no_texts_give_an_empty_matrix(plain):
    matrix, owners = SentenceEncoder(plain).encode_windows([])
    assert matrix.shape == (0, 16)
    assert owners.shape == (0,)
    assert SentenceEncoder(plain).encode([]).shape == (0, 16)


def test_the_tail_of_a_long_text_is_seen(plain):
    encoder = SentenceEncoder(plain)
    calm, _ = encoder.encode_windows(["dog " * 100])
    tail, owners = encoder.encode_windows(["dog " * 100 + "cat sleeps"])
    assert owners.tolist() == [0] * len(tail)
    assert len(tail) > 3
    assert not np.allclose(tail[-1], calm[-1])
    np.testing.assert_allclose(tail[0], calm[0], atol=1e-5)


def test_owners_name_the_text_of_each_window(plain):
    _, owners = SentenceEncoder(plain).encode_windows(["a", "dog " * 40, "cat"])
    assert owners.tolist() == [0, 1, 1, 2]


@given(length=st.integers(0, 3000), size=st.integers(4, 300))
def test_windows_cover_every_token_and_overlap_by_a_quarter(length, size):
    starts = window_starts(length, size, size // 4)
    assert starts[0] == 0
    assert starts[-1] + size >= length
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= size - size // 4).all()


def test_a_lone_surrogate_is_encoded_and_not_an_error(plain):
    assert np.isfinite(SentenceEncoder(plain).encode(["a dog \ud800"])).all()


def test_revision_names_weights_window_and_precision(plain, folder):
    base = SentenceEncoder(plain).revision
    assert SentenceEncoder(folder).revision == base
    assert SentenceEncoder(plain, window_tokens=16).revision != base
    assert SentenceEncoder(plain, precision="bfloat16").revision != base
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[6] += 1.0
    model.save_pretrained(folder)
    assert SentenceEncoder(folder).revision != base
    assert SentenceEncoder(folder).weights_digest != SentenceEncoder(plain).weights_digest


def test_the_digest_of_the_weights_heeds_nothing_else(plain, folder):
    (folder / "extra.json").write_text("{}")
    changed, same = SentenceEncoder(folder, precision="bfloat16"), SentenceEncoder(plain)
    assert changed.revision != same.revision
    assert changed.weights_digest == same.weights_digest


def test_lower_precision_moves_vectors_only_a_little(plain):
    full = SentenceEncoder(plain).encode(["a dog runs"])
    half = SentenceEncoder(plain, precision="bfloat16").encode(["a dog runs"])
    assert 0.99 < float(full[0] @ half[0]) < 1.0 + 1e-5


@pytest.mark.skipif(not can_pack("cpu"), reason="no bfloat16 unit here")
def test_bfloat16_weights_are_packed_and_other_weights_stay(tmp_path, plain):
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    wide = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2}
    config = transformers.BertConfig.from_pretrained(plain, **wide)
    transformers.BertModel(config).save_pretrained(tmp_path)
    packed = SentenceEncoder(tmp_path, precision="bfloat16")
    for encoder, count in ((packed, 2 * 6 + 1), (SentenceEncoder(tmp_path), 0)):
        layers = encoder.load().model.modules()
        assert sum(isinstance(layer, PackedLinear) for layer in layers) == count
    exact = SentenceEncoder(tmp_path).encode(["a dog runs"])
    assert float(packed.encode(["a dog runs"])[0] @ exact[0]) > 0.99


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"precision": "int4"}, "precision"),
        ({"batch_windows": 0}, "batch_windows"),
        ({"layers": 0}, "layers"),
        ({"window_tokens": 5}, "window_tokens"),
        ({"window_tokens": 33}, "window_tokens"),
        ({"device": "no-such-device"}, "device"),
    ],
)
def test_options_outside_their_range_are_refused(plain, options, field):
    with pytest.raises(ConfigError) as caught:
        SentenceEncoder(plain, **options).load()
    assert caught.value.field == field


@pytest.mark.parametrize("pooling", ["pooling_mode_max_tokens", "pooling_mode_lasttoken"])
def test_another_pooling_is_refused(folder, pooling):
    with_modules(folder, "Transformer", "Pooling", pooling={pooling: True})
    with pytest.raises(OracleError, match=r"only models that pool by mean or by cls"):
        SentenceEncoder(folder).load()


def test_a_part_that_is_not_known_is_refused(folder):
    with_modules(folder, "Transformer", "Pooling", "Dense")
    with pytest.raises(OracleError, match=r"cannot be run here: Dense"):
        SentenceEncoder(folder).load()


@pytest.mark.parametrize("content", ["{", "[1]", '[{"type": "x"}]', '{"a": 1}'])
def test_settings_that_cannot_be_read_are_refused(folder, content):
    (folder / "modules.json").write_text(content)
    with pytest.raises(OracleError, match="settings of the sentence model"):
        SentenceEncoder(folder).load()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named_with_its_remedy(folder, file):
    (folder / file).unlink()
    with pytest.raises(OracleError, match=r"must hold config\.json"):
        SentenceEncoder(folder).load()


def test_weights_that_are_missing_are_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(OracleError, match="lacks weights"):
        SentenceEncoder(folder).load()


def test_numbers_that_are_not_finite_are_an_error(folder):
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[6] = float("nan")
    model.save_pretrained(folder)
    encoder = SentenceEncoder(folder)
    assert np.isfinite(encoder.encode(["a cat"])).all()
    with pytest.raises(OracleError, match="not finite"):
        encoder.encode(["a dog"])


def test_an_id_that_cannot_be_fetched_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OracleError, match="'no/such-model' is not a folder here"):
        SentenceEncoder("no/such-model").load()


def test_the_missing_package_of_the_default_model_is_named(monkeypatch):
    monkeypatch.setattr(sentence_model, "DEFAULT_PACKAGE", "no_such_package")
    with pytest.raises(OracleError, match=r"no-such-package.*guardrail\[embedding\]"):
        SentenceEncoder().load()


def test_a_missing_package_is_named(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OracleError, match=r"transformers is not installed.*embedding"):
        SentenceEncoder(plain).load()


@has_default
def test_the_default_model_puts_like_meanings_close_together():
    encoder = SentenceEncoder()
    first, like, other = encoder.encode(
        ["How do I open a door?", "What is the way to open a door?", "The soup is too salty."]
    )
    assert first @ like > 0.7
    assert first @ other < 0.3
    assert encoder.window_tokens == 256


@has_default
def test_the_default_model_agrees_with_sentence_transformers():
    library = pytest.importorskip("sentence_transformers")
    texts = ["A dog runs along the river.", "No.", "Three cups of coffee on a wooden table."]
    theirs = library.SentenceTransformer(str(sentence_model._default_folder()), device="cpu")
    expected = theirs.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(SentenceEncoder().encode(texts), expected, atol=1e-5)
