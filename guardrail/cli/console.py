"""`guardrail console`: the records of a database in a browser, with no proxy beside it."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["DEFAULT_PORT", "command"]

DEFAULT_PORT = 8081


@click.command("console")
@click.option("--records", "place", metavar="FILE_OR_URL", envvar="GUARDRAIL_RECORDS",
              show_envvar=True, required=True,
              help="Where they are: FILE.db, or the URL of a database.")  # fmt: skip
@click.option("--content-key", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Key that sealed what was asked and answered; shows it to whoever uses this "
              "machine.")  # fmt: skip
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535))
def command(place: str, content_key: Path | None, port: int) -> None:
    """Show the console of a database on 127.0.0.1 until Ctrl-C.

    It asks for no key: whoever uses this machine can open it. `guardrail serve` shows the same
    beside its proxy, to those who sign in.
    """
    from guardrail.console.console import open_console
    from guardrail.console.serving import serve_console
    from guardrail.records.content import load_or_create_content_keys
    from guardrail.records.query import open_existing

    keys = None if content_key is None else load_or_create_content_keys(content_key)
    with open_existing(place):
        pass  # one that is not there is not made
    with open_console(place, content_keys=keys) as console:
        serve_console(
            console, port, announce=lambda url: click.echo(f"console at {url}/console/", err=True)
        )
