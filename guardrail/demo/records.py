"""The demo's decisions in a database, and a console that shows them while they are made."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.console.app import console_routes
from guardrail.console.console import open_console
from guardrail.records.content import load_or_create_content_keys
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.sent_pictures import PictureRoom
from guardrail.records.writer import RecordWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from starlette.routing import BaseRoute

    from guardrail.api.deployment import Deployment
    from guardrail.engine.engine import Engine

__all__ = ["DemoRecords", "open_demo_records"]


@dataclass(frozen=True, slots=True)
class DemoRecords:
    """Where the decisions are, what keeps them, and what shows them."""

    place: Path
    recorder: Recorder
    make_routes: Callable[[Deployment], Sequence[BaseRoute]]


@contextmanager
def open_demo_records(place: Path, engine: Engine) -> Iterator[DemoRecords]:
    """Adds to a database, made if it is not there, as is the key that seals what was said.

    The console takes no keys and shows what was said: nothing of it is anybody's.

    Raises:
        ConfigError: it is no database, or cannot be opened.
    """
    keys = load_or_create_content_keys(f"{place}.content-key")
    with (
        closing(open_journal(place)) as journal,
        closing(RecordWriter(journal)) as writer,
        open_console(place, content_keys=keys) as console,
    ):

        def make_routes(deployment: Deployment) -> Sequence[BaseRoute]:
            return console_routes(console.of(deployment))

        yield DemoRecords(
            place,
            Recorder(writer, engine, content_keys=keys, picture_room=PictureRoom()),
            make_routes,
        )
