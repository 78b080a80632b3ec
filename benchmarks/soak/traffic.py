"""What clients send, and what they make of the answers; some leave in the middle."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
from scenes import picture

if TYPE_CHECKING:
    from parts import Replica
    from planted import Planted

__all__ = ["Asked", "Clients", "Seen"]

HARM = re.compile(rb"zqharmzq")
ANSWER = re.compile(rb"zqanswerzq([0-9a-f]+)")
RECORD = re.compile(rb'"record_id":\s*"([0-9a-f]{32})"')
DECISION = re.compile(rb'"decision":\s*"(\w+)"')
CODE = re.compile(rb'"(?:code|error_code)":\s*"(\w+)"')
JUDGED = (b'(harmful)"}', b'(uncertain)"}')
DECISIONS = ("pass", "block", "fault")
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
CHECK, LITELLM = "/v1/guardrail/check", "/beta/litellm_basic_guardrail_api"
ROUTES = {CHAT: 12, RESPONSES: 4, MESSAGES: 4, CHECK: 2, LITELLM: 1}
SUBJECTS = {
    "harmless text": 24, "harmful text": 8, "clean": 14, "forbidden": 6, "attacked": 6, "close": 2,
    "tool": 6, "harmful tool": 2, "repeat": 6, "malformed": 3,
}  # fmt: skip
PICTURES = ("clean", "forbidden", "attacked", "close")
STREAMED = 0.4
ANSWER_S = 90.0
TOOL = {"type": "object", "properties": {"text": {"type": "string"}}}


@dataclass(frozen=True)
class Asked:
    """One request as bytes.

    Attributes:
        subject: what it is about, see `SUBJECTS`.
        number: in all words that were planted in it; a repeat has that of the first one.
    """

    subject: str
    path: str
    body: bytes
    number: str
    stream: bool


@dataclass(frozen=True)
class Seen:
    """What came of a request.

    Attributes:
        at_s: since the start, when it ended.
        took_s: until the last byte.
        outcome: pass, block, fault, refused (4xx), left (by itself), or lost (it ended).
        answer: whether words of the model arrived, all of them or a part.
        record_id: as the answer says it; empty where it does not.
    """

    at_s: float
    took_s: float
    asked: Asked
    replica: str
    request_id: str
    key: int
    outcome: str
    status: int
    code: str
    answer: bool
    harm: bool
    foreign: bool
    complete: bool
    record_id: str


class Clients:
    """Clients that ask without a pause, each by an API key of its own.

    Args:
        replicas: where they ask; of those that are ready, any.
        secrets: of the API keys.
        planted: names what is written into requests.
        leaving: share of requests that are left in the middle.
    """

    def __init__(
        self,
        replicas: list[Replica],
        secrets: list[str],
        planted: Planted,
        *,
        leaving: float,
        seed: int,
    ) -> None:
        self.seen: list[Seen] = []
        self.ready: list[Replica] = list(replicas)
        self.running = True
        self._replicas, self._secrets, self._planted = replicas, secrets, planted
        self._leaving = leaving
        self._random = random.Random(seed)
        self._pixels = np.random.default_rng(seed)
        self._count = 0
        self._began = time.monotonic()

    def now_s(self) -> float:
        return time.monotonic() - self._began

    async def run(self) -> None:
        """Asks until `running` is false and all answers are there."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for key in range(len(self._secrets)):
                group.create_task(self._ask_on(session, key))

    async def _ask_on(self, session: aiohttp.ClientSession, key: int) -> None:
        former: deque[Asked] = deque(maxlen=4)
        while self.running:
            asked = self._next(former)
            if asked.subject in ("clean", "harmless text"):
                former.append(asked)
            seen = await self._ask(session, key, asked)
            self.seen.append(seen)
            if seen.outcome == "lost" and not seen.status:  # nobody listens there for the moment
                await asyncio.sleep(0.2)

    async def _ask(self, session: aiohttp.ClientSession, key: int, asked: Asked) -> Seen:
        replica = self._random.choice(self.ready or self._replicas)
        self._count += 1
        request_id = f"soak-{self._count:08x}"
        leaves = self._random.random() < self._leaving
        patience_s = self._random.uniform(0.0, 0.5) if leaves else ANSWER_S
        got, status, head, complete = bytearray(), 0, {}, False
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience_s):
                async with session.post(
                    f"{replica.url}{asked.path}",
                    data=asked.body,
                    headers=self._headers(key, request_id, asked.number),
                ) as response:
                    status, head = response.status, response.headers
                    async for piece in response.content.iter_any():
                        got += piece
                complete = True
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            outcome = "left" if leaves and isinstance(error, TimeoutError) else "lost"
        else:
            outcome = _outcome(status, head, bytes(got), asked)
        told = bytes(got) + repr(dict(head)).encode()
        numbers = {match.decode() for match in ANSWER.findall(told)}
        record = RECORD.search(told)
        code = CODE.search(bytes(got))
        return Seen(
            at_s=self.now_s(),
            took_s=time.monotonic() - began,
            asked=asked,
            replica=replica.name,
            request_id=request_id,
            key=key,
            outcome=outcome,
            status=status,
            code="" if code is None or outcome not in ("fault", "refused") else code[1].decode(),
            answer=bool(numbers),
            harm=HARM.search(told) is not None,
            foreign=bool(numbers - {asked.number}),
            complete=complete,
            record_id=head.get("x-guardrail-record-id", "")
            or (record[1].decode() if record else ""),
        )

    def _headers(self, key: int, request_id: str, number: str) -> dict[str, str]:
        planted = self._planted.user("header", number)
        return {
            "authorization": f"Bearer {self._secrets[key]}",
            "content-type": "application/json",
            "x-request-id": request_id,
            "user-agent": f"soak/{planted}",
            "x-forwarded-for": planted,
            "cookie": f"session={planted}",
        }

    # What is asked

    def _next(self, former: deque[Asked]) -> Asked:
        subject = self._choose(SUBJECTS)
        if subject == "repeat" and former:
            first = self._random.choice(former)
            return Asked("repeat", first.path, first.body, first.number, first.stream)
        number = f"{self._count:08x}{self._random.getrandbits(32):08x}"
        if subject == "malformed":
            return self._malformed(number)
        path = self._choose(ROUTES)
        if "tool" in subject:
            path = CHAT
        if path == LITELLM and "text" in subject:
            subject = "clean"  # texts are not decided there
        subject = "harmless text" if subject == "repeat" else subject
        stream = path != LITELLM and self._random.random() < STREAMED
        body = json.dumps(self._body(path, subject, number, stream)).encode()
        return Asked(subject, path, body, number, stream)

    def _choose(self, weights: dict[str, int]) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _malformed(self, number: str) -> Asked:
        """Requests that are refused, with words of a user in places that an error may quote."""
        word = self._planted.user("prompt", number)
        bodies = (
            (
                CHAT,
                b'{"model": "scripted", "messages": [{"role": "user", "content": "' + word.encode(),
            ),
            (CHAT, json.dumps({"model": "scripted", "messages": [], word: word}).encode()),
            (f"/v1/files/{self._planted.user('path', number)}?q={word}", b"{}"),
            (
                MESSAGES,
                json.dumps({"model": "scripted", "messages": word, "max_tokens": word}).encode(),
            ),
        )
        path, body = self._random.choice(bodies)
        return Asked("malformed", path, body, number, False)

    def _body(self, path: str, subject: str, number: str, stream: bool) -> dict[str, Any]:
        text = f"What is this? {self._planted.user('prompt', number)}"
        text += ", say harm" if subject.startswith("harmful") else ""
        text += ", call the tool" if "tool" in subject else ""
        png = None
        if subject in PICTURES:
            comment = self._planted.user("picture", number)
            png = base64.b64encode(picture(subject, self._pixels, comment)).decode()
        body = _WRITERS[path](text, png, self._planted.user("file", number))
        if "tool" in subject:
            about = self._planted.user("tool", number)
            function = {"name": "note", "description": about, "parameters": TOOL}
            body["tools"] = [{"type": "function", "function": function}]
        return {**body, "stream": True} if stream else body


