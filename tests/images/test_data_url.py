"""Data URLs: strict base64, sizes checked first, and no link is ever followed."""

import base64
import tracemalloc
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import RequestError
from guardrail.images import data_url
from guardrail.images.data_url import is_link, parse_data_url, to_data_url
from guardrail.images.limits import ImageLimits

LIMITS = ImageLimits()
PARAM = "messages[2].content[0].image_url.url"


def parse(url, limits=LIMITS):
    return parse_data_url(url, limits=limits, param=PARAM)


def refusal(url, limits=LIMITS):
    with pytest.raises(RequestError) as caught:
        parse(url, limits)
    assert caught.value.param == PARAM
    assert str(caught.value).startswith(PARAM)
    assert caught.value.__cause__ is None
    return caught.value


@given(st.binary(max_size=300), st.sampled_from(["image/png", "image/svg+xml", "text/plain"]))
def test_round_trip(data, media_type):
    assert parse(to_data_url(data, media_type)) == (media_type, data)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/png;base64,QUJD", ("image/png", b"ABC")),
        ("DATA:Image/PNG;BASE64,QUJD", ("image/png", b"ABC")),
        ("data:image/png;charset=utf-8;base64,QUI=", ("image/png", b"AB")),
        ("data:image/png;base64,QU\r\nJD\n", ("image/png", b"ABC")),
        ("data:image/png;base64, Q U J D\t", ("image/png", b"ABC")),
        ("data:image/png;base64,", ("image/png", b"")),
        ("data:image;base64,QUJD", ("image", b"ABC")),
        ("data:;base64,QUJD", ("", b"ABC")),
        ("data:image/png; base64,QUJD", ("image/png", b"ABC")),
        ("data:image/png ; charset=utf-8 ;base64,QUJD", ("image/png", b"ABC")),
        ("data:image/png;base64,QUI", ("image/png", b"AB")),
        ("data:image/png;base64,QQ", ("image/png", b"A")),
        ("data:image/png;base64,QUJD====", ("image/png", b"ABC")),
        ("data:image/png;base64,--__", ("image/png", b"\xfb\xef\xff")),
        ("data:image/png;base64,-+_/", ("image/png", b"\xfb\xef\xff")),
        ("data:image/png;base64,%2B%2b%2F/", ("image/png", b"\xfb\xef\xff")),
        ("data:image/png;base64,QUI%3D", ("image/png", b"AB")),
        ("data:image/png;base64,QU%0AJD", ("image/png", b"ABC")),
    ],
)
def test_accepted_forms(url, expected):
    assert parse(url) == expected


@pytest.mark.parametrize(
    "payload",
    [
        "Q",
        "QUJDR",
        "=QUJ",
        "QU=J",
        "QUI=QUI=",
        "QU!D",
        "QU%21D",
        "QU%D",
        "QU%E9D",
        "QUJD\0",
        "QUJé",
        "QUJD\u00a0",
        "QUJD\x0b",
        "data:image/png;base64,QUJD",
    ],
)
def test_garbage_base64_is_refused_and_not_quoted(payload):
    error = refusal(f"data:image/png;base64,{payload}")
    assert (error.status, error.code) == (400, "invalid_image_url")
    assert payload not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:",
        "data:,",
        "data:image/png,QUJD",
        "data:image/png;base64",
        "data:base64,QUJD",
        "data:image/;base64,QUJD",
        "data:image/png/x;base64,QUJD",
        "data:image/png;base64;x=1,QUJD",
        "data:image/png;base32,QUJD",
        "xdata:image/png;base64,QUJD",
        "file:///etc/passwd",
        "ftp://host/picture.png",
        "QUJD",
        "data:image/png" + ";a=b" * 100 + ";base64,QUJD",
    ],
)
def test_other_urls_are_refused(url):
    error = refusal(url)
    assert (error.status, error.code) == (400, "invalid_image_url")
    assert "data:image/png;base64" in str(error)


@pytest.mark.parametrize(
    "url", ["http://host/a.png", "https://host/a.png", "HTTPS://host", "http:x"]
)
def test_links_are_told_from_data(url):
    assert is_link(url)
    assert not is_link(f"data:{url}")
    assert not is_link(f" {url}")
    error = refusal(url)
    assert (error.status, error.code) == (400, "invalid_image_url")
    assert "host" not in str(error)


def test_the_byte_limit_is_exact():
    limits = ImageLimits(max_bytes=10)
    for size in range(11):
        assert parse(to_data_url(b"x" * size, "image/png"), limits)[1] == b"x" * size
    for size in range(11, 40):
        error = refusal(to_data_url(b"x" * size, "image/png"), limits)
        assert (error.status, error.code) == (413, "image_too_large")


@pytest.mark.parametrize("filler", ["A", " "])
def test_too_large_is_refused_before_it_is_decoded(filler, monkeypatch):
    monkeypatch.setattr(data_url.pybase64, "b64decode", None)  # would fail if it were reached
    url = "data:image/png;base64," + filler * 4_000_000
    tracemalloc.start()
    error = refusal(url, ImageLimits(max_bytes=1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.status == 413
    assert peak < 2 * len(url)


HEADERS = st.builds(
    "{}{}{};{}base64{},".format,
    st.sampled_from(["data:", "DATA:", "data: "]),
    st.sampled_from(["", "image", "image/png", "IMAGE/JPEG", "application/octet-stream"]),
    st.sampled_from(["", ";charset=utf-8", "; name=a.png"]),
    st.sampled_from(["", " "]),
    st.sampled_from(["", " "]),
)


@given(HEADERS, st.binary(max_size=80), st.data())
def test_every_spelling_of_the_same_bytes_is_read(header, data, draw):
    """Alphabet, padding, line breaks and percent-encoding, in any mixture."""
    text = base64.b64encode(data).decode()
    if draw.draw(st.booleans()):
        text = base64.urlsafe_b64encode(data).decode()
    if draw.draw(st.booleans()):
        text = text.rstrip("=")
    if text and draw.draw(st.booleans()):
        at = draw.draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw.draw(st.sampled_from(["\n", "\r\n", " ", "\t", "%0A", "%20"]))
            + text[at:]
        )
    if draw.draw(st.booleans()):
        text = text.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D")
    assert parse(header + text)[1] == data


@given(st.text(max_size=60))
def test_any_text_after_the_header_decodes_or_is_refused(text):
    try:
        _, data = parse(f"data:image/png;base64,{text}")
    except RequestError:
        return
    kept = unquote(text).translate(str.maketrans("-_", "+/", " \t\r\n\f")).rstrip("=")
    assert base64.b64encode(data).decode()[: len(kept) - 1] == kept[:-1]


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(url):
    refusal(url)


@given(st.text("AQ/+=-_ \n\xe9", max_size=12))
def test_what_is_read_is_what_the_standard_reads(text):
    plain = text.translate(str.maketrans("-_", "+/", " \n"))
    bare = plain.rstrip("=")
    try:
        wanted = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        wanted = None
    try:
        assert parse(f"data:image/png;base64,{text}")[1] == wanted
    except RequestError:
        assert wanted is None
