"""Several processes that serve on one socket, watched by the one that started them.

The first process listens and forks; each worker then imports and builds for itself, so that no
thread is there when a process forks. SIGTERM, SIGINT and SIGHUP of the first reach all. A worker
that dies is started again; workers whose first process has died end as by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["run_workers"]

_ENDING = (signal.SIGTERM, signal.SIGINT)
_WATCHED = (*_ENDING, signal.SIGHUP, signal.SIGCHLD)
_SHORTEST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_LIVED_S = 30.0  # a worker that served so long failed for another reason than its start


@dataclass(slots=True)
class _Worker:
    """One worker.

    Attributes:
        pid: of its process.
        index: from 0.
        since: when it was started.
        ready: end of a pipe from which a byte can be read as soon as it serves.
    """

    pid: int
    index: int
    since: float
    ready: int


def run_workers(
    count: int, listener: socket.socket, work: Callable[[int, Callable[[], None]], int]
) -> int:
    """Runs until SIGTERM or SIGINT, and until every worker has ended; the exit status.

    Args:
        count: how many workers.
        listener: what they all listen on; closed here when they are told to end.
        work: the work of one: takes its index and what it calls once it serves; returns its exit
            status.

    Raises:
        ConfigError: there is no way to fork here.
    """
    if not hasattr(os, "fork"):
        raise ConfigError("this system cannot fork; start one worker", field="workers")
    return _Supervisor(count, listener, work).run()


class _Supervisor:
    def __init__(
        self,
        count: int,
        listener: socket.socket,
        work: Callable[[int, Callable[[], None]], int],
    ) -> None:
        self._count = count
        self._listener = listener
        self._work = work
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}  # workers to start, and when
        self._wait_s = _SHORTEST_WAIT_S
        self._has_served = False
        self._is_ending = False
        self._status = 0
        self._lifeline = os.pipe()

    def run(self) -> int:
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            for index in range(self._count):
                self._start(index, old)
            while self._workers or self._due:
                self._wait()
                self._start_due(old)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
            for end in self._lifeline:
                os.close(end)
        return self._status

    def _start(self, index: int, mask: set[signal.Signals] | set[int]) -> None:
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            self._become_worker(index, tell, mask)
        os.close(tell)
        self._workers[pid] = _Worker(pid, index, time.monotonic(), ready)

    def _become_worker(self, index: int, tell: int, mask: set[signal.Signals] | set[int]) -> None:
        """Works, and never returns."""
        status = 1
        try:
            os.close(self._lifeline[1])
            for worker in self._workers.values():
                os.close(worker.ready)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
            threading.Thread(target=_end_with, args=(self._lifeline[0],), daemon=True).start()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            status = self._work(index, lambda: _tell(tell))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _wait(self) -> None:
        """Until a signal, or until a worker is due."""
        left_s = min((at - time.monotonic() for at in self._due.values()), default=3600.0)
        found = signal.sigtimedwait(_WATCHED, max(0.0, left_s))
        if found is None:
            return
        if found.si_signo == signal.SIGCHLD:
            self._bury()
        elif found.si_signo in _ENDING:
            self._end(signal.Signals(found.si_signo))
        else:
            self._send(signal.SIGHUP)

    def _bury(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self._workers:  # as the first process of a container it inherits others
                self._note_end(self._workers.pop(pid), os.waitstatus_to_exitcode(status))

    def _note_end(self, worker: _Worker, status: int) -> None:
        has_served = bool(os.read(worker.ready, 1))
        os.close(worker.ready)
        self._has_served = self._has_served or has_served
        if self._is_ending:
            return
        if not self._has_served:  # what keeps the first from starting will keep all others
            self._status = status if status > 0 else 1
            self._end(signal.SIGTERM)
            return
        if time.monotonic() - worker.since > _LIVED_S:
            self._wait_s = _SHORTEST_WAIT_S
        _say(f"worker {worker.index} ended ({_name_of(status)}); "
             f"another one starts in {self._wait_s:g} s")  # fmt: skip
        self._due[worker.index] = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _start_due(self, mask: set[signal.Signals] | set[int]) -> None:
        for index, at in tuple(self._due.items()):
            if at <= time.monotonic():
                del self._due[index]
                self._start(index, mask)

    def _end(self, kind: signal.Signals) -> None:
        """The first time workers drain, whatever the signal; a further one is passed on."""
        self._send(kind if self._is_ending else signal.SIGTERM)
        self._is_ending = True
        self._due.clear()
        self._listener.close()  # what the workers have open of it they close themselves

    def _send(self, kind: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, kind)  # it is ours until it is waited for, even if it has ended


def _tell(end: int) -> None:
    os.write(end, b"1")
    os.close(end)


def _end_with(end: int) -> None:
    """Ends this process when the one that holds the other end of a pipe is gone."""
    os.read(end, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _name_of(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _say(line: str) -> None:
    print(f"guardrail: {line}", file=sys.stderr, flush=True)  # noqa: T201 (before any logging)
