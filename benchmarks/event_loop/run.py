"""How long the event loop stands still while a proxy takes in a picture of 24 megapixels.

A proxy with an instant model runs in this process; a client in a thread sends it one chat with a
picture of 6000x4000 pixels as PNG, JPEG or WebP. A task on the proxy's event loop sleeps for a
millisecond again and again, and what a sleep takes longer than that is the time in which nobody
else was served. The idle rounds say what the machine alone adds. Every round is in `results.json`.

Run from the repository root:  python benchmarks/event_loop/run.py
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import io
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL
from PIL import Image

from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.server.serve import running_server_async
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from guardrail.oracles.base import Exchange

HEIGHT, WIDTH = 4000, 6000
SAVED = {"png": {"compress_level": 6}, "jpeg": {"quality": 90}, "webp": {"quality": 90}}
STEP_S = 0.001


class Harmless:
    """An oracle that takes no time."""

    revision = "harmless"

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def aclose(self) -> None:
        pass


def picture(image_format: str) -> bytes:
    """A smooth picture with a little grain, its PNG below the limit of 20 MiB; seeded."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / HEIGHT
    waves = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * x * y), np.sin(9 * y)], axis=-1)
    levels = 127.5 + 100 * waves + draw.normal(0, 0.7, (HEIGHT, WIDTH, 1))
    buffer = io.BytesIO()
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    image.save(buffer, image_format, **SAVED[image_format])
    return buffer.getvalue()


def body(data: bytes, image_format: str) -> bytes:
    url = f"data:image/{image_format};base64,{base64.b64encode(data).decode()}"
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()


def ask(host: str, port: int, raw: bytes) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=120)
    connection.request("POST", "/v1/chat/completions", raw, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


async def stood_still(work: Awaitable[object]) -> tuple[object, float, float]:
    """What the work gave, its seconds, and the longest block of the loop meanwhile, in ms."""
    task = asyncio.ensure_future(work)
    started, longest = time.perf_counter(), 0.0
    while not task.done():
        before = time.perf_counter()
        await asyncio.sleep(STEP_S)
        longest = max(longest, time.perf_counter() - before - STEP_S)
    return task.result(), time.perf_counter() - started, 1000 * longest


def engine(policy: Policy) -> Engine:
    return Engine(compile_policy(policy), Scripted(["ok"]), Harmless(), NoiseKey(bytes(32)))


async def measured(rounds: int) -> dict[str, object]:
    policy = Policy.model_validate({"name": "loop", "oracle": {"miss_rate_upper": 0.01}})
    found: dict[str, object] = {}
    async with running_server_async(policy, engine(policy)) as server:
        idle = [(await stood_still(asyncio.sleep(1.0)))[2] for _ in range(rounds)]
        found["idle"] = {"longest_block_ms": [round(ms, 1) for ms in idle]}
        for image_format in SAVED:
            data = await asyncio.to_thread(picture, image_format)
            raw = await asyncio.to_thread(body, data, image_format)
            blocks, seconds = [], []
            for turn in range(rounds + 1):
                status, took_s, block_ms = await stood_still(
                    asyncio.to_thread(ask, server.host, server.port, raw)
                )
                assert status == 200, status
                if turn:  # the first one warms up
                    seconds.append(round(took_s, 3))
                    blocks.append(round(block_ms, 1))
            found[image_format] = {
                "encoded_bytes": len(data),
                "request_s": seconds,
                "longest_block_ms": blocks,
                "quietest_block_ms": min(blocks),
                "median_block_ms": statistics.median(blocks),
            }
            print(image_format, found[image_format], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    options = parser.parse_args()
    results = {
        "setting": {
            "picture": f"{WIDTH}x{HEIGHT}",
            "rounds": options.rounds,
            "python": platform.python_version(),
            "pillow": PIL.__version__,
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        },
        **asyncio.run(measured(options.rounds)),
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
