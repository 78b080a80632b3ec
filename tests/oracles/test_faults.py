"""Every fault of a threaded oracle reaches exactly the callers concerned, and none passes."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import math
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guardrail.engine.rules import OnOracleFailure
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError
from guardrail.oracles.base import Exchange
from guardrail.oracles.classifier.classifier import ClassifierScorer
from guardrail.oracles.classifier.detoxify import DetoxifyScorer
from guardrail.oracles.worker import ThreadedOracle
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

SECRET = "words of the answer"


class Scripted:
    """Scores by a word's own fault; all else is harmless. Can be held inside the scorer."""

    revision = "scripted"

    def __init__(self) -> None:
        self.held = threading.Event()
        self.held.set()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        self.entered.set()
        assert self.held.wait(20)
        texts = [exchange.response for exchange in exchanges]
        self.batches.append(texts)
        found = [0.0] * len(texts)
        for place, text in enumerate(texts):
            for fault, play in FAULTS.items():
                if fault in text:
                    found = play(found, place)
        return found


def raising(error: type[BaseException]) -> Callable[[list[float], int], list[float]]:
    def play(_: list[float], __: int) -> list[float]:
        raise error(SECRET)

    return play


def putting(value: Any) -> Callable[[list[float], int], list[float]]:
    def play(found: list[float], place: int) -> list[float]:
        return [*found[:place], value, *found[place + 1 :]]

    return play


FAULTS: dict[str, Callable[[list[float], int], Any]] = {
    "raises": raising(RuntimeError),
    "exits": raising(SystemExit),
    "interrupts": raising(KeyboardInterrupt),
    "out of memory": raising(MemoryError),
    "cancels": raising(asyncio.CancelledError),
    "stops": raising(StopIteration),
    "its own error": lambda _, __: (_ for _ in ()).throw(OracleError("the model is gone")),
    "NaN": putting(math.nan),
    "infinite": putting(-math.inf),
    "negative": putting(-1e-9),
    "missing": putting(None),
    "in words": putting("harmless"),
    "too few": lambda found, _: found[:-1],
    "too many": lambda found, _: [*found, 0.0],
    "nothing": lambda _, __: None,
}


@asynccontextmanager
async def open_oracle(scorer: Any, **options: Any) -> AsyncIterator[ThreadedOracle]:
    oracle = ThreadedOracle(scorer, threshold=0.5, **{"deadline_s": 20.0, **options})
    try:
        yield oracle
    finally:
        scorer.held.set()
        await oracle.aclose()


async def ask(oracle: ThreadedOracle, *texts: str) -> list[Outcome]:
    judged = await oracle.judge([Exchange("", text) for text in texts])
    return [judgement.outcome for judgement in judged]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to this")


@pytest.mark.parametrize("fault", FAULTS)
def test_only_the_caller_whose_answer_is_at_fault_hears_of_it(fault):
    """Six callers share one batch; one of them brings what breaks it."""

    async def main() -> tuple[list[Any], list[Outcome]]:
        scorer = Scripted()
        async with open_oracle(scorer) as oracle:
            scorer.held.clear()
            first = asyncio.create_task(ask(oracle, "holds the worker"))
            await asyncio.to_thread(scorer.entered.wait, 20)
            texts = [f"answer {n}" for n in range(5)]
            calls = [ask(oracle, text) for text in [*texts[:2], fault, *texts[2:]]]
            callers = [asyncio.create_task(call) for call in calls]
            await until(lambda: len(oracle._worker._jobs) == 6)
            scorer.held.set()
            assert await first == [Outcome.HARMLESS]
            found = await asyncio.gather(*callers, return_exceptions=True)
            assert max(map(len, scorer.batches)) >= 5 or fault in str(scorer.batches)
            return found, await ask(oracle, "the next one")

    found, after = asyncio.run(main())
    at_fault = found.pop(2)
    assert isinstance(at_fault, OracleError)
    assert SECRET not in str(at_fault)
    assert found == [[Outcome.HARMLESS]] * 5
    assert after == [Outcome.HARMLESS]
    gc.collect()  # a traceback held in a cycle would keep its frames


def test_a_caller_of_several_answers_gets_none_of_them_if_one_fails():
    async def main() -> list[Outcome]:
        async with open_oracle(Scripted()) as oracle:
            with pytest.raises(OracleError):
                await ask(oracle, "a", "NaN", "b")
            return await ask(oracle, "a", "b")

    assert asyncio.run(main()) == [Outcome.HARMLESS] * 2


def test_a_full_queue_makes_callers_wait_and_serves_them_all():
    async def main() -> list[list[Outcome]]:
        scorer = Scripted()
        async with open_oracle(scorer, max_queue=2, max_batch=1) as oracle:
            scorer.held.clear()
            calls = [asyncio.create_task(ask(oracle, str(n))) for n in range(9)]
            await asyncio.to_thread(scorer.entered.wait, 20)
            await until(lambda: len(oracle._worker._jobs) == 2)
            assert not any(call.done() for call in calls)
            scorer.held.set()
            return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [[Outcome.HARMLESS]] * 9


