"""One call asks the provider once, whatever becomes of it; counted at a server on loopback."""

import asyncio
import os
import socket
import struct
from contextlib import asynccontextmanager, nullcontext

import openai
import pytest
from aiohttp import web

from guardrail.errors import ConfigError, UpstreamError
from guardrail.upstreams.litellm_sdk import ASKED_ONCE, LiteLLM, ask_once
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Step
from guardrail.upstreams.scripted_server import scripted_server
from tests.virtual_time import run_skipping, skip

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm")

# As in `test_litellm_sdk`: litellm and the libraries it loads warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

# By litellm's OpenAI client, by its HTTP client in OpenAI's form, and in forms of their own.
MODELS = [
    "openai/m",
    "groq/m",
    "deepseek/m",
    "xai/m",
    "mistral/m",
    "openrouter/a/m",
    "anthropic/m",
    "gemini/m",
    "cohere_chat/m",
]
RESET = "reset"


@asynccontextmanager
async def provider(outcome, body=None):
    """Counts the requests to any route, and answers them all alike: its address, the count."""
    asked = []

    async def handle(request):
        asked.append(request.path)
        await request.read()
        if outcome == RESET:
            linger = struct.pack("ii", 1, 0)
            sender = request.transport.get_extra_info("socket")
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.transport.abort()
            return web.Response()
        return web.json_response(body or {"error": {"message": "words"}}, status=outcome)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def fault_of(model, outcome, chat, body=None, **options):
    async with provider(outcome, body) as (address, asked):
        upstream = LiteLLM(model, api_key="k", api_base=address, timeout_s=20.0, **options)
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(chat, [], seed=1)
        return caught.value, len(asked)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("outcome", [429, 500, 503, RESET])
def test_litellm_sends_one_request(make_chat, model, outcome):
    error, asked = asyncio.run(fault_of(model, outcome, make_chat(0), direct=True))
    assert asked == 1
    assert error.transient
    assert error.undrawn is (outcome == 429)


def test_not_so_where_nothing_says_that_the_provider_answers_for_itself(make_chat):
    error, _ = asyncio.run(fault_of("openai/m", 429, make_chat(0)))
    assert (error.status, error.undrawn) == (429, False)


def test_a_listed_status_drew_nothing(make_chat):
    error, _ = asyncio.run(fault_of("anthropic/m", 529, make_chat(0), undrawn={529}))
    assert error.undrawn


def test_words_that_litellm_reads_as_a_429_are_none(make_chat):
    """A 500 that quotes the client's own words."""
    body = {"error": {"message": "Request too large"}}
    error, asked = asyncio.run(fault_of("openai/m", 500, make_chat(0), body, direct=True))
    assert (error.undrawn, asked) == (False, 1)


def test_who_else_uses_litellm_keeps_its_second_request(make_chat):
    """Outside `ask_once` its HTTP client sends again what was reset; and so it can be counted."""

    async def asked(inside):
        async with provider(RESET) as (address, found):
            LiteLLM("groq/m")  # prepares litellm
            call = litellm.acompletion(
                model="groq/m", api_key="k", api_base=address, num_retries=0, max_retries=0,
                messages=[{"role": "user", "content": "Hello"}], timeout=20,
            )  # fmt: skip
            with ask_once() if inside else nullcontext(), pytest.raises(openai.APIError):
                await call
            return len(found)

    assert asyncio.run(asked(inside=False)) == 2
    assert asyncio.run(asked(inside=True)) == 1


def test_its_options_reach_litellm(make_chat, monkeypatch):
    seen = {}

    async def record(**given):
        seen.update(given)
        return litellm.ModelResponse(choices=[{"message": {"content": "A cat."}}])

    monkeypatch.setattr(litellm, "acompletion", record)
    answer = asyncio.run(LiteLLM("openai/m", api_key="k").complete(make_chat(0), [], seed=1))
    assert answer.text == "A cat."
    assert ASKED_ONCE.items() <= seen.items()
    assert ASKED_ONCE == {
        "num_retries": 0,
        "max_retries": 0,
        "fallbacks": [],
        "caching": False,
        "cache": {"no-cache": True, "no-store": True},
    }


