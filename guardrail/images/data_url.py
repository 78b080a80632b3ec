"""Data URLs in and out; nothing here follows a link."""

from __future__ import annotations

import re

import pybase64

from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits, too_large

__all__ = ["is_link", "parse_data_url", "to_data_url"]

_HEADER = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)((?:;[\w.+-]+=[\w.+-]+)*);base64", re.ASCII | re.IGNORECASE
)
_MAX_HEADER_CHARS = 256
_WHITESPACE = b" \t\r\n\f"
_LINK = re.compile(r"https?:", re.IGNORECASE)


def is_link(url: str) -> bool:
    """Whether the URL is a link, and not the picture itself."""
    return _LINK.match(url) is not None


def parse_data_url(url: str, *, limits: ImageLimits, param: str) -> tuple[str, bytes]:
    """The media type and the bytes of a base64 data URL.

    Line breaks and blanks inside the base64 are dropped, since common encoders insert them; any
    other foreign character, wrong padding or percent-encoding is refused.

    Raises:
        RequestError: not a base64 data URL (400), or too large (413).
    """
    header, comma, payload = _split(url)
    match = _HEADER.fullmatch(header)
    if not comma or match is None:
        raise _invalid(
            "not a base64 data URL; send 'data:image/png;base64,...' (or jpeg, webp, gif)", param
        )
    return match[1].lower(), _decode(payload, limits, param)


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
        raise too_large(f"has more than {limits.max_bytes} bytes", param)
    try:
        text = payload.encode("ascii")
        if any(blank in text for blank in _WHITESPACE):
            text = text.translate(None, _WHITESPACE)
        if len(text) > most_chars:
            raise too_large(f"has more than {limits.max_bytes} bytes", param)
        data = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError, which would quote the text
        raise _invalid(
            "the base64 of the data URL is damaged; encode the file's bytes with the standard "
            "alphabet and padding",
            param,
        ) from None
    limits.check_bytes(len(data), param)
    return data


def _invalid(what: str, param: str) -> RequestError:
    return RequestError(f"{param}: {what}", param=param, code="invalid_image_url")
