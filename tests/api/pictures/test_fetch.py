"""Links to pictures: what is fetched, and everything that is not, over real loopback sockets.

`loopback` lets tests reach 127.0.0.1 and nothing else; the rules for real addresses are tested on
`is_public` and through the default network, which needs no socket to refuse.
"""

import asyncio
import gzip
import io
import ssl
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardrail.api.pictures.fetch import Network, RemoteImages, fetch_image, is_public
from guardrail.errors import ConfigError, RequestError
from guardrail.images.codec import ImageLimits, decode_image

LOOPBACK = IPv4Address("127.0.0.1")
PRIVATE = IPv4Address("10.0.0.7")


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), 90, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()


def answer(body=PNG, status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Transfer_Encoding" not in headers and "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


def redirect(location, status="302 Found"):
    return answer(b"", status, Location=location)


class Site:
    """Raw answers by path; an answer may be bytes or a coroutine function that writes them."""

    def __init__(self, pages):
        self.pages = pages
        self.requests = []
        self.port = 0

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            page = self.pages[head.split(" ")[1]]
            page = page(self) if callable(page) and not asyncio.iscoroutinefunction(page) else page
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await page(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def site(pages, **options):
    here = Site(pages)
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0, **options)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()


class Names:
    """A resolver whose answers are given; each look-up takes the next, and the last one stays."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked = []

    async def resolve(self, host, port):  # noqa: ARG002 - the resolver's own signature
        self.asked.append(host)
        given = self.answers.get(host.rstrip("."), [[LOOPBACK]])
        return given.pop(0) if len(given) > 1 else given[0]


def loopback(names=None, tls=True):
    return Network((names or Names()).resolve, lambda a: a == LOOPBACK, tls)


def rules_for(port, **fields):
    hosts = frozenset({f"pictures.test:{port}", f"other.test:{port}", f"127.0.0.1:{port}"})
    return RemoteImages("allow_list", hosts, **{"timeout_s": 20.0, **fields})


def fetched(pages, path="/a", *, names=None, **fields):
    """The picture, and the requests that the site saw."""

    async def body():
        async with site(pages) as here:
            url = f"http://pictures.test:{here.port}{path}"
            data = await fetch_image(url, rules_for(here.port, **fields), network=loopback(names))
            return data, here.requests

    return asyncio.run(body())


def refused(pages, path="/a", **options):
    with pytest.raises(RequestError) as caught:
        fetched(pages, path, **options)
    return caught.value


def refusal(url, rules=None, **options):
    """Why a link is refused before anything is sent."""
    rules = rules or RemoteImages("public")
    with pytest.raises(RequestError) as caught:
        asyncio.run(fetch_image(url, rules, **options))
    return caught.value


# What is fetched


def test_a_picture_arrives_as_it_is():
    data, requests = fetched({"/a": answer()})
    assert data == PNG
    assert len(requests) == 1


def test_the_request_names_the_host_and_carries_nothing_of_the_environment(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.1:9")
    _, (head,) = fetched({"/a?size=2": answer()}, "/a?size=2#fragment")
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    assert lines["host"].startswith("pictures.test:")
    assert lines["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "proxy-authorization", "referer"} & lines.keys()


def test_redirects_are_followed_without_cookies():
    first = answer(b"", "302 Found", Location="/b", Set_Cookie="a=b")
    data, requests = fetched({"/a": first, "/b": redirect("c", "308 X"), "/c": answer()})
    assert data == PNG
    assert "cookie" not in "".join(requests).lower()


def test_chunked_bodies_are_read():
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PNG), PNG)
    assert fetched({"/a": answer(body, Transfer_Encoding="chunked")})[0] == PNG


@pytest.mark.parametrize("declared", ["text/html", "image/gif", "nonsense"])
def test_what_the_server_calls_it_does_not_matter(declared):
    data, _ = fetched({"/a": answer(Content_Type=declared)})
    picture = decode_image(data, declared_media_type=None, limits=ImageLimits(), param="p")
    assert (picture.height, picture.width) == (4, 5)


# Rules


def test_off_by_default():
    error = refusal("https://pictures.test/a.png", RemoteImages())
    assert error.code == "remote_image_url_not_supported"


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("a.example", 443, True),
        ("a.example", 80, True),
        ("a.example", 8443, False),
        ("b.example", 443, False),
        ("sub.a.example", 443, False),
        ("x.wild.example", 443, True),
        ("y.x.wild.example", 443, True),
        ("wild.example", 443, False),
        ("notwild.example", 443, False),
        ("ported.example", 8443, True),
        ("ported.example", 443, False),
    ],
)
def test_an_allow_list_means_what_it_says(host, port, allowed):
    hosts = frozenset({"a.example", "*.wild.example", "ported.example:8443"})
    assert RemoteImages("allow_list", hosts).allows(host, port) is allowed


@pytest.mark.parametrize(("port", "allowed"), [(80, True), (443, True), (22, False), (8080, False)])
def test_public_means_the_two_ports_of_the_web(port, allowed):
    assert RemoteImages("public").allows("a.example", port) is allowed


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mode": "on"}, "mode"),
        ({"mode": "allow_list"}, "hosts"),
        ({"hosts": frozenset({"https://a.example"})}, "hosts"),
        ({"hosts": frozenset({"*"})}, "hosts"),
        ({"hosts": frozenset({"A.example"})}, "hosts"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"max_redirects": 11}, "max_redirects"),
        ({"max_redirects": -1}, "max_redirects"),
    ],
)
def test_rules_out_of_range_are_named(fields, field):
    with pytest.raises(ConfigError) as caught:
        RemoteImages(**fields)
    assert caught.value.field == field


# Links


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/a",
        "file:///etc/passwd",
        "gopher://a.example/",
        "//a.example/a",
        "a.png",
        "",
        "http://",
        "http:///a",
        "http://a.example:99999/",
        "http://a.example:x/",
        "http://a.example\\@b.example/",
        "http://a.exa mple/",
        "http://a.example/\r\nHost: b",
        "http://ä.example/",
        "http://[::1/",
        "http://a.example/" + "a" * 5000,
    ],
)
def test_what_is_no_plain_link_is_refused(url):
    error = refusal(url)
    assert (error.status, error.code) == (400, "invalid_image_url")


@pytest.mark.parametrize("url", ["http://user:pw@a.example/", "http://u@a.example/"])
def test_links_with_credentials_are_refused(url):
    error = refusal(url)
    assert "password" in str(error)
    assert "pw" not in str(error).replace("password", "")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_picture_or_a_request_error(text):
    nobody = Network(Names().resolve, lambda _: False)
    for url in (text, "http://" + text):
        assert refusal(url, network=nobody).param == "image_url"


# Addresses

CLOSED = [
    "0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.8.8.8 169.254.169.254 172.16.0.1",
    "172.31.255.255 192.168.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1",
    "203.0.113.9 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16",
    ":: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808",
    "64:ff9b:1::1 100::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1",
    "2001::1 2001:0:4136:e378::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 5f00::1",
    "2607:f8b0::5efe:7f00:1 2607:f8b0::200:5efe:7f00:1 2607:f8b0:4004:800::200e%eth0 4000::1",
]


@pytest.mark.parametrize("text", " ".join(CLOSED).split())
def test_addresses_inside_are_not_public(text):
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2607:f8b0:4004:800::200e"]
)
def test_addresses_of_the_internet_are_public(text):
    assert is_public(ip_address(text))


inside = st.sampled_from(["10.0.0.0", "127.0.0.0", "169.254.0.0", "192.168.0.0"]).flatmap(
    lambda base: st.integers(0, 0xFFFF).map(lambda low: int(IPv4Address(base)) + low)
)


def spelled(number):
    """One IPv4 address in the forms that some program somewhere understands."""
    a, b, c, d = number.to_bytes(4, "big")
    return [
        f"{a}.{b}.{c}.{d}",
        f"{number}",
        f"{number:#x}",
        f"0{number:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF:#x}",
        f"{a}.{b}.{c}.{d}.",
        f"[::ffff:{a}.{b}.{c}.{d}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[::{a}.{b}.{c}.{d}]",
        f"[64:ff9b::{a}.{b}.{c}.{d}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
    ]


@settings(max_examples=40, deadline=None)
@given(inside)
def test_no_spelling_of_an_inner_address_gets_through(number):
    """Nothing listens there: what counts is that the refusal comes before any connection."""
    for host in spelled(number):
        error = refusal(f"http://{host}/", network=Network(permits=watched(is_public)))
        assert error.code in ("image_fetch_failed", "image_url_not_allowed", "invalid_image_url")


def watched(permits):
    """The same rule, which fails the test if it lets anything through."""

    def check(address):
        assert not permits(address), f"{address} counts as public"
        return False

    return check


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_form_of_ipv6_that_carries_an_ipv4_address_is_public(number):
    for prefix in ("::", "::ffff:0:0", "64:ff9b::", "2607:f8b0::5efe:0:0"):
        assert not is_public(IPv6Address(int(IPv6Address(prefix)) + number))
    assert not is_public(IPv6Address((0x2002 << 112) + (number << 80)))


def test_localhost_by_the_systems_own_resolver_is_refused():
    error = refusal("http://localhost/")
    assert error.code == "image_fetch_failed"


def test_one_inner_address_among_public_ones_refuses_the_host():
    names = Names(pictures_test=[[LOOPBACK, PRIVATE]])
    error = refused({"/a": answer()}, names=names)
    assert error.code == "image_fetch_failed"


def test_refusals_do_not_tell_an_inner_host_from_a_missing_or_a_silent_one():
    async def missing(host, port):
        raise OSError(f"{host} is unknown")

    url = "http://inner.test/"
    names = Names(inner_test=[[PRIVATE]])
    nothing = Names(inner_test=[[]])
    texts = {
        str(refusal(url, network=Network(names.resolve))),
        str(refusal(url, network=Network(nothing.resolve))),
        str(refusal(url, network=Network(missing))),
        str(refused({"/a": b"not http at all\r\n\r\n"})),
        str(refused({"/a": b""})),
    }
    assert len(texts) == 1
    assert "inner" not in texts.pop()


# Redirects and names that change


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.7/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://other.test:22/",
        "http://elsewhere.test/",
        "//elsewhere.test/",
        "file:///etc/passwd",
        "http://user:pw@other.test/",
        "http://2130706433/",
        "http://a b/",
    ],
)
def test_a_redirect_is_checked_like_a_link(location):
    pages = {"/a": redirect("/b"), "/b": redirect(location)}
    error = refused(pages)
    assert error.status == 400
    assert error.code != "unsupported_image_type"


def test_a_redirect_to_a_host_that_turned_inward_is_refused():
    names = Names(pictures_test=[[LOOPBACK], [PRIVATE]])
    error = refused({"/a": redirect("/b"), "/b": answer()}, names=names)
    assert error.code == "image_fetch_failed"
    assert names.asked == ["pictures.test"] * 2


def test_a_name_is_looked_up_once_so_rebinding_has_no_second_chance():
    names = Names(pictures_test=[[LOOPBACK], [PRIVATE]])
    data, _ = fetched({"/a": answer()}, names=names)
    assert data == PNG
    assert names.asked == ["pictures.test"]


@pytest.mark.parametrize(("allowed", "hops"), [(0, 1), (3, 4)])
def test_redirects_are_counted(allowed, hops):
    error = refused({"/a": redirect("/a")}, max_redirects=allowed)
    assert f"more than {allowed} times" in str(error)

    pages = {"/a": answer()} | {f"/{i}": redirect(f"/{i - 1}") for i in range(2, hops)}
    pages |= {"/1": redirect("/a")}
    data, requests = fetched(pages, f"/{hops - 1}" if hops > 1 else "/a", max_redirects=allowed)
    assert data == PNG
    assert len(requests) == hops


# Bodies


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
    while True:
        writer.write(bytes(1 << 16))
        await writer.drain()


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    while True:
        writer.write(b"\x89")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silence(writer):
    await asyncio.sleep(60)


def test_an_endless_body_is_cut_at_the_limit():
    error = refused({"/a": endless}, max_bytes=1 << 20)
    assert (error.status, error.code) == (413, "image_too_large")


def test_a_body_that_declares_too_much_is_not_read():
    error = refused({"/a": answer(PNG, Content_Length=10**9)}, max_bytes=1000)
    assert error.status == 413


def test_the_limit_itself_is_allowed():
    assert fetched({"/a": answer()}, max_bytes=len(PNG))[0] == PNG
    assert refused({"/a": answer()}, max_bytes=len(PNG) - 1).status == 413


@pytest.mark.parametrize("page", [drip, silence])
def test_slow_answers_end_at_the_total_time(page):
    error = refused({"/a": page}, timeout_s=0.3)
    assert "0.3 s" in str(error)


def test_slow_redirects_share_one_total_time():
    async def late(writer):
        await asyncio.sleep(0.2)
        writer.write(redirect("/a"))

    assert "0.5 s" in str(refused({"/a": late}, timeout_s=0.5, max_redirects=10))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "GZIP"])
def test_compressed_bodies_are_refused_and_never_unpacked(encoding):
    bomb = gzip.compress(bytes(10 << 20))
    error = refused({"/a": answer(bomb, Content_Encoding=encoding)})
    assert error.code == "image_fetch_failed"
    assert "compressed" in str(error)


def test_identity_is_no_compression():
    assert fetched({"/a": answer(Content_Encoding="identity")})[0] == PNG


@pytest.mark.parametrize("body", [b"", b"<html>", b"secret=1", b"<svg/>"])
def test_what_does_not_begin_like_a_picture_is_not_returned(body):
    error = refused({"/a": answer(body, Content_Type="image/png")})
    assert (error.status, error.code) == (415, "unsupported_image_type")


@pytest.mark.parametrize("status", ["404 X", "204 X", "206 X", "300 X", "304 X", "500 X", "302 X"])
def test_only_a_whole_answer_counts(status):
    assert refused({"/a": answer(PNG, status)}).code == "image_fetch_failed"


def test_a_body_cut_short_is_refused():
    assert refused({"/a": answer(PNG, Content_Length=len(PNG) + 9)}).code == "image_fetch_failed"


def test_cancellation_goes_through():
    async def body():
        async with site({"/a": silence}) as here:
            url = f"http://pictures.test:{here.port}/a"
            task = asyncio.create_task(fetch_image(url, rules_for(here.port), network=loopback()))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(body())


# TLS


def authority(tmp_path):
    """A certificate for pictures.test that signs itself, in a file with its key."""
    import datetime

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pictures.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.test")]), False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "pictures.pem"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.mark.parametrize(("host", "trusted"), [("pictures.test", True), ("other.test", False)])
def test_tls_is_checked_against_the_name_and_not_the_pinned_address(tmp_path, host, trusted):
    file = authority(tmp_path)
    asked = []
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(file)
    ours.sni_callback = lambda _socket, name, _context: asked.append(name)
    theirs = ssl.create_default_context(cafile=str(file))

    async def body():
        async with site({"/a": answer()}, ssl=ours) as here:
            url = f"https://{host}:{here.port}/a"
            return await fetch_image(url, rules_for(here.port), network=loopback(tls=theirs))

    if trusted:
        assert asyncio.run(body()) == PNG
    else:
        with pytest.raises(RequestError, match="could not be fetched"):
            asyncio.run(body())
    assert asked == [host]


def test_a_redirect_from_https_to_http_is_refused(tmp_path):
    file = authority(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(file)
    theirs = ssl.create_default_context(cafile=str(file))

    async def body():
        async with site({"/a": redirect("http://pictures.test/b")}, ssl=ours) as here:
            url = f"https://pictures.test:{here.port}/a"
            return await fetch_image(url, rules_for(here.port), network=loopback(tls=theirs))

    with pytest.raises(RequestError, match="https to http"):
        asyncio.run(body())
