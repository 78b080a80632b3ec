"""The guard as its attacker knows it: what it makes of a picture, with gradients.

The variants are the guard's own (`PreparedRequest.make_variant`), made of the picture as it would
be sent, in 8 bits. Gradients are those of the canvas, which is linear, where the noise did not
drive a value out of [0, 1]; whatever follows the noise counts as the identity (the backward pass
differentiable approximation of Athalye et al. 2018, arXiv 1802.00420).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from guardrail.attack.tensors import to_pixels, to_tensor
from guardrail.engine.prepared_request import ONLY_ATTEMPT, PreparedRequest, prepare_request
from guardrail.engine.preprocessing import settle
from guardrail.images.codec import Picture
from guardrail.images.keys import NoiseKey
from guardrail.types import picture_chat

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules
    from guardrail.images.canvas import CanvasOperator
    from guardrail.types import Pixels

__all__ = ["GuardView"]

_LABEL = b"guardrail/attack/1"
_CHAT = picture_chat("attacked", "")  # only its noise depends on it, which is drawn anew anyway


class GuardView:
    """Draws noisy variants of a picture as a policy's guard does; every draw has noise of its own.

    Args:
        rules: of the policy.
        seed: fixes all draws, with the order in which they are made. The key that it stands for is
            not the guard's: an attacker knows how noise is made, not which.
        upstream: the model that is attacked, where the policy asks for its size of pictures.
    """

    def __init__(self, rules: Rules, seed: int = 0, upstream: object = None) -> None:
        self._rules = rules
        self._upstream = upstream
        self._key = NoiseKey(hashlib.sha256(_LABEL + str(seed).encode()).digest())
        self._drawn = 0

    def prepare(self, pixels: Pixels) -> PreparedRequest:
        """The picture on the guard's canvas."""
        height, width = pixels.shape[:2]
        picture = Picture(pixels, "image/png", width, height, pixels.nbytes)
        preprocessing = settle(self._rules, self._upstream, _CHAT.model)
        return prepare_request(preprocessing, _CHAT, [picture], ONLY_ATTEMPT)

    def variants(self, prepared: PreparedRequest, draws: int) -> list[Pixels]:
        """The next variants of a picture, as the model would be sent them."""
        first, self._drawn = self._drawn, self._drawn + draws
        made = (prepared.make_variant(first + i, self._rules, self._key) for i in range(draws))
        return [pixels for (pixels,) in made]

    def draw(self, x: torch.Tensor, draws: int) -> torch.Tensor:
        """Variants of `x`, shape (3, h, w) in [0, 1]; shape (draws, 3, rows, columns)."""
        pixels = to_pixels(x)
        prepared = self.prepare(pixels)
        made = self.variants(prepared, draws)
        variants = torch.stack([to_tensor(one, x.device) for one in made])
        # What the variants are of, and how that depends on x: the difference is 0 where x is on
        # the 8-bit grid, and its gradient that of the canvas.
        (canvas,) = prepared.canvases
        change = on_canvas(x, canvas) - on_canvas(to_tensor(pixels, x.device), canvas)
        change = change.expand(draws, -1, -1, -1)
        if change.shape != variants.shape:  # a filter that changes the size
            change = functional.interpolate(change, variants.shape[-2:], mode="area")
        inside = (variants > 0) & (variants < 1)
        return variants + inside * change


def on_canvas(x: torch.Tensor, canvas: CanvasOperator) -> torch.Tensor:
    """The canvas of `x`, shape (3, h, w), as a differentiable map: area means, white margins."""
    height, width = canvas.source_size
    rows, columns = canvas.scaled_size
    if canvas.resized:
        x = _areas(height, rows).to(x) @ x @ _areas(width, columns).to(x).T
    below, right = canvas.size[0] - rows, canvas.size[1] - columns
    if not (below or right):
        return x
    margins = (right // 2, right - right // 2, below // 2, below - below // 2)
    return functional.pad(x, margins, value=1.0)


def _areas(inputs: int, outputs: int) -> torch.Tensor:
    """Row i holds the share of each input pixel in output pixel i; shape (outputs, inputs)."""
    begin = torch.arange(outputs, dtype=torch.float64)[:, None] * inputs / outputs
    end = begin + inputs / outputs
    pixel = torch.arange(inputs, dtype=torch.float64)[None, :]
    overlap = (torch.minimum(end, pixel + 1) - torch.maximum(begin, pixel)).clamp(min=0)
    return overlap * outputs / inputs
