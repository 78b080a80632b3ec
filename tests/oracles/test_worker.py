"""The threaded oracle: order, batches, and that no fault ever comes out harmless."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Judgement, NamedScore, Oracle
from guardrail.oracles.worker import ThreadedOracle
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAULTS: dict[str, Callable[[int], object]] = {
    "NaN": lambda n: [math.nan] * n,
    "below 0": lambda n: [-0.001] * n,
    "above 1": lambda n: [1.001] * n,
    "infinite": lambda n: [math.inf] * n,
    "one too few": lambda n: [0.0] * (n - 1),
    "one too many": lambda n: [0.0] * (n + 1),
    "none": lambda _: None,
    "text": lambda n: ["harmless"] * n,
    "missing values": lambda n: [None] * n,
}


class Numbers:
    """Scores an answer by the number it consists of; records every batch."""

    revision = "numbers-1"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        self.batches.append([exchange.response for exchange in exchanges])
        self.threads.add(threading.current_thread().name)
        return [float(exchange.response) for exchange in exchanges]


class Gated(Numbers):
    """Blocks inside the scorer until told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.limiter = threading.Event()

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        self.entered.set()
        assert self.limiter.wait(20)
        return super().scores(exchanges)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 20)


class Saying:
    """Returns or raises whatever it is told to."""

    revision = "saying"

    def __init__(self, say: Callable[[int], object]) -> None:
        self._say = say

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        return self._say(len(exchanges))  # type: ignore[return-value]


def said(*responses: object) -> list[Exchange]:
    return [Exchange("", str(response)) for response in responses]


def outcomes(judgements: Sequence[Judgement]) -> list[Outcome]:
    return [judgement.outcome for judgement in judgements]


async def judged(oracle: ThreadedOracle, *responses: object) -> list[Judgement]:
    try:
        return await oracle.judge(said(*responses))
    finally:
        await oracle.aclose()


def test_is_an_oracle():
    oracle = ThreadedOracle(Numbers(), threshold=0.5)
    assert isinstance(oracle, Oracle)
    assert oracle.threshold == 0.5


def test_threshold_itself_is_harmful():
    below, at, above = asyncio.run(
        judged(ThreadedOracle(Numbers(), threshold=0.5), math.nextafter(0.5, 0), 0.5, 1.0)
    )
    assert outcomes([below, at, above]) == [Outcome.HARMLESS, Outcome.HARMFUL, Outcome.HARMFUL]
    assert (below.reason, at.score) == ("", 0.5)
    assert "threshold" in at.reason


@settings(max_examples=25, deadline=None)
@given(
    calls=st.lists(st.lists(st.floats(0, 1), max_size=12), max_size=8),
    threshold=st.floats(0, 1),
    max_batch=st.integers(1, 6),
    max_queue=st.integers(1, 9),
)
def test_every_caller_gets_its_own_scores_in_order(calls, threshold, max_batch, max_queue):
    scorer = Numbers()

    async def main() -> list[list[Judgement]]:
        oracle = ThreadedOracle(
            scorer, threshold=threshold, max_batch=max_batch, max_queue=max_queue
        )
        answers = await asyncio.gather(*(oracle.judge(said(*call)) for call in calls))
        await oracle.aclose()
        return answers

    for call, answer in zip(calls, asyncio.run(main()), strict=True):
        assert [judgement.score for judgement in answer] == call
        assert [judgement.outcome is Outcome.HARMFUL for judgement in answer] == [
            score >= threshold for score in call
        ]
    assert all(len(batch) <= max_batch for batch in scorer.batches)
    assert len(scorer.threads) <= 1


def test_nothing_to_judge():
    assert asyncio.run(judged(ThreadedOracle(Numbers(), threshold=0.5))) == []


