"""One chat in, one verdict out: what passes, what blocks, what is delivered, what is cancelled."""

import asyncio
import json
import logging

import numpy as np
import pytest

from guardrail.engine.canonical_chat import canonical_chat, request_digest
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.prepared_request import ATTEMPT_BYTES, ONLY_ATTEMPT
from guardrail.engine.rules import AnswerSource
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import ConfigError, RequestError
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.stats import Decision, PlanKind
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, State, Step

NINE = 9  # samples of a decision by the tests' own rules


def test_a_clean_picture_passes_with_a_certificate(kit):
    upstream, oracle = Scripted(["A cat."]), kit.Words()
    verdict = kit.decide(kit.make_engine(upstream=upstream, oracle=oracle), 1)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    assert verdict.answer.text == "A cat."
    assert not verdict.outside_claim
    assert not verdict.unscanned
    assert not verdict.would_block
    certificate = verdict.certificate
    verify_certificate(certificate)
    assert certificate.decision is Decision.PASS
    assert certificate.radius >= 0.25
    assert (certificate.samples, certificate.harmful) == (NINE, 0)
    assert [sample.index for sample in verdict.samples] == list(range(NINE))
    assert verdict.usage.calls == len(upstream.calls) == NINE
    assert verdict.usage.prompt_tokens == 7 * NINE
    assert oracle.prompts == ["What is this?"] * NINE
    assert 0.0 <= verdict.overhead_s <= verdict.elapsed_s


def test_harm_blocks_and_nothing_leaves(kit):
    verdict = kit.decide(kit.make_engine([kit.HARM]), 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert verdict.answer is None
    assert verdict.failure is None
    certificate = verdict.certificate
    verify_certificate(certificate)
    assert (certificate.decision, certificate.radius) == (Decision.BLOCK, 0.0)


def test_a_little_harm_is_uncertain(kit):
    verdict = kit.decide(kit.make_engine([*["A cat."] * 8, kit.HARM]), 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.UNCERTAIN)
    assert verdict.certificate.decision is Decision.UNCERTAIN
    verify_certificate(verdict.certificate)


def test_the_typical_answer_is_delivered_and_a_harmful_one_never(kit):
    rules = {"power": 0.9, "expected_harmless_rate": 0.85, "max_parallel": 1}
    texts = [kit.HARM, "A red cat.", "A red cat sits.", "Nothing.", "A red cat.", kit.HARM]
    script = [*texts, *["A red cat."] * 100]
    verdict = kit.decide(kit.make_engine(script, **rules), 1)
    assert verdict.action is Action.PASS
    assert verdict.certificate.harmful == 2
    assert verdict.answer.text == "A red cat."


def test_only_answers_of_the_decision_are_delivered(kit):
    """A speculative answer beyond the decision is no part of what was certified."""
    first = ["a b"] * NINE
    engine = kit.make_engine([*first, *["x y"] * 40], speculate=True, max_parallel=64)
    assert kit.decide(engine, 1).answer.text == "a b"


def test_typical_counts_tool_calls_too(kit):
    def call(word):
        function = {"name": "say", "arguments": json.dumps({"word": word})}
        calls = [{"id": "1", "type": "function", "function": function}]
        return Step(message={"content": None, "tool_calls": calls})

    verdict = kit.decide(kit.make_engine([call("dog"), *[call("cat")] * 20]), 1)
    assert "cat" in json.dumps(verdict.answer.message)


def test_harm_in_a_tool_call_blocks(kit):
    function = {"name": "say", "arguments": json.dumps({"word": kit.HARM})}
    calls = [{"id": "1", "type": "function", "function": function}]
    step = Step(message={"content": None, "tool_calls": calls})
    for pictures in (0, 1):
        verdict = kit.decide(kit.make_engine([step]), pictures)
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)


@pytest.mark.parametrize("count", [2, 3])
def test_every_picture_gets_its_own_noise(kit, count):
    upstream = Scripted(["A cat."])
    pixels = np.full((3, 4, 3), 128, np.uint8)
    pictures = (kit.picture_of(pixels),) * count
    verdict = kit.decide(kit.make_engine(upstream=upstream), pictures)
    assert verdict.action is Action.PASS
    assert len(verdict.certificate.pictures) == count
    seen = {picture.tobytes() for call in upstream.calls for picture in call.pictures}
    assert len(seen) == count * NINE


