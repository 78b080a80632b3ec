"""Heads over raw sockets: what others read differently, is too large, or does not come."""

import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrail.server.connections import peer_of

POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
HOST = b"Host: a\r\n"
OLD = POST.replace(b"1.1", b"1.0")
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)


def post(*fields, body=BODY, line=POST):
    return line + JSON + b"".join(fields) + b"\r\n" + body


MALFORMED = {
    "no host": post(LENGTH),
    "two hosts": post(HOST, HOST, LENGTH),
    "two hosts, one of another case": post(HOST, b"hOST: b\r\n", LENGTH),
    "chunked in HTTP/1.0": post(HOST, CHUNKED, body=CHUNKS + b"\r\n", line=OLD),
    "gzip, chunked": post(HOST, b"Transfer-Encoding: gzip, chunked\r\n", body=CHUNKS + b"\r\n"),
    "identity": post(HOST, b"Transfer-Encoding: identity\r\n"),
    "chunked twice": post(HOST, CHUNKED, CHUNKED, body=CHUNKS + b"\r\n"),
    "length and chunked": post(HOST, LENGTH, CHUNKED, body=CHUNKS + b"\r\n"),
    "chunked and length": post(HOST, CHUNKED, LENGTH, body=CHUNKS + b"\r\n"),
    "two lengths": post(HOST, LENGTH, LENGTH),
    "length with a sign": post(HOST, LENGTH.replace(b": ", b": +")),
    "length in hexadecimal": post(HOST, b"Content-Length: 0x3f\r\n"),
    "folded field": post(HOST, LENGTH, b"X-A: b\r\n c\r\n"),
    "folded with a tab": post(HOST, LENGTH, b"X-A: b\r\n\tc\r\n"),
    "bare LF everywhere": post(HOST, LENGTH).replace(b"\r\n", b"\n"),
    "bare LF in a field": post(HOST, LENGTH, b"X-A: b\n"),
    "bare CR in a field": post(HOST, LENGTH, b"X-A: b\rc\r\n"),
    "NUL in a value": post(HOST, LENGTH, b"X-A: b\0c\r\n"),
    "NUL in a name": post(HOST, LENGTH, b"X\0A: b\r\n"),
    "NUL in the path": post(HOST, LENGTH, line=b"POST /v1/chat\0 HTTP/1.1\r\n"),
    "blank before the colon": post(HOST, LENGTH, b"X-A : b\r\n"),
    "no colon": post(HOST, LENGTH, b"X-A\r\n"),
    "no name": post(HOST, LENGTH, b": b\r\n"),
    "HTTP/2.0": post(HOST, LENGTH, line=POST.replace(b"1.1", b"2.0")),
    "HTTP/0.9": post(HOST, LENGTH, line=POST.replace(b"1.1", b"0.9")),
    "HTTP/1.2": post(HOST, LENGTH, line=POST.replace(b"1.1", b"1.2")),
    "no version": post(HOST, LENGTH, line=b"POST /v1/chat/completions\r\n"),
    "trailer": post(HOST, CHUNKED, body=CHUNKS + b"X-A: b\r\n\r\n"),
    "trailer that is a header": post(HOST, CHUNKED, body=CHUNKS + b"Authorization: b\r\n\r\n"),
    "chunk with a sign": post(HOST, CHUNKED, body=b"+" + CHUNKS + b"\r\n"),
    "chunk ended by LF": post(HOST, CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n", 1) + b"\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64 + b"\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_what_others_read_differently_is_refused(plain, request_bytes):
    assert plain.ask(request_bytes) == 400


def test_what_everybody_reads_alike_is_taken(plain):
    assert plain.ask(post(HOST, LENGTH)) == 200
    assert plain.ask(post(HOST, CHUNKED, body=CHUNKS + b"\r\n")) == 200
    assert plain.ask(post(LENGTH, line=POST.replace(b"1.1", b"1.0"))) == 200
    assert plain.ask(post(HOST, CHUNKED.replace(b"c", b"C"), body=CHUNKS + b"\r\n")) == 200


FRAMING = [
    b"Content-Length: %s\r\n", b"content-length:%s\r\n", b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:\tCHUNKED\r\n", b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: x\r\n", b"Host: a\r\n", b"HOST:b\r\n",
    b" Transfer-Encoding: chunked\r\n", b"X: y\n",
]  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FRAMING), max_size=4), st.sampled_from([b"1.0", b"1.1"]))
def test_a_request_is_framed_in_one_way_or_refused(plain, fields, version):
    """Only one Host and one of Content-Length and Transfer-Encoding are ever taken."""
    names = [field.split(b":")[0].lower() for field in fields]
    line = POST.replace(b"1.1", version) + JSON
    chunked = any(b"hunked" in field.lower() for field in fields)
    body = CHUNKS + b"\r\n" if chunked else BODY
    head = b"".join(f % b"%d" % len(BODY) if b"%s" in f else f for f in fields)
    status = plain.ask(line + head + b"Connection: close\r\n\r\n" + body)
    if status == 200:
        assert names.count(b"host") <= 1
        assert names.count(b"content-length") + names.count(b"transfer-encoding") == 1
        assert not b"".join(fields).replace(b"\r\n", b"").count(b"\n")
        assert version == b"1.1" or b"transfer-encoding" not in names


