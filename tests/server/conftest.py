"""A proxy over real sockets, its parts chosen by each test; pictures and requests to send it."""

import asyncio
import base64
import io
import json
import logging
import struct
import sys
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from guardrail.api.openapi.operations import CHAT, CHECK, LITELLM, MESSAGES, RESPONSES
from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.known_pictures import read_known_pictures
from guardrail.policy.schema import Policy
from guardrail.server import guarded, litellm_api
from guardrail.server.serve import running_server, running_server_async
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange

LONGEST_VALIDATED = 1 << 18
HARM = "sadly, a forbidden word"


@dataclass
class Words:
    """An oracle whose truth is known: an answer with the word `forbidden` is harmful."""

    fault: object = None
    seen: list = field(default_factory=list)
    closed: bool = False
    revision: str = "words"

    async def judge(self, exchanges):
        self.seen += [exchange.response for exchange in exchanges]
        if isinstance(self.fault, BaseException):
            raise self.fault
        if self.fault == "hang":
            await asyncio.Event().wait()
        if self.fault == "nothing":
            return []
        if self.fault == "none":
            return [None for _ in exchanges]
        if self.fault == "missing":
            return [Judgement(Outcome.MISSING, 1.0) for _ in exchanges]
        return [self._judged(exchange.response) for exchange in exchanges]

    async def aclose(self):
        self.closed = True

    @staticmethod
    def _judged(text):
        harmful = "forbidden" in text
        return Judgement(Outcome.HARMFUL if harmful else Outcome.HARMLESS, float(harmful))


def make_policy(**fields):
    """A quick policy; sections given as keywords add to the test's own."""
    sections = {
        "name": "test",
        "smoothing": {"radius": 0.25},
        "oracle": {"miss_rate_upper": 0.01},
        "sampling": {"plan": "fixed", "max_samples": 100, "expected_success_rate": 1.0},
        "limits": {"retries": 0, "call_timeout_s": 60.0, "deadline_s": 120.0},
        "memory": {"pass": "redraw", "block": "redraw"},  # each request is decided by itself
    }
    for name, value in fields.items():
        old = sections.get(name)
        sections[name] = {**old, **value} if isinstance(old, dict) else value
    return Policy.model_validate(arrange(sections))


@dataclass
class Proxy:
    """A running proxy, a client for it, and what stands behind it."""

    client: httpx.AsyncClient
    base_url: str
    upstream: Scripted
    oracle: Words

    async def chat(self, **fields):
        return await self.client.post("/v1/chat/completions", json=request(**fields))

    @property
    def calls(self):
        return self.upstream.calls


@asynccontextmanager
async def proxy(script=("A picture.",), *, oracle=None, policy=None, settings=None, **options):
    upstream = script if hasattr(script, "complete") else Scripted(script)
    oracle = oracle or Words()
    policy = policy or make_policy()
    known = read_known_pictures(policy)
    key = NoiseKey(bytes(32))
    engine = Engine(compile_policy(policy), upstream, oracle, key, known_pictures=known)
    settings = settings or ServerSettings(first_byte_s=60.0, heartbeat_s=60.0)
    async with (
        running_server_async(policy, engine, settings=settings, **options) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield Proxy(client, server.base_url, upstream, oracle)


def pixels(width=12, height=9, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(width=12, height=9, seed=0):
    return encoded(Image.fromarray(pixels(width, height, seed)))


def odd_png(mode, image_format="PNG"):
    """The same picture in another pixel format."""
    if mode == "I;16":
        return encoded(Image.fromarray(pixels()[:, :, 0].astype(np.uint16) * 257))
    return encoded(Image.fromarray(pixels()).convert(mode), image_format)


def png_header(width, height):
    """A PNG that says it has this size and holds nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc


def encoded(image, image_format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def data_url(data=None, media_type="image/png"):
    return f"data:{media_type};base64,{base64.b64encode(data or png()).decode()}"


def image_part(url=None, **fields):
    return {"type": "image_url", "image_url": {"url": url or data_url(), **fields}}


def request(images=0, *, prompt="What is this?", **fields):
    """A chat completion request with this many different pictures."""
    parts = [image_part(data_url(png(seed=i))) for i in range(images)]
    content = [{"type": "text", "text": prompt}, *parts] if images else prompt
    return {
        "model": "scripted",
        "messages": [{"role": "user", "content": content}],
        **fields,
    }


def error_of(response):
    """Message, type, param and code of an error, in whichever form the route tells it."""
    error = dict(response.json()["error"])
    details = error.pop("details", None)
    if details is not None:
        error |= {"param": details["param"], "code": details["error_code"]}
    return error


def events_of(text):
    """The data of each event of a stream, parsed except for `[DONE]`."""
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


def timeless(certificate):
    """What two certificates of the same decision share: the digest covers the time."""
    return {k: v for k, v in certificate.items() if k not in ("created", "digest")}


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]


@dataclass
class Shared:
    """A proxy in a thread that many tests ask one after the other."""

    client: httpx.Client
    base_url: str
    upstream: Scripted
    oracle: Words

    def post(self, body, **options):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"content-type": "application/json"} | options.pop("headers", {})
        return self.client.post("/v1/chat/completions", content=body, headers=headers, **options)


@pytest.fixture(scope="module")
def shared():
    upstream, oracle = Scripted(_honest), Words()
    policy = make_policy(limits={"max_images": 3, "max_body_bytes": 1 << 20})
    engine = Engine(compile_policy(policy), upstream, oracle, NoiseKey(bytes(32)))
    with (
        running_server(policy, engine, settings=ServerSettings(known_models_only=True)) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield Shared(client, server.base_url, upstream, oracle)


def _honest(call):
    """Answers with what the prompt asks for."""
    return HARM if "harm" in json.dumps(call.body["messages"]) else "A picture."


@pytest.fixture
def run():
    """Runs a coroutine to its end, with a bound on its time."""

    def runner(coroutine, timeout_s=60):
        async def bounded():
            async with asyncio.timeout(timeout_s):
                return await coroutine

        return asyncio.run(bounded())

    return runner


@pytest.fixture(scope="session")
def validators():
    """What the OpenAPI document says of each route's body, by path."""
    operations = {
        "/v1/chat/completions": CHAT,
        "/v1/responses": RESPONSES,
        "/v1/messages": MESSAGES,
        "/v1/guardrail/check": CHECK,
        "/beta/litellm_basic_guardrail_api": LITELLM,
    }
    return {
        path: Draft202012Validator(
            operation["requestBody"]["content"]["application/json"]["schema"]
        )
        for path, operation in operations.items()
    }


@pytest.fixture(autouse=True, scope="session")
def accepted_requests_fit_the_document(validators):
    """Every request that a test sends and a route accepts is one that the document describes."""
    unfit, read_aside = [], guarded.read_aside

    async def read_and_validate(policies, request, body, read):
        raws = []

        def read_and_keep(service, body):
            raws.append(json.dumps(body))
            return read(service, body)

        found = await read_aside(policies, request, body, read_and_keep)
        if len(raws[0]) < LONGEST_VALIDATED:
            body = json.loads(raws[0])
            unfit.extend(validators[request.url.path].iter_errors(body))
        return found

    with (
        patch.object(guarded, "read_aside", read_and_validate),
        patch.object(litellm_api, "read_aside", read_and_validate),
    ):
        yield
    assert not unfit


@pytest.fixture(autouse=True)
def logs(caplog):
    caplog.set_level(logging.INFO, logger="guardrail")
    return caplog