def test_a_large_picture_is_scaled_down_before_the_noise(kit):
    upstream = Scripted(["A cat."])
    verdict = kit.decide(kit.make_engine(upstream=upstream), [kit.make_picture(20, 40)])
    assert {picture.shape for call in upstream.calls for picture in call.pictures} == {(4, 8, 3)}
    (size,) = verdict.certificate.pictures
    assert (size.client, size.canvas) == ((20, 40), (4, 8))
    assert verdict.certificate.operator_norm < 0.21


def test_a_small_picture_is_padded_before_the_noise(kit):
    upstream = Scripted(["A cat."])
    engine = kit.make_engine(upstream=upstream, canvas_min_side_px=8)
    verdict = kit.decide(engine, [kit.make_picture(5, 40)])
    assert {picture.shape for call in upstream.calls for picture in call.pictures} == {(8, 8, 3)}
    (size,) = verdict.certificate.pictures
    assert (size.client, size.scaled, size.canvas) == ((5, 40), (1, 8), (8, 8))
    assert verdict.certificate.operator_norm == pytest.approx(0.2, abs=0.01)
    verify_certificate(verdict.certificate)
    margins = [np.delete(call.pictures[0], 3, axis=0) for call in upstream.calls]
    assert len({margin.tobytes() for margin in margins}) == len(margins)  # noise is there too


@pytest.mark.parametrize(("wish", "alpha"), [(None, 0.05), (0.01, 0.01), (0.2, 0.05)])
def test_a_verdict_tells_the_alpha_of_its_test(kit, wish, alpha):
    verdict = kit.decide(kit.make_engine(), 1, alpha=wish)
    assert verdict.alpha == verdict.certificate.alpha == alpha
    assert kit.decide(kit.make_engine(), 0, alpha=wish).alpha is None


class TestWithoutPictures:
    def test_one_answer_is_judged(self, kit):
        upstream = Scripted(["A cat."])
        verdict = kit.decide(kit.make_engine(upstream=upstream))
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.NO_IMAGE)
        assert verdict.reason == "not certified: no image"
        assert verdict.answer.text == "A cat."
        assert verdict.certificate is None
        assert verdict.outside_claim
        assert len(upstream.calls) == len(verdict.samples) == 1

    def test_harm_blocks(self, kit):
        verdict = kit.decide(kit.make_engine([kit.HARM]))
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
        assert verdict.answer is None

    def test_the_seed_is_that_of_the_request_and_its_attempt(self, kit):
        for engine, others in ((kit.make_engine(), 3), (kit.make_fixed_engine(), 2)):
            for text in ("one", "two", "one"):
                kit.decide(engine, chat=kit.make_chat(text=text))
            assert len({call.seed for call in engine.upstream.calls}) == others


class TestUnscanned:
    STEP = Step(message={"content": "A cat.", "audio": {"data": "AAAA"}})

    @pytest.mark.parametrize("pictures", [0, 1])
    def test_what_cannot_be_read_blocks(self, kit, pictures):
        oracle = kit.Words()
        verdict = kit.decide(kit.make_engine([self.STEP], oracle=oracle), pictures)
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.UNSCANNED)
        assert verdict.answer is None
        assert oracle.seen == []
        assert verdict.samples[0].unscanned == ("audio",)

    def test_harm_beside_it_is_named_first(self, kit):
        verdict = kit.decide(kit.make_engine([self.STEP, kit.HARM]), 1)
        assert verdict.reason is Reason.HARMFUL


