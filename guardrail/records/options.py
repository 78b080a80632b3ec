"""What an operator says of records."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from guardrail.database.address import is_database
from guardrail.errors import ConfigError
from guardrail.records.recorder import RecordsMode

__all__ = ["RecordOptions", "Retention"]

_Path: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days records and their contents are kept; None keeps them."""

    records_days: float | None = None
    content_days: float | None = None


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """Where records go, and how.

    Attributes:
        place: a file of JSON lines, a database's URL or a file that ends in .db; None keeps none.
        sign_key: file of the Ed25519 key that signs; made if it is not there.
        keep_content: whether what was asked and answered is kept as well, sealed.
        content_key: file of the key that seals; made if it is not there.
        keep_pictures: whether the pictures of requests are kept with what was asked and answered.
        mode: what becomes of an answer whose record cannot be kept.
        retention: how long a database keeps them.

    Raises:
        ConfigError: options contradict each other.
    """

    place: _Path | None = None
    sign_key: _Path | None = None
    keep_content: bool = False
    content_key: _Path | None = None
    keep_pictures: bool = False
    mode: RecordsMode = RecordsMode.REQUIRED
    retention: Retention = Retention()

    def __post_init__(self) -> None:
        if self.place is None:
            if (
                self.sign_key
                or self.keep_content
                or self.content_key
                or self.keep_pictures
                or self.retention != Retention()
            ):
                raise ConfigError(
                    "signing keys, content and retention are for records; say with --records "
                    "where they go"
                )
        elif self.retention != Retention() and not is_database(os.fspath(self.place)):
            raise ConfigError("only a database removes old records; a file is rotated instead")
        elif self.keep_pictures and not is_database(os.fspath(self.place)):
            raise ConfigError(
                "pictures are kept in a database only, where they can be erased; name one by "
                "--records FILE.db or --records postgresql://USER@HOST/NAME"
            )
        if self.keep_pictures and not self.keep_content:
            raise ConfigError(
                "pictures are kept with what was asked and answered; say --keep-content as well"
            )
        if self.keep_content and self.content_key is None:
            raise ConfigError(
                "content is kept sealed; name its key with --content-key, a file that is made if "
                "it is not there"
            )
        if self.content_key is not None and not self.keep_content:
            raise ConfigError("a key for content is given, but no content is kept; --keep-content")
