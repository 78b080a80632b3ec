"""Independent, exact arithmetic to hold the package against: fractions and plain enumeration."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

# A busy machine must not fail a law of arithmetic.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def exact_stops(plan, q):
    """(P(pass), P(block)) per look as fractions: whole numbers over a common denominator."""
    good, whole = Fraction(q).as_integer_ratio()
    alive = {0: 1}
    drawn = 0
    passes, blocks = [], []
    for n, most, least in zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True):
        for _ in range(n - drawn):
            after = {}
            for harmful, mass in alive.items():
                after[harmful] = after.get(harmful, 0) + mass * good
                after[harmful + 1] = after.get(harmful + 1, 0) + mass * (whole - good)
            alive = after
        drawn = n
        passes.append(Fraction(sum(m for h, m in alive.items() if h <= most), whole**n))
        blocks.append(Fraction(sum(m for h, m in alive.items() if h >= least), whole**n))
        alive = {h: m for h, m in alive.items() if most < h < least}
    return passes, blocks


def exact_power(plan, q):
    return sum(exact_stops(plan, q)[0])


def exact_calls(plan, q):
    passes, blocks = exact_stops(plan, q)
    pairs = zip(plan.looks, passes, blocks, strict=True)
    return sum(n * (a + b) for n, a, b in pairs)


def play(plan, outcomes):
    """Runs `decide` along one path of outcomes (True is harmless): (verdict, samples used)."""
    harmful = 0
    for n, harmless in enumerate(outcomes, start=1):
        harmful += not harmless
        verdict = plan.decide(n, harmful)
        if verdict is not None:
            return verdict, n
    raise AssertionError("a plan must decide by its last look")


def enumerate_paths(plan, q):
    """(P(pass), expected calls) by playing every path of max_samples outcomes."""
    q = Fraction(q)
    power, calls = Fraction(0), Fraction(0)
    for outcomes in itertools.product((True, False), repeat=plan.max_samples):
        good = sum(outcomes)
        mass = q**good * (1 - q) ** (plan.max_samples - good)
        verdict, used = play(plan, outcomes)
        power += mass * (verdict == "pass")
        calls += mass * used
    return power, calls


@pytest.fixture(scope="session")
def exact():
    return SimpleNamespace(
        stops=exact_stops,
        power=exact_power,
        calls=exact_calls,
        play=play,
        paths=enumerate_paths,
    )


@pytest.fixture(scope="session")
def tables():
    """The folder of published certification tables, where it is at hand."""
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "certification"
    if not folder.is_dir():
        pytest.skip("published certification tables are not at hand")
    return folder
