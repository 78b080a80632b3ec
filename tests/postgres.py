"""A PostgreSQL server for tests, from the system's package: in a folder of its own, on one port."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

MISSING = "PostgreSQL is NOT TESTED: no server is installed; run 'apt-get install postgresql'"


def find_binaries():
    """The folder of `initdb` and `postgres`; None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


@contextlib.contextmanager
def running_postgres():
    """URL of a server without its database's name; it ends with the block."""
    binaries = find_binaries()
    folder = Path(tempfile.mkdtemp(prefix="guardrail-postgres-"))
    try:
        _own(folder)
        _run(binaries / "initdb", "-D", folder / "data", "-U", "guardrail", "-A", "trust",
             "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8")  # fmt: skip
        port = _free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        control = [binaries / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
        _run(*control, "-o", options, "start")
        try:
            yield f"postgresql://guardrail@127.0.0.1:{port}"
        finally:
            _run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own(folder):
    """The server refuses to run as root."""
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")


def _run(*command):
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *words]
    done = subprocess.run(
        words, cwd="/", capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr + done.stdout


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
