"""Reads the fields of a form, and no more bytes than it may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from guardrail.errors import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["MOST_FORM_BYTES", "Form", "read_form"]

MOST_FORM_BYTES = 64 * 1024
_MOST_FIELDS = 200
_FORM = "application/x-www-form-urlencoded"


class Form(Mapping[str, str]):
    """The fields of a form; of several with one name the last counts, `all` gives each."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._last = dict(pairs)

    def all(self, name: str) -> list[str]:
        """Every value of the fields with this name."""
        return [value for one, value in self._pairs if one == name]

    def __getitem__(self, name: str) -> str:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)


async def read_form(request: Request, most_bytes: int = MOST_FORM_BYTES) -> Form:
    """The form in a request's body.

    Raises:
        RequestError: 415, it is another kind of body; 413, it is too long; 400, it is malformed.
        ClientDisconnect: the client went away.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise RequestError(f"a form must be sent as {_FORM}", status=415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise RequestError(f"the form is longer than {most_bytes:,} bytes", status=413)
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except ValueError as error:
        raise RequestError("the form cannot be read; send UTF-8 and fewer fields") from error
    return Form(pairs)
