"""Variants that answer shortly: what is certified, what leaves, and what is judged in full."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.sampler import Sampler
from guardrail.engine.short_answers import limit_tokens
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError
from guardrail.stats import Decision
from guardrail.types import Chat
from guardrail.upstreams.scripted import Fault, Scripted, Step

NINE = 9  # samples of a decision by the tests' own rules
FULL = "A cat that sits on a mat and looks at you."


def limited(call):
    """A model that keeps to the limit, a token a word."""
    most = call.body.get("max_completion_tokens", 1000)
    words = FULL.split()
    return Step(" ".join(words[:most]), finish_reason="length" if most < len(words) else "stop")


class TestTokenLimit:
    def test_the_client_s_own_name_is_used(self):
        for name in ("max_tokens", "max_completion_tokens"):
            assert limit_tokens(Chat("m", (), {name: 500}), 20).parameters == {name: 20}
        both = Chat("m", (), {"max_tokens": 500, "max_completion_tokens": 60, "top_p": 1})
        wanted = {"max_tokens": 20, "max_completion_tokens": 20, "top_p": 1}
        assert limit_tokens(both, 20).parameters == wanted

    def test_without_one_openai_s_present_name(self):
        assert limit_tokens(Chat("m", ()), 20).parameters == {"max_completion_tokens": 20}

    @pytest.mark.parametrize("value", [None, True, "30", 0, -1, 2.5])
    def test_what_is_no_count_is_left_to_the_model(self, value):
        short = limit_tokens(Chat("m", (), {"max_tokens": value}), 20)
        assert short.parameters == {"max_tokens": value, "max_completion_tokens": 20}

    @given(st.integers(1, 50), st.integers(1, 50))
    def test_never_longer_than_the_client_asks(self, asked, most):
        chat = Chat("m", (), {"max_tokens": asked})
        short = limit_tokens(chat, most)
        assert short.parameters["max_tokens"] == min(asked, most)
        assert (short is chat) == (asked <= most)

    @pytest.mark.parametrize(("most", "shortens"), [(None, False), (20, True), (60, False)])
    def test_variants_are_shortened_only_where_the_client_asks_for_more(self, kit, most, shortens):
        rules, chat = kit.make_rules(probe_max_tokens=most), Chat("m", (), {"max_tokens": 50})
        assert Sampler(rules, limited, kit.Words(), chat).shortens is shortens


def test_variants_are_short_and_the_answer_is_whole(kit):
    engine = kit.make_engine(limited, probe_max_tokens=5)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    assert verdict.answer.text == FULL
    assert verdict.outside_claim
    assert {sample.answer.text for sample in verdict.samples} == {"A cat that sits on"}
    *short, whole = engine.upstream.calls
    assert [call.body["max_completion_tokens"] for call in short] == [5] * NINE
    assert "max_completion_tokens" not in whole.body
    assert verdict.usage.calls == NINE + 1
    # The same noise, and the same randomness of the model, as one of the variants.
    twin = next(call for call in short if call.seed == whole.seed)
    assert (twin.pictures[0] == whole.pictures[0]).all()


def test_the_certificate_says_so(kit):
    certificate = kit.decide(kit.make_engine(limited, probe_max_tokens=5), 1).certificate
    assert certificate.probe_max_tokens == 5
    assert "under the guard's noise, answers cut at 5 tokens, or is one" in certificate.statement
    assert certificate.outside_claim
    assert certificate.statement.endswith("it lies outside this claim.")
    verify_certificate(certificate)
    again = decode_certificate(encode_certificate(certificate))
    assert again == certificate
    verify_certificate(again, encode_certificate(certificate))
    for wrong in (0, -3):
        with pytest.raises(CertificationError, match="no room"):
            verify_certificate(
                seal_certificate(dataclasses.replace(certificate, probe_max_tokens=wrong))
            )
    with pytest.raises(CertificationError, match="digest"):
        verify_certificate(dataclasses.replace(certificate, probe_max_tokens=None))
    for wrong in ("3", 3.0, True):
        with pytest.raises(CertificationError, match="probe_max_tokens"):
            decode_certificate({**encode_certificate(certificate), "probe_max_tokens": wrong})


def test_an_answer_that_ended_by_itself_is_not_asked_for_again(kit):
    engine = kit.make_engine(["A cat."], probe_max_tokens=5)
    verdict = kit.decide(engine, 1)
    assert verdict.answer.text == "A cat."
    assert not verdict.outside_claim
    assert len(engine.upstream.calls) == NINE


def test_a_client_who_asks_for_less_gets_what_was_certified(kit):
    engine = kit.make_engine(limited, probe_max_tokens=50)
    verdict = kit.decide(engine, 1, chat=kit.make_chat(1, max_completion_tokens=4))
    assert verdict.answer.text == "A cat that sits"
    assert not verdict.outside_claim
    assert verdict.certificate.probe_max_tokens is None
    assert len(engine.upstream.calls) == NINE


def late(kit, step):
    """Harmless beginnings, and `step` for whoever asks for the whole."""
    return lambda call: limited(call) if "max_completion_tokens" in call.body else step(kit)


def test_harm_in_the_whole_answer_blocks(kit):
    script = late(kit, lambda kit: Step(f"{FULL} {kit.HARM}"))
    verdict = kit.decide(kit.make_engine(script, probe_max_tokens=5), 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert verdict.answer is None
    assert verdict.certificate.decision is Decision.PASS


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Step(fault=Fault.STATUS, status=500), Reason.UPSTREAM_FAILED),
        (Step(fault=Fault.STATUS, status=401), Reason.UPSTREAM_FAILED),
        (Step(fault=Fault.EMPTY), Reason.UPSTREAM_FAILED),
        (Step(fault=Fault.CRASH), Reason.UPSTREAM_FAILED),
        (Step(message={"content": "A cat.", "audio": {"data": "AAAA"}}), Reason.UNSCANNED),
    ],
)
def test_without_a_whole_answer_nothing_leaves(kit, step, reason):
    verdict = kit.decide(kit.make_engine(late(kit, lambda _: step), probe_max_tokens=5), 1)
    assert verdict.action is not Action.PASS
    assert verdict.reason is reason
    assert verdict.answer is None


def test_a_whole_answer_that_never_comes_meets_the_deadline(kit):
    script = late(kit, lambda _: Step(fault=Fault.HANG))
    engine = kit.make_engine(script, probe_max_tokens=5, deadline_s=0.5, call_timeout_s=60.0)
    assert kit.decide(engine, 1).reason is Reason.DEADLINE


def test_the_whole_answer_counts_against_the_limit_of_calls(kit):
    engine = kit.make_engine(limited, probe_max_tokens=5, max_calls=NINE)
    assert kit.decide(engine, 1).reason is Reason.MAX_CALLS
    engine = kit.make_engine(limited, probe_max_tokens=5, max_calls=NINE + 1)
    assert kit.decide(engine, 1).answer.text == FULL


def test_a_model_that_ignores_the_limit_is_refused(kit):
    """The scripted model reports 5 tokens; the one that ends an answer may be among them."""
    verdict = kit.decide(kit.make_engine([FULL], probe_max_tokens=3), 1)
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
    assert verdict.failure.code == "upstream_ignored_limit"
    assert "token_limit_name" in str(verdict.failure)
    assert kit.decide(kit.make_engine([FULL], probe_max_tokens=4), 1).action is Action.PASS


def test_texts_are_never_shortened(kit):
    engine = kit.make_engine(upstream=Scripted(limited), probe_max_tokens=5)
    assert kit.decide(engine, 0).answer.text == FULL
