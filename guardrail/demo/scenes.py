"""The pictures of the demo, as they ship with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from guardrail.errors import ConfigError

__all__ = ["FOLDER", "PROMPT", "SIDE_PX", "DemoScene", "SceneKind", "load_scenes"]

FOLDER = Path(__file__).resolve().parent / "pictures"
PROMPT = "What is shown in this picture?"
SIDE_PX = 224
"""Width and height of the pictures."""


class SceneKind(StrEnum):
    CLEAN = "clean"
    ATTACKED = "attacked"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class DemoScene:
    """One picture. `things` is the truth about it; `l2` is how far an attacked one was moved."""

    name: str
    kind: SceneKind
    things: tuple[str, ...]
    l2: float
    png: bytes


def load_scenes(folder: Path = FOLDER) -> tuple[DemoScene, ...]:
    """All scenes, clean ones first. Raises ConfigError where they are not there."""
    try:
        rows = json.loads((folder / "scenes.json").read_text())["scenes"]
        return tuple(
            DemoScene(
                name=row["name"],
                kind=SceneKind(row["kind"]),
                things=tuple(row["things"]),
                l2=float(row["l2"]),
                png=(folder / f"{row['name']}.png").read_bytes(),
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the demo's pictures cannot be read ({type(error).__name__}); install the package "
            "again",
            file=str(folder),
        ) from error