LARGE = {
    "one field": post(HOST, LENGTH, b"X-A: " + b"b" * 40_000 + b"\r\n"),
    "names": post(HOST, LENGTH, b"X" * 40_000 + b": b\r\n"),
    "many fields": post(HOST, LENGTH, b"X-A: b\r\n" * 101),
    "the path": post(HOST, LENGTH, line=POST.replace(b"/v1", b"/" + b"v" * 40_000)),
    "a million fields": post(HOST, LENGTH, b"X-A: b\r\n" * 1_000_000),
    "not ended": POST + b"X-A: " + b"b" * 400_000,
    "a long trailer": post(HOST, CHUNKED, body=CHUNKS + b"X-A: " + b"b" * 400_000),
    "a long chunk extension": post(HOST, CHUNKED, body=b"1;" + b"b" * 400_000),
}


@pytest.mark.parametrize("request_bytes", LARGE.values(), ids=LARGE)
def test_heads_are_bounded(plain, raw, request_bytes):
    before = plain.counted("head_bytes") + plain.counted("headers")
    with plain.connect() as client:
        try:
            client.sendall(request_bytes)
        except ConnectionError:  # told while it still sends
            assert len(request_bytes) > 1_000_000
        answer = raw.read_all(client)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert raw.error_of(answer)["code"] == "headers_too_large"
    assert plain.counted("head_bytes") + plain.counted("headers") == before + 1


def test_a_head_of_the_usual_size_is_taken(plain):
    assert plain.ask(post(HOST, LENGTH, b"Cookie: " + b"c" * 16_000 + b"\r\n")) == 200


def test_heads_that_do_not_come(start, raw):
    server = start(head_timeout_s=1.0)
    half = []
    for _ in range(100):
        half.append(server.connect())
        half[-1].sendall(POST)
    silent = [server.connect() for _ in range(50)]
    assert server.chat()[0] == 200
    for client in half:
        assert raw.error_of(raw.read_all(client))["code"] == "request_timeout"
    assert [raw.read_all(client) for client in silent] == [b""] * 50
    assert server.counted("head_time") == 100
    for client in half + silent:
        client.close()


def test_dripped_heads_end_in_time(start, raw):
    server = start(head_timeout_s=0.5)
    started = time.monotonic()
    with server.connect() as client:
        for byte in itertools.cycle(b"X-A: b\r\n"):
            try:
                client.sendall(bytes([byte]))
            except ConnectionError:
                break
            if time.monotonic() - started > 15:
                break
            time.sleep(0.02)
    assert time.monotonic() - started < 15


def test_idle_connections_end_when_they_may(start, raw):
    server = start(keep_alive_s=2.0, head_timeout_s=0.1)
    with server.connect() as client:
        for _ in range(2):
            client.sendall(post(HOST, LENGTH))
            assert raw.status_of(client) == 200
            time.sleep(0.2)  # longer than a head may take
        assert raw.read_all(client) == b""


def test_requests_that_do_not_wait_for_answers(plain, raw):
    one = post(HOST, LENGTH)
    with plain.connect() as client:
        client.sendall(one * 3 + post(HOST, LENGTH, b"Connection: close\r\n"))
        assert raw.read_all(client).count(b"HTTP/1.1 200") == 4
    with plain.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 5_000)
        assert raw.read_all(client).count(b"HTTP/1.1 200") < 20
    assert plain.counted("pipelined") >= 1
    assert plain.chat()[0] == 200


PATHS = [
    "/v1/chat%2Fcompletions", "/v1%2fchat/completions", "//v1//chat/completions",
    "/v1//chat/completions", "/v1/./chat/completions", "/v1/x/../chat/completions",
    "/v1/%2e/chat/completions", "/v1/x/%2E%2e/chat/completions", "/v1/models/../chat/completions",
    "/v1/models/%2e%2e/chat/completions", "/v1/chat%252Fcompletions", "/v1/chat%5ccompletions",
    "/v1/chat/completions%00", "/v1/chat/completions%0a", "/v1/chat/completions%20",
    "/v1/chat/completions;a", "/v1/ch%C3%A4t/completions", "/%2e%2e/v1/chat/completions",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_has_one_spelling(plain, path):
    line = POST.replace(b"/v1/chat/completions", path.encode())
    assert plain.ask(post(HOST, LENGTH, line=line)) == 404


def test_letters_may_be_encoded(plain):
    line = POST.replace(b"/v1/chat", b"/%76%31/c%68at")
    assert plain.ask(post(HOST, LENGTH, line=line)) == 200


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("no:address", "no:address"),
    ],
)
def test_what_counts_as_one_address(address, peer):
    assert peer_of(address) == peer
