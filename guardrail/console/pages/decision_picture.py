"""The pictures of one decision, as PNG files for its page; as sent, or with an example change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.responses import Response

from guardrail.console.pages.decision import find_record
from guardrail.console.picture_view import find_example, render_png
from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.images.example_change import Pattern
from guardrail.records.kept_pictures import read_picture

if TYPE_CHECKING:
    from guardrail.console.picture_view import Example
    from guardrail.console.visit import Visit
    from guardrail.engine.certificate.claim import Certificate
    from guardrail.records.record import Record

__all__ = ["ROUTES"]

_HEADERS = {
    # Beside those of every answer: a file that a browser opens by itself may do nothing.
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}

_log = logging.getLogger(__name__)


async def _send(visit: Visit) -> Response:
    return await _answer(visit, None)


async def _send_changed(visit: Visit) -> Response:
    try:
        pattern = Pattern(visit.request.path_params["pattern"])
    except ValueError:
        raise _missing_error() from None
    return await _answer(visit, pattern)


async def _answer(visit: Visit, pattern: Pattern | None) -> Response:
    assert visit.visitor is not None
    record = await find_record(visit)
    number = visit.request.path_params["number"]
    example = None if pattern is None else _find_example(record, number, pattern)
    data = await _read(visit, record, number)
    png = await visit.console.run_alone(
        render_png,
        data,
        f"picture {number}",
        example,
        is_small="small" in visit.request.query_params,
    )
    _log.info("picture %d of record %s was shown to %s", number, record.record_id, visit.visitor.id)
    name = f"{record.record_id[:8]}-{number}{'' if pattern is None else f'-{pattern.value}'}.png"
    headers = {**_HEADERS, "content-disposition": f'inline; filename="{name}"'}
    return Response(png, media_type="image/png", headers=headers)


def _find_example(record: Record, number: int, pattern: Pattern) -> Example:
    example = find_example(_read_certificate(record), number - 1, pattern)
    if example is None:
        raise _missing_error()
    return example


def _read_certificate(record: Record) -> Certificate | None:
    try:
        return record.read_certificate()
    except CertificationError:  # the decision's page says so
        return None


async def _read(visit: Visit, record: Record, number: int) -> bytes:
    """The picture as it was sent. Raises RequestError where it is not there, or does not open."""
    console = visit.console
    if console.content_keys is None:
        raise RequestError("pictures are sealed, and this console has no key to them", status=403)
    try:
        data = await visit.run(
            read_picture, console.database, record, number - 1, console.content_keys
        )
    except (CertificationError, ConfigError) as error:
        raise RequestError(f"this picture cannot be opened: {error}", status=409) from error
    if data is None:
        raise _missing_error()
    return data


def _missing_error() -> RequestError:
    return RequestError(
        "there is no such picture; it was not kept, or was erased since", status=404
    )


_PATH = "/decisions/{record_id}/pictures/{number:int}"

ROUTES = (
    ConsoleRoute("GET", _PATH, _send, REVIEWERS),
    ConsoleRoute("GET", f"{_PATH}/{{pattern}}", _send_changed, REVIEWERS),
)
