"""Errors: the right status, OpenAI's form, and never a word that nobody chose."""

import logging

import pytest

from guardrail.api.drain import Drain
from guardrail.api.errors import error_reply, reply_to_error
from guardrail.errors import (
    CertificationError,
    ConfigError,
    LimitError,
    OracleError,
    RequestError,
    UpstreamError,
)
from guardrail.server.shield import Shield

SECRET = "sk-secret content of a user"


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (RequestError("bad", param="n", code="c"), 400, "invalid_request_error", "c"),
        (RequestError("big", status=413), 413, "invalid_request_error", None),
        (RequestError("key", status=401), 401, "invalid_request_error", None),
        (UpstreamError("key", code="upstream_auth"), 502, "server_error", "upstream_auth"),
        (UpstreamError("slow", status=429), 429, "rate_limit_error", "upstream_error"),
        (UpstreamError("gone"), 502, "server_error", "upstream_error"),
        (UpstreamError("late", status=504), 504, "server_error", "upstream_timeout"),
        (UpstreamError("own", status=500, code="x"), 500, "server_error", "x"),
        (OracleError("dumb"), 503, "server_error", "oracle_unavailable"),
        (CertificationError("odd"), 500, "server_error", "guard_failed"),
    ],
)
def test_errors_raised_on_purpose(error, status, kind, code):
    reply = reply_to_error(error)
    assert reply.status == status
    assert reply.is_error
    assert reply.body["error"] == {
        "message": str(error),
        "type": kind,
        "param": getattr(error, "param", None),
        "code": code,
    }


def test_what_is_not_set_up_rightly_is_told_without_the_operators_folders():
    reply = reply_to_error(ConfigError("add a price", file="/etc/policy.yaml", field="prices"))
    assert (reply.status, reply.body["error"]["code"]) == (500, "misconfigured")
    assert "field 'prices': add a price" in reply.body["error"]["message"]
    assert "/etc" not in str(reply)
    assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET)])
def test_other_errors_say_nothing(error):
    reply = reply_to_error(error)
    assert reply.status == 500
    assert "secret" not in str(reply)
    assert "policy" not in str(reply)


@pytest.mark.parametrize(
    ("wish_s", "header"), [(None, "5"), (0.0, "1"), (0.2, "1"), (2.1, "3"), (90.0, "90")]
)
@pytest.mark.parametrize("status", [429, 503])
def test_when_to_come_back_is_rounded_up(status, wish_s, header):
    error = UpstreamError("busy", status=status, retry_after_s=wish_s, transient=True)
    assert reply_to_error(error).headers["retry-after"] == header


@pytest.mark.parametrize("status", [502, 504, 529])
def test_the_providers_own_wish_is_passed_on_with_every_status(status):
    wish = UpstreamError("busy", status=status, retry_after_s=7.0, transient=True)
    assert reply_to_error(wish).headers["retry-after"] == "7"
    silent = UpstreamError("busy", status=status, transient=True)
    assert "retry-after" not in reply_to_error(silent).headers


def test_a_limit_is_an_error_of_its_own_and_asks_nobody_to_come_back():
    reply = reply_to_error(LimitError("the calls are spent", status=503, code="call_limit"))
    assert reply.status == 503
    assert reply.body["error"]["code"] == "call_limit"
    assert reply.body["error"]["message"] == "the calls are spent"
    assert "retry-after" not in reply.headers


def test_other_statuses_do_not_ask_to_come_back():
    assert "retry-after" not in error_reply(400, "bad").headers


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (UpstreamError("broken", transient=False), "false"),
        (CertificationError("odd"), "false"),
        (UpstreamError("hiccup", transient=True), None),
        (UpstreamError("full", status=503, retry_after_s=5.0), None),
        (UpstreamError("busy", status=429, transient=True), None),
        (UpstreamError("quota", status=429), "false"),
        (LimitError("in line", status=503, retry_after_s=5.0), None),
        (OracleError("dumb"), None),
        (LimitError("late", status=504, code="deadline"), "false"),
        (LimitError("spent", status=503, code="call_limit"), "false"),
        (RequestError("bad"), None),
    ],
)
def test_clients_are_told_not_to_repeat_what_cannot_work(error, hint):
    assert reply_to_error(error).headers.get("x-should-retry") == hint


async def shielded(app, kind="http"):
    sent = []

    async def send(message):
        sent.append(message)

    await Shield(app, Drain())({"type": kind, "path": "/"}, None, send)
    return sent


def test_the_shield_answers_for_a_crash(run, logs):
    async def app(scope, receive, send):
        raise ValueError(SECRET)

    start, body = run(shielded(app))
    assert start["status"] == 500
    assert b"internal_error" in body["body"]
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    (record,) = logs.records
    assert record.levelno == logging.ERROR
    assert "ValueError at test_failures.py:" in record.getMessage()
    assert "secret" not in logs.text + str(body)


def test_the_shield_adds_nothing_to_an_answer_under_way(run):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(SECRET)

    assert len(run(shielded(app))) == 1


def test_the_shield_lets_good_answers_through(run):
    messages = [{"type": "http.response.start", "status": 200, "headers": []}, {"type": "x"}]

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    assert run(shielded(app)) == messages


def test_only_requests_are_answered(run):
    async def app(scope, receive, send):
        raise OSError(SECRET)

    assert run(shielded(app, "lifespan")) == []
