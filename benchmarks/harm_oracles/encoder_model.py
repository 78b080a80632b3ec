"""The network of the encoder oracle, in torch: a small sentence encoder and a head for harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from categories import CATEGORIES

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Output:
    """Of n windows: `harm` (n,) logits, `category` (n, len(CATEGORIES)) logits."""

    harm: torch.Tensor
    category: torch.Tensor


class HarmEncoder(torch.nn.Module):
    """Encoder states are pooled by mean and by maximum, so that one sentence can stand out."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(2 * encoder.config.hidden_size, 1 + len(CATEGORIES))
        torch.nn.init.normal_(self.head.weight, std=0.02)
        torch.nn.init.zeros_(self.head.bias)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1)
        most = (states + (mask - 1.0) * 30.0).max(1).values
        return self.head(torch.cat((mean, most), dim=1))


def split_logits(logits: torch.Tensor) -> Output:
    return Output(logits[:, 0], logits[:, 1:])


def base_model(folder: Path) -> HarmEncoder:
    """The public encoder that training starts from, its word embeddings frozen."""
    from transformers import AutoModel

    model = HarmEncoder(AutoModel.from_pretrained(folder))
    model.encoder.pooler = None
    for parameter in model.encoder.embeddings.parameters():
        parameter.requires_grad = False
    return model
