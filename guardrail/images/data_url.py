"""Data URLs in and out; nothing here follows a link."""

from __future__ import annotations

import binascii
import re

import pybase64

from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits, too_large

__all__ = ["parse_data_url", "to_data_url"]

_HEADER = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)((?:;[\w.+-]+=[\w.+-]+)*);base64", re.ASCII | re.IGNORECASE
)
_MAX_HEADER_CHARS = 256
_WHITESPACE = b" \t\r\n\f"


def parse_data_url(url: str, *, limits: ImageLimits, param: str) -> tuple[str, bytes]:
    """The media type and the bytes of a base64 data URL.

    Line breaks and blanks inside the base64 are dropped, since common encoders insert them; any
    other foreign character, wrong padding or percent-encoding is refused.

    Raises:
        RequestError: not a base64 data URL (400), a link (400), or too large (413).
    """
    if re.match(r"https?:", url[:8], re.IGNORECASE):
        raise _invalid(
            "links to pictures are not fetched; send the picture itself as a data URL, "
            "'data:image/png;base64,...'",
            param,
            code="remote_image_url_not_supported",
        )
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
        text = payload.encode("ascii").translate(None, _WHITESPACE)
        if len(text) > most_chars:
            raise too_large(f"has more than {limits.max_bytes} bytes", param)
        data = _strictly_decoded(text)
    except ValueError:  # binascii.Error and UnicodeEncodeError, which would quote the text
        raise _invalid(
            "the base64 of the data URL is damaged; encode the file's bytes with the standard "
            "alphabet and padding",
            param,
        ) from None
    limits.check_bytes(len(data), param)
    return data


def _strictly_decoded(text: bytes) -> bytes:
    # Older versions of Python accept surplus padding even in strict mode.
    if len(text) % 4 or len(text) - len(text.rstrip(b"=")) > 2:
        raise ValueError
    return binascii.a2b_base64(text, strict_mode=True)


def _invalid(what: str, param: str, *, code: str = "invalid_image_url") -> RequestError:
    return RequestError(f"{param}: {what}", param=param, code=code)