def test_callers_that_come_during_a_batch_share_the_next_one_and_each_text_is_scored_once():
    scorer = Gated()

    async def main() -> list[list[Judgement]]:
        oracle = ThreadedOracle(scorer, threshold=0.5)
        first = asyncio.create_task(oracle.judge(said(0.1)))
        await scorer.until_entered()
        others = [asyncio.create_task(oracle.judge(said(0.2, 0.3))) for _ in range(5)]
        await asyncio.sleep(0)
        scorer.limiter.set()
        answers = await asyncio.gather(first, *others)
        await oracle.aclose()
        return answers

    answers = asyncio.run(main())
    assert scorer.batches == [["0.1"], ["0.2", "0.3"]]
    assert [judgement.score for judgement in answers[5]] == [0.2, 0.3]


def test_same_answer_to_another_prompt_is_judged_apart():
    class ByPrompt(Numbers):
        def scores(self, exchanges):
            return [float(exchange.prompt) for exchange in exchanges]

    async def main():
        oracle = ThreadedOracle(ByPrompt(), threshold=0.5)
        answers = await oracle.judge([Exchange("0.1", "yes"), Exchange("0.9", "yes")])
        await oracle.aclose()
        return answers

    assert outcomes(asyncio.run(main())) == [Outcome.HARMLESS, Outcome.HARMFUL]


def test_max_wait_gathers_callers_that_come_one_after_the_other():
    scorer = Numbers()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, max_batch=3, max_wait_s=15, deadline_s=20)
        calls = []
        for number in (0.1, 0.2, 0.3):
            calls.append(asyncio.create_task(oracle.judge(said(number))))
            await asyncio.sleep(0.01)
        await asyncio.gather(*calls)  # the full batch goes at once, long before max_wait_s
        await oracle.aclose()

    asyncio.run(main())
    assert scorer.batches == [["0.1", "0.2", "0.3"]]


def test_an_unfull_batch_goes_when_max_wait_is_over():
    oracle = ThreadedOracle(Numbers(), threshold=0.5, max_wait_s=0.01)
    assert outcomes(asyncio.run(judged(oracle, 0.4))) == [Outcome.HARMLESS]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_result_is_an_error(fault):
    oracle = ThreadedOracle(Saying(FAULTS[fault]), threshold=0.5)
    with pytest.raises(OracleError):
        asyncio.run(judged(oracle, "a", "b"))


@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit, KeyboardInterrupt])
def test_a_crash_is_an_error_that_names_the_place_and_quotes_nothing(error):
    def crash(_: int) -> object:
        raise error("the secret answer of the user")

    with pytest.raises(OracleError, match=rf"{error.__name__} at test_worker.py:\d+") as caught:
        asyncio.run(judged(ThreadedOracle(Saying(crash), threshold=0.5), "x"))
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "secret" not in str(shown)
        shown = shown.__cause__ or shown.__context__


def test_an_oracle_error_keeps_its_message():
    def crash(_: int) -> object:
        raise OracleError("weights are missing: download them")

    with pytest.raises(OracleError, match="download them"):
        asyncio.run(judged(ThreadedOracle(Saying(crash), threshold=0.5), "x"))


def test_one_bad_text_fails_alone_and_the_worker_goes_on():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5)
        first = asyncio.create_task(oracle.judge(said(0.0)))
        await scorer.until_entered()
        calls = [asyncio.create_task(oracle.judge(said(text))) for text in (0.1, "poison", 0.9)]
        await asyncio.sleep(0)
        scorer.limiter.set()
        answers = await asyncio.gather(first, *calls, return_exceptions=True)
        later = await oracle.judge(said(0.2))
        await oracle.aclose()
        return answers, later

    (first, low, poisoned, high), later = asyncio.run(main())
    assert outcomes(first + low + high + later) == [
        Outcome.HARMLESS,
        Outcome.HARMLESS,
        Outcome.HARMFUL,
        Outcome.HARMLESS,
    ]
    assert isinstance(poisoned, OracleError)
    assert "poison" not in str(poisoned)


def test_deadline_is_an_error_and_late_work_is_dropped():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, deadline_s=0.5)
        results = await asyncio.gather(
            oracle.judge(said(0.1)), oracle.judge(said(0.2)), return_exceptions=True
        )
        scorer.limiter.set()
        return results, await judged(oracle, 0.3)

    late, later = asyncio.run(main())
    assert all(isinstance(error, OracleError) and "0.5 s" in str(error) for error in late)
    assert later[0].score == 0.3
    assert sum("0.3" in batch for batch in scorer.batches) == 1
    assert Counter(text for batch in scorer.batches for text in batch)["0.2"] <= 1


