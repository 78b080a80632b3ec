"""A differentiable path from pixels to the likelihood of a wanted answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from guardrail.errors import ConfigError
from guardrail.images.canvas import canvas_for
from guardrail.upstreams.local_prompt import adds_special_tokens, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded

__all__ = ["Noise", "Surrogate"]

_IGNORE = -100
_LARGEST_MISMATCH = 0.1  # mean distance between our and the processor's pixels, in [0, 1]


@dataclass(frozen=True, slots=True)
class Noise:
    """The defence as the attacker knows it: scale down to a canvas, pad, add noise, clip.

    Raises:
        ConfigError: sigma is not a positive number.
    """

    sigma: float
    canvas_max_side_px: int | None
    canvas_min_side_px: int = 28

    def __post_init__(self) -> None:
        if not 0.0 < self.sigma < math.inf:
            raise ConfigError("must be a number above 0", field="sigma")


class Surrogate:
    """Mean negative log-likelihood of wanted answers, as a function of one picture's pixels.

    Args:
        loaded: the model under attack.
        prompt: the question that goes with the picture.
        targets: answers that the attacker aims for.
        pixels: the picture, to learn what the processor does to pictures of its size.

    Raises:
        ConfigError: the processor does more to a picture than resize and normalise it, or the
            targets are empty.
    """

    def __init__(self, loaded: Loaded, prompt: str, targets: Sequence[str], pixels: Pixels) -> None:
        self._model = loaded.model.requires_grad_(False)
        self._processor = loaded.processor
        self._device = loaded.device
        self._mean, self._std = self._normalisation()
        self._size = self._input_size(pixels)
        self._agree(pixels)
        self._text = self._teacher_forcing(prompt, targets, pixels)

    @property
    def device(self) -> str:
        return self._device

    def loss(self, x: torch.Tensor, noise: Noise | None, draws: int) -> torch.Tensor:
        """The loss of pixels `x`, shape (3, h, w) in [0, 1]; with noise, its mean over `draws`."""
        pictures = x[None] if noise is None else _noisy(x, noise, draws)
        features = self._normalise(pictures)
        targets = self._text["input_ids"].shape[0]
        rows = {
            name: value.repeat(len(pictures), *[1] * (value.ndim - 1))
            for name, value in self._text.items()
        }
        labels = rows.pop("labels")
        logits = self._model(
            pixel_values=features.repeat_interleave(targets, 0), **rows
        ).logits.float()
        return functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORE
        )

    def _normalise(self, pictures: torch.Tensor) -> torch.Tensor:
        if pictures.shape[-2:] != self._size:
            pictures = functional.interpolate(
                pictures, self._size, mode="bilinear", antialias=True, align_corners=False
            )
        scaled = (pictures - self._mean) / self._std
        return scaled.to(self._model.dtype)

    def _normalisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = getattr(self._processor, "image_processor", None)
        values = [getattr(pictures, name, None) for name in ("image_mean", "image_std")]
        if any(value is None for value in values):
            raise _unsupported_error("names no mean and spread of its pixels")
        mean, std = (torch.tensor(v, device=self._device).view(1, -1, 1, 1) for v in values)
        return mean, std

    def _input_size(self, pixels: Pixels) -> tuple[int, int]:
        """What size the model sees a picture of this size in."""
        values = self._preprocess("x", pixels).get("pixel_values")
        if values is None or values.ndim != 4 or values.shape[0] != 1:
            raise _unsupported_error("cuts pictures into tiles or patches")
        return values.shape[-2], values.shape[-1]

    def _agree(self, pixels: Pixels) -> None:
        """Compares our preparation with the processor's own on a picture of waves.

        Cropping, padding or another order of colours moves the waves, which the attacked picture
        itself, if it is smooth, might not show.
        """
        probe = _waves(*pixels.shape[:2])
        theirs = self._preprocess("x", probe)["pixel_values"].to(self._device).float()
        ours = self._normalise(_tensor(probe, self._device)[None]).float()
        if float(((ours - theirs) * self._std).abs().mean()) > _LARGEST_MISMATCH:
            raise _unsupported_error("does more than resize and normalise a picture of this shape")

    def _teacher_forcing(
        self, prompt: str, targets: Sequence[str], pixels: Pixels
    ) -> dict[str, torch.Tensor]:
        """Prompt and wanted answer as token ids, right-padded, with labels on the answer only."""
        tokenizer = self._processor.tokenizer
        asked = self._preprocess(prompt, pixels)["input_ids"][0].tolist()
        answers = [tokenizer.encode(t, add_special_tokens=False) for t in targets]
        if not answers or not all(answers):
            raise ConfigError(
                "give at least one answer to aim for, none of them empty", field="target"
            )
        length = max(map(len, answers))
        rows = [
            answer + [tokenizer.pad_token_id or 0] * (length - len(answer)) for answer in answers
        ]
        real = [[1] * len(answer) + [0] * (length - len(answer)) for answer in answers]
        ids = torch.tensor([asked + row for row in rows], device=self._device)
        mask = torch.tensor([[1] * len(asked) + row for row in real], device=self._device)
        labels = torch.where(mask.bool(), ids, _IGNORE)
        labels[:, : len(asked)] = _IGNORE
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _preprocess(self, prompt: str, pixels: Pixels) -> dict[str, Any]:
        from PIL import Image

        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = render(self._processor, [{"role": "user", "content": content}])
        return dict(
            self._processor(
                text=[text],
                images=[[Image.fromarray(pixels)]],
                return_tensors="pt",
                add_special_tokens=adds_special_tokens(self._processor, text),
            )
        )


def _unsupported_error(what: str) -> ConfigError:
    return ConfigError(
        f"this model's processor {what}, which the attack cannot follow; make the picture square, "
        "or attack a model whose processor only resizes and normalises"
    )


def _waves(height: int, width: int) -> Pixels:
    """Three smooth waves, another one in each channel, shape (height, width, 3)."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    phases = np.stack([4 * x, 5 * y, 3 * (x + y)], axis=-1)
    waves: Pixels = np.rint(127.5 * (1 + np.sin(2 * np.pi * phases))).astype(np.uint8)
    return waves


