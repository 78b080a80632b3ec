"""Exchanges with servers that are not run here, written from their published schemas, replayed.

Each file under `exchanges` holds what a server answers, and what is to be made of it: an answer
(`means`) and the texts that are judged (`judged`), an error (`fault`), or the names of models.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from guardrail.engine.visible_text import extract_text
from guardrail.errors import UpstreamError
from guardrail.upstreams.openai_http import OpenAICompatible

FOLDER = Path(__file__).parent / "exchanges"
SERVERS = ("llama_cpp_python", "ollama", "sglang", "vllm")
FILES = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in FOLDER.rglob("*")}
EXCHANGES = {name: json.loads(path.read_text()) for name, path in FILES.items() if path.is_file()}


def having(*fields):
    """The names of the exchanges that hold all these fields."""
    return sorted(name for name, one in EXCHANGES.items() if all(field in one for field in fields))


@asynccontextmanager
async def replayed(exchange):
    """A server on loopback that answers everything with one exchange; its base URL."""

    async def answer(_request):
        if "events" not in exchange:
            return web.json_response(exchange["body"], status=exchange["status"])
        lines = [one if isinstance(one, str) else json.dumps(one) for one in exchange["events"]]
        text = "".join(f"data: {line}\n\n" for line in lines)
        return web.Response(text=text, content_type="text/event-stream")

    app = web.Application()
    app.router.add_route("*", "/v1/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def talk(exchange, talking):
    async def run():
        async with replayed(exchange) as url:
            upstream = OpenAICompatible(url, timeout_s=10.0)
            try:
                return await talking(upstream)
            finally:
                await upstream.aclose()

    return asyncio.run(run())


async def unmoved(_message, _chars):
    return False


def answered(exchange, chat):
    """The answer that an exchange is read as; streams are watched."""

    async def talking(upstream):
        if "events" in exchange:
            return await upstream.complete_watched(chat, (), seed=1, watch=unmoved)
        return await upstream.complete(chat, (), seed=1)

    return talk(exchange, talking)


@pytest.mark.parametrize("name", having("means"))
def test_an_answer(make_chat, name):
    exchange = EXCHANGES[name]
    answer = answered(exchange, make_chat(0))
    assert {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "extra": sorted(answer.extra),
    } == exchange["means"]


@pytest.mark.parametrize("name", having("judged"))
def test_everything_that_was_said_is_judged_and_nothing_is_left_unread(make_chat, name):
    exchange = EXCHANGES[name]
    found = extract_text(answered(exchange, make_chat(0)))
    assert sorted(set(found.text.splitlines())) == sorted(exchange["judged"])
    assert found.unscanned == ()


@pytest.mark.parametrize("name", having("fault"))
def test_a_fault(make_chat, name):
    exchange = EXCHANGES[name]
    with pytest.raises(UpstreamError) as caught:
        answered(exchange, make_chat(0))
    error = caught.value
    told = {"status": error.status, "transient": error.transient, "code": error.code}
    assert told == exchange["fault"]


@pytest.mark.parametrize("name", having("names"))
def test_a_list_of_models(name):
    assert talk(EXCHANGES[name], OpenAICompatible.models) == EXCHANGES[name]["names"]


def test_each_file_says_that_it_was_written_and_after_what():
    assert {name.partition("/")[0] for name in EXCHANGES} == set(SERVERS)
    for name, exchange in EXCHANGES.items():
        assert "not captured" in exchange["note"], name
        assert exchange["page"].startswith("https://"), name
        assert exchange["what"], name
        assert len({"means", "fault", "names"} & exchange.keys()) == 1, name
