"""Reads request bodies as JSON objects, so strictly that no other parser reads them differently."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

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

__all__ = ["MAX_DEPTH", "encode_json", "parse_object"]

MAX_DEPTH = 100
"""Deepest nesting of a request; schemas of tools need about twenty."""

_LARGE_BYTES = 1 << 20  # what is smaller is parsed in a moment
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_object(raw: bytes) -> dict[str, Json]:
    """The JSON object in a request body.

    Refuses what readers of JSON disagree about: other encodings than UTF-8, names that occur
    twice, NaN and infinities, unpaired surrogates, and nesting deeper than `MAX_DEPTH`.

    Raises:
        RequestError: says which; quotes nothing.
    """
    if len(raw) > _LARGE_BYTES:
        light = lift_payloads(raw)
        with suppress(RequestError):  # it is told below, with its true place
            value = _parse(light.body)
            if light.put_back(value):
                return value
    return _parse(raw)


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
    _check_depth(value)
    _check_surrogates(raw, value)
    return value


def encode_json(value: Json) -> bytes:
    """Compact ASCII JSON, so that no character can fail to encode."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _check_depth(value: Json) -> None:
    """Goes down level by level; recursion would need the stack that is being protected."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


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