def _tensor(pixels: Pixels, device: str) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).to(device).permute(2, 0, 1).float() / 255


def _noisy(x: torch.Tensor, noise: Noise, draws: int) -> torch.Tensor:
    canvas = _on_canvas(x, noise)
    z = torch.randn((draws, *canvas.shape), device=x.device)
    return (canvas[None] + noise.sigma * z).clamp(0, 1)


def _on_canvas(x: torch.Tensor, noise: Noise) -> torch.Tensor:
    """The defence's own canvas as a differentiable map: means over areas, then white margins."""
    height, width = x.shape[-2:]
    canvas = canvas_for(
        height,
        width,
        max_side_px=noise.canvas_max_side_px,
        min_side_px=noise.canvas_min_side_px,
    )
    rows, columns = canvas.scaled_size
    if canvas.resized:
        x = _areas(height, rows).to(x) @ x @ _areas(width, columns).to(x).T
    below, right = canvas.size[0] - rows, canvas.size[1] - columns
    if not (below or right):
        return x
    margins = (right // 2, right - right // 2, below // 2, below - below // 2)
    return torch.nn.functional.pad(x, margins, value=1.0)


def _areas(inputs: int, outputs: int) -> torch.Tensor:
    """Row i holds the share of each input pixel in output pixel i; shape (outputs, inputs)."""
    begin = torch.arange(outputs, dtype=torch.float64)[:, None] * inputs / outputs
    end = begin + inputs / outputs
    pixel = torch.arange(inputs, dtype=torch.float64)[None, :]
    overlap = (torch.minimum(end, pixel + 1) - torch.maximum(begin, pixel)).clamp(min=0)
    return overlap * outputs / inputs
