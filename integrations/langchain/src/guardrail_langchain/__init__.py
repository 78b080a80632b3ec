"""guardrail in LangChain: a guarded chat model, and a middleware for agents."""

from guardrail_langchain.chat_model import GuardedChatModel
from guardrail_langchain.middleware import GuardrailMiddleware
from guardrail_langchain.wrapping import with_guardrail

__all__ = ["GuardedChatModel", "GuardrailMiddleware", "with_guardrail"]
