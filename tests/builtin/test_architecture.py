"""The built-in model before training: sizes, tokens, template."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from guardrail.builtin.architecture import IMAGE_TOKENS, SIDE_PX, new_model, new_processor
from guardrail.builtin.language import ABUSIVE_EXAMPLES, vocabulary


@pytest.fixture(scope="module")
def processor():
    return new_processor()


def test_the_model_fits_its_budget_in_two_byte_numbers(processor):
    model = new_model(processor)
    shared = {p.data_ptr(): p.numel() for p in model.parameters()}
    assert 2 * sum(shared.values()) < 12e6
    assert model.get_input_embeddings().num_embeddings == len(processor.tokenizer)
    assert model.generation_config.do_sample
    assert model.generation_config.eos_token_id == processor.tokenizer.eos_token_id


def test_every_word_is_one_token_and_comes_back(processor):
    tokenizer = processor.tokenizer
    for word in vocabulary():
        (token,) = tokenizer.encode(word)
        assert token != tokenizer.unk_token_id
        assert tokenizer.decode([token]) == word


def test_sentences_come_back_with_their_marks(processor):
    for text in (*ABUSIVE_EXAMPLES, "a dog, an apple and some grapes."):
        assert processor.tokenizer.decode(processor.tokenizer.encode(text)) == text
    assert processor.tokenizer.encode("Dog") == processor.tokenizer.encode("dog")
    assert processor.tokenizer.decode(processor.tokenizer.encode("zxqv")) == "<unk>"


def test_control_tokens_differ_and_have_their_places(processor):
    names = ["<pad>", "<unk>", "<user>", "<assistant>", "</s>", "<image>"]
    assert processor.tokenizer.convert_tokens_to_ids(names) == list(range(6))


def test_the_template_writes_turns(processor):
    picture = {"type": "image"}
    text = processor.apply_chat_template(
        [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]},
            {"role": "assistant", "content": [{"type": "text", "text": "a dog."}]},
            {"role": "user", "content": "sure?"},
        ],
        add_generation_prompt=True,
        tokenize=False,
    )
    said = "be brief|what is it?|a dog.|sure?"
    expected = "<user> {} <user> <image> {} <assistant> {} </s> <user> {} <assistant>"
    assert " ".join(text.split()) == expected.format(*said.split("|"))


def test_a_saved_folder_comes_back_the_same(tiny_llava, noise_picture):
    processor = AutoProcessor.from_pretrained(tiny_llava)
    model = AutoModelForImageTextToText.from_pretrained(tiny_llava).eval()
    inputs = processor(text=["<user> <image> what? <assistant>"], images=[[noise_picture()]],
                       return_tensors="pt")  # fmt: skip
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    assert int((inputs["input_ids"] == image).sum()) == IMAGE_TOKENS
    assert inputs["pixel_values"].shape == (1, 3, SIDE_PX, SIDE_PX)
    assert float(inputs["pixel_values"].abs().max()) <= 0.5 / 0.3 + 1e-6
    with torch.no_grad():
        inputs.pop("token_type_ids", None)
        assert torch.isfinite(model(**inputs).logits).all()
    assert json.loads((tiny_llava / "config.json").read_text())["model_type"] == "llava"
