"""What came of a batch: its lines, each of which is an answer or says why there is none.

Nothing is taken as an answer that is not exactly one: a line that cannot be read is none, and of
two lines for one request neither counts.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.upstreams.faults import error_words, status_fault
from guardrail.upstreams.in_band import in_band_fault
from guardrail.upstreams.undrawn import TOO_MANY_REQUESTS
from guardrail.upstreams.wire import answer_from, parse_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from guardrail.errors import GuardrailError
    from guardrail.types import Answer, Json

__all__ = ["BatchResults", "read_answer_line", "read_line_id"]

_EXPIRED, _CANCELLED, _TIMEOUT = "batch_expired", "batch_cancelled", "request_timeout"
_NO_LINE = {
    "expired": (_EXPIRED, "the batch expired"),
    "cancelled": (_CANCELLED, "the batch was cancelled"),
}


@dataclass(slots=True)
class BatchResults:
    """The lines of a batch that has ended.

    Attributes:
        status: how it ended, in OpenAI's words.
        fault: why nothing of it can be used; None where its lines count.
        lines: the line of each request; None where there are two.
    """

    status: str = "completed"
    fault: GuardrailError | None = None
    lines: dict[str, bytes | None] = field(default_factory=dict)

    def add(self, line: bytes) -> None:
        """Takes a line of an output or error file; one that names no request is nothing."""
        request_id = read_line_id(line)
        if request_id is not None:
            self.lines[request_id] = None if request_id in self.lines else line

    def find(self, request_id: str) -> bytes:
        """The one line of a request.

        Raises:
            UpstreamError: there is none, or more than one.
            StorageError: what the fault of the whole batch was.
        """
        if self.fault is not None:
            raise copy.copy(self.fault)  # each caller raises its own, which has its own traceback
        line = self.lines.get(request_id)
        if line is not None:
            return line
        if request_id in self.lines:
            raise _lost_error("two lines for this request, of which none can be trusted")
        code, problem = _NO_LINE.get(self.status, ("upstream_malformed_response", ""))
        if problem:
            raise UpstreamError(
                f"{problem} before this request was answered; see the provider's page of batches",
                transient=True,
                code=code,
            )
        raise _lost_error("no line for this request")


def read_line_id(line: bytes) -> str | None:
    """Which request a line belongs to; None where it cannot be read."""
    try:
        found = parse_json(line)
    except UpstreamError:
        return None
    named = found.get("custom_id") if isinstance(found, dict) else None
    return named if isinstance(named, str) else None


def read_answer_line(
    line: bytes, *, hidden: Collection[str] = (), undrawn: Collection[int] = ()
) -> Answer:
    """The answer in a line.

    Args:
        line: of an output or error file.
        hidden: keys, which the code of no fault may show.
        undrawn: the statuses by which the provider says that it drew no answer. Where 429 is among
            them it answers for itself, and its word for requests that it never got to counts, too.

    Raises:
        UpstreamError: it holds none; as for a call of its own, see `status_fault`.
    """
    entry = parse_json(line)
    error = entry.get("error")
    if error:
        raise _error_fault(error, hidden, undrawn)
    response = entry.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    if type(status) is not int or not 100 <= status <= 599:
        raise _lost_error("a line without a response")
    body = response.get("body")
    if status == 200:
        return answer_from(body, hidden=hidden)
    raw = json.dumps(body).encode()
    raise status_fault(status, {}, raw, hidden=hidden, undrawn=undrawn)


def _error_fault(error: Json, hidden: Collection[str], undrawn: Collection[int]) -> UpstreamError:
    """The fault for a request that the provider did not answer; its text is never quoted."""
    words = error_words(json.dumps({"error": error}).encode(), hidden)
    if _EXPIRED in words:
        return UpstreamError(
            "the provider did not get to this request before its batch expired; call the same "
            "command again",
            transient=True,
            code=_EXPIRED,
            undrawn=TOO_MANY_REQUESTS in undrawn,
        )
    if _CANCELLED in words:
        return UpstreamError(
            "the batch was cancelled before this request was answered; call the same command again",
            transient=True,
            code=_CANCELLED,
        )
    if _TIMEOUT in words:
        return UpstreamError(
            "the provider's call to the model timed out; see its page of batches",
            status=504,
            transient=True,
            code="upstream_timeout",
        )
    return in_band_fault(error, hidden=hidden)


def _lost_error(what: str) -> UpstreamError:
    return UpstreamError(
        f"the provider's batch ended with {what}; see its page of batches",
        transient=True,
        code="upstream_malformed_response",
    )
