"""What a search by answers asks: the bare model, or an OpenAI-compatible server over HTTP."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import httpx

from guardrail.attack.black_box import AskedReply
from guardrail.attack.sampled_check import draw_answers
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, UpstreamError
from guardrail.images.encode import encode_image
from guardrail.printable import show_text
from guardrail.types import Answer
from guardrail.upstreams.faults import retry_after_s
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json, Pixels
    from guardrail.upstreams.loading import Loaded

__all__ = ["BareModel", "HttpTarget"]

_MOST_BYTES = 1 << 20
_OK, _TOO_MANY, _UNAVAILABLE = 200, 429, 503
_BLOCK_CODES = ("content_policy_violation", "content_filter")
_HOPELESS = {
    400: "the server does not take this request",
    401: "the server wants another API key",
    403: "the API key may not ask this",
    404: "there is no such route or model; the URL ends in /v1 as a rule",
    405: "there is no such route; the URL ends in /v1 as a rule",
    413: "the picture is too large for the server",
    422: "the server does not take this request",
}
_USUAL_WAIT_S = 5.0  # where a server says 429 and not how long


@dataclass(slots=True)
class BareModel:
    """A model in this process, undefended; every query has a seed of its own.

    Attributes:
        loaded: the model.
        prompt: the question that goes with the picture.
        seed: of the first answer.
    """

    loaded: Loaded
    prompt: str
    seed: int = 0
    asked: int = field(default=0, init=False)

    def ask(self, pixels: Pixels) -> AskedReply:
        self.asked += 1
        seed = self.seed + self.asked
        (text,) = draw_answers(self.loaded, self.prompt, [pixels], seed=seed)
        return AskedReply(Action.PASS, text)


class HttpTarget:
    """A server that is asked as any client asks it, and told that it is being attacked.

    Every request says so in its header `user-agent`. No redirect is followed and no proxy of the
    environment is used: nothing but the URL that was given is asked. To be used as a context
    manager.

    Args:
        url: an OpenAI-compatible base URL, such as `http://127.0.0.1:8080/v1`.
        model: its name of the model.
        prompt: the question that goes with the picture.
        key: an API key; empty where the server takes none.
        max_tokens: of an answer.
        timeout_s: longest that one answer may take.

    Raises:
        ConfigError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        prompt: str,
        *,
        key: str = "",
        max_tokens: int = 24,
        timeout_s: float = 120.0,
    ) -> None:
        self._url = f"{_check_url(url).rstrip('/')}/chat/completions"
        self._model, self._prompt, self._max_tokens = model, prompt, max_tokens
        headers = {"user-agent": f"guardrail-attack/{__version__} (a test of the guard)"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers, timeout=timeout_s, follow_redirects=False, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, pixels: Pixels) -> AskedReply:
        """One query, whatever becomes of it.

        Raises:
            UpstreamError: the server refuses such requests as a whole; asking again is no use.
        """
        try:
            with self._client.stream("POST", self._url, json=self._body(pixels)) as response:
                raw = b""
                for part in response.iter_bytes():
                    raw += part
                    if len(raw) > _MOST_BYTES:
                        return _fault("the answer has more than 1 MB")
        except httpx.TimeoutException:
            return _fault("no answer in time")
        except httpx.HTTPError as error:
            return _fault(f"the server could not be reached ({type(error).__name__})")
        return _read(response, _parse(raw))

    def _body(self, pixels: Pixels) -> dict[str, Json]:
        data = base64.b64encode(encode_image(pixels, "png")).decode("ascii")
        parts: list[Json] = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            {"type": "text", "text": self._prompt},
        ]
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": self._max_tokens,
        }


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_sound = is_sound and not (parts.username or parts.password or parts.query)
    except ValueError:
        is_sound = False
    if not is_sound or not url.isascii() or not url.isprintable():
        raise ConfigError(
            "must be an http or https URL without a name, a password and a query in it, such as "
            "http://127.0.0.1:8080/v1",
            field="url",
        )
    return url


def _read(response: httpx.Response, told: Mapping[str, Json]) -> AskedReply:
    """A block is what says so: the guard's header, a filter's finish reason, a policy's error."""
    status, code = response.status_code, _error_code(told)
    decision = response.headers.get("x-guardrail-decision", "")
    choice = _choice(told)
    if code in _BLOCK_CODES or choice.get("finish_reason") == "content_filter":
        return AskedReply(Action.BLOCK)
    if status == _OK and decision in ("", Action.PASS, Action.BLOCK) and choice:
        # A guard that only watches says block and delivers all the same.
        watched = response.headers.get("x-guardrail-would-block") == "true"
        if decision == Action.BLOCK and not watched:
            return AskedReply(Action.BLOCK)
        message = choice.get("message")
        return AskedReply(Action.PASS, Answer(message if isinstance(message, dict) else {}).text)
    if status in (_TOO_MANY, _UNAVAILABLE):
        wait_s = retry_after_s(response.headers)
        if wait_s is None and status == _TOO_MANY:
            wait_s = _USUAL_WAIT_S
        return AskedReply(Action.FAULT, cause=f"HTTP {status}, asked to wait", wait_s=wait_s)
    if status in _HOPELESS and decision != Action.FAULT:
        raise UpstreamError(f"{_HOPELESS[status]} (HTTP {status}): {_error_words(told)}")
    return _fault(f"HTTP {status}, no answer: {_error_words(told)}")


def _parse(raw: bytes) -> Mapping[str, Json]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _choice(told: Mapping[str, Json]) -> Mapping[str, Json]:
    choices = told.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _error_code(told: Mapping[str, Json]) -> Json:
    error = told.get("error")
    return error.get("code") if isinstance(error, dict) else None


def _error_words(told: Mapping[str, Json]) -> str:
    error = told.get("error")
    words = error.get("message") if isinstance(error, dict) else None
    return show_text(words[:200]) if isinstance(words, str) else "no reason given"


def _fault(cause: str) -> AskedReply:
    return AskedReply(Action.FAULT, cause=cause)
