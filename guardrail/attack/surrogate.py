"""A differentiable path from pixels to what a local model would answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from guardrail.attack.tensors import to_tensor
from guardrail.errors import ConfigError
from guardrail.upstreams.local_prompt import adds_special_tokens, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded

__all__ = ["AnswerTokens", "Surrogate"]

_LARGEST_MISMATCH = 0.1  # mean distance between our and the processor's pixels, in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTokens:
    """Answers as token ids, right-padded.

    Attributes:
        ids: shape (answers, length).
        real: the same shape; False where `ids` holds padding.
    """

    ids: torch.Tensor
    real: torch.Tensor

    @property
    def first(self) -> tuple[int, ...]:
        """The tokens that the answers begin with, each once."""
        return tuple(sorted(set(self.ids[:, 0].tolist())))


class Surrogate:
    """What the model would say of one picture with one question, as a function of its pixels.

    Args:
        loaded: the model under attack.
        prompt: the question that goes with the picture.
        pixels: the picture, to learn what the processor does to pictures of its size.

    Raises:
        ConfigError: the processor does more to a picture than resize and normalise it.
    """

    def __init__(self, loaded: Loaded, prompt: str, pixels: Pixels) -> None:
        self._model = loaded.model.requires_grad_(False)
        self._processor = loaded.processor
        self._device = loaded.device
        self._mean, self._std = self._normalisation()
        self._size = self._input_size(pixels)
        self._agree(pixels)
        self._prompt = self._preprocess(prompt, pixels)["input_ids"].to(self._device)

    @property
    def device(self) -> str:
        return self._device

    @property
    def temperature(self) -> float:
        """At which the model samples by itself; 0 where it always takes the likeliest token."""
        own = self._model.generation_config
        usual = 1.0 if own.temperature is None else float(own.temperature)
        return usual if own.do_sample else 0.0

    def tokens(self, answers: Sequence[str]) -> AnswerTokens:
        """Answers as the model's tokens. Raises ConfigError where there are none."""
        tokenizer = self._processor.tokenizer
        rows = [tokenizer.encode(text, add_special_tokens=False) for text in answers]
        if not rows or not all(rows):
            raise ConfigError(
                "give at least one answer to aim for, none of them empty", field="target"
            )
        length, padding = max(map(len, rows)), tokenizer.pad_token_id or 0
        ids = [row + [padding] * (length - len(row)) for row in rows]
        real = [[place < len(row) for place in range(length)] for row in rows]
        return AnswerTokens(
            torch.tensor(ids, device=self._device), torch.tensor(real, device=self._device)
        )

    def logits(self, pictures: torch.Tensor, answers: AnswerTokens) -> torch.Tensor:
        """The logits of every token of the answers, each after the question and what precedes it.

        Args:
            pictures: shape (pictures, 3, h, w), in [0, 1].
            answers: what the model is taken to have said.

        Returns:
            Shape (pictures, answers, length, vocabulary).
        """
        count, rows = len(pictures), len(answers.ids)
        asked = self._prompt.expand(rows, -1)
        ids = torch.cat([asked, answers.ids], dim=1).repeat(count, 1)
        mask = torch.cat([torch.ones_like(asked), answers.real.long()], dim=1).repeat(count, 1)
        features = self._normalise(pictures).repeat_interleave(rows, 0)
        logits = self._model(pixel_values=features, input_ids=ids, attention_mask=mask).logits
        begin = asked.shape[1] - 1  # the last token of the question foretells the first one
        length = answers.ids.shape[1]
        answered: torch.Tensor = logits[:, begin : begin + length].float()
        return answered.reshape(count, rows, length, -1)

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
        ours = self._normalise(to_tensor(probe, self._device)[None]).float()
        if float(((ours - theirs) * self._std).abs().mean()) > _LARGEST_MISMATCH:
            raise _unsupported_error("does more than resize and normalise a picture of this shape")

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
