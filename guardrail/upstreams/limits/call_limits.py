"""How an upstream may be used: the numbers that its limiter goes by."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CallLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How an upstream may be used.

    Attributes:
        max_concurrency: most calls in flight.
        max_queue: most calls that wait; further ones are refused.
        requests_per_minute, tokens_per_minute: None for as many as the upstream takes.
        longest_pause_s: longest that a provider's `Retry-After` is obeyed.
        breaker_faults, breaker_after_s, breaker_open_s: see `Breaker` and `ModelHealth`.
        first_alone_s: how long all other calls to a model wait for the first one, which may show
            that the key, the address or the model's name is refused; 0 for not at all.
    """

    max_concurrency: int = 64
    max_queue: int = 4096
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    longest_pause_s: float = 60.0
    breaker_faults: int = 10
    breaker_after_s: float = 1.0
    breaker_open_s: float = 10.0
    first_alone_s: float = 0.0
