"""Processes that are started, watched for processor time and memory, and always ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Process", "Processes", "free_port"]

_START_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server under measurement; `base_url` is what an OpenAI client takes."""

    def __init__(self, popen: subprocess.Popen[str], base_url: str) -> None:
        self.base_url = base_url
        self.pid = popen.pid
        self._popen = popen
        self._watched = psutil.Process(popen.pid)

    def cpu_s(self) -> float:
        """Processor time so far, user and system, of the process and its living children."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def cpu_now_s(self) -> float:
        """The same to the nanosecond, of a process without children (Linux)."""
        clock = (~self._popen.pid << 3) | 2  # as clock_getcpuclockid(3) makes it
        return time.clock_gettime(clock)

    def rss_mb(self) -> float:
        return sum(process.memory_info().rss for process in self._family()) / 1e6

    def _family(self) -> list[psutil.Process]:
        return [self._watched, *self._watched.children(recursive=True)]

    def stop(self) -> None:
        family = self._family() if self._popen.poll() is None else []
        for process in family:
            if process.is_running():
                process.terminate()
        _, alive = psutil.wait_procs(family, timeout=15)
        for process in alive:
            process.kill()
        self._popen.wait()


class Processes:
    """A context in which processes live; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def printing(self, *command: str) -> Process:
        """A process whose first line is its base URL."""
        popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process = Process(popen, "")
        self._stack.callback(process.stop)
        process.base_url = popen.stdout.readline().strip()
        if not process.base_url:
            raise SystemExit(f"{command} did not start")
        return process

    def serving(
        self, name: str, command: list[str], port: int, *, health: str, env: Mapping[str, str]
    ) -> Process:
        """A process that listens on `port`, once `health` answers; its log is a file."""
        log = self._folder / f"{name}.log"
        with log.open("w") as stream:
            popen = subprocess.Popen(
                command, stdout=stream, stderr=stream, env={**os.environ, **env}, text=True
            )
        process = Process(popen, f"http://127.0.0.1:{port}/v1")
        self._stack.callback(process.stop)
        _await(f"http://127.0.0.1:{port}{health}", popen, log)
        return process


def _await(url: str, popen: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and popen.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (loopback)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"{popen.args[0]} did not answer at {url}:\n{log.read_text()[-2000:]}")
