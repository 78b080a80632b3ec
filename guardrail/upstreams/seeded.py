"""Sampling whose result depends on each row's own seed and not on its company in the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SeededSampling"]


class SeededSampling(LogitsProcessor):
    """Adds Gumbel noise from one generator per row, so that the largest logit is a sample.

    argmax(logits + Gumbel) is distributed as softmax(logits) (Gumbel 1954). Put it last, after
    temperature and top-p, and decode greedily.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        del input_ids
        uniform = torch.stack(
            [
                torch.rand(scores.shape[-1], generator=g, dtype=torch.float64)
                for g in self._generators
            ]
        )
        # In float64 a uniform draw is 0 with chance 2^-53; clamping keeps the logarithm finite.
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
        return scores + gumbel.to(scores)
