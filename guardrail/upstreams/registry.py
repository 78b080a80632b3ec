"""Upstreams by their names on the command line and in files, imported only when asked for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.distribution import install_command
from guardrail.errors import ConfigError
from guardrail.files import read_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardrail.upstreams.base import Upstream

__all__ = ["KNOWN_SPECS", "build_upstream", "is_late", "is_local", "late_error"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of upstream.

    Attributes:
        argument: what follows the colon of its spec; empty where nothing does.
        make: from that argument and options to the upstream.
        local: whether the model computes in this process, where nothing is encoded or renamed.
        late: whether its answers take hours, see `guardrail.upstreams.base.answers_late`.
    """

    argument: str
    make: Callable[[str, dict[str, Any]], Upstream]
    local: bool = False
    late: bool = False


def build_upstream(
    spec: str, *, keys_from_environment: bool = True, may_be_late: bool = False, **options: Any
) -> Upstream:
    """The upstream that a spec names.

    Args:
        spec: one of `KNOWN_SPECS`. What follows the first colon is the URL, model, id or folder.
        keys_from_environment: whether `api_key` of `openai_compatible` falls back to
            OPENAI_API_KEY or OPENAI_API_KEY_FILE, if one is set; litellm looks into the environment
            by itself.
        may_be_late: whether whoever asks it can wait for hours.
        **options: keyword arguments of that upstream's class; those that are None count as not
            given.

    Raises:
        ConfigError: the spec or an option is unknown, a needed extra is not installed, or it
            answers too late.
    """
    name, _, argument = spec.partition(":")
    given = {option: value for option, value in options.items() if value is not None}
    if name == "openai_compatible" and keys_from_environment:
        given = {"api_key": read_variable("OPENAI_API_KEY") or None, **given}
    if name not in _KINDS:
        raise _unusable(f"'{name[:32]}' is not an upstream")
    kind = _KINDS[name]
    if argument and not kind.argument:
        raise _unusable(f"'{name}' takes nothing after a colon")
    if kind.argument and not argument:
        raise _unusable(f"'{name}' must be followed by a colon and what it leads to")
    if kind.late and not may_be_late:
        raise late_error(name)
    return kind.make(argument, given)


def late_error(name: str) -> ConfigError:
    """The error for an upstream that answers too late for who would ask it."""
    return ConfigError(
        f"{name} answers within hours, for which nobody waits here; it is for 'guardrail moderate' "
        "in this process, as its only upstream (docs/bulk.md)",
        field="upstream",
    )


def is_late(spec: str) -> bool:
    """Whether its answers take hours."""
    kind = _KINDS.get(spec.partition(":")[0])
    return kind is not None and kind.late


def is_local(spec: str) -> bool:
    """Whether the model computes in this process, where nothing is encoded or renamed."""
    kind = _KINDS.get(spec.partition(":")[0])
    return kind is not None and kind.local


def _builtin(_argument: str, options: dict[str, Any]) -> Upstream:
    try:
        from guardrail.upstreams.builtin import builtin_upstream
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return _make("builtin", builtin_upstream, options)


def _transformers(model: str, options: dict[str, Any]) -> Upstream:
    try:
        from guardrail.upstreams.transformers_local import TransformersLocal
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return _make("transformers", TransformersLocal, options, model)


def _openai_compatible(url: str, options: dict[str, Any]) -> Upstream:
    from guardrail.upstreams.openai_http import OpenAICompatible

    return _make("openai_compatible", OpenAICompatible, options, url)


def _litellm(model: str, options: dict[str, Any]) -> Upstream:
    from guardrail.upstreams.litellm_sdk import LiteLLM

    return _make("litellm", LiteLLM, options, model)


def _litellm_batch(model: str, options: dict[str, Any]) -> Upstream:
    from guardrail.upstreams.litellm_batch import LiteLLMBatch

    return _make("litellm_batch", LiteLLMBatch, options, model)


def _make(
    kind: str, make: Callable[..., Upstream], options: dict[str, Any], *arguments: str
) -> Upstream:
    """Calls the maker; an unknown option becomes a ConfigError that names the known ones."""
    known = [
        name
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise ConfigError(
            f"the upstream '{kind}' takes no option {', '.join(unknown)}; it takes "
            f"{', '.join(known) or 'none'}",
            field="upstream",
        )
    try:
        return make(*arguments, **options)
    except ModuleNotFoundError as error:
        raise _missing(error) from error


def _missing(error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        f"this upstream needs {error.name}, which is not installed; {install_command('local')}",
        field="upstream",
    )


def _unusable(what: str) -> ConfigError:
    # Never quotes what follows the colon: a URL may hold a password.
    return ConfigError(f"{what}; use one of {', '.join(KNOWN_SPECS)}", field="upstream")


_KINDS: Mapping[str, _Kind] = {
    "builtin": _Kind("", _builtin, local=True),
    "openai_compatible": _Kind("URL", _openai_compatible),
    "litellm": _Kind("MODEL", _litellm),
    "litellm_batch": _Kind("MODEL", _litellm_batch, late=True),
    "transformers": _Kind("ID_OR_FOLDER", _transformers, local=True),
}
KNOWN_SPECS = tuple(
    f"{name}:{kind.argument}" if kind.argument else name for name, kind in _KINDS.items()
)
"""How each kind is written, for people."""
