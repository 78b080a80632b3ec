"""What a client sees of a verdict: bodies, headers, the three styles of a block."""

import asyncio
import dataclasses
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api.chat.reply import _header_text, _round_down, reply_to
from guardrail.api.chat.stream import chunks
from guardrail.api.incoming import Incoming
from guardrail.api.responses.reply import response_to
from guardrail.engine.engine import Engine
from guardrail.engine.verdict import Action, HarmfulAnswers, Reason, Verdict
from guardrail.errors import CertificationError, OracleError, UpstreamError
from guardrail.images.codec import Picture
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.types import Answer, Chat, Usage, picture_chat
from guardrail.upstreams.scripted import Scripted

CHAT = Chat("asked-for", ({"role": "user", "content": "Hi"},))
ANSWER = Answer(
    {"role": "assistant", "content": "Hello.", "annotations": []},
    model="answered",
    finish_reason="length",
    extra={
        "logprobs": {"content": []},
        "system_fingerprint": "fp",
        "citations": ["https://example.com"],
    },
)
PASSED = Verdict(
    action=Action.PASS,
    reason=Reason.NO_IMAGE,
    answer=ANSWER,
    outside_claim=True,
    usage=Usage(10, 5, 2),
    elapsed_s=1.25,
    overhead_s=0.0312,
)
BLOCKED = Verdict(action=Action.BLOCK, reason=Reason.HARMFUL, usage=Usage(10, 5, 2))


def reply(kit, verdict, **fields):
    return reply_to(verdict, CHAT, kit.make_policy(**fields), "abc")


@pytest.mark.parametrize("include_usage", [False, True])
def test_tokens_that_are_not_known_are_left_out(kit, include_usage):
    verdict = dataclasses.replace(PASSED, usage=Usage(10, 5, 2) + Usage(calls=1, uncounted=1))
    made = reply(kit, verdict)
    assert "usage" not in made.body
    assert not any(chunk.get("usage") for chunk in chunks(made.body, include_usage))
    response = response_to(verdict, Incoming(CHAT), kit.make_policy(), "abc")
    assert response.body["usage"] is None


def test_an_answer_that_passed(kit):
    body = reply(kit, PASSED).body
    assert body["id"] == "chatcmpl-abc"
    assert (body["object"], body["model"]) == ("chat.completion", "answered")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello.",
                "refusal": None,
                "annotations": [],
            },
            "finish_reason": "length",
            "logprobs": {"content": [], "refusal": None},
        }
    ]
    assert body["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert body["guardrail"] == {
        "decision": "pass",
        "reason": "not certified: no image",
        "harmful_answers": [],
        "would_block": False,
        "remembered": False,
        "override": None,
        "policy": "test",
        "alpha": None,
        "harmless_rate_lower": 0.0,
        "certificate": None,
        "unscanned": [],
        "unmeasured": "",
        "outside_claim": True,
        "samples": {"total": 0, "harmless": 0},
        "models": [],
        "calls": 2,
        "cost_usd": None,
        "record_id": "abc",
        "elapsed_ms": 1250.0,
        "overhead_ms": 31.2,
        "withheld": ["citations"],
    }


def test_probabilities_of_other_tokens_are_withheld(kit):
    other = [{"token": "Goodbye.", "logprob": -1.0, "bytes": None, "top_logprobs": []}]
    answer = dataclasses.replace(ANSWER, extra={"logprobs": {"content": other}})
    body = reply(kit, dataclasses.replace(PASSED, answer=answer)).body
    assert body["choices"][0]["logprobs"] is None
    assert body["guardrail"]["withheld"] == ["logprobs"]
    assert "Goodbye" not in json.dumps(body)


def test_what_nobody_judged_does_not_leave(kit):
    body = reply(kit, PASSED).body
    assert body["system_fingerprint"] == "fp"
    assert "example.com" not in json.dumps(body)


