"""The faults of calls through litellm: its exceptions as errors that tell whose fault they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.upstreams.faults import status_fault, timeout_fault
from guardrail.upstreams.undrawn import has_sent_nothing, response_status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import ModuleType

__all__ = ["litellm_fault"]

_CODES = {
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
    "UnsupportedParamsError": "unsupported_parameter",
}


def litellm_fault(
    litellm: ModuleType,
    error: Exception,
    timeout_s: float,
    hidden: Sequence[str],
    *,
    undrawn: Collection[int] = (),
) -> UpstreamError:
    """The error for what litellm raised; its text is dropped, as it quotes the provider's.

    litellm makes up statuses, also out of words that a provider quotes from the request. So only
    the status of the very response counts among those by which nothing was drawn.
    """
    fault = _fault(litellm, error, timeout_s, hidden)
    fault.undrawn = has_sent_nothing(error) or response_status(error) in undrawn
    return fault


def _fault(
    litellm: ModuleType, error: Exception, timeout_s: float, hidden: Sequence[str]
) -> UpstreamError:
    headers, status = _headers_of(error), getattr(error, "status_code", None)
    if isinstance(error, litellm.exceptions.Timeout) and not headers:
        return timeout_fault(timeout_s)
    if not headers and isinstance(error, _was_not_reached(litellm)):
        return UpstreamError(
            "litellm could not reach the upstream, or could not read what it answered; check "
            "the model's name, api_base and that the upstream runs",
            transient=True,
            code="upstream_connection",
        )
    if not isinstance(status, int):
        return UpstreamError(
            f"litellm failed ({type(error).__name__}); check the model's name and its provider"
        )
    fault = status_fault(status, headers, b"", hidden=hidden)
    fault.code = _CODES.get(type(error).__name__, fault.code)
    return fault


def _was_not_reached(litellm: ModuleType) -> tuple[type[Exception], ...]:
    """What litellm raises, with made-up statuses, where no response was had or understood."""
    errors = litellm.exceptions
    return (errors.APIConnectionError, errors.InternalServerError)


def _headers_of(error: Exception) -> dict[str, str]:
    """The headers of the provider's response, names in lower case; empty if none came."""
    headers = getattr(error, "litellm_response_headers", None)
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in headers.items()}