def test_none_of_them_reaches_the_provider(make_chat):
    async def run():
        async with scripted_server(["A cat."]) as server:
            upstream = LiteLLM("openai/m", api_key="k", api_base=server.base_url)
            await upstream.complete(make_chat(0), [], seed=1)
            return server.calls[0].body

    assert not asyncio.run(run()).keys() & ASKED_ONCE.keys()


@pytest.mark.parametrize("retries", [None, 2])
def test_the_process_s_own_settings_for_retries_do_not_count(make_chat, monkeypatch, retries):
    monkeypatch.setattr(litellm, "num_retries", retries)
    _, asked = asyncio.run(fault_of("openai/m", 500, make_chat(0)))
    assert asked == 1


def test_nor_does_its_cache(make_chat, monkeypatch):
    """Two equal calls are two draws, and neither is kept for others."""
    from litellm.caching.caching import Cache

    cache = Cache(type="local")
    monkeypatch.setattr(litellm, "cache", cache)

    async def run():
        async with scripted_server(["One.", "Two.", "Three."]) as server:
            upstream = LiteLLM("openai/m", api_key="k", api_base=server.base_url)
            ours = [await upstream.complete(make_chat(0), [], seed=i) for i in range(2)]
            kept = len(cache.cache.cache_dict)
            await litellm.acompletion(
                model="openai/m", api_key="k", api_base=server.base_url,
                messages=[{"role": "user", "content": "Hello"}],
            )  # fmt: skip
            async with asyncio.timeout(20):
                while not cache.cache.cache_dict:  # noqa: ASYNC110 (litellm stores aside)
                    await asyncio.sleep(0.01)
            return [answer.text for answer in ours], kept, len(server.calls)

    assert asyncio.run(run()) == (["One.", "Two."], 0, 3)


def test_what_litellm_took_from_its_cache_is_marked(make_chat, monkeypatch):
    response = litellm.ModelResponse(choices=[{"message": {"content": "A cat."}}])
    response._hidden_params["cache_hit"] = True

    async def cached(**_):
        return response

    monkeypatch.setattr(litellm, "acompletion", cached)
    answer = asyncio.run(LiteLLM("openai/m", api_key="k").complete(make_chat(0), [], seed=1))
    assert answer.cached


def test_fallbacks_for_the_whole_process_are_refused(monkeypatch):
    monkeypatch.setattr(litellm, "model_fallbacks", ["other"])
    with pytest.raises(ConfigError, match="model_fallbacks"):
        LiteLLM("openai/m")


def by_litellm(url, **options):
    return LiteLLM("openai/m", api_key="k", api_base=url, **options)


