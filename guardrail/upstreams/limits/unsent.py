"""The errors of calls that were not sent: their codes, and what they say."""

from __future__ import annotations

from guardrail.errors import UpstreamError

__all__ = [
    "NOT_SENT",
    "OVERLOADED",
    "RATE_LIMITED",
    "UNAVAILABLE",
    "closed_error",
    "down_error",
    "overloaded_error",
    "pause_error",
]

OVERLOADED = "upstream_overloaded"
"""The code of a call that found the queue full."""

UNAVAILABLE = "upstream_unavailable"
"""The code of a call that was not sent because the upstream is down, or asked for a pause."""

RATE_LIMITED = "upstream_rate_limited"
"""The code of a call that was not sent because the provider said 429 and when to come back."""

NOT_SENT = frozenset({OVERLOADED, UNAVAILABLE, RATE_LIMITED})
"""The codes of calls that were not sent, by which an upstream lets a decision down."""

_OVERLOADED_RETRY_S = 5.0


def overloaded_error() -> UpstreamError:
    """For a call that found the queue full."""
    return UpstreamError(
        "too many calls wait for the upstream; retry later, or raise its max_concurrency",
        status=503,
        retry_after_s=_OVERLOADED_RETRY_S,
        code=OVERLOADED,
        undrawn=True,
    )


def closed_error() -> UpstreamError:
    """For a call of an upstream that was closed."""
    return UpstreamError("the upstream was closed; make a new one", status=500, undrawn=True)


def down_error(wait_s: float) -> UpstreamError:
    """For a call to a model that is down, for so long from now."""
    return UpstreamError(
        "this model failed in many requests in a row and gets no calls for some seconds; check "
        "that its upstream runs",
        status=503,
        retry_after_s=wait_s,
        code=UNAVAILABLE,
        undrawn=True,
    )


def pause_error(wait_s: float, *, is_rate_limit: bool) -> UpstreamError:
    """For a call that would have to wait for the end of a pause until it is too late."""
    what = "is rate limited" if is_rate_limit else "asked for a pause"
    return UpstreamError(
        f"the upstream {what}, for longer than this request may take; retry after the time in "
        "Retry-After, or raise advanced.limits.deadline_s",
        status=429 if is_rate_limit else 503,
        retry_after_s=wait_s,
        code=RATE_LIMITED if is_rate_limit else UNAVAILABLE,
        undrawn=True,
    )
