"""The proxy's application under several HTTP servers: speed, and what strangers' bytes do to each.

    pip install granian hypercorn psutil      # what is missing is left out
    python benchmarks/http_servers/run.py     # about two minutes; writes results.json beside it

Text requests to a mock provider, 16 connections, servers in turns, medians over the rounds. Then,
to a fresh process each: 40 MB of one header, 300 half-sent heads that are left alone, and requests
that other servers may read in another way, whose statuses are told.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
GATEWAY = HERE.parent / "gateway"
sys.path.insert(0, str(GATEWAY))

from processes import Process, Processes, free_port  # noqa: E402

NAMES = ["uvicorn, httptools", "uvicorn, httptools, bounded", "uvicorn, h11", "hypercorn",
         "granian"]  # fmt: skip
HALF_SENT, LEFT_ALONE_S = 300, 15.0
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
PROBES = {
    "plain": POST + HOST + JSON + LENGTH + b"\r\n" + BODY,
    "no Host": POST + JSON + LENGTH + b"\r\n" + BODY,
    "two Hosts": POST + HOST + HOST + JSON + LENGTH + b"\r\n" + BODY,
    "Transfer-Encoding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + HOST + JSON + CHUNKED + b"\r\n"
    + CHUNKS + b"\r\n",
    "Content-Length and Transfer-Encoding": POST + HOST + JSON + LENGTH + CHUNKED + b"\r\n"
    + CHUNKS + b"\r\n",
    "two Content-Lengths": POST + HOST + JSON + LENGTH + LENGTH + b"\r\n" + BODY,
    "folded header": POST + HOST + JSON + LENGTH + b"X-A: b\r\n c\r\n\r\n" + BODY,
    "bare LF": (POST + HOST + JSON + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "NUL in a header": POST + HOST + JSON + LENGTH + b"X-A: b\0c\r\n\r\n" + BODY,
    "space before the colon": POST + HOST + JSON + LENGTH + b"X-A : b\r\n\r\n" + BODY,
    "trailer": POST + HOST + JSON + CHUNKED + b"\r\n" + CHUNKS + b"X-A: b\r\n\r\n",
    "20,000 trailers": POST + HOST + JSON + CHUNKED + b"\r\n" + CHUNKS + b"X-A: b\r\n" * 20_000
    + b"\r\n",
    "1,000 headers": POST + HOST + JSON + LENGTH + b"X-A: b\r\n" * 1000 + b"\r\n" + BODY,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", action="append", choices=NAMES)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    names = [name for name in options.only or NAMES if is_installed(name)]
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        provider = processes.printing(sys.executable, str(GATEWAY / "provider.py"))
        results = {
            "setting": setting(options.rounds, options.seconds),
            "speed": speed(processes, provider, names, options),
            "strangers": {name: strangers(processes, provider, name) for name in names},
        }
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def is_installed(name: str) -> bool:
    package = name.partition(",")[0]
    return importlib.util.find_spec(package) is not None


def setting(rounds: int, seconds: float) -> dict[str, object]:
    found = {}
    for package in ("uvicorn", "httptools", "h11", "hypercorn", "granian", "uvloop"):
        with contextlib.suppress(ModuleNotFoundError):
            found[package] = version(package)
    return {"rounds": rounds, "seconds": seconds, "cores": os.cpu_count(), "versions": found,
            "python": platform.python_version(), "load_average": os.getloadavg()[0]}  # fmt: skip


def start(processes: Processes, provider: Process, name: str) -> tuple[Process, int]:
    port = free_port()
    command = [sys.executable, str(HERE / "served.py"), name, str(port), provider.base_url]
    return processes.serving(name, command, port, health="/healthz", env={}), port


def speed(
    processes: Processes, provider: Process, names: list[str], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Requests per second and processor time of one, as medians over the rounds."""
    servers = {name: start(processes, provider, name)[0] for name in names}
    for server in servers.values():
        load(server, 1.0)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, server in servers.items():
            measured[name].append(load(server, options.seconds))
    for server in servers.values():
        server.stop()
    return {
        name: {
            "rps": round(statistics.median(each["rps"] for each in rounds)),
            "cpu_us": round(statistics.median(each["cpu_us"] for each in rounds)),
            "errors": sum(each["errors"] for each in rounds),
        }
        for name, rounds in measured.items()
    }


def load(server: Process, seconds: float) -> dict[str, float]:
    before = server.cpu_s()
    done = subprocess.run(
        [sys.executable, str(GATEWAY / "load.py"), "--url", server.base_url, "--body",
         str(GATEWAY / "text.json"), "--connections", "16", "--seconds", str(seconds)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    cpu_us = 1e6 * (server.cpu_s() - before) / max(told["requests"], 1)
    return {"rps": told["rps"], "errors": told["errors"], "cpu_us": cpu_us}


def strangers(processes: Processes, provider: Process, name: str) -> dict[str, object]:
    server, port = start(processes, provider, name)
    told: dict[str, object] = {"statuses": {what: ask(port, raw) for what, raw in PROBES.items()}}
    told["half_sent_heads_open_after_15_s"] = half_sent(port)
    print(name, told, flush=True)
    before = server.rss_mb()
    told["long_header"] = send_long_header(port)
    told["long_header_rss_mb"] = round(server.rss_mb() - before, 1)
    server.stop()
    return told


def ask(port: int, raw: bytes) -> str:
    """The status of the answer, or how the connection ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        try:
            client.sendall(raw)
            answer = client.recv(1 << 16)
        except TimeoutError:
            return "no answer in 5 s"
        except OSError as error:
            return type(error).__name__
    return answer.split(b" ", 2)[1].decode() if answer else "closed"


def send_long_header(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(POST + HOST + b"X-A: ")
            for _ in range(40):
                client.sendall(b"a" * 1_000_000)
    except OSError as error:
        return f"ended while it was sent ({type(error).__name__})"
    return "taken"


def half_sent(port: int) -> int:
    clients = []
    with contextlib.suppress(OSError):  # it takes no more, or does not come to it
        for _ in range(HALF_SENT):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            clients[-1].sendall(POST + HOST)
    time.sleep(LEFT_ALONE_S)
    still = sum(is_open(client) for client in clients)
    for client in clients:
        client.close()
    return still


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


if __name__ == "__main__":
    main()
