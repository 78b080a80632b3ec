"""One proxy, set up as `guardrail serve` does it, whose parts can be made to fail one by one."""

import contextlib
import functools
import itertools
import json
import sqlite3
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from unittest.mock import patch

import httpx
import psycopg

from guardrail.api import building
from guardrail.api.building import open_deployment
from guardrail.api.deployment import Plan
from guardrail.api.pictures.fetch import Network
from guardrail.api.settings import ServerSettings
from guardrail.assembly import read_upstreams
from guardrail.key_files import load_or_create_key
from guardrail.middleware.loop_thread import LoopThread
from guardrail.policy.policy_list import load_policies
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server import serve, tls
from guardrail.server.app import create_deployed_app
from guardrail.server.listener import open_listener
from guardrail.server.reload import reloading
from guardrail.sharing.connection import SharedRedis
from guardrail.sharing.sharing import Sharing
from guardrail.telemetry.telemetry import TelemetrySettings, open_telemetry
from guardrail.upstreams.scripted_server import scripted_server
from tests.faults.relay import Relay
from tests.server.conftest import Words, data_url, png

SAID, LEAK = "a picture of a hat", "the unguarded answer, forbidden"
LOOK_EVERY_S = 0.1
"""How often files of policies, keys and certificates are looked at."""
POLICY = """
name: {name}
extends: quick
oracle: {{kind: builtin}}
smoothing: {{alpha: 0.05}}
spending: {{mode: {spending}}}
images: {{remote: allow_list, remote_hosts: ["{host}"]}}
advanced:
  sampling: {{plan: fixed}}
  images: {{remote_timeout_s: {picture_s}}}
  limits: {{retries: 0, call_timeout_s: {call_s}, deadline_s: {deadline_s}}}
  memory: {{pass: {memory}, block: {memory}}}
"""
POLICIES = """
policies:
  - policy: hurried.yaml
    match: {models: [hurried]}
  - policy: patient.yaml
"""
HURRIED, PATIENT = (0.4, 1.0, 0.4), (60.0, 120.0, 30.0)
"""Seconds of a call, of a decision, of a picture: what never ends is asked for in a hurry."""
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
CHECK, LITELLM = "/v1/guardrail/check", "/beta/litellm_basic_guardrail_api"
ROUTES = {
    "chat": CHAT, "chat, stream": CHAT, "responses": RESPONSES, "messages": MESSAGES,
    "check": CHECK, "litellm": LITELLM,
}  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """What a client got.

    Attributes:
        decision: pass, block or fault.
        code: of an error; empty without one.
        said: whether the model's words are in it.
        text: all of it.
        took_s: how long it took.
    """

    status: int
    decision: str
    code: str
    said: bool
    text: str
    took_s: float


