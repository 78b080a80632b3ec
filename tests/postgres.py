"""A PostgreSQL server for tests, from the system's package: in a folder of its own, on one port."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

MISSING = "PostgreSQL is NOT TESTED: no server is installed; run 'apt-get install postgresql'"


def find_binaries():
    """The folder of `initdb` and `postgres`; None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


class PostgresServer:
    """One server that can be killed and started again on the same port.

    With `fsync` what it keeps is on the disk, which benchmarks need and tests do not.

    Attributes:
        url: without a database's name.
        folder: holds its data and its log.
    """

    def __init__(self, *, fsync=False):
        self._fsync = "on" if fsync else "off"
        self.folder = Path(tempfile.mkdtemp(prefix="guardrail-postgres-"))
        _own(self.folder)
        self._run(
            "initdb", "-U", "guardrail", "-A", "trust", "--no-sync", "--no-instructions",
            "--locale=C", "--encoding=UTF8",
        )  # fmt: skip
        self._port = _free_port()
        self.url = f"postgresql://guardrail@127.0.0.1:{self._port}"

    def start(self):
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self._control("-o", f"{options} -c fsync={self._fsync}", "start")

    def stop(self):
        """At once; what was committed is there when it is started again."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self._control("-m", "immediate", "stop")

    def kill(self):
        """Ends all its processes without waiting for the tool that does it."""
        self.signal(signal.SIGQUIT)
        for _ in range(1000):
            if not (self.folder / "data" / "postmaster.pid").exists():
                return
            time.sleep(0.01)
        raise AssertionError("the database server did not end")

    def signal(self, kind, *, children=False):
        """To its first process, or to all of them."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        family = Path(f"/proc/{pid}/task/{pid}/children")
        others = [int(word) for word in family.read_text().split()] if children else []
        for one in (pid, *others):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, kind)

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, *words):
        self._run("pg_ctl", "-w", "-l", self.folder / "log", *words)

    def _run(self, program, *words):
        command = [find_binaries() / program, "-D", self.folder / "data", *words]
        command = [str(word) for word in command]
        if os.geteuid() == 0:
            command = [
                "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command,
            ]  # fmt: skip
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr + done.stdout


@contextlib.contextmanager
def postgres_server(*, fsync=False):
    """A server that runs; it ends with the block."""
    server = PostgresServer(fsync=fsync)
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def running_postgres(*, fsync=False):
    """URL of a server without its database's name; it ends with the block."""
    with postgres_server(fsync=fsync) as server:
        yield server.url


def _own(folder):
    """The server refuses to run as root."""
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
