"""Certified content moderation for vision-language models, by randomized smoothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from guardrail.errors import (
    ConfigError,
    GuardrailError,
    LimitError,
    OracleError,
    RequestError,
    UpstreamError,
)
from guardrail.version import __version__

if TYPE_CHECKING:
    from guardrail.images.filters import PictureFilter
    from guardrail.memory.ledger import LocalLedger
    from guardrail.middleware.blocked import ContentBlocked
    from guardrail.middleware.guard import Guard
    from guardrail.middleware.heartbeats import Heartbeats
    from guardrail.middleware.http_answer import HttpAnswer
    from guardrail.middleware.result import Result
    from guardrail.upstreams.function import FunctionUpstream

__all__ = [
    "ConfigError",
    "ContentBlocked",
    "FunctionUpstream",
    "Guard",
    "GuardrailError",
    "Heartbeats",
    "HttpAnswer",
    "LimitError",
    "LocalLedger",
    "OracleError",
    "PictureFilter",
    "RequestError",
    "Result",
    "UpstreamError",
    "__version__",
]

# Imported when they are first asked for: a command's `--help` needs none of what they need.
_PLACES = {
    "ContentBlocked": "guardrail.middleware.blocked",
    "PictureFilter": "guardrail.images.filters",
    "Result": "guardrail.middleware.result",
    "FunctionUpstream": "guardrail.upstreams.function",
    "Guard": "guardrail.middleware.guard",
    "Heartbeats": "guardrail.middleware.heartbeats",
    "HttpAnswer": "guardrail.middleware.http_answer",
    "LocalLedger": "guardrail.memory.ledger",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'guardrail' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
