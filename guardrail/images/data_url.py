"""Data URLs in and out; nothing here follows a link."""

from __future__ import annotations

import re

import pybase64

from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits, too_large

__all__ = ["is_link", "parse_data_url", "to_data_url"]

_TYPE = r"[\w.+-]+(?:/[\w.+-]+)?"  # clients write `image` alone, or nothing
_HEADER = re.compile(
    rf"data:\s*({_TYPE})?((?:\s*;\s*[\w.+-]+=[\w.+-]+)*)\s*;\s*base64\s*", re.ASCII | re.IGNORECASE
)
_MAX_HEADER_CHARS = 256
_WHITESPACE = b" \t\r\n\f"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
# What encoders of URLs write for the signs of base64 and for line breaks.
_PERCENT_CODES = tuple(
    (code, sign)
    for sign in (b"+", b"/", b"=", b"-", b"_", b" ", b"\r", b"\n")
    for code in {b"%%%02X" % ord(sign), b"%%%02x" % ord(sign)}
)
_PADDING = (b"", None, b"==", b"=")  # by how many characters there are beyond fours; one is too few
_LINK = re.compile(r"https?:", re.IGNORECASE)


def is_link(url: str) -> bool:
    """Whether the URL is a link, and not the picture itself."""
    return _LINK.match(url) is not None


def parse_data_url(url: str, *, limits: ImageLimits, param: str) -> tuple[str, bytes]:
    """The media type, empty where there is none, and the bytes of a base64 data URL.

    Taken as clients send it: the URL-safe alphabet (RFC 4648, section 5), no padding, blanks and
    line breaks, percent-encoding. Any other foreign character is refused, and so is padding inside.

    Raises:
        RequestError: not a base64 data URL (400), or too large (413).
    """
    header, comma, payload = _split(url)
    match = _HEADER.fullmatch(header)
    if not comma or match is None:
        raise _invalid(
            "not a base64 data URL; send 'data:image/png;base64,...' (or jpeg, webp, gif)", param
        )
    return (match[1] or "").lower(), _decode(payload, limits, param)


def to_data_url(data: bytes, media_type: str) -> str:
    """The data URL of an encoded picture."""
    return f"data:{media_type};base64,{pybase64.b64encode_as_string(data)}"


def _split(url: str) -> tuple[str, bool, str]:
    comma = url.find(",", 0, _MAX_HEADER_CHARS)
    return (url[:comma], True, url[comma + 1 :]) if comma >= 0 else ("", False, "")


def _decode(payload: str, limits: ImageLimits, param: str) -> bytes:
    # Checked twice before decoding: first so that blanks cannot hide a huge text, then exactly.
    most_chars = 4 * -(-limits.max_bytes // 3)
    if len(payload) > 2 * most_chars:
        raise too_large(f"has more than {limits.max_bytes} bytes", param, "max_image_bytes")
    try:
        text = _plain(payload.encode("ascii"))
        if len(text) > most_chars:
            raise too_large(f"has more than {limits.max_bytes} bytes", param, "max_image_bytes")
        data = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError, which would quote the text
        raise _invalid(
            "the base64 of the data URL is damaged; encode the file's bytes whole, with "
            "the standard alphabet",
            param,
        ) from None
    limits.check_bytes(len(data), param)
    return data


def _plain(text: bytes) -> bytes:
    """The same in the standard alphabet, padded; what is not base64 stays so."""
    for code, sign in _PERCENT_CODES if b"%" in text else ():
        text = text.replace(code, sign)
    if any(blank in text for blank in _WHITESPACE):
        text = text.translate(None, _WHITESPACE)
    if b"-" in text or b"_" in text:
        text = text.translate(_URL_SAFE)
    bare = text.rstrip(b"=")
    padding = _PADDING[len(bare) % 4]
    return text if padding is None or len(bare) + len(padding) == len(text) else bare + padding


def _invalid(what: str, param: str) -> RequestError:
    return RequestError(f"{param}: {what}", param=param, code="invalid_image_url")
