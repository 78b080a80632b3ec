"""The fault matrix on the routes beside the chat: whatever fails, nothing passes."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.errors import OracleError, RequestError, UpstreamError
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Fault, Scripted, Step

pytestmark = pytest.mark.nightly  # the matrix on the main route runs by day

LEAK = "the unguarded answer"
HEARTBEATS_S = (60.0, 0.001)
"""Streams that begin after their verdict, and before."""
LITELLM = "/beta/litellm_basic_guardrail_api"
ORACLE_FAULTS = {
    "error": OracleError("the oracle is gone"),
    "crash": RuntimeError(LEAK),
    "hang": "hang",
    "no judgement": "nothing",
    "None": "none",
    "missing": "missing",
}


@pytest.fixture(scope="module")
def requests(kit):
    """(path, body) of every shape that asks for a decision."""
    made = []
    for images in (0, 1):
        parts = [{"type": "input_text", "text": "What is this?"}]
        parts += [{"type": "input_image", "image_url": kit.data_url()}] * images
        given = {"model": "scripted", "input": [{"role": "user", "content": parts}]}
        chat = kit.request(images)
        blocks = [{"type": "text", "text": "What is this?"}]
        source = {"type": "base64", "data": kit.data_url().partition(",")[2]}
        blocks += [{"type": "image", "source": source}] * images
        message = {"model": "scripted", "max_tokens": 9}
        message["messages"] = [{"role": "user", "content": blocks}]
        for stream in (False, True):
            made.append(("/v1/responses", {**given, "stream": stream}))
            made.append(("/v1/messages", {**message, "stream": stream}))
            made.append(("/v1/guardrail/check", {**chat, "stream": stream}))
        made.append(("/v1/guardrail/check", {**chat, "stream": True, "progress": True}))
    asked = {"input_type": "request", "structured_messages": chat["messages"], "model": "m"}
    made.append((LITELLM, asked))
    return made


class Stand:
    """Two proxies before one model and one oracle that fail as each test wants it."""

    def __init__(self, kit, stack, *, ends_s=(0.3, 1.0)):
        self.upstream, self.oracle = Scripted([LEAK]), kit.Words()
        policy = kit.make_policy(
            limits={"call_timeout_s": ends_s[0], "deadline_s": ends_s[1]},
        )
        self.clients = []
        for heartbeat_s in HEARTBEATS_S:
            engine = Engine(compile_policy(policy), self.upstream, self.oracle, NoiseKey(bytes(32)))
            settings = ServerSettings(first_byte_s=heartbeat_s, heartbeat_s=heartbeat_s)
            server = stack.enter_context(running_server(policy, engine, settings=settings))
            client = httpx.Client(base_url=server.url, timeout=120, trust_env=False)
            self.clients.append(stack.enter_context(client))

    def outcomes(self, requests, script, *, fault=None):
        """(path, text of the answer) of every request to every proxy, all asked at once."""
        self.upstream.log.script, self.oracle.fault = script, fault
        jobs = [(client, *request) for client in self.clients for request in requests]
        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(_ask, jobs))


def _ask(job):
    client, path, body = job
    return path, client.post(path, json=body).text


@pytest.fixture(scope="module")
def stand(kit):
    with ExitStack() as stack:
        yield Stand(kit, stack)


def check(path, text):
    assert LEAK not in text
    assert '"decision":"pass"' not in text
    if path == LITELLM:
        assert json.loads(text)["action"] == "BLOCKED"
    else:
        assert '"error":{"' in text


@pytest.mark.parametrize("fault", list(Fault))
def test_faults_of_the_model(stand, requests, fault):
    for path, text in stand.outcomes(requests, [Step(LEAK, fault=fault, delay_s=0.01)]):
        check(path, text)


@pytest.mark.parametrize("name", ORACLE_FAULTS)
def test_faults_of_the_oracle(stand, requests, name):
    said = (LITELLM, {"input_type": "response", "texts": [LEAK]})
    fault = ORACLE_FAULTS[name]
    script = [Step(LEAK, delay_s=0.01)]
    for path, text in stand.outcomes([*requests, said], script, fault=fault):
        check(path, text)


@pytest.mark.parametrize(
    "error", [RequestError("no pictures"), UpstreamError("gone"), MemoryError(LEAK)]
)
def test_whatever_an_upstream_raises(stand, requests, logs, error):
    def script(call):
        raise error

    for path, text in stand.outcomes(requests, script):
        check(path, text)
    assert LEAK not in logs.text


def test_the_same_requests_pass_where_nothing_fails(kit, requests):
    with ExitStack() as stack:  # with limits that no machine reaches, however busy
        patient = Stand(kit, stack, ends_s=(60.0, 120.0))
        for path, text in patient.outcomes(requests, ["A picture."]):
            word = '"action":"NONE"' if path == LITELLM else '"decision":"pass"'
            assert word in text
