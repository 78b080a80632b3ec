"""Guards the chat route of an existing ASGI application, such as one of FastAPI or Starlette."""

from __future__ import annotations

from guardrail_asgi.middleware import GuardrailMiddleware

__all__ = ["GuardrailMiddleware"]