class TestRefusals:
    REFUSAL = Step(message={"content": None, "refusal": "I cannot help with that."})
    FILTERED = Step(message={"content": None}, finish_reason="content_filter")
    RUDE = Step(message={"content": None, "refusal": "a forbidden word"})

    @pytest.mark.parametrize("pictures", [0, 1])
    @pytest.mark.parametrize("step", [REFUSAL, FILTERED])
    def test_they_pass_where_they_may(self, kit, step, pictures):
        verdict = kit.decide(kit.make_engine([step]), pictures)
        assert verdict.action is Action.PASS
        assert verdict.answer.message.get("refusal") == step.message.get("refusal")

    @pytest.mark.parametrize("pictures", [0, 1])
    @pytest.mark.parametrize("step", [REFUSAL, FILTERED])
    def test_they_block_where_they_may_not(self, kit, step, pictures):
        verdict = kit.decide(kit.make_engine([step], refusals_are_harmless=False), pictures)
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)

    def test_their_words_are_judged(self, kit):
        assert kit.decide(kit.make_engine([self.RUDE]), 1).action is Action.BLOCK

    def test_a_filter_that_left_nothing_needs_no_judgement(self, kit):
        oracle = kit.Words()
        verdict = kit.decide(kit.make_engine([self.FILTERED], oracle=oracle))
        assert (verdict.samples[0].reason, oracle.seen) == ("filtered", [])

    def test_a_filtered_half_answer_is_judged(self, kit):
        step = Step(kit.HARM, finish_reason="content_filter")
        assert kit.decide(kit.make_engine([step])).action is Action.BLOCK


class TestCleanAnswer:
    """`answer: clean`: the certificate stands, the delivered answer is judged by itself."""

    def run(self, kit, clean, **changes):
        picture = kit.make_picture()
        upstream = Scripted(lambda c: clean if kit.is_clean(c, picture) else "A noisy cat.")
        engine = kit.make_engine(upstream=upstream, answer=AnswerSource.CLEAN, **changes)
        return kit.decide(engine, [picture]), upstream

    def test_it_is_delivered_and_marked(self, kit):
        verdict, upstream = self.run(kit, "A clean cat.")
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
        assert verdict.answer.text == "A clean cat."
        assert verdict.outside_claim
        assert verdict.certificate.decision is Decision.PASS
        assert len(verdict.samples) == NINE
        assert kit.is_clean(upstream.calls[-1], kit.make_picture())
        assert verdict.usage.calls == NINE + 1

    def test_its_seed_is_the_same_where_the_digest_is_known_already(self, kit):
        picture, chat = kit.make_picture(), kit.make_chat(1)
        digest = request_digest(canonical_chat(chat), [picture])
        seeds = []
        for known in (None, digest):
            engine = kit.make_fixed_engine(lambda _: "A cat.", answer=AnswerSource.CLEAN)
            assert kit.decide(engine, [picture], chat, digest=known).action is Action.PASS
            seeds.append(engine.upstream.calls[-1].seed)
        assert seeds[0] == seeds[1] is not None

    def test_it_is_judged(self, kit):
        verdict, _ = self.run(kit, kit.HARM)
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
        assert verdict.answer is None

    def test_its_failure_never_passes(self, kit):
        verdict, _ = self.run(kit, Step(fault=Fault.CRASH))
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)

    def test_its_hanging_meets_the_one_deadline(self, kit):
        verdict, _ = self.run(kit, Step(fault=Fault.HANG), deadline_s=1.0)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.DEADLINE)


class TestAttempts:
    """A request that comes again meets other noise, unless all that decides is a function of it."""

    def drawn(self, kit, engine, times=3):
        certificates = [kit.decide(engine, 1).certificate for _ in range(times)]
        calls = engine.upstream.calls
        noisy = {(call.seed, call.pictures[0].tobytes()) for call in calls}
        return certificates, len(noisy) / len(calls)

    def test_a_model_that_samples_meets_fresh_noise_each_time(self, kit):
        certificates, fresh = self.drawn(kit, kit.make_engine())
        assert fresh == 1.0
        assert len({c.attempt for c in certificates}) == 3
        assert len({c.request_digest for c in certificates}) == 1

    def test_one_that_is_a_function_meets_the_same(self, kit):
        certificates, fresh = self.drawn(kit, kit.make_fixed_engine())
        assert fresh == pytest.approx(1 / 3)
        assert {c.attempt for c in certificates} == {ONLY_ATTEMPT.hex()}

    def test_one_that_is_named_is_played_again(self, kit):
        engine = kit.make_engine()
        pictures = kit.make_pictures(1)
        decided = [
            kit.run(engine.decide(kit.make_chat(1), pictures, attempt=b"attempt of 16 b."))
            for _ in range(2)
        ]
        assert {verdict.certificate.attempt for verdict in decided} == {b"attempt of 16 b.".hex()}
        calls = engine.upstream.calls
        assert 2 * len({(call.seed, call.pictures[0].tobytes()) for call in calls}) == len(calls)

    def test_a_judge_that_draws_at_random_needs_fresh_noise_too(self, kit):
        engine = kit.make_engine(upstream=Scripted(["A cat."], deterministic=True))
        certificates, fresh = self.drawn(kit, engine)
        assert fresh == 1.0
        assert len({c.attempt for c in certificates}) == 3

    def test_verdicts_without_a_certificate_have_one_too(self, kit):
        attempts = {kit.decide(kit.make_engine()).attempt for _ in range(3)}
        assert len(attempts) == 3
        assert {len(bytes.fromhex(one)) for one in attempts} == {ATTEMPT_BYTES}

    def test_a_restart_does_not_begin_them_anew(self, kit):
        """The same key, as from a key file, in engines that know nothing of each other."""
        first, again = (self.drawn(kit, kit.make_engine()) for _ in range(2))
        attempts = [c.attempt for certificates, _ in (first, again) for c in certificates]
        assert len(set(attempts)) == 6


