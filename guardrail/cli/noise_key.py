"""`guardrail noise-key`: makes, rotates and lists the secrets of the noise, and never shows one."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("noise-key")
def command() -> None:
    """Make, rotate and list the keys of the noise in a file (--key-file of serve).

    A key is never shown; its id names it in records and certificates.
    """


@command.command("create")
@_FILE
@_JSON
def _create(file: Path, as_json: bool) -> None:
    """Make FILE (mode 0600) with a fresh key; it must not be there yet."""
    from guardrail.key_files import create_key

    key = create_key(file)
    words = f"made: {file}, key {key.key_id}. Back it up; every replica needs a copy."
    _tell(as_json, [key.key_id], words)


@command.command("rotate")
@_FILE
@_JSON
def _rotate(file: Path, as_json: bool) -> None:
    """Put a fresh key first; older ones stay for replay, and tries are counted on.

    Servers read FILE at their start: give every replica the new file, then start them again.
    """
    from guardrail.key_files import rotate

    ids = [key.key_id for key in rotate(file).keys]
    words = (
        f"rotated: {file}, key {ids[0]} draws; {len(ids) - 1} older for replay, the last one "
        f"before it was {ids[1]}.\n"
        "Back the file up, copy it to every replica, and start the servers again."
    )
    _tell(as_json, ids, words)


@command.command("list")
@_FILE
@_JSON
def _list(file: Path, as_json: bool) -> None:
    """List the ids of the keys, the one that draws first."""
    from guardrail.key_files import load_keyring

    ids = [key.key_id for key in load_keyring(file).keys]
    lines = [f"{one}  {'draws' if not i else 'for replay'}" for i, one in enumerate(ids)]
    _tell(as_json, ids, "\n".join(lines))


def _tell(as_json: bool, ids: list[str], words: str) -> None:
    click.echo(json.dumps({"current": ids[0], "retired": ids[1:]}) if as_json else words)
