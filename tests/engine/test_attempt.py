"""Attempts: fresh for each decision, unless nothing in it is left to chance."""

from dataclasses import dataclass

import pytest

from guardrail.engine import attempt
from guardrail.engine.attempt import ATTEMPT_BYTES, ONLY_ATTEMPT, attempt_of, draw_attempt
from guardrail.testing.attempts import numbered_attempts, same_attempt
from guardrail.upstreams.chain import UpstreamChain


@dataclass
class Part:
    deterministic: object = False
    by_text: object = False


def test_no_two_are_alike():
    drawn = {draw_attempt() for _ in range(1000)}
    assert len(drawn) == 1000
    assert {len(one) for one in drawn} == {ATTEMPT_BYTES}


@pytest.mark.parametrize(
    ("upstream", "oracle", "fixed"),
    [
        (Part(True), Part(by_text=True), True),
        (Part(True), Part(deterministic=True), True),
        (Part(True), Part(), False),
        (Part(True), object(), False),
        (Part(False), Part(by_text=True), False),
        (Part("yes"), Part(by_text=True), False),
        (object(), Part(by_text=True), False),
        (UpstreamChain([Part(True), Part(True)]), Part(by_text=True), True),
        (UpstreamChain([Part(True), Part(False)]), Part(by_text=True), False),
    ],
)
def test_it_is_fresh_wherever_something_is_drawn(upstream, oracle, fixed):
    assert (attempt_of(upstream, oracle) == ONLY_ATTEMPT) is fixed


def test_tests_may_know_them():
    with numbered_attempts():
        assert [attempt.draw_attempt()[-1] for _ in range(3)] == [1, 2, 3]
    with same_attempt():
        assert attempt.draw_attempt() == attempt.draw_attempt() == ONLY_ATTEMPT
