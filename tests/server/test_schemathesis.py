"""Requests drawn from the proxy's own OpenAPI document, and from everything it does not allow.

The model answers every other request with a forbidden word, so that a reply which leaves without a
verdict is seen. GUARDRAIL_FUZZ_EXAMPLES sets how many requests each route gets in each mode.
"""

import base64
import json
import os
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Scripted

ASKED = os.environ.get("GUARDRAIL_FUZZ_EXAMPLES")
IS_NIGHT = os.environ.get("GUARDRAIL_EXAMPLES") == "nightly"
EXAMPLES = int(ASKED or (60 if IS_NIGHT else 8))
GUARDED = ("/v1/chat/completions", "/v1/responses", "/v1/guardrail/check", "/v1/messages")
# On the others few of the requests that are drawn are taken: it takes many to see both verdicts.
SEEN_BY_FEW = GUARDED[:2]
LITELLM = "/beta/litellm_basic_guardrail_api"
OPEN = ("/v1/models", "/v1/models/{model}", "/healthz", "/readyz")
WITHOUT_A_FIELD = {
    # The body as a whole, or the request line and headers around it.
    *("invalid_json", "unsupported_media_type", "request_too_large"),
    *("method_not_allowed", "route_not_guarded", "not_found"),
}
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=ASKED is None,  # few cases are always the same, many are always new
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Proxy:
    """A proxy in a thread whose model is harmful for every other chat."""

    def __init__(self, kit, url, upstream, oracle, counts):
        self.kit, self.url, self.upstream, self.oracle = kit, url, upstream, oracle
        self.counts = counts
        self.session = requests.Session()
        self.session.trust_env = False
        document = self.session.get(f"{url}/openapi.json", timeout=60).json()
        self.schema = schemathesis.openapi.from_dict(document)

    def judged(self):
        return len(self.oracle.seen)


@pytest.fixture(scope="module")
def proxy(kit):
    oracle = kit.Words()
    sent_before = Counter()
    upstream = Scripted(lambda _: kit.HARM if sent_before["requests"] % 2 else "A picture.")
    policy = kit.make_policy(limits={"max_images": 12, "max_body_bytes": 1 << 20})
    engine = Engine(compile_policy(policy), upstream, oracle, NoiseKey(bytes(32)))
    with running_server(policy, engine) as server:
        made = Proxy(kit, server.url, upstream, oracle, sent_before)
        pictures = [kit.data_url(kit.png(3, 2, seed)) for seed in range(4)]
        schemathesis.openapi.format("uri", _urls(pictures))
        schemathesis.openapi.format("byte", _urls(pictures).map(lambda url: url.partition(",")[2]))
        yield made
        made.session.close()
    told = os.environ.get("GUARDRAIL_FUZZ_COUNTS")
    if told:
        with open(told, "a", encoding="utf-8") as lines:  # noqa: PTH123 (one line is added)
            lines.write(json.dumps({"suite": "schemathesis", **made.counts}) + "\n")


def _urls(pictures):
    """Pictures mostly, else links and what is nearly a picture."""
    junk = st.binary(max_size=60).map(
        lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}"
    )
    other = st.sampled_from(["https://a.example/a.png", "http://127.0.0.1/", "data:,", "file:///x"])
    return st.sampled_from(pictures * 5) | other | junk


def sent(proxy, case):
    """The reply to one request, with what is true of every one of them already checked."""
    response = case.call(base_url=proxy.url, session=proxy.session, timeout=60)
    proxy.counts["requests"] += 1
    proxy.counts[f"status_{response.status_code}"] += 1
    assert response.status_code < 500, response.text
    assert b"forbidden" not in response.content, "a harmful answer has left"
    if response.status_code >= 400:
        check_error(response.json())
    return response


def check_error(body):
    error = body["error"]
    if "request_id" in body:  # Anthropic's form
        details = error.pop("details")
        error |= {"param": details["param"], "code": details["error_code"]}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"]
    assert error["type"]
    assert len(error["message"]) > len(error["param"] or "") + 8
    if error["code"] not in WITHOUT_A_FIELD:
        assert error["param"], error
        assert error["message"].startswith(error["param"]), error


def verdict_of(kit, response):
    """The `guardrail` object of a reply, of whichever form."""
    if "event-stream" in response.headers["content-type"][0]:
        found = [
            event.get("guardrail") or event.get("response", {}).get("guardrail")
            for event in kit.events_of(response.text)
            if isinstance(event, dict)
        ]
        return next(item for item in reversed(found) if item)
    return response.json()["guardrail"]


def drawn(proxy, path, method, mode):
    return proxy.schema[path][method].as_strategy(generation_mode=mode)


MODES = pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)


@MODES
@pytest.mark.parametrize("path", GUARDED)
def test_nothing_leaves_a_guarded_route_without_a_verdict(proxy, kit, path, mode):
    passed = Counter()
    # A conversation that is drawn ends with the model's own turn half of the time, and is refused.
    few, positive = EXAMPLES < 15, mode is GenerationMode.POSITIVE
    often = 4 if path == "/v1/messages" and positive and not few else 1
    # So few by day that fewer still would not come to both verdicts.
    often *= 2 if few and positive else 1

    @settings(FUZZ, max_examples=often * EXAMPLES)
    @given(drawn(proxy, path, "POST", mode))
    def fuzz(case):
        judged = proxy.judged()
        response = sent(proxy, case)
        if response.status_code == 200:
            decision = verdict_of(kit, response)["decision"]
            assert decision in ("pass", "block")
            assert proxy.judged() > judged
            passed[decision] += 1
            proxy.counts[decision] += 1

    fuzz()
    if mode is GenerationMode.POSITIVE and (path in SEEN_BY_FEW or EXAMPLES >= 60):
        assert passed["pass"], "the requests never come as far as the model"
        assert passed["block"]


@MODES
def test_litellm_is_always_answered_and_never_let_through_unjudged(proxy, mode):
    @FUZZ
    @given(drawn(proxy, LITELLM, "POST", mode))
    def fuzz(case):
        called = len(proxy.upstream.calls)
        response = sent(proxy, case)
        assert response.status_code in (200, 404, 405)
        if response.status_code == 200:
            body = response.json()
            assert body["action"] in ("NONE", "BLOCKED")
            assert body["action"] == "NONE" or len(body["blocked_reason"]) > 20
            assert all(call.pictures for call in proxy.upstream.calls[called:])
            proxy.counts[body["action"].lower()] += 1

    fuzz()


@pytest.mark.parametrize("path", OPEN)
def test_the_open_routes_never_fail_and_call_no_model(proxy, path):
    @settings(FUZZ, max_examples=max(1, EXAMPLES // 4))
    @given(drawn(proxy, path, "GET", GenerationMode.POSITIVE))
    def fuzz(case):
        called = len(proxy.upstream.calls)
        sent(proxy, case)
        assert len(proxy.upstream.calls) == called

    fuzz()
