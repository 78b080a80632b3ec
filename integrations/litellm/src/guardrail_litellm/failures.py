"""The guard's errors as LiteLLM's proxy sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litellm.proxy._types import ProxyException

from guardrail import ContentBlocked

if TYPE_CHECKING:
    from guardrail import GuardrailError

__all__ = ["failure"]


def failure(error: GuardrailError) -> ProxyException:
    """Status, words and code of the error; a block takes those of the policy's own body."""
    body: Any = error.body.get("error") if isinstance(error, ContentBlocked) else None
    named = body or {"message": str(error), "code": getattr(error, "code", None)}
    raised = ProxyException(
        message=named["message"],
        type=named.get("type") or type(error).__name__,
        param=named.get("param"),
        code=error.status,
        openai_code=named.get("code"),
        provider_specific_fields=_about(error),
    )
    raised.status_code = error.status  # type: ignore[attr-defined]  # LiteLLM asks errors for it
    return raised


def _about(error: GuardrailError) -> dict[str, Any] | None:
    return {"guardrail": dict(error.guardrail)} if isinstance(error, ContentBlocked) else None
