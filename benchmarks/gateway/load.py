"""A load generator: keeps some connections busy with one request each, and tells what came.

    python load.py --url URL --body FILE [--body FILE ...] --connections N
                   (--seconds S | --requests N) [--key KEY] [--fresh]

Each connection sends the next body as soon as its answer is complete, or with --fresh another one
does. Prints one line of JSON.
An error is whatever is not a 200 with a JSON body of the length that its head says. Where a body
names a user (`USER`), each request names another one, so that no two are the same request.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from quick import run

CONNECT_S = 10.0
ANSWER_S = 120.0
USER = b'"user": "00000000"'


class Tally:
    """What came so far; `next` says what to send, and None when it is time to end."""

    def __init__(
        self, messages: list[bytes], seconds: float, requests: int, *, fresh: bool = False
    ) -> None:
        self.fresh = fresh  # whether each request opens a connection of its own
        self.latencies_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self._messages = itertools.cycle([message.partition(USER) for message in messages])
        self._numbers = itertools.count(time.time_ns() % 90_000_000)  # of eight digits
        self._end = time.perf_counter() + seconds if seconds else None
        self._left = requests

    def next(self) -> bytes | None:
        if self._end is not None:
            return None if time.perf_counter() >= self._end else self._message()
        self._left -= 1
        return None if self._left < 0 else self._message()

    def _message(self) -> bytes:
        start, user, rest = next(self._messages)
        return start + (b'"user": "%08d"' % next(self._numbers) if user else b"") + rest


async def connection(host: str, port: int, tally: Tally) -> None:
    try:
        while (message := tally.next()) is not None:
            await conversation(host, port, tally, message)
    except OSError as error:
        tally.errors[type(error).__name__] += 1


async def conversation(host: str, port: int, tally: Tally, message: bytes | None) -> None:
    """Requests on one connection, until it is time to end or the server closes it."""
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    try:
        while message is not None:
            started = time.perf_counter()
            writer.write(message)
            try:
                async with asyncio.timeout(ANSWER_S):
                    head = await answer(reader, tally)
            except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
                tally.errors[type(error).__name__] += 1
                return
            tally.latencies_s.append(time.perf_counter() - started)
            if tally.fresh or b"\r\nconnection: close" in head:
                return
            message = tally.next()
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader, tally: Tally) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = field(head, b"content-length")
    body = await reader.readexactly(int(length))
    status = head.split(b" ", 2)[1].decode()
    if status != "200" or not body.startswith(b"{"):
        tally.errors[f"status {status}"] += 1
    tally.decisions[field(head, b"x-guardrail-decision").decode() or "none"] += 1
    return head


def field(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b":")[2].split(b"\r\n", 1)[0].strip()


def request(url: str, key: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        f"content-type: application/json\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


async def measure(options: argparse.Namespace) -> dict[str, object]:
    parts = urlsplit(options.url)
    messages = [request(options.url, options.key, file.read_bytes()) for file in options.body]
    tally = Tally(messages, options.seconds, options.requests, fresh=options.fresh)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(options.connections):
            group.create_task(connection(parts.hostname, parts.port, tally))
    wall_s = time.perf_counter() - started
    ordered = sorted(tally.latencies_s) or [0.0]
    return {
        "requests": len(tally.latencies_s),
        "wall_s": wall_s,
        "rps": len(tally.latencies_s) / wall_s,
        "p50_ms": 1e3 * percentile(ordered, 0.5),
        "p99_ms": 1e3 * percentile(ordered, 0.99),
        "max_ms": 1e3 * ordered[-1],
        "errors": sum(tally.errors.values()),
        "error_kinds": dict(tally.errors),
        "decisions": dict(tally.decisions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", type=Path, action="append", required=True)
    parser.add_argument("--key", default="sk-benchmark")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--requests", type=int, default=1)
    parser.add_argument("--fresh", action="store_true")
    print(json.dumps(run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
