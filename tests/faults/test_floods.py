"""Many connections, and slow, large or many bodies, in small; an honest client is served."""

import contextlib
import time

import pytest

from guardrail.api.refusals import REFUSED_BOUNDS
from guardrail.api.wire_limits import WireLimits
from guardrail.errors import ConfigError
from guardrail.upstreams.scripted import Fault, Step

SOON_S = 5.0  # an answer takes some hundredths of a second; machines that test are busy


def hold(server, raw, count, declared, sent):
    """Clients that have sent so much of a body, and stop."""
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        with contextlib.suppress(OSError):
            client.settimeout(0.2)
            client.sendall(raw.with_length(declared) + b" " * sent)
        client.settimeout(60.0)
    return clients


def close(clients):
    for client in clients:
        client.close()


def test_silent_connections_make_room(start, raw):
    server = start(max_connections=20, max_connections_per_address=1000)
    silent = [server.connect() for _ in range(60)]
    status, took_s = server.chat()
    assert (status, took_s < SOON_S) == (200, True)
    assert sum(raw.is_open(client) for client in silent) <= 20
    assert server.counted("connections") >= 40
    close(silent)


@pytest.mark.parametrize("bound", ["connections", "connections_per_address"])
def test_connections_under_way_are_not_closed(start, raw, bound):
    server = start(**{f"max_{bound}": 5}, script=[Step(fault=Fault.HANG)])
    busy = [server.connect() for _ in range(5)]
    for client in busy:
        client.sendall(raw.with_length(len(raw.BODY)) + raw.BODY)
    deadline = time.monotonic() + 60
    while server.admission.free > 64 - 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    with server.connect() as client:
        answer = raw.read_all(client)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert raw.error_of(answer)["code"] == "overloaded"
    assert server.counted(bound) == 1
    assert all(raw.is_open(client) for client in busy)
    close(busy)


def test_places_come_back(start, raw):
    server = start(max_connections=4)
    for _ in range(20):
        assert server.chat()[0] == 200


@pytest.mark.parametrize("count", [8, 64])
def test_slow_bodies_keep_nobody_waiting(start, raw, count):
    server = start(max_bodies=8, body_grace_s=1.0, limits={"max_concurrent_requests": 1})
    slow = hold(server, raw, count, 1000, 1)
    for _ in range(3):
        status, took_s = server.chat()
        assert (status, took_s < SOON_S) == (200, True)
    statuses = {raw.status_of(client) for client in slow}
    assert statuses <= {408, 503}
    assert server.counted("body_rate") + server.counted("bodies") == count
    close(slow)


def test_bodies_that_hold_all_the_room_lose_it(start, raw):
    server = start(body_grace_s=30.0)
    greedy = hold(server, raw, 8, 1_000_000, 900_000)
    status, took_s = server.chat()
    assert (status, took_s < SOON_S) == (200, True)
    assert server.bodies.held_bytes <= 1 << 20
    status, took_s = server.chat(500_000, "127.0.0.2")
    assert (status, took_s < 20) == (200, True)
    assert server.counted("bodies_bytes") >= 1
    close(greedy)


def test_room_comes_back(start, raw):
    server = start()
    close(hold(server, raw, 5, 1_000_000, 300_000))
    assert server.chat(1_000_000)[0] == 200
    assert server.ask(raw.with_length(9) + b"{" * 9) == 400
    deadline = time.monotonic() + 60
    while server.bodies.held_bytes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (server.bodies.held_bytes, server.bodies.arriving) == (0, 0)
    assert server.admission.free == 64


def test_a_slow_honest_client_is_served(start, raw):
    server = start(body_grace_s=1.0, min_body_rate_bps=1024)
    body = raw.BODY.ljust(16_000)
    with server.connect() as client:
        client.sendall(raw.with_length(len(body)))
        for at in range(0, len(body), 1000):  # some 12 kB a second
            client.sendall(body[at : at + 1000])
            time.sleep(0.08)
        assert raw.status_of(client) == 200


def test_a_body_has_an_end(start, raw):
    server = start(body_timeout_s=0.5, min_body_rate_bps=1)
    with server.connect() as client:
        client.sendall(raw.with_length(1000) + b" " * 900)
        assert raw.status_of(client) == 408
    assert server.counted("body_time") == 1


def test_a_client_that_leaves_the_line_holds_nothing(start, raw):
    server = start(script=[Step(fault=Fault.HANG)], limits={"max_concurrent_requests": 1})
    first = hold(server, raw, 1, len(raw.BODY), 0)[0]
    first.sendall(raw.BODY)
    waiting = [server.connect() for _ in range(4)]
    for client in waiting:
        client.sendall(raw.with_length(200_000) + raw.BODY.ljust(200_000))
    deadline = time.monotonic() + 60
    while server.admission.waiting < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.bodies.held_bytes > 500_000
    close(waiting)
    while server.bodies.held_bytes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (server.admission.waiting, server.bodies.held_bytes) == (0, 0)
    first.close()


def test_a_body_that_nobody_waits_for_ends(start, raw):
    server = start(head_timeout_s=0.5)
    with server.connect() as client:
        client.sendall(raw.with_length(2 << 20) + b" " * 1000)
        assert raw.status_of(client) == 413
        started = time.monotonic()
        raw.read_all(client)
        assert time.monotonic() - started < 5
    assert server.counted("body_bytes") == 1


def test_the_counts_name_every_bound(plain):
    counts = plain.deployment.refusals.counts()
    assert tuple(counts) == REFUSED_BOUNDS
    before = counts["json_size"]
    body = b'{"model":"m","messages":[' + b"[]," * 120_000 + b"[]]}"
    assert plain.ask(b"".join([*_post(body)])) == 413
    assert plain.deployment.refusals.counts()["json_size"] == before + 1


def _post(body):
    yield b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    yield b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("field", ["max_bodies", "head_timeout_s", "max_head_bytes"])
def test_bounds_are_positive(field):
    with pytest.raises(ConfigError, match=field):
        WireLimits(**{field: 0})


def test_all_bodies_have_room_for_the_largest(start):
    with pytest.raises(ConfigError, match="max_body_bytes"):
        start(max_bodies_bytes=1000)
