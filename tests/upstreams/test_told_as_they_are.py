"""What a provider says in place of an answer, or in an odd form, told as what it is."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.retry import FirstWave, ends_decision
from guardrail.engine.rules import Retry
from guardrail.errors import UpstreamError
from guardrail.upstreams.faults import is_refusal, status_fault
from guardrail.upstreams.function import fault_of
from guardrail.upstreams.in_band import in_band_fault
from guardrail.upstreams.wire import EMPTY_ANSWER, answer_from

LOOK_AT_URL = "base URL leads to a chat model"
SECRET = "secret words of a request"


def completion(message, finish_reason="stop", **more):
    choice = {"index": 0, "finish_reason": finish_reason, **more}
    if message is not None:
        choice["message"] = message
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}


def called(function, **call):
    return completion({"role": "assistant", "content": None, "tool_calls": [
        {"id": "a", "type": "function", "function": function, **call}]}, "tool_calls")  # fmt: skip


def fault_in(body, headers=None):
    with pytest.raises(UpstreamError) as raised:
        answer_from(body, headers)
    return raised.value


ERRORS = {
    "a number": ({"message": SECRET, "code": 429, "metadata": {"provider_name": "X"}}, 429),
    "digits": ({"message": SECRET, "code": "429"}, 429),
    "a status": ({"message": SECRET, "status": 503}, 503),
    "a status code": ({"message": SECRET, "code": "x", "status_code": 529}, 529),
    "a word": ({"message": SECRET, "code": "rate_limit_exceeded"}, 429),
    "a type": ({"message": SECRET, "type": "overloaded_error"}, 529),
    "one that is wrapped": ({"type": "error", "error": {"type": "rate_limit_error"}}, 429),
    "a number that is wrapped": ({"message": SECRET, "error": {"http_status": 503}}, 503),
    "a quota": ({"message": SECRET, "code": "insufficient_quota"}, 429),
    "a wrong key": ({"message": SECRET, "code": 401}, 502),
    "no access": ({"message": SECRET, "type": "permission_error"}, 502),
    "no such model": ({"message": SECRET, "code": "model_not_found"}, 404),
    "a text": (SECRET, 502),
    "an unknown word": ({"message": SECRET, "code": "odd"}, 502),
    "a number that is no status": ({"message": SECRET, "code": 7}, 502),
    "many digits": ({"message": SECRET, "code": "9" * 5000}, 502),
    "nothing that is understood": ({"a": [1]}, 502),
    "a list": ([SECRET], 502),
}
PLACES = {
    "no choices": lambda error: {"id": None, "choices": None, "error": error},
    "empty choices": lambda error: {"choices": [], "error": error},
    "alone": lambda error: {"error": error},
    "beside an answer": lambda error: {**completion({"content": "hello"}), "error": error},
    "in the choice": lambda error: completion({"content": "half"}, "error", error=error),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("error", "status"), ERRORS.values(), ids=ERRORS)
def test_an_error_inside_a_200_is_told_as_the_status_that_it_names(error, status, place):
    fault = fault_in(place(error))
    assert fault.status == status
    assert fault.in_answer
    assert not fault.undrawn
    assert not any(ends_decision(retry, fault) for retry in Retry)
    assert SECRET not in str(fault)
    assert LOOK_AT_URL not in str(fault)


@given(st.integers(400, 599), st.booleans())
def test_whatever_status_it_names_it_is_told_as_an_http_status_is(status, as_text):
    inside = in_band_fault({"code": str(status) if as_text else status})
    outside = status_fault(status, {}, b"")
    assert (inside.status, inside.transient, inside.code) == (
        outside.status,
        outside.transient,
        outside.code,
    )
    assert inside.in_answer
    assert not outside.in_answer


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner:
                    st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))  # fmt: skip
def test_no_error_in_an_answer_is_an_answer_or_crashes(error):
    body = {"choices": None, "error": error}
    fault = fault_in(body)
    assert 400 <= fault.status <= 599
    assert fault.in_answer


def test_the_provider_s_wish_is_kept():
    fault = fault_in({"error": {"code": 429}}, {"retry-after": "7"})
    assert fault.retry_after_s == 7.0


def test_a_code_that_shows_a_key_is_dropped():
    body = {"error": {"code": "sk-secret-key-0123", "status": 500}}
    with pytest.raises(UpstreamError) as raised:
        answer_from(body, hidden=["sk-secret-key-0123"])
    assert (raised.value.status, raised.value.code) == (500, None)


ARGUMENTS = {
    "null": (None, "{}"),
    "an object": ({"city": "Oslo"}, '{"city": "Oslo"}'),
    "an empty object": ({}, "{}"),
    "a nested one": ({"a": {"b": ["ä"]}}, '{"a": {"b": ["ä"]}}'),
    "text": ('{"city":"Oslo"}', '{"city":"Oslo"}'),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("given", "taken"), ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("kind", ["tool_calls", "function_call"])
def test_arguments_are_taken_as_clients_take_them(given, taken, kind):
    function = {"name": "get_time", "arguments": given}
    if kind == "function_call":
        body = completion({"role": "assistant", "content": None, "function_call": function})
        read = answer_from(body).message["function_call"]
    else:
        read = answer_from(called(function)).message["tool_calls"][0]["function"]
    assert read == {"name": "get_time", "arguments": taken}


@pytest.mark.parametrize("kind", [None, ""])
def test_a_call_of_no_type_is_one_of_a_function(kind):
    body = called({"name": "get_weather", "arguments": '{"city":"Oslo"}'}, type=kind, id="")
    (call,) = answer_from(body).message["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["arguments"] == '{"city":"Oslo"}'


def test_missing_arguments_are_none():
    (call,) = answer_from(called({"name": "get_time"})).message["tool_calls"]
    assert call["function"] == {"name": "get_time", "arguments": "{}"}


@pytest.mark.parametrize("arguments", [7, True, ["a"], 1.5])
def test_arguments_of_no_use_fail(arguments):
    fault = fault_in(called({"name": "f", "arguments": arguments}))
    assert fault.in_answer
    assert LOOK_AT_URL not in str(fault)


def test_what_needs_no_change_is_not_copied():
    message = {"role": "assistant", "content": "hello"}
    assert answer_from(completion(message)).message is message


@pytest.mark.parametrize("role", [None, ""])
def test_no_role_is_the_assistant_s(role):
    assert answer_from(completion({"role": role, "content": "x"})).message["role"] == "assistant"


@pytest.mark.parametrize("message", [None, {"role": "assistant"}, {"content": None}, {}])
def test_a_filtered_choice_without_words_is_the_provider_s_refusal(message):
    filters = {"violence": {"filtered": True, "severity": "high"}}
    body = completion(message, "content_filter", content_filter_results=filters)
    answer = answer_from(body)
    assert (answer.text, answer.finish_reason) == ("", "content_filter")
    null = answer_from(completion(None, "content_filter") | {"choices": [
        {"finish_reason": "content_filter", "message": None}]})  # fmt: skip
    assert null.message == {"role": "assistant", "content": None}


class TestEmptyAnswers:
    """They say why, as far as that can be seen."""

    @pytest.mark.parametrize(
        ("message", "usage"),
        [
            ({"content": None, "reasoning_content": SECRET}, None),
            ({"content": "", "reasoning": SECRET}, None),
            ({"content": None}, {"completion_tokens_details": {"reasoning_tokens": 64}}),
        ],
    )
    def test_reasoning_that_took_all_tokens(self, message, usage):
        fault = fault_in({**completion(message, "length"), "usage": usage})
        assert "reasoning used all of max_tokens" in str(fault)
        assert SECRET not in str(fault)
        assert (fault.code, fault.transient, fault.in_answer) == (EMPTY_ANSWER, False, True)

    def test_other_answers_that_were_cut(self):
        fault = fault_in(completion({"content": None}, "length"))
        assert "raise max_tokens" in str(fault)

    def test_all_others(self):
        fault = fault_in(completion({"content": ""}))
        assert "empty" in str(fault)
        assert LOOK_AT_URL not in str(fault)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], True),
        ({}, True),
        ({"status": "ok"}, True),
        ({"choices": []}, False),
        ({"choices": None}, False),
        (completion({"role": "user", "content": "x"}), False),
        (completion({"content": 7}), False),
        (completion({"content": "x"}, "abort"), False),
    ],
)
def test_the_base_url_is_doubted_only_where_it_is_doubtful(body, says):
    assert (LOOK_AT_URL in str(fault_in(body))) is says


AZURE = {
    "message": "filtered", "type": None, "param": "prompt", "code": "content_filter", "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
        "violence": {"filtered": True, "severity": "high"}}},
}  # fmt: skip
FILTERS = {
    "azure": AZURE,
    "azure, inside only": {"message": "m", "code": None, "innererror": AZURE["innererror"]},
    "openai": {"message": "m", "type": "image_generation_user_error",
               "code": "content_policy_violation"},
    "by type": {"message": "m", "type": "content_filter", "code": 400},
    "alibaba": {"message": "m", "type": "data_inspection_failed", "code": "data_inspection_failed"},
}  # fmt: skip


@pytest.mark.parametrize("error", FILTERS.values(), ids=FILTERS)
def test_a_filter_that_refuses_the_request_is_a_refusal(error):
    assert is_refusal(status_fault(400, {}, json.dumps({"error": error}).encode()))
    assert is_refusal(in_band_fault({**error, "code": error.get("code")}))
    assert "filter" in str(status_fault(400, {}, json.dumps({"error": error}).encode()))

    class ClientError(Exception):
        status_code, body = 400, error

    assert is_refusal(fault_of(ClientError()))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_with_another_status_it_is_none(status):
    assert not is_refusal(status_fault(status, {}, json.dumps({"error": AZURE}).encode()))


@pytest.mark.parametrize("code", ["invalid_request_error", "context_length_exceeded", None, 400])
def test_nor_is_any_other_400(code):
    assert not is_refusal(status_fault(400, {}, json.dumps({"error": {"code": code}}).encode()))


@pytest.mark.parametrize("word", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_quota_never_mends_by_itself(word):
    raw = json.dumps({"error": {"code": word, "type": word, "message": SECRET}}).encode()
    fault = status_fault(429, {"retry-after": "1"}, raw, undrawn={429})
    assert (fault.status, fault.transient, fault.code) == (429, False, word)
    assert word in str(fault)
    assert "quota" in str(fault)
    assert ends_decision(Retry.ANY, fault)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_the_guard_s_own(status):
    fault = status_fault(status, {}, b'{"error": {"code": "invalid_api_key"}}')
    assert (fault.status, fault.code, fault.upstream_status) == (502, "upstream_auth", status)
    assert "invalid_api_key" in str(fault)
    assert ends_decision(Retry.UNDRAWN, fault)


class TestFirstWave:
    EMPTY = UpstreamError("empty", transient=True, in_answer=True, code=EMPTY_ANSWER)

    @staticmethod
    async def end(fault=None):
        if fault is not None:
            raise fault

    def fail(self, wave, seed, fault):
        with pytest.raises(UpstreamError):
            asyncio.run(wave.watch(seed, self.end(fault)))

    def test_it_has_failed_once_every_call_has(self):
        async def scene():
            wave, first, second = FirstWave(), asyncio.Future(), asyncio.Future()
            calls = [
                asyncio.ensure_future(wave.watch(n, end)) for n, end in ((1, first), (2, second))
            ]
            await asyncio.sleep(0)  # both calls are under way
            for call, end in zip(calls, (first, second), strict=True):
                assert not wave.has_failed_alike(self.EMPTY)
                end.set_exception(self.EMPTY)
                with pytest.raises(UpstreamError):
                    await call
            assert wave.has_failed_alike(self.EMPTY)

        asyncio.run(scene())

    def test_not_after_an_answer_or_by_several_faults_or_by_one_call(self):
        answered, mixed, single = FirstWave(), FirstWave(), FirstWave()
        asyncio.run(answered.watch(0, self.end()))
        for seed in (1, 2):
            self.fail(answered, seed, self.EMPTY)
        self.fail(mixed, 1, self.EMPTY)
        self.fail(mixed, 2, UpstreamError("gone", transient=True, status=429))
        self.fail(single, 1, self.EMPTY)
        self.fail(single, 1, self.EMPTY)
        assert not any(w.has_failed_alike(self.EMPTY) for w in (answered, mixed, single))

    @pytest.mark.parametrize(
        "fault",
        [
            UpstreamError("come back", status=429, transient=True, retry_after_s=1.0),
            UpstreamError("down", status=503, transient=True),
            UpstreamError("no connection", transient=True, undrawn=True),
        ],
    )
    def test_nor_by_what_may_mend_at_any_moment(self, fault):
        wave = FirstWave()
        for seed in (1, 2, 3):
            self.fail(wave, seed, fault)
        assert not wave.has_failed_alike(fault)
