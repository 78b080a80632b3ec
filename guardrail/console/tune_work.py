"""What the page Tune computes aside: reading records, and the tests of settings, one at a time.

A new test takes seconds, and a setting needs one for each size of picture and number of tries in
the records. So a thread computes them while somebody looks: first those of the setting that was
asked for last, then those one step along each slider. What is computed stays, within bounds.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from guardrail.console.tune_records import TuneRecords, load_records
from guardrail.errors import CertificationError, ConfigError, GuardrailError
from guardrail.policy.compile import compile_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guardrail.console.windows import DecisionWindow
    from guardrail.database.database import Database
    from guardrail.engine.recall import RecallStatement
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.numbers import Numbers

__all__ = ["TuneTask", "TuneWork", "Tuning"]

_MOST_TASKS = 2
_MOST_WAITING = 64
_MOST_KNOWN = 1_000
_log = logging.getLogger(__name__)


class _StoppedError(GuardrailError):
    """The server is being shut down."""


@dataclass(frozen=True, slots=True)
class TuneTask:
    """Which records are looked at.

    Attributes:
        name: of the policy.
        digest: of the policy in force, so that another one begins anew.
        window: which of its decisions.
    """

    name: str
    digest: str
    window: DecisionWindow

    @property
    def fields(self) -> dict[str, str]:
        """Of a form or an address that asks for the same records."""
        return {"policy": self.name, **self.window.fields}


class TuneWork:
    """What is known of one task; every method may be called from any thread.

    Args:
        policy: in force.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.records: TuneRecords | None = None
        self.recall: RecallStatement | None = None
        self.problem = ""
        self.loaded = 0
        self._lock = threading.Lock()
        self._known: dict[Numbers, str] = {}
        self._waiting: OrderedDict[Numbers, None] = OrderedDict()

    def look_up(self, numbers: Numbers) -> str | None:
        """Why a setting has no test, in words; empty where it has one; None while not computed."""
        return self._known.get(_test_of(numbers, self.records))

    def want(self, settings: Iterable[Numbers]) -> int:
        """Asks for the tests of settings, the first of them first; how many are not computed."""
        asked = dict.fromkeys(_test_of(one, self.records) for one in settings)
        with self._lock:
            new = [one for one in asked if one not in self._known]
            for one in reversed(new):
                self._waiting[one] = None
                self._waiting.move_to_end(one, last=False)
            while len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem()
        return len(new)

    def next_test(self) -> Numbers | None:
        """The test that is to be computed next."""
        with self._lock:
            return next(iter(self._waiting), None)

    def compute_next(self) -> None:
        """Computes the test that is to be next; seconds. The records must have been read."""
        numbers, records = self.next_test(), self.records
        assert records is not None
        if numbers is None:
            return
        problem = ""
        try:
            records.prepare(numbers)
        except (ConfigError, CertificationError) as error:
            problem = getattr(error, "told", "") or str(error)
        except Exception as error:  # noqa: BLE001 (the rim of a thread: what crashes is said)
            _log.error("a test of the page Tune crashed: %s", type(error).__name__)
            problem = f"its test could not be computed ({type(error).__name__})"
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[numbers] = problem
            self._waiting.pop(numbers, None)


def _test_of(numbers: Numbers, records: TuneRecords | None) -> Numbers:
    """The setting that stands for all with the same test: a threshold needs none of its own."""
    if records is None:
        return numbers
    return dataclasses.replace(numbers, threshold=records.own.threshold)


class Tuning:
    """The tasks of one process, and the thread that works at them.

    Args:
        database: with records and labels.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._tasks: OrderedDict[TuneTask, TuneWork] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def open(self, task: TuneTask, policy: Policy) -> TuneWork:
        """The work of a task, begun where it is new; the one used longest ago gives way."""
        with self._lock:
            work = self._tasks.setdefault(task, TuneWork(policy))
            self._tasks.move_to_end(task)
            while len(self._tasks) > _MOST_TASKS:
                self._tasks.popitem(last=False)
            self._go_on()
        return work

    def forget(self, task: TuneTask) -> None:
        """Drops a task's records, so that they are read anew."""
        with self._lock:
            self._tasks.pop(task, None)

    def want(self, work: TuneWork, settings: Iterable[Numbers]) -> int:
        """See `TuneWork.want`; has them computed."""
        missing = work.want(settings)
        if missing:
            with self._lock:
                self._go_on()
        return missing

    def close(self) -> None:
        """Ends after the test or record under way, and waits for that for some seconds."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(10.0)

    def _go_on(self) -> None:
        """Has a thread run; the lock is held."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="tune", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (step := self._next_step()) is not None:
            step()

    def _next_step(self) -> Callable[[], None] | None:
        """What is to be done next; None, and no thread any more, where nothing is."""
        with self._lock:
            for task, work in () if self._stop.is_set() else reversed(self._tasks.items()):
                if work.records is None and not work.problem:
                    return partial(self._load, task, work)
                if work.records is not None and work.next_test() is not None:
                    return work.compute_next
            self._thread = None
            return None

    def _load(self, task: TuneTask, work: TuneWork) -> None:
        def step() -> None:
            work.loaded += 1
            if self._stop.is_set():
                raise _StoppedError("the server is being shut down")

        try:
            work.recall = compile_policy(work.policy).recall
            work.records = load_records(self._database, task.name, work.policy, task.window, step)
        except GuardrailError as error:
            work.problem = str(error)
        except Exception as error:  # noqa: BLE001 (the rim of a thread: what crashes is said)
            _log.error("records could not be read for the page Tune: %s", type(error).__name__)
            work.problem = f"reading the records failed ({type(error).__name__})"
