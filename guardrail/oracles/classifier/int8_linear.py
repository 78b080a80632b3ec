"""Linear layers in 8-bit integers, for processors; needs torch.

Every output channel of the weights and every token of the input has a scale of its own. So a
token's result depends on that token alone: the score of an answer does not change with the
answers that happen to share its batch, as it does where one scale serves a whole batch.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Int8Linear", "with_int8_layers"]

_LARGEST = 127.0
_SMALLEST_SCALE = 1e-12
_LEAST_FEATURES = 64


class Int8Linear(nn.Module):
    """y = x Wᵀ + b with x and W rounded to 8 bits; NaN and infinite inputs stay visible."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(1).div_(_LARGEST).clamp_(min=_SMALLEST_SCALE)
        self.register_buffer("weight", weight.div(scale[:, None]).round_().to(torch.int8).t())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", _bias(layer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape (…, inputs) to (…, outputs)."""
        rows = x.reshape(-1, x.shape[-1])
        scaled = rows.abs()  # and then room for the rows themselves: memory costs most here
        step = scaled.amax(1, keepdim=True).div_(_LARGEST).clamp_(min=_SMALLEST_SCALE)
        whole = torch.div(rows, step, out=scaled).round_().to(torch.int8)
        product = torch._int_mm(whole, self.weight).float().mul_(step)  # noqa: SLF001 (no public name)
        if self.bias is None:
            product.mul_(self.scale)
        else:
            torch.addcmul(self.bias, product, self.scale, out=product)
        return product.reshape(*x.shape[:-1], -1)


def _bias(layer: nn.Linear) -> torch.Tensor | None:
    bias: torch.Tensor | None = layer.bias  # torch's own types leave out that there may be none
    return None if bias is None else bias.detach().float()


def with_int8_layers(model: nn.Module) -> nn.Module:
    """The same model with its large linear layers replaced, in place."""
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            if min(child.in_features, child.out_features) >= _LEAST_FEATURES:
                setattr(model, name, Int8Linear(child))
        else:
            with_int8_layers(child)
    return model