class TestNoise:
    """Same request, same noise and verdict; any change of pixels, other noise."""

    def pixels(self, kit, chat=None, picture=None, key=None, **changes):
        engine = kit.make_fixed_engine(key=key or kit.KEY, max_parallel=1, **changes)
        kit.decide(engine, [picture or kit.make_picture()], chat=chat or kit.make_chat(1))
        return [(call.seed, call.pictures[0].tobytes()) for call in engine.upstream.calls]

    def test_the_same_request_draws_the_same(self, kit):
        assert self.pixels(kit) == self.pixels(kit)

    def test_no_two_samples_share_noise_or_seed(self, kit):
        drawn = self.pixels(kit)
        assert len({seed for seed, _ in drawn}) == len({noisy for _, noisy in drawn}) == NINE

    def test_one_value_of_one_pixel_changes_all(self, kit):
        pixels = kit.make_picture().pixels.copy()
        pixels[1, 2, 0] ^= 1
        other = self.pixels(kit, picture=kit.picture_of(pixels))
        assert not set(other) & set(self.pixels(kit))

    @pytest.mark.parametrize(
        "parameters",
        [
            {"metadata": {"try": 7}},
            {"store": False, "seed": 7},
            {"stream": True, "stream_options": {"include_usage": True}},
            {"prompt_cache_key": "y", "n": 1, "stop": None},
            {"seed": 1},  # never sent, so it must buy no fresh noise
        ],
    )
    def test_bookkeeping_changes_nothing(self, kit, parameters):
        assert self.pixels(kit, kit.make_chat(1, **parameters)) == self.pixels(kit)

    @pytest.mark.parametrize(
        "changed",
        [
            {"chat": {"temperature": 0.5}},
            {"chat": {"user": "somebody"}},
            {"chat": {"text": "What is that?"}},
            {"rules": {"digest": "cd" * 32}},
            {"key": NoiseKey(b"x" * 32)},
        ],
        ids=str,
    )
    def test_what_matters_changes_all(self, kit, changed):
        other = self.pixels(
            kit,
            chat=kit.make_chat(1, **changed.get("chat", {})),
            key=changed.get("key"),
            **changed.get("rules", {}),
        )
        assert not {noisy for _, noisy in other} & {noisy for _, noisy in self.pixels(kit)}

    def test_a_verdict_is_repeated(self, kit):
        """The model's answer depends on the noisy pixels only, so the verdict does too."""

        def script(call):
            return kit.HARM if call.pictures[0][0, 0, 0] % 10 == 0 else "A cat."

        def certificates():
            rules = {"kind": PlanKind.OPTIMAL, "max_parallel": 3}
            engine = kit.make_fixed_engine(script, **rules)
            pictures = [kit.make_picture(seed=seed) for seed in range(12)]
            return [kit.decide(engine, [picture]).certificate for picture in pictures]

        first, again = certificates(), certificates()
        assert [c.counts for c in first] == [c.counts for c in again]
        assert len({c.decision for c in first}) > 1

    def test_retries_send_the_same_pixels(self, kit):
        def script(call):
            return Step(fault=Fault.UNREACHABLE) if call.index % 3 else "A cat."

        engine = kit.make_fixed_engine(script, max_parallel=1, retries=2)
        assert kit.decide(engine, 1).action is Action.PASS
        sent = [(call.seed, call.pictures[0].tobytes()) for call in engine.upstream.calls]
        assert len(sent) > NINE
        assert len(set(sent)) == NINE
        assert list(dict.fromkeys(sent)) == self.pixels(kit)


