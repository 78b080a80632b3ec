"""JSON that can be read in one way only, and its one canonical form (RFC 8785).

    canonical_json({"b": 1.0, "a": 1e-05})      # b'{"a":0.00001,"b":1}'
    parse_strict('{"a": 1, "a": 2}')            # DuplicateKeyError: readers differ on which counts

The canonical form is the same in every language, so that a digest over it can be recomputed by a
program that shares nothing with this one.
"""

from __future__ import annotations

import hashlib
import json
import math
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardrail.types import Json

__all__ = [
    "DuplicateKeyError",
    "NestedTooDeeplyError",
    "NotFiniteError",
    "canonical_json",
    "canonical_text",
    "digest_json",
    "make_interoperable",
    "parse_strict",
    "refuse_duplicate_keys",
    "short_digest",
]

_LARGEST_INTEGER = 2**53 - 1  # a reader whose numbers are all floats gets it exactly


class DuplicateKeyError(ValueError):
    """A key stands twice in one object; readers differ on which of the two counts."""


class NestedTooDeeplyError(ValueError):
    """Objects and arrays stand inside each other beyond what Python's parser follows."""


class NotFiniteError(ValueError):
    """NaN or an infinity, which is not JSON, or a number that overflows to one."""


def parse_strict(text: str | bytes) -> Json:
    """The value of a JSON text.

    Raises:
        DuplicateKeyError: a key stands twice in one object.
        NotFiniteError: a number is none, or not finite.
        NestedTooDeeplyError: it is nested too deeply.
        ValueError: the text is not JSON.
    """
    if not isinstance(text, str):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        return _STRICT.decode(text)
    except RecursionError as error:
        raise NestedTooDeeplyError("it is nested too deeply") from error


def refuse_duplicate_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """The object of these pairs. Raises DuplicateKeyError."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DuplicateKeyError("a key stands twice in one object")
    return fields


def canonical_json(value: Json) -> bytes:
    """A JSON value in the canonical form of RFC 8785: UTF-8, one line.

    Raises:
        ValueError: it holds what JSON has not, or an integer beyond 2**53.
    """
    return canonical_text(value).encode()


def canonical_text(value: Json) -> str:
    """The same, not yet encoded.

    Keys in ASCII have one order by code point and by UTF-16; Python's shortest digits of a float
    are those of ECMAScript, but whole numbers (1.0) and exponents (1e-05) are written otherwise.
    What is left is written by the package rfc8785, which takes nearly three
    times as long for the record of a decision with a picture (`benchmarks/records`).
    """
    kind = type(value)
    write = _WRITERS.get(kind)
    if write is not None:
        return write(value)
    if kind is list or kind is tuple:
        return f"[{','.join([canonical_text(item) for item in value])}]"
    if kind is dict and _has_plain_keys(value):
        fields = [f"{encode_basestring(key)}:{canonical_text(value[key])}" for key in sorted(value)]
        return f"{{{','.join(fields)}}}"
    if isinstance(value, str):  # a word of an enumeration
        return encode_basestring(value)
    return _write_by_library(value)


def _has_plain_keys(value: dict[str, Json]) -> bool:
    try:
        return "".join(value).isascii()
    except TypeError:  # a key that is no text
        return False


def _write_integer(value: int) -> str:
    return str(value) if abs(value) <= _LARGEST_INTEGER else _write_by_library(value)


def _write_float(value: float) -> str:
    if value.is_integer():  # of -0.0 as well
        return str(int(value)) if abs(value) <= _LARGEST_INTEGER else _write_by_library(value)
    digits = repr(value)
    return _write_by_library(value) if "e" in digits or "n" in digits else digits


def _write_by_library(value: Json) -> str:
    import rfc8785  # 30 ms, and not needed by `guardrail --help`

    return rfc8785.dumps(value).decode()


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: _write_integer,
    float: _write_float,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}
"""By the type of a value that is no container."""


def make_interoperable(value: Json) -> Json:
    """The value with what the canonical form cannot carry replaced.

    Integers beyond 2**53 - 1 become texts of their digits, halves of surrogate pairs U+FFFD:
    other people's JSON may hold them, and would else have no form at all.
    """
    if isinstance(value, dict):
        return {make_interoperable(str(k)): make_interoperable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [make_interoperable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_INTEGER:
        return str(value)
    return value


def digest_json(value: Json) -> str:
    """SHA-256 over the canonical form, as 64 hexadecimal digits. Raises ValueError."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def short_digest(data: str | bytes, digits: int = 16) -> str:
    """The first hexadecimal digits of SHA-256: names settings and files, and protects nothing."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:digits]


def _refuse_constant(constant: str) -> NoReturn:
    raise NotFiniteError(f"{constant} is not JSON")


def _read_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotFiniteError(f"{text[:20]} is not finite")
    return number


_STRICT = json.JSONDecoder(
    object_pairs_hook=refuse_duplicate_keys,
    parse_constant=_refuse_constant,
    parse_float=_read_finite,
)
"""Made once: `json.loads` makes a decoder for each text, which takes as long as a short text."""
