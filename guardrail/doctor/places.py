"""Where things are kept: private files, records, databases."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardrail.distribution import install_command
from guardrail.doctor.finding import Finding, error, ok, warning
from guardrail.oracles.packages import are_installed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["examine_database", "examine_places", "is_remote"]

_PRIVATE = ("--key-file", "--sign-key", "--content-key")
"""Options that name files which none but their owner may read; most are made if not there."""

_LEAST_FREE_BYTES = 100 << 20
_FEW_FREE_BYTES = 2 << 30
_CONNECT_S = 3.0
_PORTS = {"postgres": 5432, "postgresql": 5432, "redis": 6379, "rediss": 6379}


def examine_places(options: Mapping[str, object]) -> list[Finding]:
    """What the options of `serve` name, by the option.

    Args:
        options: values by the option's long name; those that were not given are None.
    """
    findings = [
        finding
        for option in _PRIVATE
        if (given := options.get(option)) is not None
        for finding in _examine_private(option, Path(str(given)))
    ]
    if options.get("--key-file") is None:
        findings.append(_tell_fleeting_key())
    records = options.get("--records")
    if records is None:
        findings.append(_tell_no_records())
    else:
        findings += _examine_records(str(records))
    return findings


def _tell_fleeting_key() -> Finding:
    return warning(
        "key file",
        "without --key-file a fresh secret is drawn at every start",
        "name a file that is backed up; records cannot be replayed otherwise",
    )


def _tell_no_records() -> Finding:
    return warning(
        "records",
        "decisions are not recorded",
        "name a place by --records if anybody will ask later why a request was blocked or passed",
    )


def _examine_private(option: str, file: Path) -> list[Finding]:
    check = option.removeprefix("--").replace("-", " ")
    try:
        status = file.stat()
    except FileNotFoundError:
        return [_examine_missing(check, file)]
    except OSError as fault:
        return [error(check, f"{file} cannot be looked at ({fault.strerror})", "check its folder")]
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        return [
            error(
                check,
                f"{file} is open to other users (mode {mode:04o})",
                f"run 'chmod 600 {file}', and replace the key if others may have read it",
            )
        ]
    if not os.access(file, os.R_OK):
        return [error(check, f"{file} cannot be read by this user", "give it to the server's user")]
    return [ok(check, f"{file} is there, and private"), *_read_noise_key(option, check, file)]


def _read_noise_key(option: str, check: str, file: Path) -> list[Finding]:
    """Whether the keys of the noise can be read. Raises ConfigError."""
    if option != "--key-file":
        return []
    from guardrail.key_files import load_or_create_keyring

    count = len(load_or_create_keyring(file).keys)
    older = f"{count - 1} older" if count > 1 else "none older"
    return [ok(check, f"the present key and {older}")]


def _examine_missing(check: str, file: Path) -> Finding:
    folder = _find_folder(file)
    if os.access(folder, os.W_OK):
        return ok(check, f"{file} is not there yet, and can be made")
    return error(
        check,
        f"{file} is not there, and cannot be made in {folder}",
        "make it beforehand, or name a place that the server's user may write",
    )


def _find_folder(file: Path) -> Path:
    """The nearest folder above it that is there."""
    return next(folder for folder in file.absolute().parents if folder.exists())


def _examine_records(place: str) -> list[Finding]:
    if is_remote(place):
        return [examine_database("records", place)]
    file = Path(place.removeprefix("sqlite:///"))
    folder = _find_folder(file)
    if not os.access(file if file.exists() else folder, os.W_OK):
        return [
            error(
                "records",
                f"{file} cannot be written by this user",
                "give file and folder to the server's user; no answer leaves that cannot be "
                "recorded",
            )
        ]
    return [_tell_mode(file), _examine_space(folder)]


def _tell_mode(file: Path) -> Finding:
    if not file.exists():
        return ok("records", f"{file} is not there yet, and can be made")
    mode = stat.S_IMODE(file.stat().st_mode)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning(
            "records",
            f"{file} is open to other users (mode {mode:04o})",
            f"run 'chmod 600 {file}' unless they are meant to read who was blocked and why",
        )
    return ok("records", f"{file} can be written, and is private")


def _examine_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:.1f} GB free at {folder}"
    if free < _LEAST_FREE_BYTES:
        return error("disk", told, "make room: without it no answer leaves")
    if free < _FEW_FREE_BYTES:
        return warning("disk", told, "make room, or remove old records, before it is used up")
    return ok("disk", told)


def is_remote(place: str) -> bool:
    """Whether it is the URL of a database on a server."""
    return _kind_of(place) in _PORTS


def _kind_of(place: str) -> str:
    return place.partition("://")[0].partition("+")[0] if "://" in place else ""


def examine_database(check: str, url: str) -> Finding:
    """Whether anything listens there; whether it knows this user, the start says."""
    kind = _kind_of(url)
    if kind.startswith("postgres") and not are_installed("psycopg"):
        return error(check, "the package for PostgreSQL is not there", install_command("postgres"))
    try:
        parts = urlsplit(url)
        host, where = parts.hostname or "localhost", parts.port or _PORTS[kind]
    except ValueError:
        return error(
            check, "the URL of the database cannot be read", "write it as scheme://HOST/NAME"
        )
    try:
        with socket.create_connection((host, where), timeout=_CONNECT_S):
            return ok(check, f"a database listens at {host}:{where}")
    except OSError as fault:
        return error(
            check,
            f"no database answers at {host}:{where} ({fault.strerror or type(fault).__name__})",
            "start it, or check host, port and the network's rules",
        )