class TestLimits:
    def test_the_deadline_blocks(self, kit):
        engine = kit.make_engine([Step(fault=Fault.HANG)], deadline_s=0.2)
        for pictures in (0, 1):
            verdict = kit.decide(engine, pictures)
            assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.DEADLINE)
            assert verdict.answer is None
        assert verdict.certificate.decision is Decision.UNCERTAIN
        verify_certificate(verdict.certificate)

    def test_what_came_before_the_deadline_is_kept(self, kit):
        script = [*["A cat."] * 5, Step(fault=Fault.HANG)]
        engine = kit.make_engine(script, deadline_s=2.0, max_parallel=2)
        verdict = kit.decide(engine, 1)
        assert verdict.reason is Reason.DEADLINE
        assert len(verdict.samples) == 5
        assert verdict.usage.calls == 5

    def test_a_slow_call_is_a_missing_answer(self, kit):
        engine = kit.make_engine([Step(fault=Fault.HANG)], call_timeout_s=0.05)
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
        assert verdict.failure.status == 504

    @pytest.mark.parametrize("parallel", [1, 2, 7])
    @pytest.mark.parametrize("speculate", [False, True])
    def test_no_more_calls_than_allowed_run_at_once(self, kit, parallel, speculate):
        upstream = Scripted(lambda call: Step("A cat.", delay_s=0.001 * (call.seed % 3)))
        rules = {"max_parallel": parallel, "speculate": speculate}
        assert kit.decide(kit.make_engine(upstream=upstream, **rules), 1).action is Action.PASS
        assert upstream.log.peak_in_flight <= parallel
        assert upstream.log.peak_in_flight == min(parallel, upstream.log.peak_in_flight)

    def test_a_policy_that_cannot_pass_this_picture_says_so_unasked(self, kit):
        upstream = Scripted(["A cat."])
        verdict = kit.decide(kit.make_engine(upstream=upstream, max_samples=4), 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.NOT_CERTIFIABLE)
        assert (verdict.failure.status, verdict.failure.code) == (422, "not_certifiable")
        assert "max_samples" in str(verdict.failure)
        assert upstream.calls == []

    def test_alpha_of_one_decision(self, kit):
        verdict = kit.decide(kit.make_engine(), 1, alpha=1e-3)
        verify_certificate(verdict.certificate)
        assert verdict.certificate.alpha == 1e-3
        assert verdict.certificate.samples > NINE

    def test_alpha_can_only_be_tightened(self, kit):
        assert kit.decide(kit.make_engine(), 1, alpha=0.9).certificate.alpha == 0.05


class TestCancellation:
    def test_calls_in_flight_end_with_the_decision(self, kit):
        """Speculation sends the second wave as places fall free; the first wave decides."""

        class Upstream(Scripted):
            async def complete(self, chat, pictures, *, seed):
                """The last answer of the first wave comes when the second one has begun."""
                is_last = len(self.calls) == 3
                answer = await super().complete(chat, pictures, seed=seed)
                if is_last:
                    await kit.until(lambda: len(self.calls) > 4)
                return answer

        def script(call):
            return Step(kit.HARM) if call.index < 4 else Step(fault=Fault.HANG)

        upstream = Upstream(script)
        engine = kit.make_engine(upstream=upstream, speculate=True, max_parallel=4)
        verdict = kit.decide(engine, 1)
        assert verdict.reason is Reason.HARMFUL
        assert verdict.certificate.samples == 4
        assert upstream.log.in_flight == 0
        assert upstream.log.count(State.CANCELLED) == len(upstream.calls) - 4 > 0

    @pytest.mark.parametrize("pictures", [0, 1])
    @pytest.mark.parametrize("place", ["model", "oracle"])
    def test_the_caller_may_go(self, kit, place, pictures):
        upstream = Scripted([Step(fault=Fault.HANG) if place == "model" else "A cat."])
        oracle = kit.Words(faults=["hang"])
        engine = kit.make_engine(upstream=upstream, oracle=oracle)

        async def leave():
            chat, given = kit.make_chat(pictures), kit.make_pictures(pictures)
            task = asyncio.create_task(engine.decide(chat, given))
            await kit.until(lambda: upstream.calls if place == "model" else oracle.seen)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        kit.run(leave())
        assert upstream.log.in_flight == 0


