"""`apply_guardrail`, which LiteLLM's own endpoint for trying a guardrail calls, in both signatures.

LiteLLM replaces a guardrail's hooks by this method where it finds it in the class itself; it stands
in a base class because it can only judge a text, not certify an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litellm.integrations.custom_guardrail import CustomGuardrail

from guardrail import GuardrailError, RequestError
from guardrail_litellm.failures import failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail import Guard

__all__ = ["ApplyingGuardrail"]


class ApplyingGuardrail(CustomGuardrail):
    """A guardrail of LiteLLM that judges texts as answers of a model."""

    guard: Guard

    async def apply_guardrail(
        self,
        inputs: Any = None,
        request_data: Any = None,  # noqa: ARG002 (LiteLLM's signature)
        input_type: str = "response",  # noqa: ARG002 (as above)
        logging_obj: Any = None,  # noqa: ARG002 (as above)
        **older: Any,
    ) -> Any:
        """Returns what it was given; raises if it is not judged harmless.

        Args:
            inputs: `texts` and other parts; in older releases the text itself.
            request_data: unused.
            input_type: texts of a `request` are judged as if a model had said them.
            logging_obj: unused.
            older: `text` in older releases, and what they give beside it.
        """
        given = older.get("text", inputs)
        try:
            texts = [given] if isinstance(given, str) else _texts(given)
            await self.guard.complete(_QUESTION, upstream=_said(texts), on_block="raise")
        except GuardrailError as error:
            raised = failure(error)
        else:
            return given
        raise raised


_QUESTION = {"model": "given", "messages": [{"role": "user", "content": "-"}]}


def _texts(inputs: Mapping[str, Any]) -> Sequence[str]:
    """Raises RequestError where there is more than texts, which only the hooks can decide."""
    more = sorted(name for name, value in inputs.items() if value and name in _UNREAD)
    if more or not inputs.get("texts"):
        raise RequestError(f"only texts can be judged here, not {', '.join(more) or 'nothing'}")
    texts: Sequence[str] = inputs["texts"]
    return texts


_UNREAD = frozenset({"images", "tool_calls", "tools", "structured_messages"})


def _said(texts: Sequence[str]) -> Any:
    """A model that has said these texts, told as one, since harm may be split over them."""
    message = {"role": "assistant", "content": "".join(texts)}

    def call(_body: Mapping[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "choices": [choice]}

    return call
