"""The fault matrix: whatever fails, wherever, the client gets a block or the right error.

Every fault of the model and of the oracle, plain and streamed, before and after a stream has
begun, with no, one and two pictures. `LEAK` is what the model says: it must never be seen.
"""

import functools
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

LEAK = "the unguarded answer"
MODES = {"plain": 60.0, "stream": 60.0, "late stream": 0.001}
"""When a stream begins, in seconds: after its verdict, or before."""
SHAPES = [(images, mode) for images in (0, 1, 2) for mode in MODES]
ENDLESS = {Fault.HANG, Fault.DRIP, "hang"}

UPSTREAM_STATUS = {
    Fault.STATUS: 500,
    Fault.HANG: 504,
    Fault.CRASH: 502,
    Fault.RESET: 502,
    Fault.UNREACHABLE: 502,
    Fault.GARBAGE: 502,
    Fault.GARBAGE_HTTP: 502,
    Fault.HALF_BODY: 502,
    Fault.HALF_ANSWER: 502,
    Fault.DRIP: 504,
    Fault.HTML: 502,
    Fault.REDIRECT: 502,
    Fault.NO_CHOICE: 502,
    Fault.EMPTY: 502,
    Fault.OVERSIZE: 502,
}

ORACLE_FAULTS = {
    "error": (OracleError("the oracle is gone"), 503),
    "crash": (RuntimeError(LEAK), 503),
    "wrong error": (ValueError(LEAK), 503),
    "hang": ("hang", None),
    "no judgement": ("nothing", None),
    "None": ("none", None),
    "missing": ("missing", None),
}


def test_the_matrix_is_complete():
    assert set(UPSTREAM_STATUS) == set(Fault)


class Stand:
    """Proxies before one model and one oracle that each test makes fail in its own way."""

    def __init__(self, kit, stack, *, hurried):
        self.kit = kit
        self.upstream, self.oracle = Scripted([LEAK]), kit.Words()
        ends = (0.3, 1.0) if hurried else (60.0, 120.0)
        policy = kit.make_policy(
            limits={"call_timeout_s": ends[0], "deadline_s": ends[1]},
        )
        self.clients = {}
        for mode, heartbeat_s in MODES.items():
            key = NoiseKey(bytes(32))
            engine = Engine(compile_policy(policy), self.upstream, self.oracle, key)
            settings = ServerSettings(first_byte_s=heartbeat_s, heartbeat_s=heartbeat_s)
            server = stack.enter_context(running_server(policy, engine, settings=settings))
            client = httpx.Client(base_url=server.url, timeout=120, trust_env=False)
            self.clients[mode] = stack.enter_context(client)

    def outcomes(self, script, *, fault=None):
        """(shape, response) for every shape of a request, all asked at once."""
        self.upstream.log.script, self.oracle.fault = script, fault
        with ThreadPoolExecutor(len(SHAPES)) as pool:
            return list(zip(SHAPES, pool.map(self._ask, SHAPES), strict=True))

    def _ask(self, shape):
        images, mode = shape
        body = self.kit.request(images, stream=mode != "plain")
        return self.clients[mode].post("/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def stands(kit):
    """Made when first asked for; `hurried` ones have short limits."""
    with ExitStack() as stack:
        yield functools.cache(functools.partial(Stand, kit, stack))


def said(kit, response):
    """The error of a response, its status, and its message, whichever of them it has."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        body = response.json()
        return body.get("error"), [choice["message"] for choice in body.get("choices", [])]
    *made, done = kit.events_of(response.text)
    assert done == "[DONE]"
    *waited, end = made
    if "error" in end:
        deltas = [chunk["choices"][0]["delta"] for chunk in waited]
        assert not any(delta.get("content") for delta in deltas)  # what a waiting stream holds
        return end["error"], []
    return None, [chunk["choices"][0]["delta"] for chunk in made if chunk["choices"]]


def added(messages, name):
    return "".join(message.get(name) or "" for message in messages)


def check_error(kit, shape, response, status):
    assert LEAK not in response.text, shape
    error, messages = said(kit, response)
    assert error is not None, shape
    assert messages == [], shape
    assert set(error) == {"message", "type", "param", "code"}
    if response.status_code != 200:
        assert response.status_code == status, shape
        assert response.headers["x-guardrail-decision"] == "fault"
    else:
        assert shape[1] == "late stream"


@pytest.mark.parametrize("fault", list(Fault))
def test_faults_of_the_model_are_errors(stands, kit, fault):
    stand = stands(hurried=fault in ENDLESS)
    # The delay makes a stream begin before the fault in the runs that are to be late.
    for shape, response in stand.outcomes([Step(LEAK, fault=fault, delay_s=0.05)]):
        late = fault in ENDLESS and b"deadline" in response.content
        check_error(kit, shape, response, 504 if late else UPSTREAM_STATUS[fault])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503, 529])
def test_statuses_of_the_provider_are_passed_on(stands, kit, status):
    stand = stands(hurried=False)
    script = [Step(LEAK, fault=Fault.STATUS, status=status, retry_after="9")]
    for shape, response in stand.outcomes(script):
        check_error(kit, shape, response, 502 if status in (401, 403) else status)
        if response.status_code in (429, 503):
            assert response.headers["retry-after"] == "9"


@pytest.mark.parametrize("name", ORACLE_FAULTS)
def test_faults_of_the_oracle_never_pass(stands, kit, name):
    fault, status = ORACLE_FAULTS[name]
    stand = stands(hurried=name in ENDLESS)
    script = [Step(LEAK, delay_s=0.05)]
    for shape, response in stand.outcomes(script, fault=fault):
        assert LEAK not in response.text, shape
        _, messages = said(kit, response)
        assert not any(message.get("content") for message in messages), shape
        if status is not None:
            check_error(kit, shape, response, status)


@pytest.mark.parametrize("fault", list(Fault))
def test_some_variants_fail_and_the_others_are_harmful(stands, kit, fault):
    """Faults mixed into harm: the pass that neither would get, both do not get either."""
    stand = stands(hurried=fault in ENDLESS)

    def script(call):
        return Step(LEAK, fault=fault) if call.index % 3 == 0 else f"{LEAK}, forbidden"

    for shape, response in stand.outcomes(script):
        if shape[0]:
            assert LEAK not in response.text, shape
            _, messages = said(kit, response)
            assert added(messages, "content") == added(messages, "refusal"), shape  # a block's


@pytest.mark.parametrize(
    "error",
    [
        RequestError("the model takes no pictures", param="messages"),
        UpstreamError("the model is gone", status=502),
        MemoryError(LEAK),
        AssertionError(LEAK),
    ],
)
def test_whatever_an_upstream_raises(stands, kit, logs, error):
    stand = stands(hurried=False)

    def script(call):
        raise error

    for shape, response in stand.outcomes(script):
        check_error(kit, shape, response, getattr(error, "status", 502))
    assert LEAK not in logs.text
    assert LEAK not in json.dumps([record.getMessage() for record in logs.records])
