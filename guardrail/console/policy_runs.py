"""What is tried with a version of a policy: tests and replays, aside, one at a time.

A run goes on in a thread of the process that was asked, and says how far it is in the database, as
the process that shows it may be another one. No run calls a model.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrail.console.policy_trials import TrialStoppedError, replay_records, run_tests
from guardrail.console.policy_versions import check_version
from guardrail.console.tables import POLICY_RUNS
from guardrail.console.windows import MOST_READ, DecisionWindow
from guardrail.errors import ConfigError, GuardrailError, RequestError
from guardrail.policy.compile import policy_digest
from guardrail.records.query import as_utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.console.policy_text import PolicyText
    from guardrail.console.policy_versions import PolicyVersion
    from guardrail.database.database import Database
    from guardrail.policy.schema import Policy
    from guardrail.records.content import ContentKeys
    from guardrail.types import Json

__all__ = ["PolicyRun", "PolicyRuns", "RunKind", "find_run"]

_BEAT_S = 1.0
_CUT_OFF = timedelta(minutes=5)
_MOST_KEPT = 1_000
_log = logging.getLogger(__name__)


class RunKind(StrEnum):
    """What is tried."""

    TESTS = "tests"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """One run, as far as it has come.

    Attributes:
        kind: what is tried.
        state: `running`, `done`, `failed`, or `cut off` where it has said nothing for minutes.
        started: when it began.
        asked_by: id of the key.
        done, total: steps.
        result: what came of it; `{"problem": …}` where it failed.
    """

    kind: RunKind
    state: str
    started: datetime
    asked_by: str
    done: int
    total: int
    result: Mapping[str, Any]


def find_run(database: Database, version_id: str, kind: RunKind) -> PolicyRun | None:
    """The latest run of a kind of a version. Raises StorageError."""
    query = (
        sa.select(POLICY_RUNS)
        .where(POLICY_RUNS.c.version_id == version_id, POLICY_RUNS.c.kind == kind)
        .order_by(POLICY_RUNS.c.started.desc())
        .limit(1)
    )
    with database.read() as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    is_old = datetime.now(UTC) - as_utc(row["beat"]) > _CUT_OFF
    return PolicyRun(
        kind=RunKind(row["kind"]),
        state="cut off" if row["state"] == "running" and is_old else row["state"],
        started=as_utc(row["started"]),
        asked_by=row["asked_by"],
        done=row["done"],
        total=row["total"],
        result=json.loads(row["result"]),
    )


class PolicyRuns:
    """Runs of one process. `start` blocks for a moment; for any thread.

    Args:
        database: with versions, records and cases.
        keys: open what was asked and answered; None judges by what records hold openly.
    """

    def __init__(self, database: Database, keys: ContentKeys | None) -> None:
        self._database = database
        self._keys = keys
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(
        self,
        kind: RunKind,
        target: PolicyText,
        version: PolicyVersion,
        *,
        asked_by: str,
        window: DecisionWindow | None = None,
    ) -> None:
        """Begins a run.

        Args:
            kind: what is tried.
            target: the policy that the version is one of.
            version: what is tried out.
            asked_by: id of the key of who asks.
            window: for a replay: which decisions; None for the newest.

        Raises:
            RequestError: 409, another run is under way.
            StorageError: it cannot be noted.
        """
        if self._stop.is_set() or not self._turn.acquire(blocking=False):
            raise RequestError(
                "another run is under way on this server; try again when it has ended",
                status=409,
                code="busy",
            )
        try:
            progress = _Progress(self._database, self._stop)
            progress.begin(kind, version.version_id, asked_by)

            def work() -> dict[str, Json]:
                policy = _read_policy(version, target)
                if kind is RunKind.TESTS:
                    live = target.served.listed.policy
                    beside = None if policy_digest(live) == policy_digest(policy) else live
                    return run_tests(self._database, policy, self._keys, progress, in_force=beside)
                chosen = window or DecisionWindow(str(MOST_READ))
                return replay_records(self._database, target.name, policy, chosen, progress)

            def run() -> None:
                try:
                    progress.end_with(work)
                finally:
                    self._turn.release()

            self._thread = threading.Thread(target=run, name="policy-run", daemon=True)
            self._thread.start()
        except BaseException:
            self._turn.release()
            raise

    def close(self) -> None:
        """Ends the run under way at its next step, and waits for it for some seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10.0)


def _read_policy(version: PolicyVersion, target: PolicyText) -> Policy:
    checked = check_version(version, target)
    if checked.policy is None:
        raise ConfigError("the text has mistakes, and nothing can be tried with it; mend them")
    return checked.policy


class _Progress:
    """One run's row; see `Progress` in `policy_trials`."""

    def __init__(self, database: Database, stop: threading.Event) -> None:
        self._database, self._stop = database, stop
        self._run_id = uuid.uuid4().hex
        self._done, self._told = 0, 0.0

    def begin(self, kind: RunKind, version_id: str, asked_by: str) -> None:
        now = datetime.now(UTC)
        row = {
            "run_id": self._run_id,
            "version_id": version_id,
            "kind": kind,
            "asked_by": asked_by,
            "started": now,
            "beat": now,
            "state": "running",
            "done": 0,
            "total": 0,
            "result": "{}",
        }
        newest = (
            sa.select(POLICY_RUNS.c.run_id).order_by(POLICY_RUNS.c.started.desc()).limit(_MOST_KEPT)
        ).scalar_subquery()
        with self._database.write() as connection:
            connection.execute(sa.insert(POLICY_RUNS), row)
            connection.execute(sa.delete(POLICY_RUNS).where(POLICY_RUNS.c.run_id.not_in(newest)))

    def expect(self, total: int) -> None:
        self._tell(total=total)

    def step(self) -> None:
        if self._stop.is_set():
            raise TrialStoppedError("the server is being shut down")
        self._done += 1
        if time.monotonic() - self._told >= _BEAT_S:
            self._tell()

    def end_with(self, work: Any) -> None:
        """Does the work, and notes what came of it, also where it fails."""
        try:
            result, state = work(), "done"
        except GuardrailError as error:
            result, state = {"problem": str(error)}, "failed"
        except Exception as error:  # noqa: BLE001 (the rim of a thread: what crashes is said)
            _log.error("a run of a policy crashed: %s", type(error).__name__)
            result, state = {"problem": f"it crashed ({type(error).__name__})"}, "failed"
        try:
            self._tell(state=state, result=json.dumps(result))
        except GuardrailError as error:
            _log.error("what came of a run of a policy could not be kept: %s", error)

    def _tell(self, **values: Any) -> None:
        self._told = time.monotonic()
        is_it = POLICY_RUNS.c.run_id == self._run_id
        with self._database.write() as connection:
            connection.execute(
                sa.update(POLICY_RUNS)
                .where(is_it)
                .values(done=self._done, beat=datetime.now(UTC), **values)
            )
