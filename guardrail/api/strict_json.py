"""Reads request bodies as JSON objects, so strictly that no other parser reads them differently."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.api.payloads import lift_payloads
from guardrail.canonical import (
    DuplicateKeyError,
    NestedTooDeeplyError,
    NotFiniteError,
    parse_strict,
)
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from guardrail.types import Json

__all__ = ["MAX_DEPTH", "JsonLimits", "encode_json", "nests_deeper", "parse_object"]

MAX_DEPTH = 100
"""Deepest nesting of a request; schemas of tools need about twenty."""

_LARGE_BYTES = 1 << 20  # what is smaller is parsed in a moment
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)  # made once
_MARKS = b"[{,:"
_CONTAINERS = (dict, list)  # made once, see `offload`
_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLimits:
    """How much of a request is parsed, counted on its bytes before there is an object of it.

    A value costs up to 300 bytes of memory for two on the wire, and a character up to 8 bytes.

    Attributes:
        max_values: values and names of fields.
        max_text_bytes: everything but the long payloads of data URLs.
    """

    max_values: int = 100_000
    max_text_bytes: int = 8 * 1024 * 1024


_BY_DEFAULT = JsonLimits()


def parse_object(raw: bytes, limits: JsonLimits = _BY_DEFAULT) -> dict[str, Json]:
    """The JSON object in a request body.

    Refuses what readers of JSON disagree about: other encodings than UTF-8, names that occur
    twice, NaN and infinities, unpaired surrogates, and nesting deeper than `MAX_DEPTH`.

    Raises:
        RequestError: says which, or that there is more of it than the limits allow (413); quotes
            nothing.
    """
    if len(raw) <= min(_LARGE_BYTES, limits.max_text_bytes):
        _check_size(raw, limits)
    else:
        light = lift_payloads(raw)
        _check_size(light.body, limits)
        with suppress(RequestError):  # it is told below, with its true place
            value = _parse(light.body)
            if light.put_back(value):
                return value
    return _parse(raw)


def _check_size(raw: bytes, limits: JsonLimits) -> None:
    """Raises RequestError where it would become too much memory.

    Behind each `[`, `{`, `,` and `:` outside of strings stands one value or name at most, so
    `{"a": [1, 2]}` has at most six with the outermost; it has five.
    """
    if len(raw) > limits.max_text_bytes:
        raise _too_much(
            f"has more than {limits.max_text_bytes} bytes beside the base64 of its pictures; "
            "shorten its texts, or raise advanced.limits.max_text_bytes"
        )
    if _count_marks(raw) < limits.max_values:  # those in texts included, which is faster
        return
    if _count_marks_outside(raw) >= limits.max_values:
        raise _too_much(
            f"has more than {limits.max_values} values; send fewer, or raise "
            "advanced.limits.max_json_values"
        )


def _count_marks(raw: bytes) -> int:
    return sum(raw.count(mark) for mark in _MARKS)


def _count_marks_outside(raw: bytes) -> int:
    """The marks outside of strings, in some 3 ns a byte and the memory of one block.

    With escaped backslashes and quotes gone, a byte is inside of a string where the number of
    quotes before it is odd: of `{"a,b": 1}` only the first and the colon are outside.
    """
    rest = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    is_mark = np.isin(np.arange(256), list(_MARKS))
    found, inside = 0, 0
    for start in range(0, len(rest), _BLOCK_BYTES):
        block = np.frombuffer(rest[start : start + _BLOCK_BYTES], np.uint8)
        quotes = np.cumsum(block == ord('"'), dtype=np.uint8) + np.uint8(inside)  # modulo 256
        found += int(np.count_nonzero(is_mark[block] & (quotes % 2 == 0)))
        inside = int(quotes[-1]) % 2
    return found


def _too_much(what: str) -> RequestError:
    return RequestError(f"the request body {what}", status=413, code="json_too_large")


def _parse(raw: bytes) -> dict[str, Json]:
    try:
        value = parse_strict(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise _invalid("is not UTF-8; encode it so") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _invalid(f"is not valid JSON ({place}); send a JSON object") from None
    except DuplicateKeyError:
        raise _invalid("names a field twice in one object; name each field once") from None
    except NotFiniteError:
        raise _invalid(
            "holds NaN or an infinity, which is not JSON; send a number or null"
        ) from None
    except NestedTooDeeplyError:
        raise _too_deep() from None
    except ValueError:  # Python reads no integer of more than some thousand digits
        raise _invalid("holds a number with too many digits; shorten it") from None
    if not isinstance(value, dict):
        raise _invalid("is not a JSON object; send one, such as {'model': ..., 'messages': ...}")
    if nests_deeper(value, MAX_DEPTH):
        raise _too_deep()
    _check_surrogates(raw, value)
    return value


def encode_json(value: Json) -> bytes:
    """Compact ASCII JSON, so that no character can fail to encode."""
    return _ENCODER.encode(value).encode("ascii")


def nests_deeper(value: Json, most: int) -> bool:
    """Whether objects and lists stand inside each other in more than `most` levels.

    Goes down level by level; recursion would need the stack that is being protected.
    """
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(most):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return False
    return bool(level)


def _check_surrogates(raw: bytes, value: Json) -> None:
    if not _SURROGATE.search(raw):
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _invalid("holds half of a surrogate pair; escape whole characters") from None


def _too_deep() -> RequestError:
    return _invalid(f"is nested deeper than {MAX_DEPTH} levels; flatten it")


def _invalid(what: str) -> RequestError:
    return RequestError(f"the request body {what}", code="invalid_json")
