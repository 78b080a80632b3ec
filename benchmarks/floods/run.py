"""What strangers' bytes cost: memory of the proxy, and how long an honest client waits meanwhile.

    pip install psutil
    python benchmarks/floods/run.py [--only NAME] [--code FOLDER] [--out FILE]

Each flood meets a fresh `guardrail serve` with the default policy in a process of its own, in front
of a mock provider; `--code` serves another checkout. A second process sends one honest text request
after the other, four a second, before, during and after the flood, and reads the proxy's memory
every 20 ms. Writes results.json beside this file; about six minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
GATEWAY = HERE.parent / "gateway"
sys.path.insert(0, str(GATEWAY))

import psutil  # noqa: E402
from processes import Process, Processes, free_port  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

HOST = "127.0.0.1"
BEFORE_S, FLOOD_S, AFTER_S = 2.0, 12.0, 2.0
PAUSE_S, SAMPLE_S = 0.25, 0.02
MB = 1_000_000
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)


def with_length(size: int) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % size


def fill_body(unit: bytes, size: int = 30 * MB, *, start: bytes, end: bytes) -> bytes:
    return start + unit * ((size - len(start) - len(end)) // len(unit)) + end


def bodies() -> dict[str, bytes]:
    """JSON that takes many times its size in memory."""
    start = b'{"model":"m","messages":['
    return {
        "lists": fill_body(b"[],", start=start, end=b"[]]}"),
        "numbers": fill_body(b"1,", start=start, end=b"1]}"),
        "objects": fill_body(b'{"a":1},', start=start, end=b"1]}"),
        "small strings": fill_body(b'"ab",', start=start, end=b'"ab"]}'),
        "nested": fill_body(b'{"a":', start=b"", end=b"1"),
        "long key": fill_body(b"k", start=b'{"model":"m","', end=b'":1}'),
        "long text": fill_body(b"t", start=b'{"model":"\xf0\x9f\x98\x80', end=b'"}'),
    }


# Floods


async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(5):
        return await asyncio.open_connection(HOST, PORT)


async def send(pieces: Iterator[bytes], *, stay: bool = False, pause_s: float = 0.0) -> None:
    """Sends all of them, and then waits for the end, or for ever."""
    with contextlib.suppress(OSError):
        reader, writer = await connect()
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause_s:
                    await asyncio.sleep(pause_s)
            while await reader.read(1 << 16) or stay:
                if reader.at_eof():
                    await asyncio.sleep(1)
        finally:
            writer.close()


async def again(make: Callable[[], Awaitable[None]]) -> None:
    """One attacker, who comes back whenever the server ends the connection."""
    while True:
        await make()
        await asyncio.sleep(0.05)


def repeat_piece(piece: bytes, times: int) -> Iterator[bytes]:
    return (piece for _ in range(times))


def first(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


async def drip() -> None:
    await send(first(with_length(1000), repeat_piece(b" ", 999)), pause_s=1.0)


async def hold_large() -> None:
    pieces = repeat_piece(b" " * 100_000, 310)
    with contextlib.suppress(OSError):
        reader, writer = await connect()
        try:
            writer.write(with_length(32 * MB))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            while not reader.at_eof() and not await reader.read(1):
                pass
            await asyncio.sleep(1)
        finally:
            writer.close()


def floods() -> dict[str, list[Callable[[], Awaitable[None]]]]:
    """The attackers of each flood."""
    long = b"x" * 100_000
    found = {
        "30 header fields of 40 MB": [lambda: send(first(HEAD + b"X-A: ", repeat_piece(long, 400)))]
        * 30,
        "10 heads of 500,000 fields": [
            lambda: send(first(HEAD, repeat_piece(b"X-A: b\r\n" * 1000, 500)))
        ]
        * 10,
        "10 times 500,000 trailers": [
            lambda: send(first(HEAD + CHUNKED, repeat_piece(b"X-A: b\r\n" * 1000, 500)))
        ]
        * 10,
        "1,000 half-sent heads": [lambda: send(repeat_piece(HEAD, 1), stay=True)] * 1000,
        "500 silent connections": [lambda: send(repeat_piece(b"", 1), stay=True)] * 500,
        "64 bodies of a byte a second": [drip] * 64,
        "330 bodies of a byte a second": [drip] * 330,
        "24 bodies of 32 MB, held": [hold_large] * 24,
        "20 times 10,000 requests at once": [
            lambda: send(repeat_piece(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000, 1))
        ]
        * 20,
    }
    for name, body in bodies().items():
        whole = with_length(len(body)) + body
        found[f"4 JSON bodies of 30 MB: {name}"] = [
            lambda whole=whole: send(iter([whole[i : i + MB] for i in range(0, len(whole), MB)]))
        ] * 4
    return found


PORT = 0


async def flood(attackers: list[Callable[[], Awaitable[None]]], seconds: float) -> None:
    tasks = [asyncio.create_task(again(attacker)) for attacker in attackers]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# The honest client


def probe(url: str, pid: int) -> None:
    """Sends requests until the standard input ends; prints each as a line of JSON."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    threading.Thread(target=sample, args=(pid, ended), daemon=True).start()
    while not ended.is_set():
        started = time.time()
        status = ask(url)
        tell(at=started, latency_s=time.time() - started, status=status)
        ended.wait(PAUSE_S)