def test_those_who_wait_for_room_past_the_deadline_are_errors_and_the_worker_goes_on():
    async def main() -> list[Outcome]:
        scorer = Scripted()
        async with open_oracle(scorer, max_queue=1, max_batch=1, deadline_s=0.2) as oracle:
            scorer.held.clear()
            calls = [asyncio.create_task(ask(oracle, str(n))) for n in range(5)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in found] == [OracleError] * 5
            assert all("deadline_s" in str(one) for one in found)
            scorer.held.set()
            await until(lambda: bool(scorer.batches))
            assert not oracle._worker._jobs
            assert [len(batch) for batch in scorer.batches] == [1]  # what was left was not scored
            return await ask(oracle, "the next one")

    assert asyncio.run(main()) == [Outcome.HARMLESS]


@pytest.mark.parametrize("where", ["queue", "work"])
def test_a_caller_that_is_cancelled_takes_nobody_along(where):
    async def main() -> tuple[list[Outcome], list[Outcome], list[list[str]]]:
        scorer = Scripted()
        async with open_oracle(scorer) as oracle:
            scorer.held.clear()
            working = asyncio.create_task(ask(oracle, "in work"))
            await asyncio.to_thread(scorer.entered.wait, 20)
            queued = asyncio.create_task(ask(oracle, "in the queue"))
            other = asyncio.create_task(ask(oracle, "other"))
            await until(lambda: len(oracle._worker._jobs) == 2)
            leaving, staying = (queued, working) if where == "queue" else (working, queued)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            scorer.held.set()
            return await staying, await other, scorer.batches

    stayed, other, batches = asyncio.run(main())
    assert (stayed, other) == ([Outcome.HARMLESS], [Outcome.HARMLESS])
    scored = [text for batch in batches for text in batch]
    assert ("in the queue" in scored) == (where == "work")


def test_closing_refuses_what_waits_and_what_comes():
    async def main() -> None:
        scorer = Scripted()
        async with open_oracle(scorer) as oracle:
            scorer.held.clear()
            working = asyncio.create_task(ask(oracle, "in work"))
            await asyncio.to_thread(scorer.entered.wait, 20)
            waiting = asyncio.create_task(ask(oracle, "waiting"))
            await until(lambda: len(oracle._worker._jobs) == 1)
            closing = asyncio.create_task(oracle.aclose())
            with pytest.raises(OracleError, match="closed"):
                await waiting
            scorer.held.set()
            await closing
            assert await working == [Outcome.HARMLESS]
            with pytest.raises(OracleError, match="closed"):
                await ask(oracle, "late")

    asyncio.run(main())


@pytest.mark.parametrize(
    "scorer",
    [
        DetoxifyScorer(checkpoint="nowhere.ckpt"),
        ClassifierScorer("no/such-model", labels={"toxic": 0.5}),
    ],
    ids=["detoxify", "classifier"],
)
def test_missing_weights_are_an_error_at_every_call(scorer):
    pytest.importorskip("transformers")

    async def main() -> None:
        oracle = ThreadedOracle(scorer, threshold=0.5)
        try:
            for _ in range(2):
                with pytest.raises(OracleError, match=r"nowhere\.ckpt|no/such-model"):
                    await ask(oracle, "an answer")
        finally:
            await oracle.aclose()

    asyncio.run(main())


@pytest.fixture(scope="module")
def engines() -> Any:
    """The helpers of the engine's own tests."""
    path = Path(__file__).parents[1] / "engine" / "conftest.py"
    spec = importlib.util.spec_from_file_location("engines", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["engines"] = module  # where dataclasses look their fields' types up
    spec.loader.exec_module(module)
    return module


ENDS = {
    OnOracleFailure.ERROR: (Action.FAULT, ()),
    OnOracleFailure.PASS_UNSCANNED: (Action.PASS, ("answer",)),
}


@pytest.mark.parametrize("pictures", [0, 1])
@pytest.mark.parametrize("rule", list(OnOracleFailure))
@pytest.mark.parametrize("fault", FAULTS)
def test_in_the_engine_each_fault_ends_as_the_policy_says(engines, fault, rule, pictures):
    oracle = ThreadedOracle(Scripted(), threshold=0.5)
    engine = engines.make_engine([fault], oracle=oracle, on_oracle_failure=rule)

    async def main() -> Any:
        try:
            chat, shown = engines.make_chat(pictures), engines.make_pictures(pictures)
            return await engine.decide(chat, shown)
        finally:
            await oracle.aclose()

    verdict = asyncio.run(main())
    assert verdict.reason is Reason.ORACLE_FAILED
    assert (verdict.action, verdict.unscanned) == ENDS[rule]
    assert isinstance(verdict.failure, OracleError)
    assert verdict.failure.status == 503
    assert SECRET not in str(verdict.failure)
    assert (verdict.answer is None) == (rule is not OnOracleFailure.PASS_UNSCANNED)


def test_in_the_engine_the_next_decision_is_sound_again(engines):
    oracle = ThreadedOracle(Scripted(), threshold=0.5)
    engine = engines.make_engine(["exits", "A cat."], oracle=oracle)

    async def main() -> list[Action]:
        try:
            decisions = [await engine.decide(engines.make_chat(), ()) for _ in range(2)]
            return [verdict.action for verdict in decisions]
        finally:
            await oracle.aclose()

    assert asyncio.run(main()) == [Action.FAULT, Action.PASS]