@pytest.mark.parametrize("make", [OpenAICompatible, by_litellm])
class TestBoth:
    """Alike for both ways to a provider."""

    @staticmethod
    def answers(make, chat, script, *, watched=False, count=1, **options):
        async def watch(_message, _chars):
            return False

        async def run():
            async with scripted_server(script) as server:
                upstream = make(server.base_url, **options)
                try:
                    found = []
                    for seed in range(count):
                        given = (chat, [])
                        found.append(
                            await (
                                upstream.complete_watched(*given, seed=seed << 40, watch=watch)
                                if watched
                                else upstream.complete(*given, seed=seed << 40)
                            )
                        )
                    return found, server.calls
                finally:
                    await upstream.aclose()

        return asyncio.run(run())

    @pytest.mark.parametrize("watched", [False, True])
    @pytest.mark.parametrize(
        ("headers", "cached"), [({"x-cache": "HIT"}, True), ({"x-cache": "MISS"}, False)]
    )
    def test_headers_that_name_a_hit_mark_the_answer(
        self, make, make_chat, watched, headers, cached
    ):
        step = Step("A cat.", headers=headers)
        (answer,), _ = self.answers(make, make_chat(0), [step], watched=watched)
        assert (answer.text, answer.cached) == ("A cat.", cached)

    @pytest.mark.parametrize("watched", [False, True])
    def test_a_client_s_seed_is_never_sent(self, make, make_chat, watched):
        _, (call,) = self.answers(make, make_chat(0, seed=7), ["A cat."], watched=watched)
        assert "seed" not in call.body

    @pytest.mark.parametrize("watched", [False, True])
    def test_where_seeds_are_honoured_each_call_has_its_own(self, make, make_chat, watched):
        options = {"watched": watched, "count": 3, "seeds": True}
        _, calls = self.answers(make, make_chat(0, seed=7), ["A cat."], **options)
        assert [call.body["seed"] for call in calls] == [0, 1 << 8, 2 << 8]

    @pytest.mark.parametrize("step", [Step(fault=Fault.RESET), Step(fault=Fault.CRASH)], ids=str)
    def test_a_connection_that_breaks_may_hide_an_answer(self, make, make_chat, step):
        async def run():
            async with scripted_server([step, "A cat."]) as server:
                upstream = make(server.base_url, direct=True)
                with pytest.raises(UpstreamError) as caught:
                    await upstream.complete(make_chat(0), [], seed=1)
                await upstream.aclose()
                return caught.value.undrawn, len(server.calls)

        assert asyncio.run(run()) == (False, 1)

    def test_nobody_listened_and_nothing_was_sent(self, make, make_chat):
        async def run():
            async with scripted_server(["x"]) as server:
                free = server.base_url
            upstream = make(free)
            with pytest.raises(UpstreamError) as caught:
                await upstream.complete(make_chat(0), [], seed=1)
            await upstream.aclose()
            return caught.value

        error = asyncio.run(run())
        assert (error.undrawn, error.transient) == (True, True)

    @pytest.mark.parametrize(
        ("options", "status", "undrawn"),
        [
            ({}, 429, False),
            ({"direct": True}, 429, True),
            ({"direct": True}, 503, False),
            ({"undrawn": {503}}, 503, True),
            ({"undrawn": {503}}, 429, False),
        ],
    )
    def test_statuses(self, make, make_chat, options, status, undrawn):
        async def run():
            async with scripted_server([Step(fault=Fault.STATUS, status=status)]) as server:
                upstream = make(server.base_url, **options)
                with pytest.raises(UpstreamError) as caught:
                    await upstream.complete(make_chat(0), [], seed=1)
                await upstream.aclose()
                return caught.value

        error = asyncio.run(run())
        assert (error.status, error.undrawn) == (status, undrawn)


def test_to_a_name_that_leads_nowhere_nothing_was_sent(make_chat):
    async def run():
        upstream = OpenAICompatible("http://nowhere.invalid/v1")
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(make_chat(0), [], seed=1)
        await upstream.aclose()
        return caught.value.undrawn

    assert asyncio.run(run())


def test_a_late_answer_may_have_been_drawn_a_late_connection_not(make_chat):
    async def run(backlogged):
        async with scripted_server([Step(fault=Fault.HANG)]) as server:
            url = "http://127.0.0.1:1/v1" if backlogged else server.base_url
            upstream = OpenAICompatible(url, timeout_s=60.0)
            call = asyncio.create_task(upstream.complete(make_chat(0), [], seed=1))
            while not (server.log.in_flight or call.done()):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.005)
            skip(61.0)  # aiohttp rounds it up to a whole second
            with pytest.raises(UpstreamError) as caught:
                await call
            await upstream.aclose()
            return caught.value

    late = run_skipping(run(backlogged=False))
    assert (late.status, late.undrawn) == (504, False)
    assert run_skipping(run(backlogged=True)).undrawn


def test_caches_on_the_way_are_asked_to_keep_out(make_chat):
    async def run():
        async with scripted_server(["A cat."]) as server:
            upstream = OpenAICompatible(server.base_url)
            await upstream.complete(make_chat(0), [], seed=1)
            await upstream.aclose()
            return server.calls[0].headers["cache-control"]

    assert asyncio.run(run()) == "no-cache, no-store"
