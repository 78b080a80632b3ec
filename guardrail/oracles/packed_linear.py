"""Linear layers in bfloat16 whose weights lie as the processor's matrix unit reads them.

torch brings plain weights into that order anew in every pass, which takes a third of a linear
layer's time on short texts. The numbers are the same to the last bit. Needs torch.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["PackedLinear", "can_pack", "with_packed_layers"]

_LEAST_FEATURES = 64


class PackedLinear(nn.Module):
    """y = x Wᵀ + b in bfloat16, on a processor; the weights are packed once, when it is made."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        bias: torch.Tensor | None = layer.bias  # torch's own types leave out that there may be none
        weight = layer.weight.detach()
        # No buffer: a packed tensor can be neither copied nor moved.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)  # noqa: SLF001 (no public name)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape (…, inputs) to (…, outputs)."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 (no public name)
            x, self.weight, self.bias, "none", [], ""
        )
        return found


def can_pack(device: str) -> bool:
    """Whether this torch packs bfloat16 weights for this machine."""
    ops = torch.ops.mkldnn
    names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    known = device == "cpu" and all(hasattr(ops, name) for name in names)
    return known and bool(ops._is_mkldnn_bf16_supported())  # noqa: SLF001 (no public name)


def with_packed_layers(model: nn.Module) -> nn.Module:
    """The same model with its large linear layers replaced, in place."""
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            if min(child.in_features, child.out_features) >= _LEAST_FEATURES:
                setattr(model, name, PackedLinear(child))
        else:
            with_packed_layers(child)
    return model
