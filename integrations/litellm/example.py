"""Starts LiteLLM's proxy with the example's configuration and asks it once, without a key."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from openai import OpenAI

from guardrail.testing.scenarios import picture_url
from guardrail.upstreams.scripted_server import scripted_server

CONFIG = Path(__file__).with_name("example") / "config.yaml"


async def main() -> None:
    """Asks about a picture and prints the answer with what it proves."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(CONFIG, folder)
        async with scripted_server(["A picture of two people in a park."]) as model:
            await asyncio.to_thread(ask, folder, model.base_url)


def ask(folder: str, model: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    key = f"sk-{secrets.token_hex(16)}"
    settings = {"MODEL_BASE_URL": model, "MODEL_API_KEY": "none", "LITELLM_MASTER_KEY": key}
    settings |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [str(Path(sys.executable).with_name("litellm")), "--config", "config.yaml"]
    command += ["--host", "127.0.0.1", "--port", port]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **settings}, stdout=quiet, stderr=quiet
    )
    try:
        answer(f"http://127.0.0.1:{port}", key)
    finally:
        process.terminate()
        process.wait()


def answer(url: str, key: str) -> None:
    retrying = httpx.HTTPTransport(retries=10)  # LiteLLM takes a while to listen
    with httpx.Client(transport=retrying, timeout=120) as http:
        http.get(f"{url}/health/liveliness").raise_for_status()
    picture = {"type": "image_url", "image_url": {"url": picture_url()}}
    content = [{"type": "text", "text": "What is in the picture?"}, picture]
    with OpenAI(base_url=f"{url}/v1", api_key=key) as client:
        completion = client.chat.completions.create(
            model="vision", messages=[{"role": "user", "content": content}]
        )
    print(completion.choices[0].message.content)
    print(completion.guardrail["certificate"]["statement"])


if __name__ == "__main__":
    asyncio.run(main())
