"""What all pages of a console share: the records, the keys, and the server that decides."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio

from guardrail.console.kept_results import KeptResults
from guardrail.console.playground import Playground
from guardrail.console.policy_runs import PolicyRuns
from guardrail.console.sessions import SessionStore
from guardrail.console.sign_in_rate import SignInRate
from guardrail.console.tune_work import Tuning
from guardrail.database.migrate import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardrail.api.deployment import Deployment
    from guardrail.console.statistics import Overview
    from guardrail.database.database import Database
    from guardrail.keys.authenticator import Authenticator
    from guardrail.records.content import ContentKeys
    from guardrail.telemetry.telemetry import Telemetry

__all__ = ["Console", "open_console"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_THREADS = 4  # as many as the database keeps connections


@dataclass(frozen=True, slots=True)
class Console:
    """One server's console.

    Attributes:
        database: with the records; of sessions and labels too.
        keys: knows the API keys; None where whoever is on this machine is let in, as everything.
        content_keys: open what was asked and answered; None shows none of it.
        deployment: the policies that decide; None where the console only shows records.
        telemetry: of the same server.
        needs_second_person: whether who wrote a version of a policy may not put it in force.
        sessions: who is signed in.
        sign_in_rate: how often an address may try.
        overviews: counts of the first page, by period.
        policy_runs: what is tried with versions of policies.
        playground: what is tried at the moment, and was a while ago.
        tuning: records and tests of the page Tune.
    """

    database: Database
    keys: Authenticator | None = None
    content_keys: ContentKeys | None = None
    deployment: Deployment | None = None
    telemetry: Telemetry | None = None
    needs_second_person: bool = False
    sessions: SessionStore = field(init=False)
    sign_in_rate: SignInRate = field(init=False, default_factory=SignInRate)
    overviews: KeptResults[Overview] = field(init=False, default_factory=KeptResults)
    policy_runs: PolicyRuns = field(init=False)
    playground: Playground = field(init=False, default_factory=Playground)
    tuning: Tuning = field(init=False)
    _threads: anyio.CapacityLimiter = field(init=False, repr=False)
    _alone: anyio.CapacityLimiter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sessions", SessionStore(self.database))
        runs = PolicyRuns(self.database, self.content_keys)
        object.__setattr__(self, "policy_runs", runs)
        object.__setattr__(self, "tuning", Tuning(self.database))
        object.__setattr__(self, "_threads", anyio.CapacityLimiter(_THREADS))
        object.__setattr__(self, "_alone", anyio.CapacityLimiter(1))

    def of(self, deployment: Deployment) -> Console:
        """The same console of another deployment."""
        return Console(
            self.database,
            self.keys,
            self.content_keys,
            deployment,
            self.telemetry,
            self.needs_second_person,
        )

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What a function that blocks returns; a few run at a time, in threads."""
        return await anyio.to_thread.run_sync(
            lambda: function(*args, **kwargs), limiter=self._threads
        )

    async def run_alone(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The same for work that takes much memory: one runs at a time."""
        return await anyio.to_thread.run_sync(
            lambda: function(*args, **kwargs), limiter=self._alone
        )


@contextmanager
def open_console(
    place: str | os.PathLike[str],
    *,
    keys: Authenticator | None = None,
    content_keys: ContentKeys | None = None,
    deployment: Deployment | None = None,
    telemetry: Telemetry | None = None,
    needs_second_person: bool = False,
) -> Iterator[Console]:
    """The console of the records in a database; `keys` stays open.

    Raises:
        ConfigError: the database cannot be opened.
        StorageError: it cannot be reached.
    """
    database = open_database(os.fspath(place))
    try:
        console = Console(database, keys, content_keys, deployment, telemetry, needs_second_person)
        try:
            yield console
        finally:
            console.policy_runs.close()
            console.tuning.close()
    finally:
        database.close()
