"""A FastAPI application whose chat route is guarded; `python example.py` asks it once."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI
from guardrail_asgi import GuardrailMiddleware

from guardrail import Guard
from guardrail.testing.scenarios import picture_url

app = FastAPI()


@app.post("/v1/chat/completions")
async def chat(body: dict[str, Any]) -> dict[str, Any]:
    """Stands for your own route, which asks your own model."""
    message = {"role": "assistant", "content": "A picture of two people in a park."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "model": body["model"], "choices": [choice]}


# The two lines:
guard = Guard("default")
app.add_middleware(GuardrailMiddleware, guard=guard, paths=["/v1/chat/completions"])


async def main() -> None:
    """Asks about a picture and prints the answer with what it proves."""
    picture = {"type": "image_url", "image_url": {"url": picture_url()}}
    content = [{"type": "text", "text": "What is in the picture?"}, picture]
    request = {"model": "mine", "messages": [{"role": "user", "content": content}]}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client, guard:
        answer = (await client.post("/v1/chat/completions", json=request)).json()
    print(answer["choices"][0]["message"]["content"])
    print(answer["guardrail"]["certificate"]["statement"])


if __name__ == "__main__":
    asyncio.run(main())