def test_a_full_queue_holds_callers_back_in_order_until_there_is_room():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, max_batch=1, max_queue=2)
        calls = [asyncio.create_task(oracle.judge(said(n / 10))) for n in range(9)]
        await scorer.until_entered()
        await asyncio.sleep(0.02)
        waiting = len(oracle._worker._jobs)
        scorer.limiter.set()
        await asyncio.gather(*calls)
        await oracle.aclose()
        return waiting

    assert asyncio.run(main()) == 2
    assert scorer.batches == [[str(n / 10)] for n in range(9)]


def test_a_full_queue_ends_in_an_error_at_the_deadline():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, max_batch=1, max_queue=1, deadline_s=0.5)
        results = await asyncio.gather(
            *(oracle.judge(said(n / 10)) for n in range(6)), return_exceptions=True
        )
        scorer.limiter.set()
        later = await judged(oracle, 0.7)
        return results, later, oracle._worker._room._free

    results, later, free = asyncio.run(main())
    assert all(isinstance(result, OracleError) for result in results)
    assert later[0].outcome is Outcome.HARMFUL
    assert free == 1


def test_cancelled_callers_are_dropped_and_give_their_room_back():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, max_batch=1, max_queue=2)
        calls = [asyncio.create_task(oracle.judge(said(n / 10))) for n in range(8)]
        await scorer.until_entered()
        for call in calls[1:]:  # some wait to be scored, some for room
            call.cancel()
        await asyncio.gather(*calls[1:], return_exceptions=True)
        scorer.limiter.set()
        kept = await calls[0]
        later = await oracle.judge(said(0.9))
        await oracle.aclose()
        return kept, later, [call.cancelled() for call in calls], oracle._worker._room._free

    kept, later, cancelled, free = asyncio.run(main())
    assert outcomes(kept + later) == [Outcome.HARMLESS, Outcome.HARMFUL]
    assert cancelled == [False] + [True] * 7
    assert scorer.batches == [["0.0"], ["0.9"]]
    assert free == 2


def test_closing_fails_what_waits_ends_the_thread_and_refuses_more():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, name="closing")
        working = asyncio.create_task(oracle.judge(said(0.1)))
        await scorer.until_entered()
        waiting = asyncio.create_task(oracle.judge(said(0.2)))
        await asyncio.sleep(0)
        scorer.limiter.set()
        await oracle.aclose()
        done = await asyncio.gather(working, waiting, return_exceptions=True)
        with pytest.raises(OracleError, match="closed"):
            await oracle.judge(said(0.3))
        await oracle.aclose()
        return done

    working, waiting = asyncio.run(main())
    assert outcomes(working) == [Outcome.HARMLESS]
    assert isinstance(waiting, OracleError) or outcomes(waiting) == [Outcome.HARMLESS]
    assert "closing" not in {thread.name for thread in threading.enumerate()}


def test_closing_before_the_first_use_starts_nothing():
    before = threading.active_count()
    oracle = ThreadedOracle(Numbers(), threshold=0.5, name="never-started")
    asyncio.run(oracle.aclose())
    assert threading.active_count() == before


def test_a_scorer_that_hangs_cannot_hang_closing():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5, deadline_s=0.1)
        with pytest.raises(OracleError, match="judged nothing within"):
            await oracle.judge(said(0.1))
        with pytest.raises(OracleError, match="hangs"):
            await oracle.aclose()
        scorer.limiter.set()
        await oracle.aclose()

    asyncio.run(main())


def test_one_oracle_serves_one_event_loop_after_another():
    oracle = ThreadedOracle(Numbers(), threshold=0.5)
    for number in (0.1, 0.9, 0.2):
        assert asyncio.run(oracle.judge(said(number)))[0].score == number
    asyncio.run(oracle.aclose())


