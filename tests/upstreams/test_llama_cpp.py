"""llama.cpp's own server, as a process, behind the upstream and behind the whole proxy."""

import asyncio
import base64
import io
import re

import httpx
import pytest
from PIL import Image

from guardrail.errors import UpstreamError
from guardrail.upstreams.openai_http import OpenAICompatible

pytest.importorskip("xllamacpp", reason="llama.cpp's server: pip install xllamacpp")
pytest.importorskip("gguf", reason="writes the model: pip install gguf")

SERVERS = "tests/upstreams/servers"
SLOTS = 4  # each idle connection holds one of the server's few threads, for five seconds
POLICY = (
    "name: test\noracle: {threshold: 0.99, miss_rate_upper: 0.277, delta: 0.001}\n"
    "advanced: {limits: {retries: 0}}\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("llama")


@pytest.fixture(scope="module")
def server(processes, repository, folder):
    """Its base URL."""
    model, log = folder / "tiny.gguf", folder / "server.log"
    with processes.running([repository / SERVERS / "tiny_gguf.py", model], "", log) as (process, _):
        assert process.wait(60) == 0
    command = [repository / SERVERS / "llama_server.py", model]
    with processes.running(command, r"listening on (http://127\.0\.0\.1:\d+)\n", log) as (_, found):
        yield f"{found[1]}/v1"


@pytest.fixture(scope="module")
def proxy(processes, server, folder):
    (folder / "policy.yaml").write_text(POLICY)
    with processes.proxy_of(server, folder / "policy.yaml", folder, max_concurrency=SLOTS) as url:
        yield url


def talk(server, talking):
    async def run():
        upstream = OpenAICompatible(server, timeout_s=30.0, max_connections=SLOTS, seeds=True)
        try:
            return await talking(upstream)
        finally:
            await upstream.aclose()

    return asyncio.run(run())


def completed(server, chat, pictures=()):
    return talk(server, lambda upstream: upstream.complete(chat, pictures, seed=1))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_ends_at_either_limit_and_is_counted(server, make_chat, name):
    answer = completed(server, make_chat(0, seed=3, **{name: 4}))
    assert len(answer.text.split()) == answer.usage.completion_tokens == 4
    assert answer.finish_reason == "length"
    assert answer.usage.prompt_tokens > 20
    assert answer.extra["timings"]["predicted_n"] == 4


def test_a_stream_is_the_same_answer_with_its_usage(server, make_chat):
    chat = make_chat(0, seed=3, max_tokens=6)

    async def watch(_message, _chars):
        return False

    streamed = talk(
        server, lambda upstream: upstream.complete_watched(chat, (), seed=1, watch=watch)
    )
    whole = completed(server, chat)
    assert streamed.text == whole.text
    assert streamed.usage == whole.usage


def test_a_stream_is_broken_off_and_its_slot_is_free_again(server, make_chat):
    async def enough(_message, chars):
        return chars > 3

    async def talking(upstream):
        chat = make_chat(0, max_tokens=400, seed=3, ignore_eos=True)
        calls = [upstream.complete_watched(chat, (), seed=1, watch=enough) for _ in range(SLOTS)]
        broken = await asyncio.gather(*calls)
        return broken, await upstream.complete(make_chat(0, seed=3, max_tokens=2), (), seed=1)

    broken, after = talk(server, talking)
    assert all(answer.finish_reason == "length" for answer in broken)
    assert len(after.text.split()) == 2


def test_a_seed_fixes_the_answer_and_each_seed_draws_anew(server, make_chat):
    async def talking(upstream):
        chat = make_chat(0, max_tokens=12)
        seeds = (*[5 << 40] * 8, *(i << 40 for i in range(8)))
        calls = [upstream.complete(chat, (), seed=seed) for seed in seeds]
        return [answer.text for answer in await asyncio.gather(*calls)]

    texts = talk(server, talking)
    assert len(set(texts[:8])) == 1
    assert len(set(texts[8:])) > 4


def test_more_calls_than_slots_are_all_answered(server, make_chat):
    async def talking(upstream):
        chat = make_chat(0, seed=3, max_tokens=20)
        return await asyncio.gather(*(upstream.complete(chat, (), seed=1) for _ in range(24)))

    assert {answer.usage.completion_tokens for answer in talk(server, talking)} == {20}


def test_its_models(server):
    assert [re.search(r"[^/]+$", name)[0] for name in talk(server, OpenAICompatible.models)] == [
        "tiny.gguf"
    ]


def test_any_name_of_a_model_is_taken(server, make_chat):
    answer = completed(server, make_chat(0, model="no such model", seed=3, max_tokens=2))
    assert answer.model.endswith("tiny.gguf")


def test_a_prompt_that_is_too_long_is_refused_for_good(server, make_chat):
    with pytest.raises(UpstreamError) as caught:
        completed(server, make_chat(0, text="x" * 2000))
    error = caught.value
    assert (error.status, error.transient) == (400, False)
    assert error.code == "exceed_context_size_error"


def test_a_picture_without_a_projector_is_a_fault_of_the_server(server, make_chat, make_picture):
    with pytest.raises(UpstreamError) as caught:
        completed(server, make_chat(1), [make_picture()])
    assert (caught.value.status, caught.value.transient) == (500, True)


def posted(proxy, content, **fields):
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}], **fields}
    return httpx.post(f"{proxy}/chat/completions", json=body, timeout=60, trust_env=False)


def test_the_proxy_judges_a_text_once_and_passes_it(proxy):
    reply = posted(proxy, "Say something.", seed=3, max_tokens=8).json()
    assert reply["guardrail"]["decision"] == "pass"
    assert reply["guardrail"]["calls"] == 1
    assert len(reply["choices"][0]["message"]["content"].split()) == 8
    assert reply["usage"]["completion_tokens"] == 8


def test_token_probabilities_pass_without_their_alternatives(proxy):
    reply = posted(proxy, "Say something.", temperature=0, max_tokens=4, logprobs=True).json()
    choice = reply["choices"][0]
    assert choice["logprobs"], reply
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert not any(token.get("top_logprobs") for token in tokens)


def test_the_proxy_tells_the_fault_of_a_picture_and_delivers_nothing(proxy, make_picture):
    data = io.BytesIO()
    Image.fromarray(make_picture(20, 20)).save(data, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    reply = posted(proxy, [{"type": "image_url", "image_url": {"url": url}}])
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "server_error"
    assert "choices" not in reply.json()


def test_the_proxy_lists_its_model(proxy):
    listed = httpx.get(f"{proxy}/models", timeout=30, trust_env=False).json()["data"]
    assert [model["id"].rpartition("/")[2] for model in listed] == ["tiny.gguf"]
