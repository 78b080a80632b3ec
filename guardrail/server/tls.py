"""TLS by certificate and key files, which are read again when they are renewed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    _Stamp: TypeAlias = tuple[tuple[int, int, int], ...]

__all__ = ["TlsFiles", "keep_renewed", "open_tls"]

_log = logging.getLogger("guardrail.server")
_LOOK_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate, with the chain behind it, and its private key, both in PEM form."""

    certificate: Path
    key: Path

    def stamp(self) -> _Stamp:
        """Another value as soon as one of the files is another one. Raises OSError."""
        found = (self.certificate.stat(), self.key.stat())
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def open_tls(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer, by Python's choice of ciphers.

    Raises:
        ConfigError: the files cannot be read, or do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    return context


async def keep_renewed(
    context: ssl.SSLContext, files: TlsFiles, *, every_s: float = _LOOK_EVERY_S
) -> None:
    """Serves new connections by the files as they are now, until it is cancelled.

    Open connections go on as they are. A pair that does not fit together, as while it is being
    replaced, is left alone until it does.
    """
    known: _Stamp | None = files.stamp()
    while True:
        await asyncio.sleep(every_s)
        try:
            stamp = files.stamp()
            if stamp == known:
                continue
            await asyncio.to_thread(open_tls, files)  # a trial, as half a change cannot be undone
            _load(context, files)
        except (OSError, ConfigError) as error:
            if known is not None:
                _log.error("the renewed TLS certificate is not used yet: %s", error)
            known = None
        else:
            known = stamp
            _log.info("new connections are served by the renewed TLS certificate")


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        # An empty password: a key that needs one is an error, and nobody is asked at a terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise ConfigError(
            f"the TLS certificate or its key cannot be used ({reason}); give a certificate with "
            "its chain and the unencrypted private key that belongs to it, both in PEM form, by "
            "--tls-cert and --tls-key",
            file=str(files.certificate),
        ) from error
