"""A mock provider: reads a request to its end, waits, answers with one of a few chat completions.

It parses no more of HTTP than it must, so that it is far faster than what is measured in front of
it. The answers are harmless to every oracle, and neighbours differ. Prints its base URL and serves
until it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time

from quick import run

ANIMALS = ("dog", "cat", "goose", "horse", "rabbit", "parrot", "tortoise", "hedgehog")
TEXTS = [f"A brown {animal} sleeps on a red sofa beside a window." for animal in ANIMALS]
MODELS = {"object": "list", "data": [{"id": "mock", "object": "model", "owned_by": "benchmark"}]}


def response(body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


def completion(text: str) -> dict[str, object]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "mock",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 12, "total_tokens": 24},
    }


ANSWERS = itertools.cycle([response(completion(text)) for text in TEXTS])
LIST = response(MODELS)


class Provider(asyncio.Protocol):
    """One connection; requests on it follow one another."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._head = b""
        self._left = 0  # bytes of the body that are still to come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
            if not self._left:
                self._answer(next(ANSWERS))
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = self._head[:end].lower(), len(self._head) - end - 4
        self._head = b""
        if head.startswith(b"get "):
            self._answer(LIST)
            return
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        self._left = length - rest
        if not self._left:
            self._answer(next(ANSWERS))

    def _answer(self, data: bytes) -> None:
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def serve(delay_ms: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Provider(delay_ms / 1000), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    run(serve(parser.parse_args().delay_ms))
