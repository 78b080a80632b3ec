"""What calls cost: prices of tokens by model, and the cost of an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Answer, Usage

__all__ = ["ANY_MODEL", "Price", "PriceBook", "Tier"]

ANY_MODEL = "*"
"""The name under which a price for all other models stands."""


@dataclass(frozen=True, slots=True)
class Tier:
    """US dollars for one token, for calls of more than `above` tokens of prompt."""

    above: int
    input_usd: float
    output_usd: float


@dataclass(frozen=True, slots=True)
class Price:
    """The tiers of one model, smallest prompts first; the first one starts at 0 tokens."""

    tiers: tuple[Tier, ...]

    def cost_usd(self, usage: Usage) -> float | None:
        """What these tokens cost at the standard rate; None where they were not counted."""
        free = all(tier.input_usd == tier.output_usd == 0.0 for tier in self.tiers)
        if (usage.uncounted or not usage.prompt_tokens) and not free:
            return None
        tier = next(t for t in reversed(self.tiers) if usage.prompt_tokens >= t.above)
        return usage.prompt_tokens * tier.input_usd + usage.completion_tokens * tier.output_usd


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices by model.

    Attributes:
        own: the policy's, which win; `ANY_MODEL` among them is for every other model.
        known: published ones.
    """

    own: Mapping[str, Price] = field(default_factory=dict)
    known: Mapping[str, Price] = field(default_factory=dict, repr=False)

    def find(self, *models: str) -> Price | None:
        """The price of the first of these names that has one; the policy's own win."""
        for book in (self.own, self.known):
            for model in models:
                if model in book:
                    return book[model]
        return self.own.get(ANY_MODEL)

    def cost_usd(self, answer: Answer, *asked: str) -> float | None:
        """What an answer cost by the model that gave it, else by the names it was asked under."""
        price = self.find(answer.model, *asked)
        return None if price is None else price.cost_usd(answer.usage)
