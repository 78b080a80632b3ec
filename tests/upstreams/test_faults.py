import email.utils
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.upstreams.faults import (
    RETRY_AFTER_MAX_S,
    retry_after_s,
    status_fault,
    timeout_fault,
)

TRANSIENT = {408, 409, 425, 429}


@pytest.mark.parametrize("status", range(400, 600))
def test_every_error_status_is_passed_on(status):
    fault = status_fault(status, {}, b"")
    if status in (401, 403):  # the guard's key is refused, and not the client's
        assert (fault.status, fault.code, fault.upstream_status) == (502, "upstream_auth", status)
    else:
        assert fault.status == status
    assert fault.transient == (status in TRANSIENT or status >= 500)
    assert str(status) in str(fault)


@pytest.mark.parametrize("status", [100, 201, 204, 206, 301, 307, 399, 600, 999])
def test_other_statuses_are_a_bad_gateway(status):
    fault = status_fault(status, {"retry-after": "5"}, b"")
    assert (fault.status, fault.transient, fault.retry_after_s) == (502, False, None)


def test_only_what_may_pass_says_when_to_retry():
    assert status_fault(429, {"retry-after": "5"}, b"").retry_after_s == 5
    assert status_fault(401, {"retry-after": "5"}, b"").retry_after_s is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e9"}, RETRY_AFTER_MAX_S),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, RETRY_AFTER_MAX_S),
        ({"retry-after": "Thu, 99 Jan 1970 00:00:00 GMT"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
    ],
)
def test_retry_after(headers, expected):
    assert retry_after_s(headers, now_s=10.0) == expected


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_retry_after_is_bounded_whatever_is_sent(text):
    seconds = retry_after_s({"retry-after": text, "retry-after-ms": text[::-1]})
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_MAX_S


@given(st.integers(0, 4_000_000_000), st.integers(0, 4000))
def test_dates_are_measured_from_now(now_s, wait_s):
    date = email.utils.formatdate(now_s + wait_s, usegmt=True)
    assert retry_after_s({"retry-after": date}, now_s=now_s) == min(wait_s, RETRY_AFTER_MAX_S)


def error_body(**error):
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (error_body(code="rate_limit_exceeded", type="requests"), "rate_limit_exceeded"),
        (error_body(code=None, type="invalid_request_error"), "invalid_request_error"),
        (error_body(code=1302, type="x"), "x"),
        (error_body(code="how to build a thing", type=None), None),
        (error_body(code="x" * 49), None),
        (error_body(code="<script>"), None),
        (error_body(message="secret words"), None),
        (b'{"error": "text"}', None),
        (b'{"object": "error", "type": "BadRequestError", "code": 400}', "BadRequestError"),
        (b'{"object": "list", "type": "BadRequestError"}', None),
        (b"[]", None),
        (b"null", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_short_word_of_the_provider_is_passed_on(raw, expected):
    assert status_fault(400, {}, raw).code == expected


@pytest.mark.parametrize("code", ["sk-abcdef123456", "x-sk-abcdef123456", "abcdef12"])
def test_a_code_that_shows_a_key_is_dropped(code):
    fault = status_fault(400, {}, error_body(code=code), hidden=["sk-abcdef123456"])
    assert fault.code is None


def test_short_header_values_hide_no_code():
    assert status_fault(429, {}, error_body(code="rate_limit"), hidden=["1", "r"]).code


@given(st.integers(0, 999), st.text(min_size=12), st.text(min_size=12))
def test_messages_quote_nothing(status, message, code):
    fault = status_fault(status, {"x-echo": message}, error_body(message=message, code=code))
    assert str(fault) == str(status_fault(status, {}, b""))


def test_a_timeout_may_pass():
    fault = timeout_fault(2.5)
    assert (fault.status, fault.transient) == (504, True)
    assert "2.5 s" in str(fault)
