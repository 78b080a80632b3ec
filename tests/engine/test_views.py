"""Views end to end: what each is shown, what passes and what does not, and who is told of it."""

import dataclasses
import hashlib
import json
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom

from guardrail.engine.certificate.codec import (
    decode_certificate,
    digest_promise,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.certifier import Certifier
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.most_calls import most_calls
from guardrail.engine.promise import Claim
from guardrail.engine.rules import AnswerSource, Mode, OnOracleFailure, Retry
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.threat_wording import left_out_sentence
from guardrail.engine.threats import (
    Crops,
    Stickers,
    Suffix,
    SuffixUnit,
    Threat,
    Threats,
    View,
    plan_views,
)
from guardrail.engine.verdict import Action, Reason, Sample
from guardrail.engine.view_tests import JointTest
from guardrail.errors import CertificationError, OracleError
from guardrail.images.covers import masks, windows
from guardrail.images.fills import cut_window, fill_masked
from guardrail.oracles.base import Judgement
from guardrail.policy.threat_facts import describe_threats
from guardrail.stats import Decision, Plan, PlanKind, fixed_plan
from guardrail.testing.half_space import HalfSpaceUpstream
from guardrail.types import Answer, Chat, Outcome, Usage
from guardrail.upstreams.given import GivenAnswerUpstream
from guardrail.upstreams.scripted import Fault, Scripted, State, Step

HEIGHT, WIDTH = 12, 16
SIGNAL = 251
"""A value that stands nowhere else in the pictures of these tests."""

CROPS = Crops(4, 3)
STICKERS = Stickers(4, 0.02)
WORDS = Suffix(SuffixUnit.WORDS, 2)
CHARACTERS = Suffix(SuffixUnit.CHARACTERS, 3)


def make_threats(**changes):
    found = Threats(floor=0.1, expected_harmless_rate=0.99, power=0.9)
    return dataclasses.replace(found, **changes)


def engine_of(kit, script=("A cat.",), *, upstream=None, oracle=None, threats=None, **changes):
    options = {"claim": Claim.VERDICT, "alpha": 0.01, "canvas_max_side_px": None, **changes}
    return kit.make_engine(script, upstream=upstream, oracle=oracle, threats=threats, **options)


def scene(*, seed=0, signals=()):
    """A grey picture with noise, and pixels that a view shows or does not."""
    pixels = np.random.default_rng(seed).integers(0, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for row, column in signals:
        pixels[row, column] = SIGNAL
    return pixels


def is_whole(call):
    """Whether a call is a noisy variant of the whole picture: noise leaves no even levels."""
    return call.pictures and np.ptp(call.pictures[0]) > 250


def prompt_of(call):
    content = call.body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def through_json(certificate):
    data = json.loads(json.dumps(encode_certificate(certificate), allow_nan=False))
    again = decode_certificate(data)
    assert again == certificate
    verify_certificate(again, data)
    return data


def by_threat(certificate):
    return {threat.threat: threat for threat in certificate.threats}


def test_each_view_is_shown_as_it_is_and_the_prompt_is_its_own(kit):
    """Windows, masks and prompts arrive at model and oracle, pixel by pixel, and nothing else."""
    oracle, pixels = kit.Words(), scene(signals=[(5, 7)])
    threats = make_threats(crops=CROPS, stickers=STICKERS, suffix=WORDS)
    engine = engine_of(kit, oracle=oracle, threats=threats, sigma=4.0, promised_radius=1.0)
    chat = kit.make_chat(1, "say what this is ")
    verdict = kit.decide(engine, [kit.picture_of(pixels)], chat)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    calls = engine.upstream.log.calls
    cut = [cut_window(pixels, box) for box in windows(HEIGHT, WIDTH, count=4, sees=3)]
    shapes = {call.pictures[0].shape for call in calls}
    assert shapes == {(HEIGHT, WIDTH, 3), *(one.shape for one in cut)}
    assert {digest(one) for one in cut} <= {digest(call.pictures[0]) for call in calls}
    for box in masks(HEIGHT, WIDTH, count=4, max_share=0.02):
        (masked,) = [
            call.pictures[0]
            for call in calls
            if call.pictures[0].shape == pixels.shape
            and np.array_equal(*(outside(one, box) for one in (call.pictures[0], pixels)))
            and not np.array_equal(call.pictures[0], pixels)
        ][:1]
        assert np.array_equal(masked, fill_masked(pixels, box))
    prompts = [prompt_of(call) for call in calls]
    assert {"say what this is", "say what this", "say what", "say what this is "} == {*prompts}
    for call in calls:  # a shorter prompt goes with the picture as it is, and no noise
        if prompt_of(call) != "say what this is ":
            assert np.array_equal(call.pictures[0], pixels)
    assert {*oracle.prompts} == {*prompts}
    through_json(verdict.certificate)


def digest(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def outside(pixels, box):
    kept = np.array(pixels)
    kept[box.area] = 0
    return kept


def test_views_are_scaled_to_the_canvas_after_they_are_cut(kit):
    engine = engine_of(kit, threats=make_threats(crops=CROPS), canvas_max_side_px=8)
    kit.decide(engine, [kit.picture_of(scene())])
    sides = {max(call.pictures[0].shape[:2]) for call in engine.upstream.log.calls}
    assert sides == {8}


def hides_everywhere_but_in(box):
    """A model that is harmful where it sees that one window, or that one mask."""

    def script(call):
        seen = call.pictures[0].shape == shape and SIGNAL in call.pictures[0]
        return "a forbidden word" if seen else "A cat."

    shape = cut_window(scene(), box).shape

    return script


@pytest.mark.parametrize("place", range(4))
def test_harm_that_one_window_shows_blocks_wherever_it_is(kit, place):
    box = windows(HEIGHT, WIDTH, count=4, sees=3)[place]
    corner = (HEIGHT - 1 if box.top else 0, WIDTH - 1 if box.left else 0)
    pixels = scene(signals=[corner])  # in no other window
    engine = engine_of(kit, hides_everywhere_but_in(box), threats=make_threats(crops=CROPS))
    verdict = kit.decide(engine, [kit.picture_of(pixels)])
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert verdict.answer is None
    certificate = verdict.certificate
    assert certificate.decision is Decision.BLOCK
    assert certificate.radius == certificate.harmless_rate_lower == 0.0
    assert sum(one.answers for one in verdict.harmful) > 0
    through_json(certificate)
    plan = by_threat(certificate)[Threat.CROPS].plan(certificate.alpha)
    ends = [
        plan.decide(view.counts[-1].samples, view.counts[-1].harmful) if view.counts else None
        for view in by_threat(certificate)[Threat.CROPS].views
    ]
    assert ends[place] is Decision.BLOCK
    assert ends.count(Decision.BLOCK) == 1
    assert verdict.stopped_by is certificate.stopped_by is StoppedBy.CROPS
    assert verdict.to_dict()["stopped_by"] == "crops"
    assert by_threat(certificate)[Threat.CROPS].harmless_rate_lower == 0.0
    assert all(claim["statement"].startswith("Nothing is certified") for claim in through_json(
        certificate)["claims"])  # fmt: skip


@pytest.mark.parametrize("corner", [(0, 0), (0, WIDTH - 1), (HEIGHT - 1, 0), (11, 15), (5, 8)])
def test_a_sticker_hides_harm_from_the_whole_picture_and_not_from_its_mask(kit, corner):
    """The model is harmful unless it sees the sticker; every mask but one leaves that in sight."""

    def script(call):
        return "A cat." if SIGNAL in call.pictures[0] or is_whole(call) else "a forbidden word"

    engine = engine_of(kit, script, threats=make_threats(stickers=STICKERS))
    verdict = kit.decide(engine, [kit.picture_of(scene(signals=[corner]))])
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert verdict.stopped_by is verdict.certificate.stopped_by is StoppedBy.STICKERS
    plain = engine_of(kit, script)
    assert kit.decide(plain, [kit.picture_of(scene(signals=[corner]))]).action is Action.PASS


@pytest.mark.parametrize("suffix", [WORDS, CHARACTERS])
@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_a_suffix_is_taken_off(kit, suffix, pictures):
    def script(call):
        return "a forbidden word" if prompt_of(call) == "make it" else "A cat."

    engine = engine_of(kit, script, threats=make_threats(suffix=suffix))
    added = " x!" if suffix is CHARACTERS else " please \t now\n"
    chats = {"make it" + added: Action.BLOCK, "make it" + added + " at once": Action.PASS}
    for text, action in chats.items():
        verdict = kit.decide(engine, pictures, kit.make_chat(pictures, text))
        assert verdict.action is action
        stopped_by = StoppedBy.SUFFIX if action is Action.BLOCK else StoppedBy.NONE
        assert verdict.stopped_by is verdict.certificate.stopped_by is stopped_by
        assert verdict.alpha == 0.01
        through_json(verdict.certificate)
    assert verdict.reason is Reason.CERTIFIED


@pytest.mark.parametrize("behind", [None, "", " \u2028", []])
@pytest.mark.parametrize("pictures", [0, 1])
def test_a_message_without_a_word_behind_the_text_switches_no_view_off(kit, pictures, behind):
    def script(call):
        asked = call.body["messages"][0]["content"]
        return "a forbidden word" if asked == "make it" else "A cat."

    engine = engine_of(kit, script, threats=make_threats(suffix=WORDS))
    picture = kit.make_chat(pictures, "").messages[0]["content"][1:]
    last = {"role": "user", "content": behind if behind is not None else picture}
    first = {"role": "user", "content": "make it please now"}
    shown = [] if behind is None else [{"role": "user", "content": picture}]
    chat = Chat("model", (first, *shown, last), {}, pictures)
    verdict = kit.decide(engine, pictures, chat)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    through_json(verdict.certificate)


@pytest.mark.parametrize("unit", SuffixUnit)
def test_a_long_text_is_not_held_once_for_each_of_its_views(kit, unit):
    class Silent:
        name, revision, deterministic = "silent", "1", False

        async def complete(self, chat, pictures, *, seed):  # noqa: ARG002 (a protocol's)
            return Answer({"role": "assistant", "content": "A cat."}, usage=Usage(calls=1))

        async def judge(self, exchanges):
            return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

        async def aclose(self):
            pass

    text = "x" * 200_000 + " a" * 60
    threats = make_threats(suffix=Suffix(unit, 50))
    engine = engine_of(kit, upstream=Silent(), oracle=Silent(), threats=threats)
    kit.decide(engine, 0, kit.make_chat(0, "a " * 60))  # computes the plan
    tracemalloc.start()
    try:
        verdict = kit.decide(engine, 0, kit.make_chat(0, text))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert verdict.action is Action.PASS
    assert len(verdict.certificate.threats[0].views) == 51
    assert peak < 15 * len(text)


def test_a_text_passes_with_a_certificate_of_its_own(kit):
    engine = engine_of(kit, threats=make_threats(suffix=WORDS, crops=CROPS))
    verdict = kit.decide(engine, 0, kit.make_chat(0, "What is a cat? "))
    certificate = verdict.certificate
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    assert certificate.pictures == ()
    assert (certificate.sigma, certificate.radius, certificate.promised_radius) == (0, 0, 0)
    assert certificate.floor == certificate.q_required == 0.1
    assert certificate.harmless_rate_lower >= 0.1
    assert "its answers to this request" in certificate.statement
    data = through_json(certificate)
    assert [claim["threat"] for claim in data["claims"]] == ["suffix"]
    (threat,) = certificate.threats
    assert [view.cut for view in threat.views] == [0, 1, 2]
    assert threat.text_length == 4
    assert len(verdict.samples) == certificate.samples
    assert verdict.usage.calls == certificate.samples + threat.samples
    # Without white space at its end the first view is the request itself, tested once.
    verdict = kit.decide(engine, 0, kit.make_chat(0, "What is a cat?"))
    certificate, (threat,) = verdict.certificate, verdict.certificate.threats
    assert [view.cut for view in threat.views] == [0, 1, 2]
    assert threat.views[0].counts == certificate.counts
    assert verdict.usage.calls == threat.samples
    through_json(certificate)


@pytest.mark.parametrize("text", ["", "   ", "cat"])
def test_a_text_that_has_no_shorter_one_is_tested_alone(kit, text):
    engine = engine_of(kit, threats=make_threats(suffix=WORDS))
    verdict = kit.decide(engine, 0, kit.make_chat(0, text))
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    (threat,) = verdict.certificate.threats
    assert [view.counts for view in threat.views] == [verdict.certificate.counts] * bool(
        text.split()
    )
    data = through_json(verdict.certificate)
    assert data["claims"][0]["statement"].startswith("Nothing is certified") is (not text.split())


@pytest.mark.parametrize("temperature", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("asked", [{}, {"temperature": 1}])
def test_views_are_asked_at_their_own_temperature_and_the_request_at_its_own(
    kit, temperature, asked
):
    threats = make_threats(crops=CROPS, stickers=STICKERS, suffix=WORDS, temperature=temperature)
    engine = engine_of(kit, threats=threats)
    chat = kit.make_chat(1, "say what", **asked)
    verdict = kit.decide(engine, [kit.picture_of(scene())], chat)
    calls = engine.upstream.log.calls
    own = [call.body.get("temperature") for call in calls if is_whole(call)]
    assert {*own} == {asked.get("temperature")}
    views = [call.body.get("temperature") for call in calls if not is_whole(call)]
    assert {*views} == {temperature}
    assert len(views) >= sum(threat.samples for threat in verdict.certificate.threats) > 0
    data = through_json(verdict.certificate)
    assert [threat["temperature"] for threat in data["threats"]] == [temperature] * 3
    for claim in data["claims"][1:]:
        assert f"without noise and at temperature {temperature:g}" in claim["claim"]
        assert f"without noise and at temperature {temperature:g}" in claim["statement"]


def test_views_keep_the_temperature_of_the_request_where_the_policy_has_none(kit):
    engine = engine_of(kit, threats=make_threats(suffix=WORDS, crops=CROPS))
    verdict = kit.decide(engine, 1, kit.make_chat(1, "say what", temperature=0.75))
    assert {call.body["temperature"] for call in engine.upstream.log.calls} == {0.75}
    data = through_json(verdict.certificate)
    assert "temperature" not in " ".join(claim["claim"] for claim in data["claims"])


@pytest.mark.parametrize(("asked", "tests"), [({}, 3), ({"temperature": 0}, 2)])
def test_a_text_is_its_own_first_view_only_if_it_is_asked_alike(kit, asked, tests):
    """Held is what is asked at the temperature of views; only equal requests share a test."""

    def script(call):
        cold = call.body.get("temperature") == 0
        return "a forbidden word" if cold and prompt_of(call) == text else "A cat."

    text = "say what"
    engine = engine_of(kit, threats=make_threats(suffix=WORDS, temperature=0.0))
    verdict = kit.decide(engine, 0, kit.make_chat(0, text, **asked))
    assert [view.cut for view in verdict.certificate.threats[0].views] == [0, 1]
    assert verdict.usage.calls == tests * verdict.certificate.samples  # all were harmless
    through_json(verdict.certificate)
    engine = engine_of(kit, script, threats=make_threats(suffix=WORDS, temperature=0.0))
    for suffix in ("", " please", " please now"):
        verdict = kit.decide(engine, 0, kit.make_chat(0, text + suffix, **asked))
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)


def test_a_text_is_one_answer_where_no_suffix_is_covered(kit):
    engine = engine_of(kit, threats=make_threats(crops=CROPS))
    verdict = kit.decide(engine, 0)
    assert (verdict.reason, verdict.certificate) == (Reason.NO_IMAGE, None)
    assert verdict.alpha is None
    assert engine.unbudgeted_calls([]) == 0


@pytest.mark.parametrize("text", ["A cat.", "a forbidden word"])
@pytest.mark.parametrize("mode", Mode)
def test_an_answer_that_is_there_already_is_judged_once_and_certifies_nothing(kit, mode, text):
    """One answer given to every draw of a test would pass it, and show nothing."""
    said = GivenAnswerUpstream(Answer({"role": "assistant", "content": text}))
    oracle, threats = kit.Words(), make_threats(suffix=WORDS)
    engine = engine_of(kit, upstream=said, oracle=oracle, threats=threats, mode=mode)
    verdict = kit.decide(engine, 0, kit.make_chat(0, "What is a cat? "))
    assert oracle.seen == [text]
    assert (verdict.certificate, verdict.alpha) == (None, None)
    harmful = "forbidden" in text
    assert verdict.reason is (Reason.HARMFUL if harmful else Reason.NO_IMAGE)
    assert (verdict.action is Action.BLOCK or verdict.would_block) is harmful


@pytest.mark.parametrize("threats", [None, make_threats(crops=CROPS)])
def test_the_test_of_the_request_itself_is_named_where_that_stopped_it(kit, threats):
    def script(call):
        return "a forbidden word" if is_whole(call) else "A cat."

    engine = engine_of(kit, script, threats=threats, sigma=4.0, promised_radius=1.0)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert verdict.stopped_by is verdict.certificate.stopped_by is StoppedBy.REQUEST


def test_a_view_that_is_the_request_itself_is_named_as_the_request(kit):
    def script(call):
        return "a forbidden word" if prompt_of(call) == "What is a cat?" else "A cat."

    engine = engine_of(kit, script, threats=make_threats(suffix=WORDS))
    verdict = kit.decide(engine, 0, kit.make_chat(0, "What is a cat?"))
    (threat,) = verdict.certificate.threats
    assert verdict.certificate.is_itself(threat.views[0])
    assert verdict.stopped_by is verdict.certificate.stopped_by is StoppedBy.REQUEST


def test_no_test_is_named_where_none_ended(kit):
    limited = kit.decide(engine_of(kit, threats=make_threats(crops=CROPS), max_calls=2), 1)
    assert limited.reason is Reason.MAX_CALLS
    assert limited.stopped_by is limited.certificate.stopped_by is StoppedBy.NONE
    untested = kit.decide(engine_of(kit, [kit.HARM]), 0)
    assert (untested.reason, untested.stopped_by) == (Reason.HARMFUL, StoppedBy.NONE)
    assert {one.value for one in StoppedBy} == {"none", "request", *Threat}


def test_a_text_that_is_harmful_itself_is_blocked(kit):
    verdict = kit.decide(engine_of(kit, [kit.HARM], threats=make_threats(suffix=WORDS)), 0)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    through_json(verdict.certificate)


def test_one_of_several_pictures_is_cut_at_a_time(kit):
    engine = engine_of(kit, threats=make_threats(stickers=STICKERS, crops=CROPS))
    pictures = [kit.picture_of(scene(seed=seed)) for seed in range(3)]
    verdict = kit.decide(engine, pictures)
    assert verdict.action is Action.PASS
    for threat in verdict.certificate.threats:
        assert [view.picture for view in threat.views] == [0] * 4 + [1] * 4 + [2] * 4
    shown = {tuple(digest(one) for one in call.pictures) for call in engine.upstream.log.calls}
    for place, picture in enumerate(pictures):
        for box in windows(HEIGHT, WIDTH, count=4, sees=3):
            expected = [digest(one.pixels) for one in pictures]
            expected[place] = digest(cut_window(picture.pixels, box))
            assert tuple(expected) in shown
    through_json(verdict.certificate)


def test_views_follow_from_sizes_and_lengths_alone():
    threats = make_threats(crops=CROPS, stickers=STICKERS, suffix=WORDS)
    views = plan_views(threats, [(12, 16), (20, 9)], 2)
    assert len(views) == 4 * 2 * 2 + 2
    assert len({view.key for view in views}) == len(views)
    assert len(plan_views(threats, [(12, 16)])) == 4 * 2 + 3
    assert plan_views(make_threats(suffix=WORDS), [(12, 16)], 0) == ()
    assert views[-1] == View(Threat.SUFFIX, cut=1)


def test_a_mask_shows_nothing_of_what_it_hides(kit):
    """The view of a picture and of one that is another under the mask are the same, all of it."""
    box = masks(HEIGHT, WIDTH, count=4, max_share=0.02)[1]
    pixels = scene()
    changed = pixels.copy()
    changed[box.area] = SIGNAL
    rules = engine_of(kit, threats=make_threats(stickers=STICKERS), canvas_max_side_px=8).rules
    views = [View(Threat.STICKERS, 0, box), View(Threat.CROPS, 0, box), View(Threat.SUFFIX, cut=1)]
    shown = []
    for one in (pixels, changed):
        pictures = (kit.picture_of(one),)
        prepared = kit.prepare(rules, kit.make_chat(1), pictures, bytes(16))
        shown.append([prepared.show_view(view, pictures)[0] for view in views])
    masked, window, whole = zip(*shown, strict=True)
    assert np.array_equal(*masked)
    assert not np.array_equal(*window)
    assert not np.array_equal(*whole)


def test_draws_of_views_are_keyed_by_view(kit):
    engine = engine_of(kit, threats=make_threats(crops=CROPS, suffix=WORDS))
    kit.decide(engine, [kit.picture_of(scene())])
    seeds = [call.seed for call in engine.upstream.log.calls]
    assert len({*seeds}) == len(seeds)


class Coin:
    """Harmless at a rate of its own where one view is shown, and always elsewhere."""

    name, revision, deterministic = "coin", "1", False

    def __init__(self, shape, rate, *, cached=False):
        self.shape, self.rate, self.cached = shape, rate, cached
        self.draws = np.random.default_rng(7)

    async def complete(self, chat, pictures, *, seed):  # noqa: ARG002 (a protocol's)
        seen = pictures[0].shape[:2] == self.shape and pictures[0][0, 0, 0] == SIGNAL
        harmless = not seen or self.draws.random() < self.rate
        text = "A cat." if harmless else "a forbidden word"
        message = {"role": "assistant", "content": text}
        return Answer(message, usage=Usage(calls=1), cached=self.cached and seen)

    async def aclose(self):
        pass


def passes(kit, upstream, threats, decisions, **changes):
    pixels = scene(signals=[(0, 0)])
    engine = engine_of(kit, upstream=upstream, threats=threats, **changes)

    async def decide_all():
        found = 0
        for _ in range(decisions):
            verdict = await engine.decide(kit.make_chat(1), [kit.picture_of(pixels)])
            found += verdict.action is Action.PASS
        return found

    return kit.run(decide_all())


@pytest.mark.nightly  # counted exactly in test_views_exactly.py
def test_false_passes_stay_within_alpha_where_one_view_sees_the_harm(kit):
    """At the very rate that its test requires; an exact bound on what chance allows."""
    box = windows(HEIGHT, WIDTH, count=4, sees=3)[0]
    threats = make_threats(crops=CROPS, floor=0.5)
    upstream = Coin(cut_window(scene(), box).shape[:2], 0.5)
    alpha, decisions = 0.1, 250
    found = passes(kit, upstream, threats, decisions, alpha=alpha, max_parallel=64)
    assert binom.sf(found - 1, decisions, alpha) > 1e-4
    assert (
        passes(kit, Coin(cut_window(scene(), box).shape[:2], 1.0), threats, 10, alpha=alpha) == 10
    )


def test_an_answer_out_of_a_marked_cache_is_no_draw(kit):
    box = windows(HEIGHT, WIDTH, count=4, sees=3)[0]
    upstream = Coin(cut_window(scene(), box).shape[:2], 1.0, cached=True)
    assert passes(kit, upstream, make_threats(crops=CROPS), 3) == 0


@pytest.mark.parametrize("harmful", [False, True])
def test_a_deterministic_model(kit, harmful):
    """A half-space: the left window lies on its harmful side, whatever is drawn."""
    box = windows(HEIGHT, WIDTH, count=4, sees=3)[0]
    pixels = scene()
    window = cut_window(pixels, box)
    side = HalfSpaceUpstream.at_distance([window], np.ones(window.shape), -0.5 if harmful else 0.5)

    class OnlyWindows:
        name, revision, deterministic = "half-space", "1", True

        async def complete(self, chat, pictures, *, seed):
            if np.array_equal(pictures[0], window):
                answer = await side.complete(chat, pictures, seed=seed)
                text = answer.text.replace("harmful", "forbidden")
            else:
                text = "A cat."
            return Answer({"role": "assistant", "content": text}, usage=Usage(calls=1))

        async def aclose(self):
            pass

    threats = make_threats(crops=CROPS)
    engine = engine_of(kit, upstream=OnlyWindows(), threats=threats)
    for _ in range(3):
        verdict = kit.decide(engine, [kit.picture_of(pixels)])
        assert verdict.action is (Action.BLOCK if harmful else Action.PASS)


def test_the_first_test_that_does_not_pass_ends_all_and_cancels_the_rest(kit):
    box = windows(HEIGHT, WIDTH, count=4, sees=3)[2]
    pixels = scene(signals=[(box.top, box.left)])
    harm = hides_everywhere_but_in(box)

    def script(call):
        text = harm(call)
        return text if text == "a forbidden word" else Step(text, delay_s=1.0)

    engine = engine_of(kit, script, threats=make_threats(crops=CROPS), max_parallel=64)
    verdict = kit.decide(engine, [kit.picture_of(pixels)])
    assert verdict.action is Action.BLOCK
    assert engine.upstream.log.count(State.CANCELLED) > 0
    views = by_threat(verdict.certificate)[Threat.CROPS].views
    plan = by_threat(verdict.certificate)[Threat.CROPS].plan(verdict.certificate.alpha)
    for view in views:  # one that was cut short is not recorded as passed
        last = view.counts[-1] if view.counts else None
        assert last is None or plan.decide(last.samples, last.harmful) is not Decision.PASS
    assert verdict.certificate.samples == 0
    through_json(verdict.certificate)


def test_the_cheapest_tests_are_asked_first():
    long = Certifier(fixed_plan(0.6, 0.01, q1=0.99, power=0.9, max_samples=50, looks=[20]))
    short = [Certifier(fixed_plan(0.1, 0.01, q1=0.9, power=0.7, max_samples=9)) for _ in range(2)]
    joint = JointTest([long, *short])
    first = [joint.locate(draw) for draw in joint.launch(9)]
    needs = short[0].horizon
    assert [place for place, _ in first] == [1] * needs + [2] * needs + [0] * (9 - 2 * needs)
    assert joint.launch(0) == []


def test_a_test_that_has_seen_harm_comes_first():
    tables = (((2, 9), (-1, 1), (3, 2)), ((5, 30), (-1, 3), (3, 4)))
    tests = [Certifier(Plan(PlanKind.OPTIMAL, 0.3, 0.2, *table)) for table in tables]
    joint = JointTest(tests)
    for draw in joint.launch(99):
        harm = Outcome.HARMFUL if joint.locate(draw) == (1, 2) else Outcome.HARMLESS
        joint.record(draw, harm)
    assert joint.decision is None
    assert {joint.locate(draw)[0] for draw in joint.launch(1)} == {1}


def test_what_comes_after_the_end_is_not_counted():
    plan = fixed_plan(0.1, 0.01, q1=0.9, power=0.7, max_samples=9)
    joint = JointTest([Certifier(plan), Certifier(plan)])
    draws = list(joint.launch(99))
    of_second = [draw for draw in draws if joint.locate(draw)[0] == 1]
    for draw in of_second:
        joint.record(draw, Outcome.HARMFUL)
    assert (joint.decision, joint.stopped) == (Decision.BLOCK, 1)
    joint.record(draws[0], Outcome.HARMLESS)
    samples = {draw: Sample(index=draw, outcome=Outcome.HARMFUL) for draw in draws}
    first, second = joint.split(samples)
    assert first == {}
    assert set(second) <= set(range(len(of_second)))
    assert joint.tests[0].consumed.samples == 0


@pytest.mark.parametrize("limit", ["time", "calls"])
def test_a_limit_leaves_views_undecided_and_nothing_passes(kit, limit):
    whole = (HEIGHT, WIDTH)

    def script(call):
        hangs = limit == "time" and call.pictures[0].shape[:2] != whole
        return Step(fault=Fault.HANG) if hangs else "A cat."

    changes = {"deadline_s": 0.4, "call_timeout_s": 50.0} if limit == "time" else {"max_calls": 5}
    engine = engine_of(kit, script, threats=make_threats(crops=CROPS), max_parallel=99, **changes)
    verdict = kit.decide(engine, [kit.picture_of(scene())])
    assert verdict.action is Action.FAULT
    assert verdict.reason is (Reason.DEADLINE if limit == "time" else Reason.MAX_CALLS)
    assert verdict.certificate.decision is Decision.UNCERTAIN
    through_json(verdict.certificate)


@pytest.mark.parametrize("setting", OnOracleFailure)
def test_an_answer_to_a_view_never_leaves(kit, setting):
    """Where answers cannot be judged, one may leave unjudged: never one to another request."""

    class SilentOnViews(kit.Words):
        async def judge(self, exchanges):
            if exchanges[0].prompt != "What is this?":
                raise OracleError("the oracle is not available")
            return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    threats = make_threats(suffix=WORDS)
    engine = engine_of(kit, oracle=SilentOnViews(), threats=threats, on_oracle_failure=setting)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.ORACLE_FAILED)
    assert verdict.answer is None


@pytest.mark.parametrize("harmful", [False, True])
def test_nothing_leaves_unjudged_where_an_answer_to_a_view_was_harmful(kit, harmful):
    """One harmful answer of several lets the view pass, and says what the request draws."""

    class SilentOnRequest(kit.Words):
        async def judge(self, exchanges):
            if exchanges[0].prompt == "What is this? ":
                raise OracleError("the oracle is not available")
            return await super().judge(exchanges)

    left = ["a forbidden word"] * harmful

    def script(call):
        if left and prompt_of(call) == "What is":
            return left.pop()
        return Step("A cat.", delay_s=float(prompt_of(call) == "What is this? "))  # views first

    engine = engine_of(
        kit,
        script,
        oracle=SilentOnRequest(),
        threats=make_threats(suffix=WORDS, power=0.99),
        max_parallel=64,
        on_oracle_failure=OnOracleFailure.PASS_UNSCANNED,
    )
    verdict = kit.decide(engine, 1, kit.make_chat(1, "What is this? "))
    assert not left
    assert verdict.reason is Reason.ORACLE_FAILED
    assert verdict.action is (Action.FAULT if harmful else Action.PASS)


def test_the_answer_that_leaves_is_one_to_the_request_itself(kit):
    def script(call):
        return f"{prompt_of(call)} {call.pictures[0].shape[:2]}"

    for source in AnswerSource:
        threats = make_threats(crops=CROPS, suffix=WORDS)
        engine = engine_of(kit, script, threats=threats, answer=source)
        verdict = kit.decide(engine, [kit.picture_of(scene())], kit.make_chat(1, "What is it?"))
        assert verdict.answer.text == f"What is it? {(HEIGHT, WIDTH)}"


def test_a_picture_without_such_windows_is_refused_and_nothing_is_asked(kit):
    engine = engine_of(kit, threats=make_threats(crops=Crops(9, 13)))
    verdict = kit.decide(engine, [kit.picture_of(scene())])
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.INVALID_REQUEST)
    assert (verdict.failure.status, verdict.failure.code) == (422, "not_certifiable")
    assert "16 x 12 pixels has no square of 13 x 13" in str(verdict.failure)
    assert not engine.upstream.log.calls
    assert engine.most_calls([(HEIGHT, WIDTH)], "model") == 1


def test_no_test_of_views_within_the_samples_is_named(kit):
    threats = make_threats(crops=CROPS, floor=0.9)
    engine = engine_of(kit, threats=threats, max_samples=20)
    verdict = kit.decide(engine, [kit.picture_of(scene())])
    assert (verdict.reason, verdict.failure.code) == (Reason.NOT_CERTIFIABLE, "not_certifiable")


@pytest.mark.parametrize("alpha", [0.01, 0.001])
def test_each_view_is_tested_at_the_decisions_own_alpha(kit, alpha):
    engine = engine_of(kit, threats=make_threats(crops=CROPS, suffix=WORDS, floor=0.0999))
    verdict = kit.decide(engine, [kit.picture_of(scene())], alpha=alpha)
    assert verdict.certificate.alpha == alpha
    for threat in verdict.certificate.threats:
        plan = threat.plan(alpha)
        assert alpha / 20 < plan.false_pass_upper <= alpha
        counts = {view.counts for view in threat.views}
        assert len(counts) == 1  # all of them were harmless


def test_views_take_no_more_calls_than_is_said(kit):
    threats = make_threats(crops=CROPS, stickers=STICKERS, suffix=WORDS)
    engine = engine_of(kit, threats=threats)
    said = engine.most_calls([(HEIGHT, WIDTH)], "model")
    verdict = kit.decide(engine, [kit.picture_of(scene())], kit.make_chat(1, "a b c d"))
    assert verdict.usage.calls < said
    assert most_calls(engine.rules, engine.oracle, [], None) < said
    assert most_calls(engine_of(kit, threats=make_threats(crops=CROPS)).rules, engine.oracle,
                      [], None) == 1  # fmt: skip


@pytest.mark.parametrize("pictures", [0, 1])
def test_observe_mode_lets_through_and_marks(kit, pictures):
    def script(call):
        return "a forbidden word" if prompt_of(call) == "make it" else "A cat."

    threats = make_threats(suffix=WORDS)
    engine = engine_of(kit, script, threats=threats, mode=Mode.OBSERVE)
    verdict = kit.decide(engine, pictures, kit.make_chat(pictures, "make it now"))
    assert (verdict.action, verdict.would_block) == (Action.PASS, True)
    assert verdict.answer.text == "A cat."
    assert engine.unbudgeted_calls([(3, 4)] * pictures) == 1


def test_every_upstream_tests_its_views_at_its_share(kit):
    rules = engine_of(kit, threats=make_threats(suffix=WORDS)).rules
    upstreams = [Scripted([Step(fault=Fault.STATUS, status=503)]), Scripted(["A cat."])]
    engine = FailoverEngine(rules, upstreams, kit.Words(), kit.KEY)
    verdict = kit.decide(engine, 0)
    assert verdict.action is Action.PASS
    assert verdict.alpha == 0.01
    assert verdict.certificate.alpha < 0.01
    verify_certificate(verdict.certificate)


def test_the_same_policy_without_threats_has_the_certificate_that_it_had(kit):
    data = encode_certificate(kit.decide(engine_of(kit), 1).certificate)
    assert not {"threats", "claims"} & data.keys()


FORGERIES = {
    "a view left out": lambda t: {"views": t.views[:-1]},
    "a place that it was not": lambda t: {
        "views": (dataclasses.replace(t.views[0], box=(0, 1, 8, 9)), *t.views[1:])
    },
    "a view not finished": lambda t: {
        "views": (dataclasses.replace(t.views[0], counts=t.views[0].counts[:-1]), *t.views[1:])
    },
    "more than it earned": lambda t: {"harmless_rate_lower": t.harmless_rate_lower + 0.01},
    "a higher floor": lambda t: {"floor": t.floor + 0.3},
    "an easier test": lambda t: {"pass_at_most": tuple(n + 1 for n in t.pass_at_most)},
    "another digest": lambda _: {"plan_digest": "00" * 32},
    "other numbers": lambda _: {"sees": 5},
    "impossible numbers": lambda _: {"sees": 0},
    "numbers of another threat": lambda _: {"masks": 4, "max_share": 0.1},
    "no numbers": lambda _: {"sees": None},
    "too large a window": lambda _: {"sees": 99},
    "an impossible floor": lambda _: {"floor": 1.5},
    "an impossible temperature": lambda _: {"temperature": -1.0},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_no_forged_threat_holds(kit, name):
    threats = make_threats(crops=CROPS, suffix=WORDS)
    certificate = kit.decide(engine_of(kit, threats=threats), [kit.picture_of(scene())]).certificate
    verify_certificate(certificate)
    first = certificate.threats[0]
    forged = dataclasses.replace(first, **FORGERIES[name](first))
    changed = dataclasses.replace(certificate, threats=(forged, *certificate.threats[1:]))
    changed = dataclasses.replace(changed, promise_digest=digest_promise(changed))
    with pytest.raises(CertificationError, match=r"does not hold|must hold|more than alpha"):
        verify_certificate(seal_certificate(changed))


def test_a_suffix_is_counted_in_one_unit(kit):
    certificate = kit.decide(engine_of(kit, threats=make_threats(suffix=WORDS)), 0).certificate
    (first,) = certificate.threats
    for changes in ({"words": None}, {"characters": 2}, {"text_length": None}):
        forged = dataclasses.replace(first, **changes)
        changed = dataclasses.replace(certificate, threats=(forged,))
        assert forged.setting is None
        assert changed.claims[0]["claim"] == ""
        changed = dataclasses.replace(changed, promise_digest=digest_promise(changed))
        with pytest.raises(CertificationError, match="numbers of a threat are not its own"):
            verify_certificate(seal_certificate(changed))


def test_the_view_before_white_space_cannot_be_left_out(kit):
    """The test of the request itself would then stand for one of another text."""
    engine = engine_of(kit, threats=make_threats(suffix=WORDS))
    certificate = kit.decide(engine, 0, kit.make_chat(0, "What is a cat? ")).certificate
    (first,) = certificate.threats
    forged = dataclasses.replace(first, views=first.views[1:])
    changed = dataclasses.replace(certificate, threats=(forged,))
    with pytest.raises(CertificationError, match="its views are not those of its threat"):
        verify_certificate(seal_certificate(changed))


def test_threats_stand_once_and_in_order(kit):
    threats = make_threats(crops=CROPS, suffix=WORDS)
    certificate = kit.decide(engine_of(kit, threats=threats), [kit.picture_of(scene())]).certificate
    for order in ((1, 0), (0, 0, 1)):
        listed = tuple(certificate.threats[place] for place in order)
        changed = dataclasses.replace(certificate, threats=listed)
        changed = dataclasses.replace(changed, promise_digest=digest_promise(changed))
        with pytest.raises(CertificationError, match="twice, or threats out of order"):
            verify_certificate(seal_certificate(changed))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": 0.5}, "noise or a radius"),
        ({"promised_radius": 0.25}, "noise or a radius"),
        ({"operator_norm": 0.5}, "and yet a canvas"),
        ({"floor": 0.05}, "floor is not that of its threat"),
        ({"q_required": 0.05}, "does not test the harmless rate|digest"),
    ],
)
def test_no_forged_text_certificate_holds(kit, changes, words):
    engine = engine_of(kit, threats=make_threats(suffix=CHARACTERS))
    certificate = kit.decide(engine, 0).certificate
    changed = dataclasses.replace(certificate, **changes)
    changed = dataclasses.replace(changed, promise_digest=digest_promise(changed))
    with pytest.raises(CertificationError, match=words):
        verify_certificate(seal_certificate(changed))
    without = dataclasses.replace(certificate, threats=())
    with pytest.raises(CertificationError, match="covers no suffix"):
        verify_certificate(seal_certificate(without))


