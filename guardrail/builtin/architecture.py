"""Builds the untrained built-in model and its processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.builtin.language import vocabulary

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

__all__ = ["IMAGE_TOKENS", "PATCH_PX", "SIDE_PX", "new_model", "new_processor"]

SIDE_PX = 96
PATCH_PX = 12
IMAGE_TOKENS = (SIDE_PX // PATCH_PX) ** 2
PIXEL_MEAN, PIXEL_STD = 0.5, 0.3

_SPECIAL = ("<pad>", "<unk>", "<user>", "<assistant>", "</s>", "<image>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<assistant>' if message['role'] == 'assistant' else '<user>' }} "
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image> {% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }} {% endfor %}"
    "{% endif %}"
    "{{ '</s> ' if message['role'] == 'assistant' else ' ' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def new_processor() -> LlavaProcessor:
    """A word-level tokenizer over the model's whole language and its picture processor."""
    import transformers

    library: Any = transformers  # these constructors carry no usable types
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_object=_word_tokenizer(),
        pad_token="<pad>",  # noqa: S106 (a token of text, not a password)
        unk_token="<unk>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        padding_side="left",
        additional_special_tokens=["<user>", "<assistant>", "<image>"],
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    pictures = library.CLIPImageProcessorPil(
        size={"height": SIDE_PX, "width": SIDE_PX},
        do_center_crop=False,
        resample=2,
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    processor: LlavaProcessor = library.LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="full",
        chat_template=_CHAT_TEMPLATE,
        image_token="<image>",  # noqa: S106
        num_additional_image_tokens=0,
    )
    return processor


def new_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """A LLaVA of about six million parameters with random weights, which samples by default."""
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    from guardrail.upstreams.convolutional_vision import (
        ConvolutionalVisionConfig,
        register_convolutional_vision,
    )

    tokenizer = processor.tokenizer
    ids: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    register_convolutional_vision()
    vision = ConvolutionalVisionConfig(image_size=SIDE_PX)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        **ids,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=True,
        **ids,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.do_sample = True
    return model


def _word_tokenizer() -> Any:
    """Lower-cased words and punctuation marks, one token each; the rest of English is `<unk>`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocab = {word: i for i, word in enumerate((*_SPECIAL, *vocabulary()))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return tokenizer
