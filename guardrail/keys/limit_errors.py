"""What a key is told that may not ask more now, wherever its use is counted."""

from __future__ import annotations

from dataclasses import dataclass

from guardrail.errors import RequestError

__all__ = [
    "DAY_S",
    "INSUFFICIENT_QUOTA",
    "RATE_LIMIT_EXCEEDED",
    "ROUNDING_USD",
    "RequestRate",
    "calls_error",
    "check_most_calls",
    "places_error",
    "requests_error",
    "usd_error",
]

RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
"""OpenAI's code of a 429 that passes by itself."""

INSUFFICIENT_QUOTA = "insufficient_quota"
"""OpenAI's code of a 429 for dollars."""

DAY_S = 86_400
"""A day (UTC) of dollars, in seconds."""

ROUNDING_USD = 1e-9
"""What two ways of adding dollars may differ by."""

_NO_RETRY = {"x-should-retry": "false"}


@dataclass(frozen=True, slots=True)
class RequestRate:
    """Where a key stands with its requests a minute.

    Attributes:
        limit: of the key.
        remaining: as many would be taken now.
        reset_s: until none of those made counts any more, in seconds.
    """

    limit: int
    remaining: int
    reset_s: float

    @property
    def headers(self) -> dict[str, str]:
        """As OpenAI says it, times as in `1.5s`."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{self.reset_s:.3g}s",
        }


def places_error(most: int) -> RequestError:
    """The error for a key that has as many requests under way as it may."""
    return RequestError(
        f"this API key has {most} requests under way, which is its limit; "
        "wait for one of them to end",
        status=429,
        code=RATE_LIMIT_EXCEEDED,
        retry_after_s=1.0,
    )


def requests_error(rate: RequestRate, wait_s: float) -> RequestError:
    """The error for a key that may make its next request in `wait_s` seconds."""
    return RequestError(
        f"rate limit reached: this API key may make {rate.limit} requests a minute",
        status=429,
        code=RATE_LIMIT_EXCEEDED,
        retry_after_s=wait_s,
        headers=rate.headers,
    )


def check_most_calls(most: int, calls: int) -> None:
    """Raises RequestError where a decision may take more calls than its key in a whole minute."""
    if calls > most:
        raise RequestError(
            f"this request may take {calls} calls to the model, and this API key may make {most} a "
            "minute; send fewer or smaller pictures, or ask for a higher limit",
            status=429,
            code=RATE_LIMIT_EXCEEDED,
            headers=_NO_RETRY,
        )


def calls_error(most: int, calls: int, wait_s: float) -> RequestError:
    """The error for a key that has fewer calls left in this minute than a decision may take."""
    return RequestError(
        f"rate limit reached: this API key may make {most} calls to models a minute, and this "
        f"request may take {calls} of them; what is not used is given back",
        status=429,
        code=RATE_LIMIT_EXCEEDED,
        retry_after_s=max(1.0, wait_s),
    )


def usd_error(most: float, usd: float, day_ends_s: float | None) -> RequestError:
    """The error for a key that has less left of its day than a decision may cost.

    Args:
        most: US dollars a day.
        usd: of the decision.
        day_ends_s: seconds until the next day; None where decisions under way may give enough back.
    """
    told = (
        f"you exceeded your current quota: this API key may spend {most:g} US dollars a day "
        f"(UTC), and this request may cost {usd:g} of them"
    )
    if day_ends_s is None:
        return RequestError(told, status=429, code=RATE_LIMIT_EXCEEDED, retry_after_s=1.0)
    return RequestError(
        told,
        status=429,
        code=INSUFFICIENT_QUOTA,
        retry_after_s=day_ends_s,
        headers=_NO_RETRY,
    )