class Stand:
    """A running proxy; every part that is asked for is real, behind a relay where it has a port.

    Args:
        folder: for its files.
        records: where records are kept: a path or URL.
        redis_port, shares: a Redis server and whether it counts tries ("ledger") or remembers
            ("verdicts").
        keys: an authenticator of API keys, and a secret that it knows.
        tls_files: serves HTTPS.
        telemetry: what it tells of itself.
        picture_port: of the host of linked pictures.
    """

    def __init__(
        self, folder, *, records, redis_port=None, shares=None, keys=None, secret="",
        tls_files=None, telemetry=None, picture_port=9,
    ):  # fmt: skip
        self.folder, self.oracle = folder, Words()
        self.steps = [SAID]
        self.key = load_or_create_key(folder / "noise.key")
        self._numbers = itertools.count()
        self._stack = stack = ExitStack()
        try:
            self.home = LoopThread()
            stack.callback(self.home.stop)
            model = self._enter(scripted_server(lambda _call: self.steps[0], model="scripted"))
            self.calls = model.calls
            self.upstream = self.relay(model.port)
            self.redis = None if redis_port is None else self.relay(redis_port)
            self.pictures = self.relay(picture_port)
            self._write_policies(shares)
            stack.enter_context(
                patch.object(building, "compile_oracle", lambda _policy: self.oracle)
            )
            self._serve(records, shares, keys, tls_files, telemetry)
            where = self._where(tls_files)
            self.client = stack.enter_context(
                httpx.Client(
                    base_url=where, timeout=100, trust_env=False, verify=False,  # noqa: S501 (a pair of this test)
                    headers={"authorization": f"Bearer {secret}"} if secret else {},
                )
            )  # fmt: skip
        except BaseException:
            stack.close()
            raise

    def relay(self, port):
        relay = Relay(self.home, port)
        self._stack.callback(relay.close)
        return relay

    def ask(self, route, *, hurried=False, link=None, number=None):
        """(reply, id of the request) of a question about a picture that nobody has asked."""
        number = next(self._numbers) if number is None else number
        request_id = f"fault-{number}-{next(self._numbers)}"
        model = "hurried" if hurried else "scripted"
        body = _BODIES[ROUTES[route]](link or data_url(png(seed=number % 1000)), model, str(number))
        if "stream" in route:
            body["stream"] = True
        began = time.monotonic()
        answer = self.client.post(ROUTES[route], json=body, headers={"x-request-id": request_id})
        return _reply(route, answer, time.monotonic() - began), request_id

    def ready(self):
        return self.client.get("/readyz").status_code

    def close(self):
        self._stack.close()

    # How it is set up

    def _enter(self, context):
        entered = self.home.run_sync(context.__aenter__())
        self._stack.callback(lambda: self.home.run_sync(context.__aexit__(None, None, None)))
        return entered

    def _write_policies(self, shares):
        options = {
            "spending": "principal" if shares == "ledger" else "off",
            "memory": "replay" if shares == "verdicts" else "redraw",
            "host": f"pictures.test:{self.pictures.port}",
        }
        for name, (call_s, deadline_s, picture_s) in {
            "hurried": HURRIED,
            "patient": PATIENT,
        }.items():
            text = POLICY.format(
                name=name, call_s=call_s, deadline_s=deadline_s, picture_s=picture_s, **options
            )
            (self.folder / f"{name}.yaml").write_text(text)
        (self.folder / "policies.yaml").write_text(POLICIES)

    def _serve(self, records, shares, keys, tls_files, telemetry):
        spec = (f"openai_compatible:http://127.0.0.1:{self.upstream.port}/v1",)
        journal = open_journal(records, lock_wait_s=0.5)
        self._stack.callback(journal.close)
        writer = RecordWriter(journal, wait_s=3.0)
        self._stack.callback(writer.close)
        sharing = None
        if shares is not None:
            url = f"redis://127.0.0.1:{self.redis.port}/0"
            sharing = Sharing(SharedRedis(url, self.key, timeout_s=3.0))
        told = open_telemetry(telemetry or TelemetrySettings())
        self._stack.callback(told.close)
        deployment = open_deployment(
            lambda: Plan(load_policies(self.folder / "policies.yaml"), read_upstreams(spec)),
            self.key,
            ServerSettings(probe_cache_s=0.0, probe_timeout_s=2.0, first_byte_s=60.0),
            record_of=lambda engine: Recorder(writer, engine),
            network=Network(_resolve, lambda _address: True),
            sharing=sharing,
        )
        self.deployment = deployment
        metrics = serve._metrics_listener(telemetry=told)
        app = create_deployed_app(
            deployment,
            lambda: reloading(deployment, [self.folder], every_s=LOOK_EVERY_S, on_signal=False),
            keys=keys, telemetry=told, metrics_listener=metrics,
        )  # fmt: skip
        context = None if tls_files is None else tls.open_tls(tls_files)
        renews = functools.partial(tls.keep_renewed, every_s=LOOK_EVERY_S)
        self._stack.enter_context(patch.object(serve, "keep_renewed", renews))
        self._listener = open_listener("127.0.0.1", 0)
        self.metrics_port = None if metrics is None else metrics.getsockname()[1]
        server = serve._server(app, tls=tls_files, context=context)
        thread = threading.Thread(target=server.run, args=([self._listener],), daemon=True)
        thread.start()

        def end():
            server.should_exit = True
            thread.join()
            self._listener.close()

        self._stack.callback(end)
        assert server.ready.wait(60)

    def _where(self, tls_files):
        scheme = "http" if tls_files is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"


async def _resolve(_host, _port):
    return [ip_address("127.0.0.1")]


def _chat(url, model, number):
    parts = [{"type": "text", "text": number}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": model, "messages": [{"role": "user", "content": parts}]}


def _responses(url, model, number):
    parts = [{"type": "input_text", "text": number}, {"type": "input_image", "image_url": url}]
    return {"model": model, "input": [{"role": "user", "content": parts}]}


def _messages(url, model, number):
    if url.startswith("data:"):
        source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
    else:
        source = {"type": "url", "url": url}
    parts = [{"type": "text", "text": number}, {"type": "image", "source": source}]
    return {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": parts}]}


def _litellm(url, model, number):
    messages = _chat(url, model, number)["messages"]
    return {"input_type": "request", "structured_messages": messages, "model": model}


_BODIES = {
    CHAT: _chat, CHECK: _chat, RESPONSES: _responses, MESSAGES: _messages, LITELLM: _litellm,
}  # fmt: skip


def _reply(route, answer, took_s):
    text = answer.text
    decision, code = answer.headers.get("x-guardrail-decision", ""), ""
    if route == "litellm" and answer.status_code == 200:
        body = answer.json()
        reason = body.get("blocked_reason", "")
        # A fault is worded as one; the words of a block end in the reason of the judgement.
        blocked = reason.endswith(("(harmful)", "(uncertain)"))
        decision = "pass" if body["action"] == "NONE" else "block" if blocked else "fault"
    elif answer.headers.get("content-type", "").startswith("application/json"):
        error = answer.json().get("error") or {}
        code = (error.get("details") or {}).get("error_code") or error.get("code") or ""
        if error and not decision:
            decision = "fault"
    elif '"error":{' in text:
        decision = "fault"
    return Reply(answer.status_code, decision, code, SAID in text or LEAK in text, text, took_s)


def kept_actions(records, request_id):
    """Actions of the records of a request, wherever records are kept; nothing is made or mended."""
    text = str(records)
    if text.endswith(".jsonl"):
        lines = map(json.loads, Path(text).read_bytes().splitlines())
        return [line["action"] for line in lines if line["request_id"] == request_id]
    query = "SELECT action FROM records WHERE request_id = "
    if text.startswith("postgresql"):
        with psycopg.connect(text) as connection:
            return [row[0] for row in connection.execute(query + "%s", [request_id])]
    with contextlib.closing(sqlite3.connect(f"file:{text}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute(query + "?", [request_id])]


__all__ = ["LEAK", "LOOK_EVERY_S", "ROUTES", "SAID", "Stand", "kept_actions"]