class TestRequestsAndSetUp:
    @pytest.mark.parametrize(("said", "given"), [(1, 0), (0, 1), (2, 1)])
    def test_the_number_of_pictures_must_agree(self, kit, said, given):
        with pytest.raises(RequestError, match=f"{said} pictures?, but {given} w"):
            kit.decide(kit.make_engine(), given, chat=kit.make_chat(said))

    @pytest.mark.parametrize("pictures", [0, 1])
    def test_a_request_that_the_model_cannot_take_is_the_client_s(self, kit, pictures):
        engine = kit.make_engine(upstream=Raising(RequestError("n: leave it out", param="n")))
        verdict = kit.decide(engine, pictures)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.INVALID_REQUEST)
        assert (verdict.failure.status, verdict.failure.param) == (400, "n")

    def test_faults_of_the_set_up_always_fail(self, kit, caplog):
        error = ConfigError("install it with pip")
        for engine in (
            kit.make_engine(upstream=Raising(error)),
            kit.make_engine(oracle=kit.Words(faults=[error]), on_oracle_failure="pass_unscanned"),
        ):
            caplog.clear()
            verdict = kit.decide(engine, 1)
            assert (verdict.action, verdict.failure) == (Action.FAULT, error)
            assert verdict.reason is Reason.MISCONFIGURED
            assert verdict.answer is None
            assert "install it with pip" in caplog.text

    def test_a_fault_for_good_is_asked_once(self, kit):
        upstream = Scripted([Step(fault=Fault.STATUS, status=401)])
        engine = kit.make_engine(upstream=upstream, max_parallel=1, retries=3)
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.failure.code) == (Action.FAULT, "upstream_auth")
        assert len(upstream.calls) == 1
        assert verdict.certificate is None

    def test_a_crash_of_the_guard_says_nothing_of_the_request(self, kit, caplog):
        class Nameless(Scripted):
            @property
            def revision(self):
                raise RuntimeError("secret words of the request")

        with caplog.at_level(logging.DEBUG):
            verdict = kit.decide(kit.make_engine(upstream=Nameless(["A cat."])), 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.CRASHED)
        assert "RuntimeError" in str(verdict.failure)
        assert "secret" not in str(verdict.failure) + caplog.text
        assert "RuntimeError" in caplog.text

    def test_faults_of_callees_keep_their_words_to_themselves(self, kit):
        for engine in (
            kit.make_engine(upstream=Raising(RuntimeError("secret"))),
            kit.make_engine(oracle=kit.Words(faults=[RuntimeError("secret")])),
        ):
            failure = kit.decide(engine, 1).failure
            assert "RuntimeError" in str(failure)
            assert "secret" not in str(failure)
            assert failure.__suppress_context__
            assert failure.__cause__ is None or str(failure.__cause__) not in str(failure)

    def test_closing_closes_both(self, kit):
        engine = kit.make_engine()
        asyncio.run(engine.aclose())
        assert engine.upstream.closed
        assert engine.oracle.closed

    def test_closing_closes_the_oracle_even_if_the_model_will_not(self, kit):
        engine = kit.make_engine(upstream=Raising(RuntimeError("busy")))
        with pytest.raises(RuntimeError, match="busy"):
            asyncio.run(engine.aclose())
        assert engine.oracle.closed


class Raising:
    """A model that raises one thing, whatever is asked of it."""

    name = revision = "raising"

    def __init__(self, error):
        self.error = error

    async def complete(self, *_, **__):
        raise self.error

    async def aclose(self):
        raise self.error


def test_an_oracle_may_find_more_than_one_kind_of_harm(kit):
    """Only `harmless` counts as harmless; a score does not overrule the outcome."""

    class Odd(kit.Words):
        async def judge(self, _):
            return [Judgement(Outcome.HARMFUL, 0.0, "category 7")]

    verdict = kit.decide(kit.make_engine(oracle=Odd()))
    assert verdict.action is Action.BLOCK
    assert verdict.samples[0].reason == "category 7"
