"""Published prices of models, out of litellm's list, without importing litellm (seconds)."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.upstreams.prices import Price, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["litellm_prices", "price_from"]

_LIST = "model_prices_and_context_window_backup.json"
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


@lru_cache(maxsize=1)
def litellm_prices() -> Mapping[str, Price]:
    """Prices by litellm's names of models; empty where litellm is not installed."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    try:
        models: Json = json.loads(Path(spec.origin).with_name(_LIST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # prices are then those of the policy
    found = {str(name): price_from(entry) for name, entry in models.items()}
    return {name: price for name, price in found.items() if price is not None}


def price_from(entry: Json) -> Price | None:
    """The price in one entry of the list; None where it is not one by tokens.

    Of cheaper tokens (cached, in batches) nothing is taken, so the price is the standard one.
    """
    if not isinstance(entry, dict):
        return None
    above = {0: ""} | {
        1000 * int(found[1]): f"_above_{found[1]}k_tokens"
        for found in map(_ABOVE.fullmatch, entry)
        if found
    }
    tiers = tuple(_tier(entry, start, above[start]) for start in sorted(above))
    kept = tuple(tier for tier in tiers if tier is not None)
    return Price(kept) if kept and kept[0].above == 0 else None


def _tier(entry: Mapping[str, Json], start: int, suffix: str) -> Tier | None:
    prices = [entry.get(f"{side}_cost_per_token{suffix}") for side in ("input", "output")]
    usable = [float(p) for p in prices if isinstance(p, int | float) and p >= 0]
    return Tier(start, *usable) if len(usable) == len(prices) else None
