"""Canaries through a server that is deployed: the same known answers, asked about over HTTP.

A known answer is judged by the route of LiteLLM's Generic Guardrail API, which takes one: the
server's own rules and oracle decide about it, as they do about a model's; that route takes no
prompt beside it. Where a model is named, a harmless picture goes through `/v1/guardrail/check` and
hence through the whole chain.

To the server these are requests as any others: they need a key where it takes keys, and it records
and counts them.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError
from guardrail.telemetry.canary import (
    MODEL_CANARY,
    PICTURE,
    PICTURE_QUESTION,
    SHIPPED_TEXTS,
    CanaryResult,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.telemetry.canary import CanaryText
    from guardrail.types import Json

__all__ = ["RemoteServer", "run_remote_canaries"]

_ANSWER_ROUTE = "/beta/litellm_basic_guardrail_api"
_CHECK_ROUTE = "/v1/guardrail/check"
_MOST_BYTES = 1 << 20
_MOST_CAUSE_CHARS = 300
_OK = 200


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """A server that is asked.

    Attributes:
        url: its base URL, with or without `/v1`.
        key: an API key of the scope `client`; empty where it takes none.
        policy: by which it is to decide, at least as strict as the one that holds for the key;
            None for that one.
        timeout_s: longest that one canary may take.

    Raises:
        ConfigError: the URL is none.
    """

    url: str
    key: str = field(default="", repr=False)
    policy: str | None = None
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_sound = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_sound = is_sound and parts.port != 0 and not (parts.username or parts.password)
        except ValueError:
            is_sound = False
        if not is_sound or not self.url.isascii() or not self.url.isprintable():
            problem = "must be an http or https URL without a name and a password in it"
            raise ConfigError(problem, field="url")

    @property
    def root(self) -> str:
        """The URL that the routes are under."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def headers(self) -> dict[str, str]:
        """What every request says."""
        key = {"authorization": f"Bearer {self.key}"} if self.key else {}
        policy = {} if self.policy is None else {"x-guardrail-policy": self.policy}
        return {**key, **policy}


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a server said of one canary."""

    action: Action
    reason: str
    cause: str = ""


async def run_remote_canaries(
    server: RemoteServer,
    texts: Sequence[CanaryText] = SHIPPED_TEXTS,
    *,
    model: str | None = None,
) -> list[CanaryResult]:
    """Asks one server about all canaries, one after the other.

    Args:
        server: the deployed one.
        texts: known answers; each costs a question to its oracle.
        model: asked about a harmless picture, at the price of a whole decision; None for no model.
    """
    asked: list[tuple[str, Action, str, dict[str, Json]]] = [
        (text.canary, text.expected, _ANSWER_ROUTE, _given_answer(text)) for text in texts
    ]
    if model is not None:
        asked.append((MODEL_CANARY, Action.PASS, _CHECK_ROUTE, _picture_request(model)))
    results = []
    async with httpx.AsyncClient(
        base_url=server.root,
        headers=server.headers,
        timeout=server.timeout_s,
        follow_redirects=False,  # a key would go along
    ) as client:
        for canary, expected, route, body in asked:
            started = time.monotonic()
            told = await _ask(client, route, body)
            elapsed_s = time.monotonic() - started
            results.append(
                CanaryResult(canary, expected, told.action, told.reason, elapsed_s, told.cause)
            )
    return results


def _given_answer(text: CanaryText) -> dict[str, Json]:
    return {"input_type": "response", "texts": [text.answer], "model": "canary"}


def _picture_request(model: str) -> dict[str, Json]:
    picture = base64.b64encode(PICTURE.read_bytes()).decode("ascii")
    parts: list[Json] = [
        {"type": "text", "text": PICTURE_QUESTION},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    ]
    return {"model": model, "messages": [{"role": "user", "content": parts}]}


async def _ask(client: httpx.AsyncClient, route: str, body: Mapping[str, Json]) -> _Decided:
    """What a server decides; whatever else comes of it is a fault with its cause."""
    try:
        async with client.stream("POST", route, json=body) as response:
            raw = b""
            async for part in response.aiter_bytes():
                raw += part
                if len(raw) > _MOST_BYTES:
                    return _fault("the answer has more than 1 MB; is this a guardrail server?")
    except httpx.TimeoutException:
        return _fault("no answer in time; see the server's log, or raise --timeout")
    except httpx.HTTPError as error:
        return _fault(f"the server could not be reached ({type(error).__name__})")
    return _read(response, raw)


def _read(response: httpx.Response, raw: bytes) -> _Decided:
    told = _read_object(raw)
    word = response.headers.get("x-guardrail-decision", "")
    reason = response.headers.get("x-guardrail-reason", "")
    if response.status_code != _OK or word not in list(Action):
        said = told.get("blocked_reason") or _error_words(told)
        because = f": {said}" if isinstance(said, str) and said else ""
        return _fault(_printable(f"HTTP {response.status_code}, no verdict{because}"))
    action = Action(word)
    if response.headers.get("x-guardrail-would-block") == "true":
        action = Action.BLOCK
    is_fault = action is Action.FAULT
    said = told.get("blocked_reason") if is_fault else ""
    return _Decided(action, _printable(reason), _printable(str(said or "")))


def _read_object(raw: bytes) -> dict[str, Json]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _error_words(told: Mapping[str, Json]) -> Json:
    error = told.get("error")
    return error.get("message") if isinstance(error, dict) else None


def _fault(cause: str) -> _Decided:
    return _Decided(Action.FAULT, "no verdict", cause)


def _printable(text: str) -> str:
    """For a terminal and a log: one line of characters that can be shown, not too long."""
    return "".join(c if c.isprintable() else " " for c in text[:_MOST_CAUSE_CHARS])
