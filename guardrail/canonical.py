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

_ALIKE = frozenset({str, bool, type(None)})
"""What Python's encoder writes in the canonical form, whatever it is."""

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
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
    try:
        return json.loads(
            text,
            object_pairs_hook=refuse_duplicate_keys,
            parse_constant=_refuse_constant,
            parse_float=_read_finite,
        )
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

    Keys in ASCII have one order by code point and by UTF-16, and Python's shortest digits of a
    float are those of ECMAScript, but for whole numbers (1.0) and exponents (1e-05). So what holds
    nothing else is written by Python's own encoder, in C, once whole floats have become integers;
    the rest is written by the package rfc8785, which takes six to ten times as long
    (`benchmarks/records`).
    """
    try:
        write = _WRITERS.get(type(value))
        if write is not None:  # faster, as an encoder is made anew for each value
            return write(value)
        if isinstance(value, str):  # a word of an enumeration
            return encode_basestring(value)
        return _ENCODER.encode(_as_encoded_alike(value))
    except _DiffersError:
        import rfc8785  # 30 ms, and not needed by `guardrail --help`

        return rfc8785.dumps(value).decode()


class _DiffersError(Exception):
    """Python's encoder and the canonical form differ in this value, or it has none."""


def _as_encoded_alike(value: Json) -> Json:
    """The value with its whole floats as integers. Raises _DiffersError."""
    kind = type(value)
    if kind is dict:
        _check_keys(value)
        return {k: v if type(v) in _ALIKE else _as_encoded_alike(v) for k, v in value.items()}
    if kind is list or kind is tuple:
        return [v if type(v) in _ALIKE else _as_encoded_alike(v) for v in value]
    if kind is float:
        return _alike_number(value)
    if isinstance(value, str) or kind in _ALIKE or _is_exact(value):
        return value
    raise _DiffersError


def _check_keys(value: dict[str, Json]) -> None:
    try:
        if "".join(value).isascii():
            return
    except TypeError:
        pass  # a key that is no text
    raise _DiffersError


def _alike_number(value: float) -> float:
    if value.is_integer() and abs(value) <= _LARGEST_INTEGER:
        return int(value)  # of -0.0 as well
    if value.is_integer() or not math.isfinite(value) or "e" in repr(value):
        raise _DiffersError
    return value


def _is_exact(value: Json) -> bool:
    return type(value) is int and abs(value) <= _LARGEST_INTEGER


def _write_integer(value: int) -> str:
    if not _is_exact(value):
        raise _DiffersError
    return str(value)


def _write_float(value: float) -> str:
    return repr(_alike_number(value))


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
