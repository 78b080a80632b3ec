"""Keys in a YAML file, for a server or two with a few dozen keys.

    keys:
      - id: key_5b1f0c9d2e7a4468
        name: chat page
        tenant: acme
        digest: 64 hexadecimal digits
        scopes: [client]
        limits: {requests_per_minute: 60, usd_per_day: 20}
        created: '2026-11-01T09:30:00Z'

`guardrail keys` writes it anew with each change, so comments in it are lost. It may also be
written by hand or by a deployment, all but the digests.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, Strict

from guardrail.errors import ConfigError
from guardrail.keys.api_key import ApiKey, KeyLimits, KeyScope
from guardrail.keys.store import MOST_KEYS
from guardrail.policy.document import Source, read_document
from guardrail.policy.load import validate_content
from guardrail.section import Section, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["YamlKeyStore"]

_HEAD = "# Written by 'guardrail keys'. It holds digests; nobody can make a key of them.\n"
_Listed = Strict(strict=False)


class _LimitsSection(Section):
    requests_per_minute: int | None = None
    calls_per_minute: int | None = None
    max_concurrency: int | None = None
    usd_per_day: float | None = None


class _KeySection(Section):
    id: str
    digest: str
    name: str
    tenant: str
    scopes: Annotated[frozenset[Annotated[KeyScope, Word]], _Listed] = frozenset({KeyScope.CLIENT})
    policy: str | None = None
    limits: _LimitsSection = _LimitsSection()
    created: str
    expires: str | None = None
    revoked: str | None = None
    old_digest: str | None = None
    old_until: str | None = None


class _KeysFile(Section):
    keys: Annotated[tuple[_KeySection, ...], _Listed] = Field(max_length=MOST_KEYS)


class YamlKeyStore:
    """The keys in one file; a missing one holds none as long as nothing but `add` asks."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def name(self) -> str:
        return str(self._file)

    def version(self) -> object:
        try:
            found = self._file.stat()
        except OSError as error:
            raise self._unusable(error) from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self) -> tuple[ApiKey, ...]:
        document = read_document(self._file, "file of API keys")
        source = Source(self._file.parent, (document,))
        if not isinstance(document.content, dict):
            raise ConfigError("this file is a mapping with a list, 'keys:'", file=self.name)
        parsed = validate_content(_KeysFile, document.content, source, schema="docs/keys.md")
        keys = tuple(
            self._parse(section, source, index) for index, section in enumerate(parsed.keys)
        )
        _check_unique(keys, self.name)
        return keys

    def add(self, key: ApiKey) -> None:
        with self._locked():
            keys = self.read() if self._file.exists() else ()
            self._write((*keys, key))

    def change(self, key_id: str, edit: Callable[[ApiKey], ApiKey]) -> ApiKey:
        with self._locked():
            keys = list(self.read())
            index = next((i for i, key in enumerate(keys) if key.id == key_id), None)
            if index is None:
                raise ConfigError(
                    f"there is no key {key_id[:64]!r}; 'guardrail keys list' shows them",
                    file=self.name,
                )
            keys[index] = edit(keys[index])
            self._write(keys)
            return keys[index]

    def close(self) -> None:
        """Does nothing: no file is open."""

    def _parse(self, section: _KeySection, source: Source, index: int) -> ApiKey:
        """Raises ConfigError with the line of the field at fault."""
        values = dict(section)
        try:
            for name in ("created", "expires", "revoked", "old_until"):
                values[name] = _parse_time(values[name], name)
            values["limits"] = KeyLimits(**dict(section.limits))
            return ApiKey(**values)
        except ConfigError as error:
            place = f"keys.{index}.{error.field}"
            file, line = source.find_field(place)
            told = str(error).partition(": ")[2]
            raise ConfigError(told, file=file, line=line, field=place) from None

    def _write(self, keys: Sequence[ApiKey]) -> None:
        """Puts a whole new file in place of the old one, so that servers never read half of one."""
        _check_unique(keys, self.name)
        text = yaml.safe_dump({"keys": [_entry(key) for key in keys]}, sort_keys=False)
        handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(_HEAD + text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(self._file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps two commands from overwriting each other's changes."""
        import fcntl

        lock = self._file.with_name(f".{self._file.name}.lock")
        try:
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        with os.fdopen(handle, "wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"the file of API keys cannot be used ({error.strerror}); check the path, or make the "
            "first key by 'guardrail keys create'",
            file=self.name,
        )


def _check_unique(keys: Sequence[ApiKey], file: str) -> None:
    for what in ("id", "digest"):
        if len({getattr(key, what) for key in keys}) < len(keys):
            raise ConfigError(f"two keys have the same {what}; take one of them out", file=file)
    if len(keys) > MOST_KEYS:
        raise ConfigError(f"a file holds at most {MOST_KEYS} keys", file=file)


def _parse_time(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigError("must be a time as '2026-11-01T09:30:00Z', in quotes", field=name)
    return at.astimezone(UTC)


def _entry(key: ApiKey) -> dict[str, Any]:
    """What stands in the file; what says nothing is left out."""
    limits = {
        name: value
        for name in KeyLimits.__dataclass_fields__
        if (value := getattr(key.limits, name)) is not None
    }
    entry = {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "digest": key.digest,
        "scopes": sorted(key.scopes),
        "policy": key.policy,
        "limits": limits or None,
        **{name: _time(getattr(key, name)) for name in ("created", "expires", "revoked")},
        "old_digest": key.old_digest,
        "old_until": _time(key.old_until),
    }
    return {name: _plain(value) for name, value in entry.items() if value is not None}


def _plain(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, list) else value


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