def ask(url: str) -> int | str:
    request = urllib.request.Request(  # noqa: S310 (loopback)
        f"{url}/chat/completions", BODY, {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=90) as response:  # noqa: S310
            response.read()
            return response.status
    except OSError as error:
        return getattr(error, "code", None) or type(error).__name__


def sample(pid: int, ended: threading.Event) -> None:
    process = psutil.Process(pid)
    while not ended.wait(SAMPLE_S):
        tell(at=time.time(), rss_mb=process.memory_info().rss / MB)


def tell(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


# One flood


def measure(processes: Processes, provider: Process, code: Path, attackers: list) -> dict[str, Any]:
    global PORT
    PORT = free_port()
    command = [sys.executable, "-m", "guardrail", "serve", "--port", str(PORT)]
    command += ["--upstream", f"openai_compatible:{provider.base_url}"]
    env = {"PYTHONPATH": str(code)}
    server = processes.serving("guardrail", command, PORT, health="/healthz", env=env)
    for _ in range(20):
        ask(server.base_url)
    pid = server._popen.pid  # noqa: SLF001
    command = [sys.executable, __file__, "--probe", server.base_url, str(pid)]
    with tempfile.TemporaryFile("w+") as log:
        watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log)
        while not os.fstat(log.fileno()).st_size:
            time.sleep(0.1)
        time.sleep(BEFORE_S)
        began, cpu_s = time.time(), server.cpu_s()
        asyncio.run(flood(attackers, FLOOD_S))
        ended, cpu_s = time.time(), server.cpu_s() - cpu_s
        time.sleep(AFTER_S)
        watcher.communicate()
        log.seek(0)
        lines = [json.loads(line) for line in log]
    left = len(psutil.Process(pid).net_connections(kind="tcp"))
    server.stop()
    return {**summary(lines, began, ended), "server_cpu_s": round(cpu_s, 1), "sockets_left": left}


def summary(lines: list[dict[str, Any]], began: float, ended: float) -> dict[str, Any]:
    asked = [line for line in lines if "latency_s" in line]
    rss = [line for line in lines if "rss_mb" in line]
    parts = {
        "before": [line for line in asked if line["at"] < began],
        "during": [line for line in asked if began <= line["at"] < ended],
        "after": [line for line in asked if line["at"] >= ended],
    }
    held = max(line["rss_mb"] for line in rss if line["at"] < began)
    return {
        "max_latency_ms": {
            name: round(1000 * max((line["latency_s"] for line in part), default=0))
            for name, part in parts.items()
        },
        "median_latency_ms": {
            name: round(1000 * statistics.median(line["latency_s"] for line in part), 1)
            for name, part in parts.items()
            if part
        },
        "honest_requests": {name: len(part) for name, part in parts.items()},
        "honest_not_200": sum(line["status"] != 200 for line in asked),
        "rss_before_mb": round(held),
        "rss_grew_mb": round(max(line["rss_mb"] for line in rss) - held),
        "rss_grew_after_mb": round(rss[-1]["rss_mb"] - held),
    }


def main() -> None:
    if sys.argv[1:2] == ["--probe"]:
        probe(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="a part of the name of a flood")
    parser.add_argument("--code", type=Path, default=HERE.parents[1], help="what is served")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        provider = processes.printing(sys.executable, str(GATEWAY / "provider.py"))
        for name, attackers in floods().items():
            if not options.only or any(part in name for part in options.only):
                results[name] = measure(processes, provider, options.code.resolve(), attackers)
                print(name, json.dumps(results[name]), flush=True)
    setting = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "flood_s": FLOOD_S,
        "load_average": round(os.getloadavg()[0], 1),
    }
    told = {"setting": setting, "floods": results}
    options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