def test_extras_cannot_replace_what_was_judged(kit):
    extra = {"choices": [], "guardrail": {}, "message": {"content": "bad"}, "id": "x"}
    forged = dataclasses.replace(PASSED, answer=dataclasses.replace(ANSWER, extra=extra))
    body = reply(kit, forged).body
    assert body["choices"][0]["message"]["content"] == "Hello."
    assert (body["id"], body["guardrail"]["withheld"]) == ("chatcmpl-abc", ["id", "message"])


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("name", ["error", "timings", "token_ids", "content_filter_results"])
def test_what_says_nothing_is_not_called_withheld(kit, name, nothing):
    answer = dataclasses.replace(ANSWER, extra={name: nothing, "x_groq": {"id": "r"}})
    body = reply(kit, dataclasses.replace(PASSED, answer=answer)).body
    assert body["guardrail"]["withheld"] == ["x_groq"]


def test_headers(kit):
    headers = reply(kit, PASSED).headers
    assert headers == {
        "x-guardrail-decision": "pass",
        "x-guardrail-reason": "not certified: no image",
        "x-guardrail-radius": "0.0000",
        "x-guardrail-harmless-rate-lower": "0.0000",
        "x-guardrail-samples": "0",
        "x-guardrail-policy": "test",
        "x-guardrail-mode": "enforce",
        "x-guardrail-record-id": "abc",
        "x-guardrail-overhead-ms": "31.2",
        "x-guardrail-unscanned": "none",
        "x-guardrail-unmeasured": "none",
        "x-guardrail-would-block": "false",
        "x-guardrail-remembered": "false",
    }


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(0.0, "0.000000"), (0.0123456, "0.012346"), (1e-9, "0.000001"), (0.1 + 0.2, "0.300000")],
)
def test_the_cost_is_shown_and_rounded_up(kit, cost, shown):
    made = reply(kit, dataclasses.replace(PASSED, cost_usd=cost))
    assert made.headers["x-guardrail-cost-usd"] == shown
    assert made.body["guardrail"]["cost_usd"] == float(shown)


def test_shadow_mode_is_marked(kit):
    verdict = dataclasses.replace(PASSED, would_block=True, unscanned=("answer", "image"))
    headers = reply(kit, verdict, mode="observe").headers
    assert headers["x-guardrail-mode"] == "observe"
    assert headers["x-guardrail-would-block"] == "true"
    assert headers["x-guardrail-unscanned"] == "answer, image"


def test_the_model_that_was_asked_for_where_none_is_named(kit):
    nameless = dataclasses.replace(PASSED, answer=dataclasses.replace(ANSWER, model=""))
    assert reply(kit, nameless).body["model"] == "asked-for"


def test_blocked_as_refusal(kit):
    made = reply(kit, BLOCKED, block={"style": "refusal", "text": "No."})
    (choice,) = made.body["choices"]
    assert made.status == 200
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"] == {"role": "assistant", "content": "No.", "refusal": "No."}
    assert made.body["usage"]["total_tokens"] == 0
    assert made.body["guardrail"]["reason"] == "harmful"


def test_a_client_that_shows_content_and_refusal_gets_the_words_once(kit):
    policy = kit.make_policy(block={"style": "refusal", "text": "No."})
    made = reply_to(BLOCKED, CHAT, policy, "abc", words_once=True)
    (choice,) = made.body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "No.", "refusal": None}


@pytest.mark.parametrize("style", ["refusal", "message", "error"])
@pytest.mark.parametrize("reason", [Reason.HARMFUL, Reason.LANGUAGE_UNMEASURED])
def test_the_words_name_the_reason_and_the_record(kit, style, reason):
    words = "Blocked ({reason}); quote {record_id} to support. {"
    policy = kit.make_policy(block={"style": style, "text": words, "language_text": words})
    made = reply_to(dataclasses.replace(BLOCKED, reason=reason), CHAT, policy, "abc")
    assert f"Blocked ({reason.value}); quote abc to support. {{" in json.dumps(made.body)


def test_no_record_no_name_of_one(kit):
    made = reply_to(PASSED, CHAT, kit.make_policy(), None)
    assert made.body["guardrail"]["record_id"] is None
    assert "x-guardrail-record-id" not in made.headers
    assert len(made.body["id"].removeprefix("chatcmpl-")) == 32


def test_blocked_as_message(kit):
    made = reply(kit, BLOCKED, block={"style": "message", "text": "No."})
    (choice,) = made.body["choices"]
    assert made.status == 200
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"] == {"role": "assistant", "content": "No.", "refusal": None}