def _chat(text: str, png: str | None, name: str) -> dict[str, Any]:
    content: Any = text
    if png is not None:
        url = {"url": f"data:image/png;base64,{png}"}
        content = [
            {"type": "text", "text": text},
            {"type": "image_url", "image_url": url, "filename": name},
        ]
    return {"model": "scripted", "messages": [{"role": "user", "content": content}], "user": name}


def _plain_chat(text: str, png: str | None, name: str) -> dict[str, Any]:
    """Without labels: where a verdict is asked for, nothing of a request is left out."""
    chat = _chat(text, png, name)
    for part in chat["messages"][0]["content"] if png is not None else ():
        part.pop("filename", None)
    return chat


def _responses(text: str, png: str | None, name: str) -> dict[str, Any]:
    parts: list[Any] = [{"type": "input_text", "text": text}]
    if png is not None:
        parts.append({"type": "input_image", "image_url": f"data:image/png;base64,{png}"})
    return {"model": "scripted", "input": [{"role": "user", "content": parts}], "user": name}


def _messages(text: str, png: str | None, name: str) -> dict[str, Any]:
    parts: list[Any] = [{"type": "text", "text": text}]
    if png is not None:
        source = {"type": "base64", "media_type": "image/png", "data": png}
        parts.append({"type": "image", "source": source})
    message = {"role": "user", "content": parts}
    return {
        "model": "scripted",
        "max_tokens": 64,
        "messages": [message],
        "metadata": {"user_id": name},
    }


def _litellm(text: str, png: str | None, name: str) -> dict[str, Any]:
    chat = _plain_chat(text, png, name)
    return {"input_type": "request", "structured_messages": chat["messages"], "model": "scripted"}


_WRITERS = {
    CHAT: _chat,
    CHECK: _plain_chat,
    RESPONSES: _responses,
    MESSAGES: _messages,
    LITELLM: _litellm,
}


def _outcome(status: int, head: Any, body: bytes, asked: Asked) -> str:
    if asked.path == LITELLM and status == 200:
        if b'"action":"NONE"' in body:
            return "pass"
        # Everything that is no pass is BLOCKED there; the words of a block end in its judgement.
        return "block" if body.rstrip().endswith(JUDGED) else "fault"
    decision = head.get("x-guardrail-decision")
    if decision not in DECISIONS and (found := DECISION.findall(body)):
        decision = found[-1].decode()  # a stream that began before its verdict
    if status == 200 and b'"error":{' in body:
        return "fault"  # in a stream that had begun
    if decision in DECISIONS:
        return decision
    return "refused" if 400 <= status < 500 else "fault"


def count(seen: list[Seen]) -> dict[str, dict[str, int]]:
    """Outcomes by subject."""
    counts: dict[str, Counter[str]] = {}
    for one in seen:
        counts.setdefault(one.asked.subject, Counter())[one.outcome] += 1
    return {subject: dict(sorted(found.items())) for subject, found in sorted(counts.items())}
