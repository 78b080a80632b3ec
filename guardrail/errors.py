"""Every error this package raises on purpose.

    GuardrailError
    ├── ConfigError         a policy, calibration or option is wrong      (exit code 2)
    ├── RequestError        the client's request cannot be served         (HTTP 400, 413, 429 …)
    ├── UpstreamError       the model could not answer                    (HTTP 502, 504 …)
    ├── OracleError         an answer could not be judged                 (HTTP 503)
    │   └── PictureTextError  nor the text in a picture
    ├── LimitError          time, calls or money ran out undecided        (HTTP 503, 504)
    ├── StorageError        records or keys could not be kept or read     (HTTP 503)
    └── CertificationError  a certificate could not be made or verified   (HTTP 500)

Every message says what was wrong, where, and what to do about it. No message holds a key or the
content of a request. A block is not an error: inside the engine it is a value, and on the wire a
refusal. Only in-process use raises it, as `guardrail.ContentBlocked`, a GuardrailError as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CertificationError",
    "ConfigError",
    "GuardrailError",
    "LimitError",
    "OracleError",
    "PictureTextError",
    "RequestError",
    "StorageError",
    "UpstreamError",
]


class GuardrailError(Exception):
    """Root of the tree; `status` is the HTTP status a proxy answers with."""

    status: int = 500


class ConfigError(GuardrailError):
    """A policy file, calibration or option cannot be used.

    `file`, `line` and `field` say where, as far as they are known; `told` is the message without
    the file, for clients that need not know the operator's folders.
    """

    status = 500

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (file, line) if part is not None)
        where = ", ".join(part for part in (place, f"field '{field}'" if field else "") if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.file = file
        self.line = line
        self.field = field
        self.told = f"field '{field}': {message}" if field else message


class RequestError(GuardrailError):
    """The client's request cannot be served.

    `param` is the JSON path of the field at fault, `code` OpenAI's machine-readable word,
    `retry_after_s` how long to wait where the same request may be served later, and `headers` what
    an answer over HTTP says beside.
    """

    status = 400

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


class UpstreamError(GuardrailError):
    """The model behind the guard failed.

    Attributes:
        status: what the client sees.
        transient: whether the fault may pass.
        retry_after_s: how long the provider asks callers to wait, if it said so.
        code: a machine-readable word.
        undrawn: True only where it is certain that the model drew no answer: the request's body
            was not sent, or it was refused by a status that stands for that (see
            `upstreams/undrawn.py`). Where this is not known, it is False.
        in_answer: whether an answer came and could be read, and the fault lies in what it says: an
            error inside it, nothing but reasoning, a tool call without a name. The upstream is up,
            the answer was drawn, and the variant has had its one answer.
        upstream_status: the HTTP status that the provider gave, where that is not `status`.
    """

    status = 502

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        transient: bool = False,
        retry_after_s: float | None = None,
        code: str | None = None,
        undrawn: bool = False,
        in_answer: bool = False,
        upstream_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient
        self.retry_after_s = retry_after_s
        self.code = code
        self.undrawn = undrawn
        self.in_answer = in_answer
        self.upstream_status = upstream_status


class OracleError(GuardrailError):
    """An answer could not be judged; code that catches it must treat the answer as harmful.

    `undrawn` is True only where it is certain that no judgement was drawn either, see
    `UpstreamError`.
    """

    status = 503

    def __init__(self, message: str, *, undrawn: bool = False) -> None:
        super().__init__(message)
        self.undrawn = undrawn


class PictureTextError(OracleError):
    """The text in a request's pictures could not be read or judged; nothing was asked for it."""


class LimitError(GuardrailError):
    """A limit of the policy ended a decision before it was made; this is not a judgement.

    `code` is the machine-readable word for the limit, and `retry_after_s` how long to wait where
    the same request may be decided later.
    """

    status = 503

    def __init__(
        self,
        message: str,
        *,
        status: int = 503,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class StorageError(GuardrailError):
    """A file or database could not be reached, read or written in time; the fault may pass.

    What had to be kept was not, so that no answer may leave. `transient` is False where the cause
    lies in what was to be kept, and not in the place.
    """

    status = 503

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class CertificationError(GuardrailError):
    """A certificate could not be computed, or does not hold when it is recomputed."""

    status = 500