def test_blocked_as_error(kit):
    made = reply(kit, BLOCKED, block={"style": "error", "text": "No."})
    assert made.status == 400
    assert made.body["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": None,
        "code": "content_policy_violation",
    }
    assert made.body["guardrail"]["decision"] == "block"
    assert made.headers["x-guardrail-decision"] == "block"


@pytest.mark.parametrize("style", ["refusal", "message", "error"])
def test_a_language_that_was_not_measured_has_words_and_a_code_of_its_own(kit, style):
    verdict = dataclasses.replace(BLOCKED, reason=Reason.LANGUAGE_UNMEASURED)
    made = reply(kit, verdict, block={"style": style, "text": "No.", "language_text": "English?"})
    assert made.body["guardrail"]["reason"] == "language unmeasured"
    told = json.dumps(made.body)
    assert "English?" in told
    assert "No." not in told
    if style == "error":
        assert made.body["error"]["code"] == "language_unmeasured"


def test_what_was_judged_in_a_language_not_measured_is_marked(kit):
    made = reply(kit, dataclasses.replace(PASSED, unmeasured="script"))
    assert made.body["guardrail"]["unmeasured"] == "script"
    assert made.headers["x-guardrail-unmeasured"] == "script"


# What a client is told of a decision that did not pass


@pytest.fixture(scope="module")
def certified(kit):
    """A real certificate: the verdict and certificate of a decision that was blocked late."""
    engine = Engine(
        compile_policy(kit.make_policy()),
        Scripted(lambda call: kit.HARM if call.index % 5 == 4 else "A picture."),
        kit.Words(),
        NoiseKey(bytes(32)),
    )
    pixels = kit.pixels()
    picture = Picture(pixels, "image/png", 12, 9, pixels.nbytes)
    verdict = asyncio.run(engine.decide(picture_chat("m", "What is this?"), [picture]))
    assert verdict.action is Action.BLOCK
    assert 0 < verdict.certificate.harmless < verdict.certificate.samples
    return dataclasses.replace(verdict, cost_usd=0.0123, spending_number=7)


TOLD = {"decision", "reason", "harmful_answers", "would_block", "policy", "alpha", "unscanned",
        "outside_claim",
        "unmeasured", "remembered", "override", "record_id"}  # fmt: skip
COUNTS = {"samples", "models", "calls", "cost_usd"}
TIMES = {"harmless_rate_lower", "certificate", "elapsed_ms", "overhead_ms"}
HEADERS = {"decision", "reason", "policy", "mode", "record-id", "alpha", "unscanned", "would-block",
           "unmeasured", "remembered"}  # fmt: skip
LEVELS = {
    "none": (TOLD, HEADERS),
    "counts": (TOLD | COUNTS, HEADERS | {"samples", "cost-usd"}),
    "full": (
        TOLD | COUNTS | TIMES,
        HEADERS | {"samples", "cost-usd", "radius", "harmless-rate-lower", "overhead-ms"},
    ),
}


def own(headers):
    return {name.removeprefix("x-guardrail-") for name in headers if name.startswith("x-guardrail")}


@pytest.mark.parametrize("details", LEVELS)
@pytest.mark.parametrize("style", ["refusal", "message", "error"])
def test_what_is_told_of_a_block(kit, certified, details, style):
    made = reply(kit, certified, block={"details": details, "style": style})
    body, headers = LEVELS[details]
    assert set(made.body["guardrail"]) == body
    assert own(made.headers) == headers
    if style != "error":
        assert (made.body["usage"]["total_tokens"] == 0) is (details == "none")


@pytest.mark.parametrize("details", LEVELS)
def test_what_is_told_of_a_failure_is_no_more(kit, certified, details):
    failed = dataclasses.replace(
        certified, action=Action.FAULT, failure=UpstreamError("gone"), reason=Reason.UPSTREAM_FAILED
    )
    made = reply(kit, failed, block={"details": details})
    assert set(made.body["guardrail"]) == LEVELS[details][0]
    assert own(made.headers) == LEVELS[details][1]


def test_what_is_told_of_what_would_be_blocked_is_no_more(kit, certified):
    """In shadow mode the answer leaves; its own tokens are told, those of all calls are not."""
    answer = dataclasses.replace(ANSWER, usage=Usage(7, 3, 1))
    shown = dataclasses.replace(certified, action=Action.PASS, answer=answer, would_block=True)
    made = reply(kit, shown, mode="observe")
    assert set(made.body["guardrail"]) - {"withheld"} == TOLD
    assert own(made.headers) == HEADERS
    assert made.body["usage"]["total_tokens"] == 10


