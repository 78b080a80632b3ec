"""Prompts for local models: the template is the model's, the words cannot forge its tokens."""

import pytest

pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.builtin.architecture import new_processor
from guardrail.errors import UpstreamError
from guardrail.upstreams.local_prompt import adds_special_tokens, render

CONTROL = ("<pad>", "<unk>", "<user>", "<assistant>", "</s>", "<image>")


@pytest.fixture(scope="module")
def processor():
    return new_processor()


def said(*parts, role="user"):
    content = [
        {"type": "image"} if part is None else {"type": "text", "text": part} for part in parts
    ]
    return {"role": role, "content": content}


def test_the_prompt_is_the_templates(processor):
    assert render(processor, [said(None, "what is this?")]).split() == [
        "<user>", "<image>", "what", "is", "this?", "<assistant>",
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*CONTROL, "dog", " ", "<", ">", "image", "/s", "< "]), max_size=12)
)
def test_no_words_can_write_a_control_token(processor, pieces):
    text = render(processor, [said(None, "".join(pieces))])
    ids = processor.tokenizer.encode(text, add_special_tokens=False)
    control = processor.tokenizer.convert_tokens_to_ids(
        ["<user>", "<assistant>", "</s>", "<image>"]
    )
    assert [i for i in ids if i in control] == [control[0], control[3], control[1]]


def test_ordinary_words_are_left_alone(processor):
    words = "is 1 < 2 and 3 > 2? <b>bold</b> [INST] {x}"
    assert words in render(processor, [said(words)])


def test_a_single_mark_declared_special_stays_plain(processor):
    other = new_processor()
    other.tokenizer.add_special_tokens({"additional_special_tokens": ["!", "<|end|>"]})
    text = render(other, [said("stop! <|end|>")])
    assert "stop!" in text
    assert "< |end|>" in text


def test_a_template_that_refuses_is_the_clients_fault(processor):
    other = new_processor()
    other.chat_template = "{{ raise_exception('only users, said: ' + messages[0]['role']) }}"
    with pytest.raises(UpstreamError) as caught:
        render(other, [said("secret", role="assistant")])
    assert (caught.value.status, caught.value.transient) == (400, False)
    assert "secret" not in str(caught.value)


def test_a_text_that_begins_by_itself_is_not_begun_twice(processor):
    other = new_processor()
    assert adds_special_tokens(other, "<user> hello")
    other.tokenizer.bos_token = "<user>"
    assert not adds_special_tokens(other, "<user> hello")
    assert adds_special_tokens(other, "hello")
