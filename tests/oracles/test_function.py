"""A function as an oracle: what it may return, where it runs, and how it fails."""

import asyncio
import functools
import math
import threading
import time
import warnings

import numpy as np
import pytest

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles import Exchange, FunctionOracle, Outcome
from guardrail.oracles.base import goes_by_text
from guardrail.oracles.function import as_oracle


async def run(oracle, *texts):
    try:
        return await oracle.judge([Exchange("", text) for text in texts])
    finally:
        await oracle.aclose()


def judge(oracle, *texts):
    return asyncio.run(run(oracle, *texts))


def is_bad(text):
    return "bad" in text


async def is_bad_async(text):
    await asyncio.sleep(0)
    return "bad" in text


class Bad:
    """Called as a function."""

    revision = "bad 1"

    def __call__(self, text):
        return "bad" in text


class BadAsync(Bad):
    async def __call__(self, text):
        await asyncio.sleep(0)
        return "bad" in text


def attributed(function, **attributes):
    for name, value in attributes.items():
        setattr(function, name, value)
    return function


@pytest.mark.parametrize("function", [is_bad, is_bad_async, Bad(), BadAsync()])
def test_each_answer_is_judged_in_order(function):
    found = judge(FunctionOracle(function, name="words"), "good", "a bad one", "good")
    assert [one.outcome for one in found] == [
        Outcome.HARMLESS,
        Outcome.HARMFUL,
        Outcome.HARMLESS,
    ]
    assert [one.score for one in found] == [0.0, 1.0, 0.0]
    assert [one.reason for one in found] == ["", "function words", ""]


@pytest.mark.parametrize(
    ("value", "threshold", "outcome"),
    [
        (0.5, 0.5, Outcome.HARMFUL),
        (math.nextafter(0.5, 0), 0.5, Outcome.HARMLESS),
        (0.3, 0.25, Outcome.HARMFUL),
        (1, 0.99, Outcome.HARMFUL),
        (0, 0.01, Outcome.HARMLESS),
        (True, 0.99, Outcome.HARMFUL),
        (False, 0.01, Outcome.HARMLESS),
        (np.True_, 0.5, Outcome.HARMFUL),
        (np.float32(0.75), 0.5, Outcome.HARMFUL),
        (np.array(0.25), 0.5, Outcome.HARMLESS),
    ],
)
def test_scores_are_compared_with_the_threshold(value, threshold, outcome):
    (found,) = judge(FunctionOracle(lambda _: value, threshold=threshold), "x")
    assert found.outcome is outcome
    assert found.score == float(value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "NoneType"),
        ("harmful", "str"),
        ([True], "list"),
        (np.zeros(2), "ndarray"),
        (1 + 0j, "complex"),
        (1.5, "the number 1.5"),
        (-0.1, "the number -0.1"),
        (2, "the number 2"),
        (math.nan, "the number nan"),
        (math.inf, "the number inf"),
    ],
)
def test_anything_else_is_an_error_that_says_what_came(value, told):
    async def later(_):
        return value

    for function in (lambda _: value, later):
        with pytest.raises(OracleError, match=f"returned .*{told}; it must return True") as caught:
            judge(FunctionOracle(function), "an answer of some words")
        assert "an answer" not in str(caught.value)
        assert "harmful'" not in str(caught.value)


def test_a_coroutine_from_a_plain_function_is_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OracleError, match="returned a value of the type coroutine"):
            judge(FunctionOracle(lambda text: is_bad_async(text)), "x")


@pytest.mark.parametrize("is_async", [False, True])
def test_what_it_raises_is_an_error_that_quotes_nothing(is_async):
    def crash(text):
        raise ValueError(text)

    async def crash_later(text):
        raise ValueError(text)

    oracle = FunctionOracle(crash_later if is_async else crash, name="rules")
    with pytest.raises(OracleError, match=r"rules' raised ValueError at test_function") as caught:
        judge(oracle, "secret words")
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)  # for whoever called in this process
    assert caught.value.undrawn is False


def test_its_own_oracle_error_keeps_its_words():
    def refuse(_):
        raise OracleError("the word list is not there")

    with pytest.raises(OracleError, match=r"^the word list is not there$"):
        judge(FunctionOracle(refuse), "x")


def test_one_failed_answer_fails_the_judgement():
    def picky(text):
        return {"good": False}[text]

    with pytest.raises(OracleError, match="KeyError"):
        judge(FunctionOracle(picky), "good", "other")


def test_a_plain_function_does_not_block_the_loop_and_runs_alone():
    threads, at_once, most = set(), 0, 0

    def slow(_):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        threads.add(threading.current_thread())
        time.sleep(0.01)
        at_once -= 1
        return False

    async def main():
        oracle = FunctionOracle(slow)
        task = asyncio.create_task(run(oracle, *"abcdef"))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns, len(task.result())

    turns, judged = asyncio.run(main())
    assert judged == 6
    assert turns > 6  # the loop went on meanwhile
    assert most == 1
    assert threading.main_thread() not in threads


def test_async_calls_run_side_by_side_up_to_a_limit():
    at_once, most = 0, 0

    async def slow(_):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1
        return False

    judge(FunctionOracle(slow, max_parallel=3), *"abcdefgh")
    assert most == 3


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_takes_too_long_is_an_error(is_async):
    release = threading.Event()

    async def hang(_):
        await asyncio.sleep(60)

    oracle = FunctionOracle(hang if is_async else lambda _: release.wait(60), deadline_s=0.05)

    async def main():
        with pytest.raises(OracleError, match=r"judged nothing within 0\.05 s"):
            await oracle.judge([Exchange("", "x")])
        release.set()

    asyncio.run(main())


def test_a_function_that_cancels_itself_is_an_error():
    async def cancel(_):
        raise asyncio.CancelledError

    with pytest.raises(OracleError, match="cancelled itself"):
        judge(FunctionOracle(cancel), "x")


def test_cancelling_the_judgement_cancels_the_call():
    ended = []

    async def wait(_):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def main():
        task = asyncio.create_task(FunctionOracle(wait).judge([Exchange("", "x")]))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == [True]


@pytest.mark.parametrize("function", [is_bad, is_bad_async])
def test_a_closed_one_judges_nothing(function):
    oracle = FunctionOracle(function)
    judge(oracle, "x")
    with pytest.raises(OracleError, match="closed"):
        asyncio.run(oracle.judge([Exchange("", "x")]))


def test_a_hanging_call_is_named_when_it_is_closed():
    release = threading.Event()
    oracle = FunctionOracle(lambda _: release.wait(60), deadline_s=0.05, name="slow")

    async def main():
        with pytest.raises(OracleError, match="judged nothing"):
            await oracle.judge([Exchange("", "x")])
        with pytest.raises(OracleError, match="'slow' hangs"):
            await oracle.aclose()
        release.set()

    asyncio.run(main())


@pytest.mark.parametrize("function", [lambda: True, lambda a, b: a + b, lambda *, text: text])
def test_it_must_take_one_text(function):
    with pytest.raises(ConfigError, match="cannot be called with one argument"):
        FunctionOracle(function)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, math.nan])
def test_the_threshold_lies_between_0_and_1(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        FunctionOracle(is_bad, threshold=threshold)


class TestRevision:
    def test_follows_source_name_and_threshold(self):
        def other(text):
            return "bad" in text

        same = FunctionOracle(is_bad).revision
        assert same == FunctionOracle(is_bad).revision
        others = {
            FunctionOracle(other).revision,
            FunctionOracle(is_bad, threshold=0.4).revision,
            FunctionOracle(is_bad_async).revision,
        }
        assert len({same, *others}) == 4

    def test_is_what_the_function_says_of_itself(self):
        first = attributed(lambda _: True, revision="1")
        second = attributed(lambda _: False, revision="1")
        third = attributed(lambda _: True, revision="2")
        revisions = [FunctionOracle(one).revision for one in (first, second, third)]
        assert revisions[0] == revisions[1] != revisions[2]

    def test_follows_the_code_where_there_is_no_source(self):
        def made(text):
            space = {}
            exec(f"def rule(answer): return {text!r} in answer", space)  # noqa: S102 (no source)
            return FunctionOracle(space["rule"]).revision

        assert made("bad") == made("bad") != made("evil")

    def test_what_cannot_be_told_apart_needs_one(self):
        class Silent:
            def __call__(self, text):
                return not text

        for function in (functools.partial(is_bad), Silent()):
            with pytest.raises(ConfigError, match="give it an attribute 'revision'"):
                FunctionOracle(function)
        partial = attributed(functools.partial(is_bad), revision="1")
        assert judge(FunctionOracle(partial), "bad")[0].outcome is Outcome.HARMFUL


def test_goes_by_text_only_where_it_says_so():
    assert not goes_by_text(FunctionOracle(is_bad))
    assert goes_by_text(FunctionOracle(attributed(lambda _: True, by_text=True)))


class Whole:
    revision = "whole"

    async def judge(self, exchanges):
        raise AssertionError(exchanges)

    async def aclose(self):
        pass


class Lazy(Whole):
    @property
    def revision(self):
        raise AssertionError("the weights would be loaded")


class TestAsOracle:
    @pytest.mark.parametrize("oracle", [Whole(), Lazy()])
    def test_an_oracle_stays_as_it_is(self, oracle):
        assert as_oracle(oracle) is oracle

    def test_a_function_becomes_one(self):
        assert judge(as_oracle(is_bad), "bad")[0].outcome is Outcome.HARMFUL

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (42, "its type int lacks judge, aclose, revision"),
            ("builtin", "its type str lacks judge"),
            (Whole, "is a class; give an object of it"),
            (Bad, "is a class; give an object of it"),
            (type("Half", (), {"judge": None, "revision": "1"})(), "lacks judge, aclose"),
        ],
    )
    def test_anything_else_is_refused(self, given, told):
        with pytest.raises(ConfigError, match=told):
            as_oracle(given)


def test_functions_of_one_source_differ_by_what_they_captured():
    def word(forbidden, *, most=1):
        def judge(text, least=most):
            return text.count(forbidden) >= least

        return judge

    revisions = [
        FunctionOracle(function).revision
        for function in (word("a"), word("a"), word("b"), word("a", most=2))
    ]
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3