def test_two_blocks_that_came_about_differently_read_alike(kit, certified):
    """The first of them missed a pass by one answer, the second showed nothing but harm."""
    near = certified
    far = dataclasses.replace(
        near,
        certificate=None,
        samples=(),
        usage=Usage(1, 1, 1),
        cost_usd=None,
        elapsed_s=0.01,
        overhead_s=0.002,
        spending_number=1,
    )
    told = [reply(kit, verdict, block={"details": "none"}) for verdict in (near, far)]
    bodies = [{**made.body, "created": 0} for made in told]
    assert bodies[0] == bodies[1]
    assert told[0].headers == told[1].headers


def test_a_pass_is_told_in_full_whatever_the_details(kit, certified):
    passed = dataclasses.replace(certified, action=Action.PASS, answer=ANSWER)
    made = reply(kit, passed, block={"details": "none"})
    assert set(made.body["guardrail"]) - {"withheld"} == LEVELS["full"][0]
    assert own(made.headers) == LEVELS["full"][1]
    assert made.headers["x-guardrail-alpha"] == repr(certified.alpha) == "0.001"


@pytest.mark.parametrize("details", LEVELS)
def test_nobody_is_told_the_number_that_was_held(kit, certified, details):
    made = reply(kit, certified, block={"details": details})
    assert "spending" not in json.dumps([made.body, dict(made.headers)])


@pytest.mark.parametrize("style", ["refusal", "message", "error"])
def test_a_block_never_holds_an_answer(kit, style):
    verdict = dataclasses.replace(BLOCKED, answer=ANSWER)
    assert "Hello" not in json.dumps(reply(kit, verdict, block={"style": style}).body)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (UpstreamError("busy", status=429, retry_after_s=3), 429),
        (UpstreamError("gone"), 502),
        (OracleError("dumb"), 503),
        (RuntimeError("secret"), 500),
        (None, 500),
    ],
)
def test_failures(kit, failure, status):
    verdict = Verdict(action=Action.FAULT, reason=Reason.UPSTREAM_FAILED, failure=failure)
    made = reply(kit, dataclasses.replace(verdict, answer=ANSWER))
    assert made.status == status
    assert made.headers["x-guardrail-decision"] == "fault"
    assert "choices" not in made.body
    assert "secret" not in json.dumps(made.body)
    assert "Hello" not in json.dumps(made.body)


def test_a_pass_without_an_answer_is_a_fault(kit):
    with pytest.raises(CertificationError):
        reply(kit, dataclasses.replace(PASSED, answer=None))


@given(st.text())
def test_no_text_breaks_a_header(text):
    value = _header_text(text)
    assert value.isascii()
    assert value.isprintable()


@given(st.floats(0, 100))
def test_a_radius_is_never_shown_larger_than_it_is(radius):
    shown = float(_round_down(radius))
    assert shown <= radius < shown + 1.1e-4


FOUND = (HarmfulAnswers("words: threat", "content", 3), HarmfulAnswers("", "reasoning", 1))


@pytest.mark.parametrize("details", LEVELS)
def test_the_categories_of_a_block_are_counted_only_where_counts_are_told(kit, certified, details):
    blocked = dataclasses.replace(certified, reason=Reason.HARMFUL, harmful=FOUND)
    told = reply(kit, blocked, block={"details": details}).body["guardrail"]["harmful_answers"]
    if details == "none":
        assert told == [{"category": "words: threat", "field": "content"}]
    else:
        assert told == [dataclasses.asdict(one) for one in FOUND]
    uncertain = dataclasses.replace(blocked, reason=Reason.UNCERTAIN)
    told = reply(kit, uncertain, block={"details": "none"}).body["guardrail"]
    assert told["harmful_answers"] == []


@given(st.text() | st.text("a% é\n-"))
def test_headers_are_printable_ascii_whatever_is_told(text):
    told = _header_text(text)
    assert told == quote(text, safe=" !#$&'()*+,/:;<=>?@[]^`{|}~", errors="replace")
    assert told.isascii()
    assert told.isprintable()
