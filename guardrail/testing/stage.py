"""Where a scenario is played: a model on loopback, a guard in front of it, and its records."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from guardrail.assembly import build_engine
from guardrail.errors import OracleError
from guardrail.middleware.guard import Guard
from guardrail.middleware.loop_thread import LoopThread
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server
from guardrail.testing.attempts import same_attempt
from guardrail.testing.journal import MemoryJournal, comparable
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted_server import scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.middleware.result import OnBlock
    from guardrail.oracles.base import Exchange, Judgement, Oracle
    from guardrail.testing.scenarios import Scenario
    from guardrail.types import Json
    from guardrail.upstreams.scripted_server import ScriptedServer

__all__ = ["Stage", "running_model", "stage"]


class BrokenOracle:
    """An oracle that fails on everything."""

    revision = "broken"

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        raise OracleError(f"none of {len(exchanges)} answers could be judged")

    async def aclose(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A scenario, ready to be played.

    Attributes:
        scenario: what is played.
        guard: what an adapter is made with; its own upstream is the scenario's model.
        model: the scenario's model as a running server; `model.base_url` is for clients.
        journal: what the guard has recorded.
    """

    scenario: Scenario
    guard: Guard
    model: ScriptedServer
    journal: MemoryJournal

    def check(self) -> None:
        """Asserts that one decision was made, and that it is the proxy's, down to each variant."""
        (record,) = self.journal.records
        assert (record.action, record.reason) == (self.scenario.action, self.scenario.reason)
        assert comparable(record) == proxy_record(self.scenario)


@contextmanager
def stage(scenario: Scenario, *, on_block: OnBlock = "raise") -> Iterator[Stage]:
    """Sets a scenario up: the model listens, the guard waits."""
    journal = MemoryJournal()
    with (
        same_attempt(),
        running_model(scenario) as model,
        Guard(
            scenario_policy(),
            OpenAICompatible(model.base_url),
            key=KEY,
            oracle=_oracle(scenario),
            records=journal,
            on_block=on_block,
        ) as guard,
    ):
        yield Stage(scenario, guard, model, journal)


@contextmanager
def running_model(scenario: Scenario) -> Iterator[ScriptedServer]:
    """The scenario's model, served over HTTP from a thread of its own."""
    home = LoopThread()
    server = scripted_server(scenario.script)
    try:
        yield home.run_sync(server.__aenter__())
    finally:
        home.run_sync(server.__aexit__(None, None, None))
        home.stop()


@functools.cache
def proxy_record(scenario: Scenario) -> Json:
    """What is comparable of the proxy's record of a scenario, played over HTTP once."""
    policy, journal = scenario_policy(), MemoryJournal()
    with same_attempt(), running_model(scenario) as model:
        engine = build_engine(
            policy, OpenAICompatible(model.base_url), KEY, oracle=_oracle(scenario)
        )
        with running_server(
            policy, engine, record=Recorder(RecordWriter(journal), engine)
        ) as server:
            url = f"{server.base_url}/chat/completions"
            httpx.post(url, json=scenario.request, timeout=60.0, trust_env=False)
    (record,) = journal.records
    return comparable(record)


def _oracle(scenario: Scenario) -> Oracle | None:
    """None is the policy's own."""
    return BrokenOracle() if scenario.oracle_down else None
