"""A Redis server for tests, from the system's package: on a free port, in a folder of its own."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

MISSING = "Redis is NOT TESTED: no server is installed; run 'apt-get install redis-server'"


def find_redis():
    """Path of the server; None where it is not installed."""
    return shutil.which("redis-server")


class RedisServer:
    """One server that can be killed and started again on the same port.

    Attributes:
        folder: holds what it keeps on disk.

    Args:
        options: of its command line, as `--maxmemory-policy allkeys-lru`.
    """

    def __init__(self, *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._options = options
        self.folder = tempfile.mkdtemp(prefix="guardrail-redis-")
        self._process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self._process = subprocess.Popen(
            [find_redis(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder,
             "--save", "", "--appendonly", "no", *self._options],
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(3000):
            if self._answers():
                return
            time.sleep(0.01)
        raise AssertionError("the Redis server did not start")

    def _answers(self):
        """Whether it takes commands; while it reads its files it listens and does not."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as way,
        ):
            way.sendall(b"PING\r\n")
            return way.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, kind):
        self._process.send_signal(kind)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running_redis(*options):
    """A server; the test that needs it is skipped where none is installed."""
    if find_redis() is None:
        pytest.skip(MISSING)
    server = RedisServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.close()
