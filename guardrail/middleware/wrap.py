"""Clients and callables that `Guard.wrap` knows, by the package that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.middleware.runtime import Runtime

__all__ = ["wrap"]

_ClientT = TypeVar("_ClientT")


def wrap(runtime: Runtime, client: _ClientT, principal: str | None) -> _ClientT:
    """See `Guard.wrap`."""
    made: Any
    if _comes_from("openai", type(client).__mro__):
        from guardrail.middleware.openai_client import wrap_client

        made = wrap_client(runtime, client, principal)
    elif callable(client) and _comes_from("litellm", [client]):
        from guardrail.middleware.litellm_call import wrap_call

        made = wrap_call(runtime, client, principal)
    else:
        raise ConfigError(
            "only openai.OpenAI, openai.AsyncOpenAI, litellm.completion and litellm.acompletion "
            "can be wrapped; for all else give upstream= a function that asks your client"
        )
    return cast("_ClientT", made)


def _comes_from(package: str, things: Any) -> bool:
    modules = (str(getattr(thing, "__module__", "")) for thing in things)
    return any(module.partition(".")[0] == package for module in modules)
