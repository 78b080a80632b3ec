"""`transformers serve`, a real server of a real vision-language model, behind the whole proxy.

The model is the built-in one, read by that server from its folder: pictures, noise, answers and
verdicts are all real, and everything between the processes goes over HTTP.
"""

import asyncio
import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from guardrail.errors import UpstreamError
from guardrail.types import picture_chat
from guardrail.upstreams.builtin import BUILTIN_FOLDER
from guardrail.upstreams.openai_http import OpenAICompatible

pytest.importorskip("accelerate", reason="transformers serve needs it: pip install accelerate")

pytestmark = pytest.mark.nightly  # its start alone takes half a minute
MODEL = str(BUILTIN_FOLDER)
PROMPT = "What is shown in this picture?"
# The command `transformers`, after it knows the vision tower that ships here.
SERVE = (
    "from guardrail.upstreams.convolutional_vision import register_convolutional_vision\n"
    "from transformers.cli.transformers import main\n"
    "register_convolutional_vision()\n"
    "main()\n"
)
PICTURE_TOKENS = 64
FEWEST = 19  # no test of the default policy passes with fewer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(processes, folder):
    """Its base URL."""
    cache = folder / "cache"  # it lists the models in there, and fails where there is none
    (cache / "hub").mkdir(parents=True)
    command = ["-c", SERVE, "serve", MODEL, "--device", "cpu", "--host", "127.0.0.1", "--port", 0]
    pattern = r"running on (http://127\.0\.0\.1:\d+)"
    options = {"HF_HOME": str(cache), "TRANSFORMERS_OFFLINE": "1"}
    log = folder / "server.log"
    with processes.running(command, pattern, log, **options) as (_, found):
        yield f"{found[1]}/v1"


@pytest.fixture(scope="module")
def proxy(processes, server, folder, repository):
    policy = repository / "policies" / "default.yaml"
    names = {"model_map": f"{{ours: '{MODEL}'}}", "max_concurrency": 8}
    with processes.proxy_of(server, policy, folder, **names) as url:
        yield url


@pytest.fixture(scope="module")
def picture(repository):
    """The bytes of one of the demo's pictures."""

    def read(name):
        return (repository / "guardrail" / "demo" / "pictures" / f"{name}.png").read_bytes()

    return read


def talk(server, talking):
    async def run():
        upstream = OpenAICompatible(server, model_map={"ours": MODEL}, timeout_s=60.0)
        try:
            return await talking(upstream)
        finally:
            await upstream.aclose()

    return asyncio.run(run())


def asked(proxy, png=None, **fields):
    content = [{"type": "text", "text": PROMPT}]
    if png is not None:
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body = {"model": "ours", "messages": [{"role": "user", "content": content}], **fields}
    return httpx.post(f"{proxy}/chat/completions", json=body, timeout=120, trust_env=False)


def test_a_clean_picture_is_answered_with_a_certificate(proxy, picture):
    reply = asked(proxy, picture("clean-1")).json()
    told = reply["guardrail"]
    assert told["decision"] == "pass"
    assert told["calls"] >= FEWEST
    assert told["certificate"]["radius"] >= 0.25
    assert told["certificate"]["upstream"].startswith("openai_compatible:http://127.0.0.1:")
    assert reply["choices"][0]["message"]["content"]
    assert reply["usage"]["prompt_tokens"] > told["calls"] * PICTURE_TOKENS


def test_a_forbidden_picture_is_blocked(proxy, picture):
    reply = asked(proxy, picture("forbidden-1")).json()
    assert reply["guardrail"]["decision"] == "block"
    assert "certificate" not in reply["guardrail"]  # a blocked client is told no counts
    message = reply["choices"][0]["message"]
    assert message["content"] == message["refusal"]
    assert reply["choices"][0]["finish_reason"] == "content_filter"


def test_a_text_is_judged_once(proxy):
    told = asked(proxy).json()["guardrail"]
    assert (told["decision"], told["calls"], told["certificate"]) == ("pass", 1, None)


def test_a_field_that_it_does_not_know_is_told_with_its_status(proxy):
    reply = asked(proxy, mirostat=2)
    assert reply.status_code == 422
    assert "HTTP 422" in reply.json()["error"]["message"]


def test_the_names_of_the_map_are_listed(proxy):
    listed = httpx.get(f"{proxy}/models", timeout=60, trust_env=False).json()["data"]
    assert [model["id"] for model in listed] == ["ours"]


def seen(picture, **parameters):
    """A chat about one of the demo's pictures, and its pixels."""
    pixels = np.asarray(Image.open(io.BytesIO(picture("clean-1"))))
    return picture_chat("ours", PROMPT, parameters), [pixels]


def test_a_stream_is_put_together_and_counted(server, picture):
    chat, pictures = seen(picture)

    async def watch(_message, _chars):
        return False

    answer = talk(
        server, lambda upstream: upstream.complete_watched(chat, pictures, seed=1, watch=watch)
    )
    assert answer.text
    assert answer.finish_reason == "stop"
    assert answer.usage.prompt_tokens > PICTURE_TOKENS
    assert answer.usage.completion_tokens > 4


def test_a_stream_is_broken_off(server, picture):
    chat, pictures = seen(picture)

    async def watch(_message, chars):
        return chars > 2

    answer = talk(
        server, lambda upstream: upstream.complete_watched(chat, pictures, seed=1, watch=watch)
    )
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_either_limit_holds(server, picture, name):
    chat, pictures = seen(picture, **{name: 3})
    answer = talk(server, lambda upstream: upstream.complete(chat, pictures, seed=1))
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 3)


def test_another_model_than_its_own_is_refused_for_good(server, make_chat):
    with pytest.raises(UpstreamError) as caught:
        talk(server, lambda upstream: upstream.complete(make_chat(0, model="other"), (), seed=1))
    assert (caught.value.status, caught.value.transient) == (400, False)
