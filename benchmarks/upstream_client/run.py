"""What one call to an OpenAI-compatible server costs the client, 40 at once, on loopback.

    python benchmarks/upstream_client/run.py [--rounds 15]

Every client runs in a process of its own against a server in another process that answers at
once with a fixed completion. `cpu_ms` is processor time of the client's process a call; `wall_ms`
is time a call, so it depends on what else the machine does. Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from guardrail.types import Chat, Pixels, image_placeholder
from guardrail.upstreams.base import fill_images
from guardrail.upstreams.encoding import Encoding
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Step, completion

AT_ONCE = 40
CLIENTS = ("encoding", "guardrail", "httpx", "openai", "litellm")
CASES = {"text": None, "picture_336px_png": 336}
RESULTS = Path(__file__).with_name("results.json")
PARAMETERS = {"temperature": 0.7, "max_tokens": 64}
ANSWER = "A picture."

Call = Callable[[], Awaitable[Any]]


def request(side_px: int | None) -> tuple[Chat, list[Pixels]]:
    parts = [{"type": "text", "text": "What is shown here?"}]
    if side_px is None:
        return Chat("m", ({"role": "user", "content": parts},), PARAMETERS, 0), []
    parts.append({"type": "image_url", "image_url": {"url": image_placeholder(0)}})
    pixels = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    return Chat("m", ({"role": "user", "content": parts},), PARAMETERS, 1), [pixels]


async def filled(chat: Chat, pictures: list[Pixels]) -> dict[str, Any]:
    urls = [url.decode() for url in await Encoding().data_urls(pictures)]
    return {**chat.parameters, "model": chat.model, "messages": fill_images(chat.messages, urls)}


def encoding_call(_base_url: str, chat: Chat, pictures: list[Pixels]) -> tuple[Call, Call]:
    async def call() -> str:
        await filled(chat, pictures)
        return ANSWER

    async def close() -> None: ...

    return call, close


def guardrail_call(base_url: str, chat: Chat, pictures: list[Pixels]) -> tuple[Call, Call]:
    upstream = OpenAICompatible(base_url, api_key="k", max_connections=AT_ONCE)

    async def call() -> Any:
        return (await upstream.complete(chat, pictures, seed=0)).text

    return call, upstream.aclose


def httpx_call(base_url: str, chat: Chat, pictures: list[Pixels]) -> tuple[Call, Call]:
    import httpx

    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    client = httpx.AsyncClient(limits=limits, timeout=60, headers={"authorization": "Bearer k"})

    async def call() -> Any:
        body = await filled(chat, pictures)
        response = await client.post(f"{base_url}/chat/completions", json=body)
        return response.json()["choices"][0]["message"]["content"]

    return call, client.aclose


def openai_call(base_url: str, chat: Chat, pictures: list[Pixels]) -> tuple[Call, Call]:
    import openai

    client = openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)

    async def call() -> Any:
        response = await client.chat.completions.create(**await filled(chat, pictures))
        return response.choices[0].message.content

    return call, client.close


def litellm_call(base_url: str, chat: Chat, pictures: list[Pixels]) -> tuple[Call, Call]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from guardrail.upstreams.litellm_sdk import LiteLLM

    upstream = LiteLLM("openai/m", api_key="k", api_base=base_url, max_connections=AT_ONCE)

    async def call() -> Any:
        return (await upstream.complete(chat, pictures, seed=0)).text

    return call, upstream.aclose


async def measure(client: str, base_url: str, side_px: int | None, rounds: int) -> dict[str, float]:
    call, close = globals()[f"{client}_call"](base_url, *request(side_px))

    async def batch() -> list[float]:
        cpu, wall = time.process_time(), time.perf_counter()
        texts = await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        assert set(texts) == {ANSWER}
        spent = time.process_time() - cpu, time.perf_counter() - wall
        return [1000 * seconds / AT_ONCE for seconds in spent]

    for _ in range(2):  # connections and lazy imports
        await batch()
    cpu_ms, wall_ms = zip(*[await batch() for _ in range(rounds)], strict=True)
    await close()
    return {"cpu_ms": statistics.median(cpu_ms), "wall_ms": statistics.median(wall_ms)}


async def serve() -> None:
    body = completion(Step(ANSWER), "m")
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    answer = head.encode() + b"\r\n\r\n" + body

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request_head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = request_head.partition(b"content-length:")[2].split()[0]
                await reader.readexactly(int(length))
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def run_all(rounds: int) -> dict[str, Any]:
    me = [sys.executable, str(Path(__file__).resolve())]
    server = subprocess.Popen([*me, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        base_url = server.stdout.readline().strip()
        results = {}
        for case in CASES:
            for client in CLIENTS:
                one = [*me, "--client", client, "--case", case, "--url", base_url]
                done = subprocess.run(
                    [*one, "--rounds", str(rounds)], check=True, capture_output=True, text=True
                )
                measured = json.loads(done.stdout.splitlines()[-1])
                results.setdefault(case, {})[client] = measured
                print(f"{case:18} {client:10} {measured}", flush=True)
        return results
    finally:
        server.terminate()
        server.wait()


def report(results: dict[str, Any], rounds: int) -> dict[str, Any]:
    for clients in results.values():
        ours = clients["guardrail"]["cpu_ms"]
        for name, measured in clients.items():
            ratio = round(measured["cpu_ms"] / ours, 1)
            clients[name] = {key: round(value, 3) for key, value in measured.items()}
            clients[name]["cpu_ratio_to_guardrail"] = ratio
    packages = ("aiohttp", "httpx", "openai", "litellm")
    return {
        "at_once": AT_ONCE,
        "rounds": rounds,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in packages},
        "per_call": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=tuple(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    elif options.client:
        side_px = CASES[options.case]
        print(
            json.dumps(asyncio.run(measure(options.client, options.url, side_px, options.rounds)))
        )
    else:
        results = report(run_all(options.rounds), options.rounds)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
