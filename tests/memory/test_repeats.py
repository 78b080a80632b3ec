"""The same request again and again: no try passes more often than alpha, and a replay is no try.

The model is harmless on some noisy variants whatever it draws, and by chance on the others, so that
a part of each outcome hangs on the noise alone. Its harmless rate is just below what the test asks
for.
"""

import asyncio
import hashlib
import itertools
import random

import pytest
from scipy.stats import binom

from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.preprocessing import settle
from guardrail.engine.verdict import Action
from guardrail.memory.rules import OnRepeat
from guardrail.testing.attempts import same_attempt

ALPHA, NINE, FIXED = 0.05, 9, 0.5


def is_fixed(pixels):
    """Whether a variant is answered harmlessly whatever the model draws."""
    return hashlib.sha256(pixels.tobytes()).digest()[0] < 256 * FIXED


@pytest.fixture(scope="module")
def rate(kit):
    """The harmless rate of all variants together: just below what a pass proves."""
    return plan_for(kit.make_rules(), UNSCALED).q_required - 1e-9


@pytest.fixture(scope="module")
def chance(rate):
    """That of the variants that are not fixed."""
    return (rate - FIXED) / (1.0 - FIXED)


@pytest.fixture
def engine(kit, chance):
    drawn = random.Random(1)

    def script(call):
        harmless = is_fixed(call.pictures[0]) or drawn.random() < chance
        return "A cat." if harmless else kit.HARM

    return kit.make_engine(script)


def passes(kit, engine, times, **request):
    decisions = kit.make_decisions(OnRepeat.REDRAW, OnRepeat.REDRAW)
    chat, pictures = kit.request(**request)

    async def scene():
        return [(await decisions.decide(engine, chat, pictures)).action for _ in range(times)]

    return [action is Action.PASS for action in kit.run(scene())]


def test_what_the_same_noise_would_be_worth(chance, rate):
    """Exactly, over all sets of variants that are fixed: after a pass, the next one is likelier."""
    first = again = 0.0
    for fixed in itertools.product([True, False], repeat=NINE):
        weight = FIXED**NINE
        passing = chance ** fixed.count(False)
        first += weight * passing
        again += weight * passing**2
    assert first == pytest.approx(rate**NINE)  # a try on noise of its own
    assert first <= ALPHA
    assert again / first > 3 * ALPHA  # the second try on noise that let the first one through


def test_each_redraw_is_a_fresh_try(kit, engine, rate):
    found = passes(kit, engine, 400)
    assert binom.sf(sum(found) - 1, 400, ALPHA) > 1e-4
    assert binom.cdf(sum(found), 400, rate**NINE) > 1e-4  # it is no model that never passes
    after = [later for earlier, later in itertools.pairwise(found) if earlier]
    assert binom.sf(sum(after) - 1, len(after), ALPHA) > 1e-4


def test_noise_that_favours_the_attacker_is_met_once(kit, engine, chance):
    """A request on whose noise eight of nine variants are fixed, if it kept that noise."""
    rules = kit.make_rules()

    def fixed(seed):
        case = prepare_request(settle(rules, None, "model"), *kit.request(seed=seed), ONLY_ATTEMPT)
        return sum(is_fixed(case.make_variant(index, rules, kit.KEY)[0]) for index in range(NINE))

    lucky = next(seed for seed in itertools.count() if fixed(seed) == NINE - 1)
    with same_attempt():
        old = passes(kit, engine, 60, seed=lucky)
    assert binom.sf(sum(old) - 1, 60, ALPHA) < 1e-9
    assert sum(old) / 60 == pytest.approx(chance, abs=0.25)
    assert binom.sf(sum(passes(kit, engine, 60, seed=lucky)) - 1, 60, ALPHA) > 1e-4


def test_a_replay_is_no_try(kit, engine):
    decisions = kit.make_decisions()
    chat, pictures = kit.request()
    verdicts = [asyncio.run(decisions.decide(engine, chat, pictures)) for _ in range(50)]
    assert len({verdict.action for verdict in verdicts}) == 1
    assert sum(not verdict.remembered for verdict in verdicts) == 1
    assert len(engine.upstream.calls) <= NINE


def test_a_remembered_pass_serves_no_picture_that_has_been_listed_since(kit):
    import dataclasses

    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Reason
    from guardrail.images.known_pictures import KnownPictures

    sha = "ab" * 32
    chat, (picture,) = kit.request()
    shown = (dataclasses.replace(picture, sha256=sha),)
    plain = kit.make_engine()
    listed = Engine(
        plain.rules, plain.upstream, plain.oracle, kit.KEY,
        known_pictures=KnownPictures({sha: ("list", 1)}, [], 6),
    )  # fmt: skip
    decisions = kit.make_decisions()

    async def scenario():
        return [await decisions.decide(engine, chat, shown) for engine in (plain, listed, listed,
                                                                          plain)]  # fmt: skip

    passed, blocked, again, remembered = kit.run(scenario())
    assert passed.action is Action.PASS
    assert blocked.reason is again.reason is Reason.KNOWN_PICTURE
    assert not again.remembered
    assert remembered.remembered
