"""Opens the keys at an address, and says where their pepper is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.keys.store import KeyStore

__all__ = ["open_key_store", "pepper_file"]

_FILE_ENDINGS = (".yaml", ".yml")


def open_key_store(address: str) -> KeyStore:
    """The store at the path of a YAML file, at a URL, or in a SQLite file.

    Raises:
        ConfigError: the address is none.
        StorageError: the database cannot be reached.
    """
    if "://" not in address and address.lower().endswith(_FILE_ENDINGS):
        from guardrail.keys.yaml_store import YamlKeyStore

        return YamlKeyStore(Path(address))
    from guardrail.database.address import is_database

    if is_database(address):
        from guardrail.keys.database_store import DatabaseKeyStore

        return DatabaseKeyStore(address)
    raise ConfigError(
        "API keys are kept in a YAML file (its name ends in .yaml) or in a database (the path of a "
        "file that ends in .db, or a URL); name one of them",
        field="keys",
    )


def pepper_file(address: str) -> Path:
    """Where the pepper is if nobody says so: beside the file that holds the keys.

    Raises:
        ConfigError: the keys are in a database on a server, beside which there is no place.
    """
    if "://" in address:
        raise ConfigError(
            "keys in a database need a pepper outside it; name its file by --pepper or "
            "GUARDRAIL_PEPPER",
            field="pepper",
        )
    return Path(f"{address}.pepper")
