"""When it is certain that a call drew no answer: hosts, statuses, and what clients raise."""

import asyncio
import itertools

import aiohttp
import httpx
import openai
import pytest
from aiohttp.client_reqrep import ConnectionKey

from guardrail.testing.half_space import HalfSpaceUpstream
from guardrail.upstreams.base import is_deterministic, undrawn_statuses
from guardrail.upstreams.builtin import builtin_upstream
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.scripted import Scripted
from guardrail.upstreams.transformers_local import TransformersLocal
from guardrail.upstreams.undrawn import (
    DIRECT_HOSTS,
    has_sent_nothing,
    is_direct,
    is_direct_provider,
    response_status,
    statuses_undrawn,
)

REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")
KEY = ConnectionKey("h", 80, False, True, None, None, None)


class TestDirect:
    @pytest.mark.parametrize("host", sorted(DIRECT_HOSTS))
    def test_known_providers_are(self, host):
        assert is_direct(f"https://{host}/v1")
        assert is_direct(f"https://{host}:443")

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:8000/v1",
            "http://api.openai.com/v1",  # whoever answers without TLS may be anybody
            "https://api.openai.com:8443/v1",
            "https://api.openai.com.example/v1",
            "https://example.com/api.openai.com",
            "https://openrouter.ai/api/v1",
            "https://gateway.ai.cloudflare.com/v1/a/b/openai",
            "https://oai.helicone.ai/v1",
            "https://mine.openai.azure.com/openai",
            "https://api.openai.com:99999",
            "not a url",
            "",
        ],
    )
    def test_all_others_are_not(self, url):
        assert not is_direct(url)

    @pytest.fixture(autouse=True)
    def _no_addresses(self, monkeypatch):
        for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize(
        ("model", "address", "expected"),
        [
            ("openai/gpt-4o", None, True),
            ("anthropic/claude-sonnet-4-5", None, True),
            ("gemini/gemini-2.5-pro", None, True),
            ("together_ai/some/model", None, True),
            ("gpt-4o", None, False),  # litellm guesses whose it is
            ("openai", None, False),
            ("azure/gpt-4o", None, False),
            ("openrouter/openai/gpt-4o", None, False),
            ("litellm_proxy/gpt-4o", None, False),
            ("openai/gpt-4o", "http://127.0.0.1:4000", False),
            ("openai/gpt-4o", "https://api.openai.com/v1", True),
            ("openai/mistral", "https://api.mistral.ai/v1", True),
        ],
    )
    def test_what_litellm_asks(self, model, address, expected):
        assert is_direct_provider(model, address) is expected

    @pytest.mark.parametrize("name", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
    def test_an_address_in_the_environment_may_be_a_gateway(self, monkeypatch, name):
        monkeypatch.setenv(name, "http://127.0.0.1:4000")
        assert not is_direct_provider("openai/gpt-4o")
        assert is_direct_provider("anthropic/claude-sonnet-4-5")
        monkeypatch.setenv(name, " ")
        assert is_direct_provider("openai/gpt-4o")

    def test_statuses(self):
        assert statuses_undrawn(direct=False) == frozenset()
        assert statuses_undrawn(direct=True) == {429}
        assert statuses_undrawn(direct=True, listed=(503,)) == {429, 503}


def raised(*errors):
    """The first error as it is raised from the next, and so on."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def connector(kind=aiohttp.ClientConnectorError):
    return kind(KEY, OSError(111, "refused"))


class TestWhatWasSent:
    @pytest.mark.parametrize(
        "error",
        [
            connector(),
            connector(aiohttp.ClientConnectorDNSError),
            connector(aiohttp.ClientProxyConnectionError),
            aiohttp.ConnectionTimeoutError(),
            httpx.ConnectError("refused"),
            httpx.ConnectTimeout("late"),
            httpx.PoolTimeout("full"),
            raised(openai.APIConnectionError(request=REQUEST), httpx.ConnectError("refused")),
            raised(openai.APITimeoutError(REQUEST), httpx.ConnectTimeout("late")),
            raised(httpx.ConnectError("refused"), connector()),
        ],
        ids=repr,
    )
    def test_nothing(self, error):
        assert has_sent_nothing(error)

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("else"),
            TimeoutError(),
            ConnectionRefusedError(),  # of whom?
            aiohttp.ServerDisconnectedError(),
            aiohttp.ClientOSError(104, "reset"),
            aiohttp.SocketTimeoutError(),
            httpx.ReadError("reset"),
            httpx.ReadTimeout("late"),
            httpx.WriteError("reset"),
            httpx.RemoteProtocolError("closed"),
            openai.APIConnectionError(request=REQUEST),
            raised(openai.APITimeoutError(REQUEST), httpx.ReadTimeout("late")),
            # litellm takes a reset for a failure to connect.
            raised(httpx.ConnectError("reset"), aiohttp.ClientOSError(104, "reset")),
            raised(httpx.ReadError("second"), httpx.ConnectError("first")),
        ],
        ids=repr,
    )
    def test_something_or_nobody_knows(self, error):
        assert not has_sent_nothing(error)

    def test_an_error_that_was_raised_from_itself_ends(self):
        error = httpx.ConnectError("a")
        error.__cause__ = error
        assert has_sent_nothing(error)


def answered(status):
    return httpx.Response(status, request=REQUEST)


def openai_error(status):
    return openai.APIStatusError("words", response=answered(status), body=None)


class TestStatus:
    def test_of_the_response_itself(self):
        assert response_status(openai_error(429)) == 429
        error = httpx.HTTPStatusError("words", request=REQUEST, response=answered(503))
        assert response_status(raised(ValueError("wrapped"), error)) == 503

    def test_two_responses_are_no_sure_sign(self):
        assert response_status(raised(openai_error(429), openai_error(500))) is None

    def test_without_a_response_there_is_none(self):
        assert response_status(ValueError("429")) is None

    def test_what_litellm_makes_up_does_not_count(self):
        """It calls a 500 whose text holds the right words a 429; a client may have said them."""
        litellm = pytest.importorskip("litellm")
        made_up = litellm.RateLimitError("Request too large", "openai", "m")
        assert made_up.status_code == 429
        assert response_status(made_up) is None
        assert response_status(raised(made_up, openai_error(500))) == 500


class TestDeterministic:
    def test_who_gives_the_same_answer_bit_for_bit(self):
        half_space = HalfSpaceUpstream([1.0, 0.0, 0.0], 0.0)
        local = builtin_upstream()
        yes = [half_space, local, TransformersLocal("m", device="cpu", dtype="float32")]
        assert all(map(is_deterministic, yes))
        no = [
            Scripted([]),
            TransformersLocal("m"),  # a GPU where there is one
            TransformersLocal("m", device="cuda"),
            TransformersLocal("m", device="cpu", dtype="bfloat16"),
            object(),
        ]
        assert not any(map(is_deterministic, no))
        asyncio.run(local.aclose())

    def test_a_gate_says_what_is_behind_it(self):
        governed = LimitedUpstream(Scripted([], deterministic=True, undrawn={503}), CallLimits())
        assert is_deterministic(governed)
        assert undrawn_statuses(governed) == {503}
        assert undrawn_statuses(object()) == frozenset()
