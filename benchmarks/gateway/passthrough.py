"""A bare pass-through: what any proxy in Python costs that reads nothing.

aiohttp on both sides, one connection pool, bodies handed on as bytes. Prints its base URL.
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp
from aiohttp import web
from quick import run


async def serve(upstream: str) -> None:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=256), headers={"content-type": "application/json"}
    )

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        async with session.post(f"{upstream}/chat/completions", data=body) as response:
            return web.Response(
                body=await response.read(), status=response.status, content_type="application/json"
            )

    app = web.Application(client_max_size=1 << 25)
    app.router.add_post("/v1/chat/completions", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", required=True)
    run(serve(parser.parse_args().upstream))