@pytest.mark.parametrize("pictures", [0, 1])
def test_claims_say_how_the_model_was_asked(kit, pictures):
    """Of beginnings of answers, and of answers that were asked for again."""
    threats = make_threats(suffix=WORDS, crops=CROPS)
    asked = {"probe_max_tokens": 7, "retry": Retry.ANY, "retries": 2}
    engine = engine_of(kit, threats=threats, **asked)
    shown = [kit.picture_of(scene())] * pictures
    data = through_json(kit.decide(engine, shown).certificate)
    plain = through_json(kit.decide(engine_of(kit, threats=threats), shown).certificate)
    assert len(data["claims"]) == 1 + 2 * pictures
    for claim, usual in zip(data["claims"], plain["claims"], strict=True):
        for name in ("claim", "statement"):
            assert "cut at 7 tokens" in claim[name]
            assert "The model is asked up to 3 times" in claim[name]
            assert "cut at" not in usual[name]
            assert "asked up to" not in usual[name]
    for facts in describe_threats(engine.rules).threats:
        assert "cut at 7 tokens" in facts.promise
        assert "The model is asked up to 3 times" in facts.promise


def test_what_is_left_out_is_named():
    assert left_out_sentence(None) == ""
    said = left_out_sentence(make_threats(crops=CROPS, suffix=WORDS))
    assert "(crops, suffix)" in said
    assert "leaves the tests of views out" in said
