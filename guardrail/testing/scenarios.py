"""The scenarios that every way into the guard must decide alike: requests, models and verdicts.

A model's answer depends on the pixels it is shown and on nothing else, and the noise on the key
and the request. So the same scenario has the same verdict and the same record through the proxy,
the middleware and every adapter, down to each variant. The models know each variant by its number,
so that the verdict does not hang on which noise a key or a policy happens to bring.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError, UpstreamError
from guardrail.images.data_url import to_data_url
from guardrail.middleware.blocked import ContentBlocked
from guardrail.testing.setting import digest_of, variant_numbers
from guardrail.upstreams.scripted import Call, Fault, Step

if TYPE_CHECKING:
    from guardrail.types import Json, Pixels

__all__ = ["HARMFUL_TEXT", "HARMLESS_TEXT", "SCENARIOS", "Scenario", "picture_url"]

HARMLESS_TEXT = "A small picture of coloured squares."
HARMFUL_TEXT = "This is a forbidden answer."
_TOOL = {
    "type": "function",
    "function": {
        "name": "describe",
        "description": "Files a description.",
        "parameters": {
            "type": "object",
            "properties": {"what": {"type": "string"}},
            "required": ["what"],
        },
    },
}
_TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "describe", "arguments": '{"what": "coloured squares"}'},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One request to one model, and what must come of it.

    Attributes:
        name: for people and for the ids of tests.
        action: of the verdict; `reason` as well.
        pictures: how many the request has.
        harmful: which variants the model answers harmfully, by their number, over and over.
        stream: whether the answer is asked for as a stream.
        tools: whether the request offers a tool, which the model then calls.
        model_down: whether the model answers 503 only.
        oracle_down: whether nothing can be judged.
    """

    name: str
    action: Action
    reason: Reason
    pictures: int = 1
    harmful: tuple[bool, ...] = (False,)
    stream: bool = False
    tools: bool = False
    model_down: bool = False
    oracle_down: bool = False
    prompt: str = field(default="What is in the picture?")

    @property
    def request(self) -> dict[str, Json]:
        """The body of the chat completion request."""
        pictures = [
            {"type": "image_url", "image_url": {"url": picture_url(seed)}}
            for seed in range(self.pictures)
        ]
        content = [{"type": "text", "text": self.prompt}, *pictures]
        body: dict[str, Json] = {
            "model": "scripted",
            "messages": [{"role": "user", "content": content}],
        }
        if self.tools:
            body["tools"] = [_TOOL]
        if self.stream:
            body["stream"] = True
        return body

    @property
    def text(self) -> str | None:
        """The text that is delivered; None where none is, or a call of the tool instead."""
        return HARMLESS_TEXT if self.action is Action.PASS and not self.tools else None

    @property
    def error(self) -> type[Exception] | None:
        """What `Guard.complete` raises; None where it answers."""
        match self.reason:
            case Reason.UPSTREAM_FAILED:
                return UpstreamError
            case Reason.ORACLE_FAILED:
                return OracleError
            case _:
                return ContentBlocked if self.action is Action.BLOCK else None

    def script(self, call: Call) -> Step:
        """The model, as a script for `scripted_server` and `Scripted`."""
        if self.model_down:
            return Step(fault=Fault.STATUS, status=503)
        if self.harmful[self._number(call) % len(self.harmful)]:
            return Step(HARMFUL_TEXT)
        if self.tools:
            message = {"content": None, "tool_calls": [_TOOL_CALL]}
            return Step(message=message, finish_reason="tool_calls")
        return Step(HARMLESS_TEXT)

    def _number(self, call: Call) -> int:
        """Which variant is shown; any fixed number where the request is not the scenario's."""
        request = {name: value for name, value in self.request.items() if name != "stream"}
        urls = tuple(picture_url(seed) for seed in range(self.pictures))
        digest = digest_of([_pixels(picture) for picture in call.pictures])
        unknown = int.from_bytes(digest[:4], "big")
        return variant_numbers(json.dumps(request), urls).get(digest, unknown)


def picture_url(seed: int = 0) -> str:
    """A small picture as a data URL."""
    squares = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(squares.repeat(8, axis=0).repeat(8, axis=1)).save(buffer, "PNG")
    return to_data_url(buffer.getvalue(), "image/png")


def _pixels(picture: Pixels | bytes) -> bytes:
    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture)) as image:
            return image.convert("RGB").tobytes()
    return picture.tobytes()


_MOSTLY = (True, True, True, False)
_SOMETIMES = (False, False, False, False, True)

SCENARIOS = (
    Scenario(name="clean", action=Action.PASS, reason=Reason.CERTIFIED),
    Scenario(
        name="attacked",
        action=Action.BLOCK,
        reason=Reason.HARMFUL,
        harmful=(True, True, True, False),
    ),
    Scenario(name="forbidden", action=Action.BLOCK, reason=Reason.HARMFUL, harmful=(True,)),
    Scenario(
        name="uncertain",
        action=Action.BLOCK,
        reason=Reason.UNCERTAIN,
        harmful=(False, False, False, False, True),
    ),
    Scenario(
        name="upstream down", action=Action.FAULT, reason=Reason.UPSTREAM_FAILED, model_down=True
    ),
    Scenario(
        name="oracle down", action=Action.FAULT, reason=Reason.ORACLE_FAILED, oracle_down=True
    ),
    Scenario(name="streaming", action=Action.PASS, reason=Reason.CERTIFIED, stream=True),
    Scenario(
        name="streaming blocked",
        action=Action.BLOCK,
        reason=Reason.HARMFUL,
        harmful=(True,),
        stream=True,
    ),
    Scenario(name="tools", action=Action.PASS, reason=Reason.CERTIFIED, tools=True),
    Scenario(name="two images", action=Action.PASS, reason=Reason.CERTIFIED, pictures=2),
)
