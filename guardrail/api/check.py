"""POST /v1/guardrail/check, without HTTP: a verdict and its certificate, and no answer."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from guardrail.api.chat.reply import (
    add_guardrail,
    answer_body,
    format_usage,
    new_name,
    usage_of,
)
from guardrail.api.chat.request import incoming_chat
from guardrail.api.chat.stream import DONE
from guardrail.api.endpoint import Endpoint
from guardrail.api.errors import Reply
from guardrail.api.items import recall_nothing
from guardrail.api.shapes import flag, invalid_field
from guardrail.api.strict_json import encode_json
from guardrail.engine.verdict import Action, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.api.incoming import Incoming
    from guardrail.api.items import Recall
    from guardrail.api.opening import Opening
    from guardrail.api.request_rules import RequestRules
    from guardrail.images.codec import ImageLimits
    from guardrail.policy.schema import Policy
    from guardrail.types import Json

__all__ = ["CHECK_ENDPOINT"]


def _read(
    given: Mapping[str, Json],
    *,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules,
    recall: Recall = recall_nothing,  # noqa: ARG001 (chats hold whole messages)
) -> Incoming:
    """A chat request that may ask for `progress`. Raises RequestError."""
    body = dict(given)
    progress = flag(body.pop("progress", None), "progress")
    incoming = incoming_chat(body, max_images=max_images, limits=limits, rules=rules.whole)
    if progress and not incoming.stream:
        raise invalid_field("progress", "belongs to streams only; leave it out or set stream")
    return dataclasses.replace(incoming, progress=progress)


def _reply(verdict: Verdict, incoming: Incoming, policy: Policy, record_id: str | None) -> Reply:
    """200 for every verdict, whatever the style of a block; an error where there is none."""
    if verdict.action is Action.FAULT:
        failure = answer_body(verdict, policy, record_id)
        assert isinstance(failure, Reply)
        return add_guardrail(failure, verdict, policy, record_id)
    body = {
        "id": f"check-{record_id or new_name()}",
        "object": "guardrail.check",
        "created": int(time.time()),
        "model": incoming.chat.model,
        **format_usage(usage_of(verdict, policy)),
    }
    return add_guardrail(Reply(200, body), verdict, policy, record_id)


def _events(reply: Reply, _incoming: Incoming, _opening: Opening | None = None) -> Iterator[bytes]:
    kind = "error" if reply.is_error else "verdict"
    yield f"event: {kind}\ndata: ".encode() + encode_json(reply.body) + b"\n\n"
    yield DONE


CHECK_ENDPOINT = Endpoint(read=_read, reply=_reply, events=_events, asks_verdict=True)
