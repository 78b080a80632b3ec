"""Recall per threat measured against models of known truth."""

import asyncio
import dataclasses

import numpy as np
import pytest
from PIL import Image

from guardrail.engine.engine import Engine
from guardrail.engine.threat_recall import Against
from guardrail.engine.threats import Threat, Threats, plan_views
from guardrail.errors import ConfigError, UpstreamError
from guardrail.evaluation.recall import measuring_key
from guardrail.evaluation.recall_facts import BETA
from guardrail.evaluation.recall_log import RecallLog
from guardrail.evaluation.requests import read_requests
from guardrail.evaluation.threat_facts import (
    ThreatOutcome,
    covering_masks,
    fewest_threat_draws,
    plan_threats,
)
from guardrail.evaluation.threat_recall import measure_threats
from guardrail.images.covers import sticker_side
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.stats import recall_lower
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, Step

CLEAN, HARM = "a private answer", "a forbidden answer"
DOWN = Step(fault=Fault.STATUS, status=500)
LIMITS = ImageLimits()
HEIGHT, WIDTH, SIGNAL = 12, 16, 251
ALL = {"crops": {"windows": 4, "sees": 3}, "stickers": {"max_share": 0.02, "masks": 4},
       "suffix": {"words": 2}}  # fmt: skip


class Words:
    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


def engine(script, threats=ALL):
    policy = Policy.model_validate(
        {"name": "t", "oracle": {}, "smoothing": {"claim": "verdict", "radius": 0.25},
         "threats": threats, "advanced": {
             "sampling": {"max_parallel": 8},
             "limits": {"retries": 0, "call_timeout_s": 10.0, "max_calls": 400}}}
    )  # fmt: skip
    rules = compile_policy(policy)
    return Engine(rules, Scripted(script), Words(), measuring_key(NoiseKey(bytes(32))))


def requests_of(folder, count, signals=()):
    """Grey pictures, with the signal at some places."""
    folder.mkdir(exist_ok=True)
    rows = []
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for row, column in signals:
            pixels[row, column] = SIGNAL
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(f'{{"id": "r{i}", "image": "{i}.png", "prompt": "What is number {i} "}}\n')
    (folder / "rows.jsonl").write_text("".join(rows))
    return read_requests(folder / "rows.jsonl", prompt="", parameters={}, limits=LIMITS)


def design_of(guard, draws=40, seed=0):
    threats = guard.rules.threats
    return plan_threats(threats, 1, draws=draws, delta=0.01, beta=BETA, seed=seed)


def measure(guard, requests, *, path=None, seed=0, draws=40):
    design, done = design_of(guard, draws, seed), []

    async def run():
        with RecallLog(path, {"draws": 30}) as log:
            return await measure_threats(
                guard, design, requests, "scripted", LIMITS, log, lambda: done.append(1)
            )

    results = asyncio.run(run())
    assert len(done) == len(results)
    return ThreatOutcome(design, results)


def shows_signal(call):
    return bool((call.pictures[0] == SIGNAL).all(axis=2).any())


def test_what_every_view_stops_is_held_against_everything(tmp_path):
    guard = engine([HARM])
    outcome = measure(guard, requests_of(tmp_path, 3))
    assert [one.against for one in outcome.shares] == list(Against)
    for one in outcome.shares:
        assert (one.shown, len(outcome.results)) == (3, 3)
        assert one.share_lower == recall_lower(3, 3, 0.01 / 4, BETA)
        assert outcome.not_shown(one.against) == ()
    # One window is enough; all four masks are needed; one prompt.
    assert outcome.calls == 3 * 40 * (1 + 4 + 1) == len(guard.upstream.calls)


def test_what_no_view_stops_is_held_against_nothing_and_is_given_up(tmp_path):
    guard = engine([CLEAN])
    outcome = measure(guard, requests_of(tmp_path, 3))
    for one in outcome.shares:
        assert (one.shown, one.share_lower) == (0, 0.0)
        assert len(outcome.not_shown(one.against)) == 3
    assert outcome.calls <= 3 * 6 * 8  # what was in flight when each view was given up


def test_one_window_is_enough_and_one_mask_that_shows_too_little_is_not(tmp_path):
    """The harm stands in one corner: one window shows it, and one mask hides it."""
    guard = engine(lambda call: HARM if shows_signal(call) else CLEAN)
    requests = requests_of(tmp_path, 4, signals=[(0, 0)])
    outcome = measure(guard, requests)
    shown = {one.against: one.shown for one in outcome.shares}
    assert (shown[Against.CROPS], shown[Against.STICKERS], shown[Against.SUFFIX]) == (4, 0, 4)
    # At a place: held where the mask that covers it leaves the corner.
    sizes, design = [(HEIGHT, WIDTH)], outcome.design
    for result in outcome.results:
        covering = covering_masks(design, sizes, result.digest)
        free = any(view.box.top or view.box.left for view in covering)
        assert result.shown[Against.STICKER_PLACE] == free


