"""LLaVA-1.6 with random weights: the published shape, and smaller ones of the same architecture.

Nothing is fetched. The tokenizer knows no English: each word of a prompt is one unknown token, and
answers are made-up words, one a token. So the counts of tokens are about right and the texts mean
nothing, which is all that speed depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["SHAPES", "Shape", "new_model", "new_processor"]

_SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<image>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{{ '</s> ' if message['role'] == 'assistant' }}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths and depths of a LLaVA-1.6.

    Attributes:
        text, vision: width, inner width, layers, heads.
        vocabulary: tokens.
        tile_px: side of a tile of the picture, `patch_px` of what becomes one token.
        context: most tokens of prompt, picture and answer.
    """

    text: tuple[int, int, int, int]
    vision: tuple[int, int, int, int]
    vocabulary: int
    tile_px: int
    patch_px: int
    context: int

    @property
    def tile_tokens(self) -> int:
        return (self.tile_px // self.patch_px) ** 2

    @property
    def pinpoints(self) -> list[list[int]]:
        """Sizes of the picture that tiles are laid out in, (height, width)."""
        sides = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
        return [[high * self.tile_px, wide * self.tile_px] for high, wide in sides]


SHAPES = {
    # llava-v1.6-vicuna-7b: Vicuna 7B and CLIP ViT-L/14 at 336 px, by their published settings.
    "llava-1.6-7b": Shape((4096, 11008, 32, 32), (1024, 4096, 24, 16), 32064, 336, 14, 4096),
    # An eighth of its width and depth, with as many tokens: for processors.
    "small": Shape((512, 1376, 4, 8), (256, 1024, 3, 4), 32064, 336, 14, 4096),
    "tiny": Shape((32, 64, 2, 4), (32, 64, 2, 4), 300, 28, 14, 512),
}


def new_processor(shape: Shape) -> Any:
    """LLaVA-1.6's processor: pictures in tiles, and a tokenizer of made-up words."""
    import transformers

    library: Any = transformers  # these constructors carry no usable types
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_object=_word_tokenizer(shape.vocabulary),
        pad_token="<pad>",  # noqa: S106 (a token of text, not a password)
        unk_token="<unk>",  # noqa: S106
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        padding_side="left",
        additional_special_tokens=["<image>"],
    )
    pictures = library.LlavaNextImageProcessorPil(
        size={"shortest_edge": shape.tile_px},
        crop_size={"height": shape.tile_px, "width": shape.tile_px},
        image_grid_pinpoints=shape.pinpoints,
    )
    return library.LlavaNextProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=shape.patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )


def new_model(shape: Shape, processor: Any, *, device: str, dtype: str) -> Any:
    """The model, in evaluation mode, made where it computes."""
    import torch
    from transformers import AutoModelForImageTextToText, LlavaNextConfig

    width, inner, layers, heads = shape.vision
    vision = {
        "model_type": "clip_vision_model", "hidden_size": width, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "patch_size": shape.patch_px,
        "image_size": shape.tile_px, "projection_dim": width,
    }  # fmt: skip
    width, inner, layers, heads = shape.text
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    text = {
        "model_type": "llama", "vocab_size": shape.vocabulary, "hidden_size": width,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "max_position_embeddings": shape.context, **ids,
    }  # fmt: skip
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=shape.pinpoints,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=shape.tile_tokens,
        **ids,
    )
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
    model.generation_config.update(do_sample=True, temperature=1.0, **ids)
    return model.eval()


def _word_tokenizer(size: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = (*_SPECIAL, *(f"word{i}" for i in range(size - len(_SPECIAL))))
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer
