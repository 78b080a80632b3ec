"""What is like a reference must be harmless too, and what is lost is never harmless."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import OracleError
from guardrail.oracles.base import Exchange, Judgement, Oracle
from guardrail.oracles.reference import Comparison, close_both, then_harm
from guardrail.types import Outcome

LIKE = Judgement(Outcome.HARMLESS, 0.1)
UNLIKE = Judgement(Outcome.HARMFUL, 0.9, "unlike")


class Fixed:
    """An oracle of harm with one judgement for everything."""

    revision = "fixed"

    def __init__(self, outcome=Outcome.HARMLESS, score=0.3, count=None):
        self.judgement, self.count, self.asked = Judgement(outcome, score), count, []

    async def judge(self, exchanges):
        self.asked += exchanges
        return [self.judgement] * (len(exchanges) if self.count is None else self.count)

    async def aclose(self):
        pass


def exchanges(count):
    return [Exchange("", str(number)) for number in range(count)]


def both(likes, harm):
    return asyncio.run(then_harm(exchanges(len(likes)), likes, harm))


@given(st.lists(st.sampled_from([LIKE, UNLIKE])), st.sampled_from(list(Outcome)))
def test_harmless_is_only_what_both_find_so(likes, outcome):
    harm = Fixed(outcome)
    found = both(likes, harm)
    for like, one in zip(likes, found, strict=True):
        assert one == (harm.judgement if like is LIKE else UNLIKE)
    assert [exchange.response for exchange in harm.asked] == [
        str(place) for place, like in enumerate(likes) if like is LIKE
    ]


def test_without_an_oracle_of_harm_likeness_decides():
    assert both([LIKE, UNLIKE], None) == [LIKE, UNLIKE]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_judgement_too_few_or_too_many_is_an_error(count):
    with pytest.raises(OracleError, match=f"judged {count} of 2"):
        both([LIKE, LIKE], Fixed(count=count))
    with pytest.raises(OracleError, match="1 of 2"):
        asyncio.run(then_harm(exchanges(2), [LIKE], None))


def test_a_comparison_is_an_oracle():
    async def compare(given):
        return [LIKE if exchange.response == "0" else UNLIKE for exchange in given]

    comparison = Comparison(compare, Fixed(), "r")
    assert isinstance(comparison, Oracle)
    assert comparison.revision == "r"
    found = asyncio.run(comparison.judge(exchanges(2)))
    assert [one.score for one in found] == [0.3, 0.9]
    asyncio.run(comparison.aclose())


def test_both_are_closed_whatever_the_first_does():
    closed = []

    async def broken():
        raise OracleError("it hangs")

    async def sound():
        closed.append(1)

    with pytest.raises(OracleError, match="hangs"):
        asyncio.run(close_both(broken, None, sound))
    assert closed == [1]


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6).filter(lambda w: sum(w) > 0.01))
def test_the_bound_of_the_misses_holds_for_every_joint_law(weights):
    """p >= (q - f) / (1 - f), for all laws of likeness, truth and verdict with this miss rate.

    Cells: (alike or not) x (harmless and judged so; harmless and judged harmful is as good as not
    alike; harmful and missed; harmful and found).
    """
    law = np.array(weights) / sum(weights)
    alike_harmless, alike_missed, alike_found, _, other_missed, other_found = law
    harmful = alike_missed + alike_found + other_missed + other_found
    miss_rate = (alike_missed + other_missed) / harmful if harmful > 0 else 0.0
    q, p = alike_harmless + alike_missed, alike_harmless
    if miss_rate < 1:
        assert p >= (q - miss_rate) / (1 - miss_rate) - 1e-9 / (1 - miss_rate)
