"""A proxy whose bounds are small, and clients that send raw bytes."""

import contextlib
import json
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from guardrail.api.settings import ServerSettings
from guardrail.api.wire_limits import WireLimits
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.server import serve
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange

BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


class Harmless:
    revision = "harmless"

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def aclose(self):
        pass


@dataclass
class Server:
    """A running proxy; `deployment` is what its requests share."""

    port: int
    deployment: object

    @property
    def admission(self):
        return self.deployment.current.last.admission

    @property
    def bodies(self):
        return self.deployment.bodies

    def connect(self, address="127.0.0.1"):
        target = ("127.0.0.1", self.port)
        return socket.create_connection(target, timeout=20, source_address=(address, 0))

    def ask(self, raw, address="127.0.0.1"):
        """The status of the first answer, or None where the connection ends without one."""
        with self.connect(address) as client:
            with contextlib.suppress(ConnectionError):  # refused while it sends
                client.sendall(raw)
            return status_of(client)

    def chat(self, size=57, address="127.0.0.1"):
        """The status of an honest request, and the seconds that it took."""
        started = time.monotonic()
        status = self.ask(with_length(size) + BODY.ljust(size), address)
        return status, time.monotonic() - started

    def counted(self, bound):
        return self.deployment.refusals.counts()[bound]


def with_length(size):
    return HEAD + b"Content-Length: %d\r\n\r\n" % size


def read_all(client):
    """All that comes until the connection ends."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def status_of(client):
    try:
        answer = client.recv(1 << 16)
    except ConnectionError:
        return None
    return int(answer.split(b" ", 2)[1]) if answer else None


def error_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return json.loads(body)["error"]


def is_open(client):
    client.setblocking(False)
    try:
        return client.recv(1 << 16) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@contextmanager
def started(*, limits=None, script=("A picture.",), **wire):
    policy = Policy.model_validate(
        arrange(
            {
                "name": "faults",
                "oracle": {"miss_rate_upper": 0.01},
                "sampling": {"plan": "fixed", "max_samples": 100, "expected_success_rate": 1.0},
                "limits": {"max_body_bytes": 1 << 20, **(limits or {})},
            }
        )
    )
    engine = Engine(compile_policy(policy), Scripted(script), Harmless(), NoiseKey(bytes(32)))
    apps = []

    def create_app(*arguments, **options):
        apps.append(real(*arguments, **options))
        return apps[-1]

    real, serve.create_app = serve.create_app, create_app
    settings = ServerSettings(wire=WireLimits(**{"max_bodies_bytes": 1 << 20, **wire}))
    try:
        with serve.running_server(policy, engine, settings=settings) as server:
            yield Server(server.port, apps[-1].state.deployment)
    finally:
        serve.create_app = real


@pytest.fixture
def start():
    """Starts a proxy with these bounds; it ends with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(started(**options))


@pytest.fixture(scope="module")
def plain():
    """A proxy with the bounds as they come."""
    with started() as server:
        yield server


@pytest.fixture(scope="session")
def raw():
    """The helpers of this file."""
    return sys.modules[__name__]
