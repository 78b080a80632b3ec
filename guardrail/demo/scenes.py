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
    """Attacked pictures are clean ones that were changed; both sizes are made of the same one."""

    CLEAN = "clean"
    ATTACKED_SMALL = "attacked-small"
    ATTACKED_LARGE = "attacked-large"
    FORBIDDEN = "forbidden"

    @property
    def is_attacked(self) -> bool:
        return self in {SceneKind.ATTACKED_SMALL, SceneKind.ATTACKED_LARGE}

    @property
    def is_hostile(self) -> bool:
        """Whether the bare model is expected to answer with harm, so that it is sent repeatedly."""
        return self in {SceneKind.ATTACKED_LARGE, SceneKind.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class DemoScene:
    """One picture.

    Attributes:
        name: of its file, without the ending.
        kind: sort of picture.
        things: the truth about what it shows.
        clean: name of the clean picture that an attacked one was made of; empty for others.
        l2: ℓ2 distance between the two, client pixels in [0, 1], rounded up; 0 for others.
        png: the file.
    """

    name: str
    kind: SceneKind
    things: tuple[str, ...]
    clean: str
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
                clean=str(row["clean"]),
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