def test_one_oracle_serves_several_event_loops_at_once():
    oracle = ThreadedOracle(Numbers(), threshold=0.5, max_queue=1)
    results: dict[int, float] = {}

    def use(place: int) -> None:
        judgements = asyncio.run(oracle.judge(said(*[place / 10] * 20)))
        results[place] = math.fsum(judgement.score for judgement in judgements)

    threads = [threading.Thread(target=use, args=(place,)) for place in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(oracle.aclose())
    assert results == {place: pytest.approx(2 * place) for place in range(5)}


def test_revision_fixes_scorer_and_threshold():
    def revision(threshold: float, scorer_revision: str = "a") -> str:
        scorer = Numbers()
        scorer.revision = scorer_revision
        return ThreadedOracle(scorer, threshold=threshold).revision

    assert revision(0.5) == revision(0.5)
    assert len({revision(0.5), revision(math.nextafter(0.5, 1)), revision(0.5, "b")}) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", -0.1),
        ("threshold", 1.1),
        ("threshold", math.nan),
        ("max_batch", 0),
        ("max_wait_s", -1.0),
        ("max_wait_s", 30.0),
        ("max_queue", 0),
        ("deadline_s", 0.0),
    ],
)
def test_options_outside_their_range_are_refused(field, value):
    with pytest.raises(ConfigError, match="must"):
        ThreadedOracle(Numbers(), **({"threshold": 0.5} | {field: value}))


def test_closing_passes_over_callers_that_have_gone():
    scorer = Gated()

    async def main():
        oracle = ThreadedOracle(scorer, threshold=0.5)
        working = asyncio.create_task(oracle.judge(said(0.1)))
        await scorer.until_entered()
        gone, waiting = (asyncio.create_task(oracle.judge(said(n))) for n in (0.2, 0.3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        threading.Timer(0.05, scorer.limiter.set).start()
        await oracle.aclose()
        return await asyncio.gather(working, waiting, return_exceptions=True)

    working, waiting = asyncio.run(main())
    assert outcomes(working) == [Outcome.HARMLESS]
    assert isinstance(waiting, OracleError)
    assert "closed" in str(waiting)


@pytest.mark.parametrize("score", [0.5, 1.0])
def test_the_reason_names_the_category_that_decided(score: float) -> None:
    (judgement,) = asyncio.run(_by(NamedScore(score, "threat")))
    assert (judgement.outcome, judgement.reason) == (Outcome.HARMFUL, "oracle: threat")
    assert type(judgement.score) is float


def test_harmless_answers_have_no_reason() -> None:
    (judgement,) = asyncio.run(_by(NamedScore(0.4, "threat")))
    assert (judgement.outcome, judgement.reason) == (Outcome.HARMLESS, "")


@pytest.mark.parametrize("score", [math.nan, -0.1, 1.1])
def test_a_name_excuses_no_impossible_score(score: float) -> None:
    with pytest.raises(OracleError, match=r"\[0, 1\]"):
        asyncio.run(_by(NamedScore(score, "threat")))


async def _by(score: float) -> list[Judgement]:
    """What a scorer that always says this makes of one answer."""

    class Always:
        revision = "always"

        def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
            return [score] * len(exchanges)

    oracle = ThreadedOracle(Always(), threshold=0.5)
    try:
        return await oracle.judge([Exchange("", "an answer")])
    finally:
        await oracle.aclose()


def test_what_is_set_wrongly_is_said_and_what_a_text_holds_is_not():
    class Failing(Numbers):
        def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
            if exchanges[0].response == "secret":
                raise ValueError("cannot read 'secret'")
            raise ConfigError("the model does not know spite", field="thresholds")

    async def messages() -> list[str]:
        oracle = ThreadedOracle(Failing(), threshold=0.5)
        found = []
        for text in ("a", "secret"):
            with pytest.raises(OracleError) as caught:
                await oracle.judge([Exchange("", text)])
            found.append(str(caught.value))
        await oracle.aclose()
        return found

    set_wrongly, content = asyncio.run(messages())
    assert "the model does not know spite" in set_wrongly
    assert "secret" not in content
    assert "ValueError" in content
