"""A guardrail for LiteLLM's proxy that answers with the guard's own, certified answer.

The guard has to ask the model about many variants of one request. The pre-call hook is the only one
that can: it asks through LiteLLM's router and hands the decided answer back as `mock_response`, so
that LiteLLM itself calls no model. The post-call hooks then deliver that answer and no other.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import litellm
from litellm.types.guardrails import GuardrailEventHooks

from guardrail import ConfigError, Guard, GuardrailError
from guardrail_litellm.answers import NO_CACHE, answer_of, held, pieces_of
from guardrail_litellm.applying import ApplyingGuardrail
from guardrail_litellm.failures import failure
from guardrail_litellm.routes import is_chat

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Mapping

__all__ = ["CertifiedGuardrail"]

_OF_THE_CALL = frozenset({"litellm_call_id", "litellm_logging_obj", "proxy_server_request"})
_NOT_SENT = _OF_THE_CALL | {"secret_fields", "mock_response", "cache", "guardrail_to_apply"}

# Set while variants are asked for; a client has no way to set it.
_asking: ContextVar[bool] = ContextVar("guardrail_litellm_asking", default=False)


class CertifiedGuardrail(ApplyingGuardrail):
    """`guardrail: guardrail_litellm.CertifiedGuardrail` in LiteLLM's `config.yaml`.

    LiteLLM looks for hooks in the class itself, so configure it by arguments, not by a subclass.

    Args:
        guardrail_name: its name in the configuration.
        event_hook: must be `[pre_call, post_call]`.
        policy: the name of a shipped policy, or a file.
        key: the file of the secret that noise is derived from; it is made if it is not there.
        records: the file that decisions are appended to.
        guard: in place of the three, for configuration in Python.
        options: LiteLLM's own.

    Raises:
        ConfigError: the mode or an argument cannot be used.
    """

    use_native_lifecycle_hooks = True

    def __init__(
        self,
        guardrail_name: str | None = None,
        event_hook: Any = None,
        policy: str = "default",
        key: str | os.PathLike[str] | None = None,
        records: str | os.PathLike[str] | None = None,
        guard: Guard | None = None,
        **options: Any,
    ) -> None:
        _check_mode(event_hook)
        self.guard = guard or Guard(policy, key=key, records=records, on_block="refusal")
        super().__init__(guardrail_name=guardrail_name, event_hook=event_hook, **options)

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,  # noqa: ARG002 (LiteLLM's signature)
        cache: Any,  # noqa: ARG002 (as above)
        data: dict[str, Any],
        call_type: str,
    ) -> dict[str, Any]:
        """Decides, and makes LiteLLM answer with what was decided; raises what the proxy sends."""
        if _asking.get() or answer_of(data) is not None:
            return data
        try:
            if is_chat(call_type):
                data.update(mock_response=await self._decided(data), cache=NO_CACHE)
        except GuardrailError as error:
            raised = failure(error)
        else:
            return data
        raise raised

    async def async_post_call_success_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,  # noqa: ARG002 (LiteLLM's signature)
        response: Any,
    ) -> Any:
        """The decided answer, whatever LiteLLM made of it."""
        answer = answer_of(data)
        if answer is not None:
            return answer
        if isinstance(response, litellm.ModelResponse) and not _asking.get():
            raise _undecided()
        return response

    async def async_post_call_streaming_iterator_hook(
        self,
        user_api_key_dict: Any,  # noqa: ARG002 (LiteLLM's signature)
        response: Any,  # noqa: ARG002 (what is delivered was decided before)
        request_data: dict[str, Any],
    ) -> AsyncGenerator[Any, None]:
        """The decided answer in pieces."""
        answer = answer_of(request_data)
        if answer is None:
            raise _undecided()
        for piece in pieces_of(answer):
            yield piece

    async def _decided(self, data: Mapping[str, Any]) -> Any:
        """The guard's answer, each variant asked for through the router. Raises GuardrailError."""
        from litellm.proxy.proxy_server import llm_router

        if llm_router is None:
            raise ConfigError("LiteLLM has no models; add a model_list to its configuration")
        asked = {name: value for name, value in data.items() if name not in _NOT_SENT}
        token = _asking.set(True)
        try:
            answer = await self.guard.wrap(llm_router.acompletion)(**asked, cache=NO_CACHE)
            return held(answer, [piece async for piece in answer] if asked.get("stream") else ())
        finally:
            _asking.reset(token)


def _check_mode(mode: Any) -> None:
    wanted = {GuardrailEventHooks.pre_call.value, GuardrailEventHooks.post_call.value}
    named = [mode] if isinstance(mode, str) else mode
    if not isinstance(named, list) or {GuardrailEventHooks(one).value for one in named} != wanted:
        raise ConfigError(
            "must be [pre_call, post_call]: the first decides, the second delivers", field="mode"
        )


def _undecided() -> Exception:
    told = "there is an answer without a decision; set default_on for the guardrail"
    return failure(ConfigError(told))
