"""The parts of the soak as processes: replicas of the guard, its model, and who collects."""

from __future__ import annotations

import contextlib
import http.server
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import signal

__all__ = ["Collector", "Replica", "start_model"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_S = 600.0  # of a machine that has much else to do


@dataclass
class Replica:
    """One `guardrail serve`, which may be ended and started again on the same ports.

    Attributes:
        name: for people.
        port: of its clients.
        metrics_port: of Prometheus.
        command: how it is started.
        environment: of it.
        written: folder of its log, its temporary files and its working directory.
    """

    name: str
    port: int
    metrics_port: int
    command: list[str]
    environment: dict[str, str]
    written: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    exits: list[int] = field(default_factory=list)
    listens: bool = False
    listens_since: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it; `is_alive` says when it listens."""
        folder = self.written / self.name
        for inner in ("tmp", "work"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        environment = {
            **self.environment,
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder / "work"),
        }
        with (folder / f"log-{self.starts}").open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=folder / "work", env=environment, preexec_fn=_allow_core_files,
            )  # fmt: skip
        self.starts += 1
        self.listens = False

    def wait_until_it_listens(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
                self.listens, self.listens_since = True, time.monotonic()
                return
            time.sleep(0.1)
        raise SystemExit(
            f"replica {self.name} did not start (status {self.process.poll()}); see "
            f"{self.written / self.name}"
        )

    def send(self, kind: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(kind)

    def wait(self, timeout_s: float = 60.0) -> int:
        self.exits.append(self.process.wait(timeout_s))
        return self.exits[-1]

    def measure(self) -> dict[str, float] | None:
        """Memory, open files, threads and processor time; None where it does not run."""
        try:
            process = psutil.Process(self.process.pid)
            with process.oneshot():
                return {
                    "rss_mb": process.memory_info().rss / 1e6,
                    "files": process.num_fds(),
                    "threads": process.num_threads(),
                    "cpu_s": sum(process.cpu_times()[:2]),
                    "start": self.starts,
                    "listened_s": time.monotonic() - self.listens_since if self.listens else 0.0,
                }
        except psutil.Error:
            return None

    def command_lines(self) -> bytes:
        """What other users of the machine see of it."""
        return Path(f"/proc/{self.process.pid}/cmdline").read_bytes()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _allow_core_files() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class Collector:
    """Takes traces and messages of the webhook, and keeps what comes, as it came."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        counts = self.counts = {"otlp": 0, "webhook": 0}
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                kind = "otlp" if self.path.startswith("/v1/") else "webhook"
                with lock, (folder / kind).open("ab") as file:
                    counts[kind] += 1
                    file.write(body + b"\n")
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def start_model(delay_ms: float) -> tuple[subprocess.Popen[str], str]:
    """The process, and its base URL."""
    command = [sys.executable, str(HERE / "model.py"), "--delay-ms", str(delay_ms)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    url = process.stdout.readline().strip()
    if not url:
        raise SystemExit("the model did not start")
    return process, url
