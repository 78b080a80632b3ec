"""Several processes on one socket: started, signalled, restarted, ended."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from guardrail.errors import ConfigError
from guardrail.server.listener import open_beside, open_listener

# The workers answer their process's id to whoever connects.
PROGRAM = """
    import os, signal, socket, sys, time
    from guardrail.server.listener import open_listener
    from guardrail.server.workers import run_workers

    def work(index, tell_ready):
        def hup(*_):
            with open(sys.argv[1], "a") as file:
                file.write(f"hup {os.getpid()}\\n")
        signal.signal(signal.SIGHUP, hup)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        START
        tell_ready()
        while True:
            connection, _ = listener.accept()
            connection.sendall(str(os.getpid()).encode())
            connection.close()

    listener = open_listener("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    sys.exit(run_workers(2, listener, work))
"""


class Supervised:
    def __init__(self, repository, log, start="pass"):
        code = textwrap.dedent(PROGRAM).replace("START", start)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=repository,
        )  # fmt: skip
        self.port = int(self.process.stdout.readline())

    def ask(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            return int(connection.recv(100) or -1)  # -1: it was killed before it answered

    def workers(self, count=2):
        """The ids of so many workers, as they answer."""
        found = set()
        until(lambda: found.add(self.ask()) or len(found) >= count)
        return found

    def finish(self):
        _, told = self.process.communicate(timeout=20)
        return self.process.returncode, told


def until(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to this")


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def supervise(repository, tmp_path):
    started = []

    def start(work="pass"):
        started.append(Supervised(repository, tmp_path / "log", work))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_both_serve_and_both_end(supervise, kind):
    running = supervise()
    workers = running.workers()
    running.process.send_signal(kind)
    code, told = running.finish()
    assert (code, told) == (0, "")
    assert not any(lives(pid) for pid in workers)
    with pytest.raises(ConnectionRefusedError):
        running.ask()


def test_a_hangup_reaches_all(supervise, tmp_path):
    running = supervise()
    workers = running.workers()
    running.process.send_signal(signal.SIGHUP)
    log = tmp_path / "log"
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 2)
    assert {int(line.split()[1]) for line in log.read_text().splitlines()} == workers


def test_a_worker_that_dies_is_started_again_and_the_other_serves_on(supervise):
    running = supervise()
    first, second = running.workers()
    os.kill(first, signal.SIGKILL)
    until(lambda: running.ask() == second)
    until(lambda: running.ask() not in {-1, first, second})
    running.process.send_signal(signal.SIGTERM)
    code, told = running.finish()
    assert code == 0
    assert re.fullmatch(
        r"guardrail: worker [01] ended \(SIGKILL\); another one starts in 0.5 s\n", told
    )


def test_a_worker_that_cannot_start_ends_all(supervise):
    running = supervise("sys.exit(7)")
    code, _ = running.finish()
    assert code == 1


def test_a_status_of_its_own_is_that_of_all(supervise):
    running = supervise("return 2")
    assert running.finish()[0] == 2


def test_workers_end_when_the_first_process_is_killed(supervise):
    running = supervise()
    workers = running.workers()
    running.process.kill()
    until(lambda: not any(lives(pid) for pid in workers))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not spread connections")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_workers_own_socket_gets_its_part_and_ends_with_it(host):
    with open_listener(host, 0, may_have_more=True) as shared:
        port = shared.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)):
            open_listener(host, port, may_have_more=True)  # another server's, not a worker's
        own = open_beside(shared)
        with own:
            assert own.getsockname() == shared.getsockname()
            clients = [socket.create_connection((host, port), timeout=5) for _ in range(64)]
            waiting = {listener: len(_accept_all(listener)) for listener in (shared, own)}
            assert sum(waiting.values()) == 64
            assert min(waiting.values()) > 0  # else by chance once in 2 ** 63
        for client in clients:
            client.close()
        with socket.create_connection((host, port), timeout=5):
            assert len(_accept_all(shared)) == 1  # all that come later go to the others
    with open_listener(host, 0) as alone:
        assert open_beside(alone) is None


def _accept_all(listener):
    listener.settimeout(0.3)
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(listener.accept()[0])
    for connection in found:
        connection.close()
    return found