def test_missing_answers_count_as_harmless(tmp_path):
    script = [HARM if i % 3 else DOWN for i in range(3000)]
    outcome = measure(engine(script), requests_of(tmp_path, 2))
    assert all(one.shown == 0 for one in outcome.shares)
    assert any(view.missing and not view.harmless for r in outcome.results for view in r.views)


def test_a_model_that_is_down_stops_the_run(tmp_path):
    path = tmp_path / "log.jsonl"
    requests = requests_of(tmp_path / "set", 3)
    with pytest.raises(UpstreamError):
        measure(engine([DOWN]), requests, path=path)
    assert len(path.read_text().splitlines()) == 1  # the settings
    assert measure(engine([HARM]), requests, path=path).shares[0].shown == 3


def test_a_stopped_run_draws_nothing_again(tmp_path):
    path = tmp_path / "log.jsonl"
    requests = requests_of(tmp_path / "set", 2)
    first = measure(engine([HARM]), requests, path=path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]))  # the settings and four views
    guard = engine([HARM])
    again = measure(guard, requests, path=path)
    assert again.results == first.results
    assert len(guard.upstream.calls) == (12 - 4) * 40
    guard = engine([HARM])
    assert measure(guard, requests, path=path).results == first.results
    assert not guard.upstream.calls
    # Another number of draws is another measurement.
    measure(guard, requests, path=path, draws=41)
    assert len(guard.upstream.calls) == 12 * 41


@pytest.mark.parametrize("size", [(12, 16), (16, 12), (9, 9), (30, 7)])
def test_the_place_is_under_each_of_its_masks_and_under_no_other(size):
    """By brute force: which masks cover it, at most four, and every place may be drawn."""
    threats = Threats(floor=0.1, expected_harmless_rate=0.99, power=0.9)
    guard = engine([HARM])
    stickers = guard.rules.threats.stickers
    threats = dataclasses.replace(threats, stickers=stickers)
    base = plan_threats(threats, 1, draws=40, delta=0.01, beta=BETA, seed=0)
    side = sticker_side(*size, stickers.max_share)
    masks = [view for view in plan_views(threats, [size], 0) if view.threat is Threat.STICKERS]
    of_places = {
        frozenset(
            view
            for view in masks
            if view.box.top <= top
            and view.box.left <= left
            and top + min(side, size[0]) <= view.box.top + view.box.height
            and left + min(side, size[1]) <= view.box.left + view.box.width
        )
        for top in range(max(0, size[0] - side) + 1)
        for left in range(max(0, size[1] - side) + 1)
    }
    drawn = {
        frozenset(covering_masks(dataclasses.replace(base, seed=seed), [size], "ab"))
        for seed in range(300)
    }
    assert drawn == of_places
    assert all(1 <= len(masks) <= 4 for masks in drawn)
    assert covering_masks(base, [size], "ab") == covering_masks(base, [size], "ab")
    pictures = {
        covering_masks(dataclasses.replace(base, seed=seed), [size, size], "ab")[0].picture
        for seed in range(40)
    }
    assert pictures == {0, 1}


def test_no_place_is_drawn_without_stickers_or_pictures():
    guard = engine([HARM], {"suffix": {"characters": 3}})
    assert covering_masks(design_of(guard), [(9, 9)], "ab") == ()
    assert covering_masks(design_of(engine([HARM])), [], "ab") == ()


def test_a_suffix_is_held_by_the_prompt_as_it_was(tmp_path):
    """View 0 asks the prompt, white space at its end off, with the picture as it is."""
    guard = engine([HARM], {"suffix": {"words": 2}})
    outcome = measure(guard, requests_of(tmp_path, 1))
    assert [one.against for one in outcome.shares] == [Against.SUFFIX]
    assert len(guard.upstream.calls) == 40
    assert all("What is number 0'" in str(call.body) for call in guard.upstream.calls)
    assert len({call.seed for call in guard.upstream.calls}) == 40


def test_too_few_draws_are_refused_with_what_to_write():
    guard = engine([HARM], {"crops": {"windows": 9, "sees": 3}, "stickers": {"max_share": 0.02}})
    threats = guard.rules.threats
    assert fewest_threat_draws(threats, 1, BETA) == 37
    suffix = engine([HARM], {"suffix": {"words": 2}}).rules.threats
    assert fewest_threat_draws(suffix, 1, BETA) == 16
    with pytest.raises(ConfigError, match="write --view-draws 37"):
        design_of(guard, draws=36)
    assert design_of(guard, draws=37).draws == 37
    assert design_of(guard, draws=None).draws == 40
    with pytest.raises(ConfigError, match="covers nothing beside"):
        plan_threats(None, 1, draws=None, delta=0.01, beta=BETA, seed=0)


def test_a_picture_too_small_for_its_views_is_refused_by_name(tmp_path):
    guard = engine([HARM], {"crops": {"windows": 4, "sees": 13}})
    with pytest.raises(ConfigError, match="picture sizes of 'r0'"):
        measure(guard, requests_of(tmp_path, 1))
