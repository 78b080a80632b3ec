"""A convolutional vision tower for LLaVA, made to average noise away early.

transformers has no convolutional encoder whose hidden states are tokens, which is what LLaVA reads,
so this one is registered with its auto classes. A patch transformer sees each patch through one
linear map before anything can be averaged over space; 3 x 3 convolutions with shared weights find
a thing wherever it stands, also under heavy noise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling

__all__ = [
    "PATCH_PX",
    "ConvolutionalVisionConfig",
    "ConvolutionalVisionModel",
    "register_convolutional_vision",
]

PATCH_PX = 12
"""The strides of the tower multiplied: 3, 2 and 2."""
_GROUPS = 8


class ConvolutionalVisionConfig(PreTrainedConfig):  # type: ignore[misc]  # mypy skips transformers
    """Sizes of the tower: channels at strides 3, 6 and 12, and residual blocks at 6 and 12."""

    model_type = "guardrail_convolutional_vision"
    base_config_key = "vision_config"

    image_size: int = 96
    patch_size: int = PATCH_PX
    stem_channels: int = 64
    middle_channels: int = 128
    middle_blocks: int = 4
    hidden_size: int = 192
    last_blocks: int = 4


class _ResidualBlock(nn.Module):
    """x + conv(gelu(conv(norm(x)))), 3 x 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.outer(functional.gelu(self.inner(self.norm(x))))
        return result


class ConvolutionalVisionModel(PreTrainedModel):  # type: ignore[misc]  # mypy skips transformers
    """Pictures (n, 3, side, side) to tokens (n, (side / 12)^2, hidden_size), row by row."""

    config_class = ConvolutionalVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    base_model_prefix = "vision"
    _no_split_modules = ("_ResidualBlock",)
    # There is no attention here, so whatever the language model uses suits.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: ConvolutionalVisionConfig) -> None:
        super().__init__(config)
        stem, middle, last = config.stem_channels, config.middle_channels, config.hidden_size
        self.stem = nn.Conv2d(3, stem, 7, stride=3, padding=2)
        self.to_middle = nn.Conv2d(stem, middle, 4, stride=2, padding=1)
        self.middle = nn.ModuleList(_ResidualBlock(middle) for _ in range(config.middle_blocks))
        self.to_last = nn.Conv2d(middle, last, 4, stride=2, padding=1)
        self.last = nn.ModuleList(_ResidualBlock(last) for _ in range(config.last_blocks))
        self.norm = nn.LayerNorm(last)
        tokens = (config.image_size // PATCH_PX) ** 2
        self.position = nn.Parameter(torch.zeros(1, tokens, last))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, _ResidualBlock):
            init.zeros_(module.outer.weight)  # a block begins as the identity
        elif isinstance(module, ConvolutionalVisionModel):
            init.normal_(module.position, std=0.02)

    def get_input_embeddings(self) -> nn.Module:
        return self.stem

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        # Channels last is the layout that convolutions on a processor are fastest in.
        x = pixel_values.to(self.stem.weight.dtype, memory_format=torch.channels_last)
        x = self.to_middle(functional.gelu(self.stem(x)))
        for block in self.middle:
            x = block(x)
        x = self.to_last(functional.gelu(x))
        for block in self.last:
            x = block(x)
        tokens = self.norm(x.flatten(2).transpose(1, 2)) + self.position
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens, pooler_output=tokens.mean(1), hidden_states=(tokens,)
        )


def register_convolutional_vision() -> None:
    """Makes the tower known to transformers' auto classes; a second call changes nothing."""
    AutoConfig.register(
        ConvolutionalVisionConfig.model_type, ConvolutionalVisionConfig, exist_ok=True
    )
    AutoModel.register(ConvolutionalVisionConfig, ConvolutionalVisionModel, exist_ok=True)
