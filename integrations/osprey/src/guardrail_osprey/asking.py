"""One question to `POST /v1/guardrail/check`, and its answer as one of three words.

A fault is a word of its own and no exception: where a function of Osprey raises, the rules that
depend on it are not evaluated, and what should have been stopped would go through.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

import httpx

__all__ = ["LET_THROUGH", "NOT_DECIDED", "STOPPED", "ask_verdict", "close_clients"]

LET_THROUGH, STOPPED, NOT_DECIDED = "let through", "stopped", "not decided"

_log = logging.getLogger(__name__)


def ask_verdict(image: str, prompt: str, policy: str = "") -> str:
    """`let through`, `stopped` or `not decided`.

    In observe mode it is what enforcement would do. Not decided is whatever no judgement stands
    behind: a server that cannot be reached or is late, a request that it refuses, a model or an
    oracle that fails, an answer that a policy lets through unjudged.

    Args:
        image: a picture as a data URL, a link, or base64; empty for a question without one.
        prompt: the question.
        policy: a policy of the server, for callers that may choose; empty for the server's choice.
    """
    try:
        client = _client(
            os.environ.get("GUARDRAIL_URL", "http://127.0.0.1:8080"),
            os.environ.get("GUARDRAIL_API_KEY", ""),
            float(os.environ.get("GUARDRAIL_TIMEOUT_S", "60")),
        )
        model = os.environ.get("GUARDRAIL_MODEL") or _first_model(client)
        headers = {"x-guardrail-policy": policy} if policy else {}
        body = {"model": model, "messages": [_message(image, prompt)]}
        response = client.post("/v1/guardrail/check", json=body, headers=headers)
        response.raise_for_status()
        return _read(response.json())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:
        # Only its class: the text of an error may quote the request.
        _log.warning("guardrail did not decide: %s", type(error).__name__)
        return NOT_DECIDED


_clients: dict[tuple[str, str, float], httpx.Client] = {}


def _client(url: str, key: str, timeout_s: float) -> httpx.Client:
    """One client for all calls, in any thread."""
    found = _clients.get((url, key, timeout_s))
    if found is None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        made = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)
        found = _clients.setdefault((url, key, timeout_s), made)
    return found


def close_clients() -> None:
    """Closes all connections; the next question opens new ones."""
    _first_model.cache_clear()
    while _clients:
        _clients.popitem()[1].close()


@functools.cache
def _first_model(client: httpx.Client) -> str:
    response = client.get("/v1/models").raise_for_status()
    return str(response.json()["data"][0]["id"])


def _message(image: str, prompt: str) -> dict[str, Any]:
    text = {"type": "text", "text": prompt}
    if not image:
        return {"role": "user", "content": [text]}
    is_url = image.startswith(("data:", "http://", "https://"))
    url = image if is_url else f"data:image;base64,{image}"
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, text]}


def _read(body: dict[str, Any]) -> str:
    about = body["guardrail"]
    if about["decision"] == "block" or about["would_block"] is True:
        return STOPPED
    judged = about["decision"] == "pass" and about["would_block"] is False
    # A policy that fails open names what nothing judged.
    return LET_THROUGH if judged and not about["unscanned"] else NOT_DECIDED
