"""Where a database is: a URL or the path of a SQLite file, never shown with its password.

read_address("sqlite:////var/lib/guardrail/records.db")
read_address("records.db")
read_address("postgresql://guardrail@db.internal/guardrail")  # password: PGPASSWORD, ~/.pgpass
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Address", "is_database", "read_address"]

_FILE_ENDINGS = (".db", ".sqlite", ".sqlite3")
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
_FORMS = "give sqlite:///FILE, the path of a file that ends in .db, or postgresql://USER@HOST/NAME"


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A checked address.

    Attributes:
        url: for SQLAlchemy; may hold a password.
        file: of SQLite; None for a server.
        name: for messages and logs, without password and parameters.
    """

    url: URL
    file: Path | None
    name: str

    def __repr__(self) -> str:
        return f"Address({self.name!r})"


def is_database(text: str) -> bool:
    """Whether an address is one of a database, and not of another file."""
    return "://" in text or text.lower().endswith(_FILE_ENDINGS)


def read_address(text: str) -> Address:
    """The address that a text gives.

    Raises:
        ConfigError: it is none, or of a kind that is not supported; the message shows no part of
            it, as any part may be a password.
    """
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    if "://" not in text:
        return _sqlite_address(URL.create("sqlite", database=text))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # No cause: the library's message may quote the text.
        raise ConfigError(f"the address of the database is not a URL; {_FORMS}") from None
    if url.drivername == "sqlite":
        return _sqlite_address(url)
    if url.drivername in _POSTGRES:
        return _postgres_address(url)
    raise ConfigError(f"databases of the kind '{url.drivername}' are not supported; {_FORMS}")


def _sqlite_address(url: URL) -> Address:
    name = url.database or ""
    if not name or name.startswith((":memory:", "file:")) or url.host or url.query:
        raise ConfigError(f"a SQLite database needs the path of a file and nothing else; {_FORMS}")
    file = Path(name)
    return Address(url.set(drivername="sqlite+pysqlite"), file, str(file))


def _postgres_address(url: URL) -> Address:
    from sqlalchemy import URL

    if "password" in url.query:
        raise ConfigError(
            "the URL of the database has its password among its parameters, where other programs "
            "show it; give it by the environment variable PGPASSWORD or the file ~/.pgpass"
        )
    shown = URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database
    )
    return Address(
        url.set(drivername="postgresql+psycopg"), None, shown.render_as_string(hide_password=True)
    )
