"""guardrail in LangChain: a guarded chat model, and a middleware for agents."""

from guardrail_langchain.chat_model import GuardedChatModel, with_guardrail
from guardrail_langchain.middleware import GuardrailMiddleware

__all__ = ["GuardedChatModel", "GuardrailMiddleware", "with_guardrail"]
