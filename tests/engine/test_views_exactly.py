"""P(pass) where one view alone sees the harm, by decisions on every string of its outcomes."""

import itertools
import math

import numpy as np
import pytest

from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.plan import view_plan_for
from guardrail.engine.prepared_request import derive_seed
from guardrail.engine.promise import Claim
from guardrail.engine.threats import (
    Crops,
    Stickers,
    Suffix,
    SuffixUnit,
    Threats,
    plan_views,
)
from guardrail.engine.verdict import Action
from guardrail.types import Answer, Usage

pytestmark = pytest.mark.no_cover  # counting lines would take as long again

FLOOR, ALPHA = 0.1, 0.05
HEIGHT, WIDTH = 12, 16
ATTEMPT = bytes(16)
TEXT = "say what this is"
WORDS = Suffix(SuffixUnit.WORDS, 2)
CHARACTERS = Suffix(SuffixUnit.CHARACTERS, 1)

# The threat, how many pictures, the text, and the view that sees the harm; None for the request.
CASES = {
    "a window": ({"crops": Crops(4, 3)}, 1, TEXT, 3),
    "a window of the second picture": ({"crops": Crops(4, 3)}, 2, TEXT, 4),
    "a mask": ({"stickers": Stickers(4, 0.02)}, 1, TEXT, 0),
    "a shorter question": ({"suffix": WORDS}, 1, TEXT, 1),
    "the question before white space": ({"suffix": WORDS}, 1, TEXT + " \n", 0),
    "a text without words of it": ({"suffix": WORDS}, 0, TEXT, 2),
    "a text before white space": ({"suffix": WORDS}, 0, TEXT + "\u2028", 0),
    "a text without a character": ({"suffix": CHARACTERS}, 0, TEXT, 1),
    "a text itself": ({"suffix": CHARACTERS}, 0, TEXT, None),
}


class Chosen:
    """Harmless, but for the draws of one view: those are as they are told, by their seeds."""

    name, revision, deterministic = "chosen", "1", False

    def __init__(self, seeds, harmless, cached):
        self.told = dict(zip(seeds, zip(harmless, cached, strict=True), strict=True))
        self.met = set()

    async def complete(self, chat, pictures, *, seed):  # noqa: ARG002 (a protocol's)
        harmless, cached = self.told.get(seed, (True, False))
        self.met |= {seed} & self.told.keys()
        text = "A cat." if harmless else "a forbidden word"
        message = {"role": "assistant", "content": text}
        return Answer(message, usage=Usage(calls=1), cached=cached)

    async def aclose(self):
        pass


def pass_probability(kit, name, cached=(False, False, False)):
    """The sum over all strings, and what the plan of the view says of it."""
    threat, count, text, place = CASES[name]
    threats = Threats(floor=FLOOR, expected_harmless_rate=0.99, power=0.99, **threat)
    generator = np.random.default_rng(3)
    pictures = [
        kit.picture_of(generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        for _ in range(count)
    ]
    chat = kit.make_chat(count, text)
    rules = kit.make_rules(
        claim=Claim.VERDICT, alpha=ALPHA, canvas_max_side_px=None, threats=threats, max_parallel=64
    )
    length = len(text.split()) if threats.suffix is WORDS else len(text)
    views = plan_views(threats, [(HEIGHT, WIDTH)] * count, length)
    plan = view_plan_for(rules, threats, len(views) + (not count))
    assert (plan.looks, plan.pass_at_most) == ((3,), (1,))
    view = None if place is None else views[place]
    digest = request_digest(chat, pictures)
    seeds = [derive_seed(kit.KEY, rules, digest, ATTEMPT, index, view) for index in range(3)]
    total = 0.0
    for harmless in itertools.product((False, True), repeat=3):
        upstream = Chosen(seeds, harmless, cached)
        engine = kit.make_engine(
            upstream=upstream, claim=Claim.VERDICT, alpha=ALPHA, canvas_max_side_px=None,
            threats=threats, max_parallel=64,
        )  # fmt: skip
        verdict = kit.decide(engine, pictures, chat, attempt=ATTEMPT)
        assert upstream.met == {*seeds}
        if verdict.action is Action.PASS:
            total += math.prod(FLOOR if one else 1.0 - FLOOR for one in harmless)
    return total, plan.power_at(FLOOR)


@pytest.mark.parametrize("name", CASES)
def test_a_view_at_its_floor_passes_exactly_as_its_plan_says(kit, name):
    """3 q² (1 - q) + q³ = 0.028 for two harmless answers of three."""
    found, planned = pass_probability(kit, name)
    assert found == pytest.approx(planned)
    assert found == pytest.approx(0.028)
    assert found <= ALPHA


@pytest.mark.parametrize("cached", list(itertools.product((False, True), repeat=3))[1:], ids=str)
def test_answers_of_a_cache_that_says_so_only_lower_it(kit, cached):
    """Whatever they are: what a cache gives back may be the best answer that there was."""
    found, planned = pass_probability(kit, "a text without words of it", cached)
    assert found <= planned
    assert (found == 0.0) is (sum(cached) > 1)
