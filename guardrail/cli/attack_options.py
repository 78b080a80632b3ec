"""What `guardrail attack` is asked for, and which options go with which attack."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SEARCHES", "AttackGoal", "AttackKind", "AttackOptions", "read_options"]


class AttackKind(StrEnum):
    MINIMUM_NORM = "minimum-norm"
    L2 = "l2"
    LINF = "linf"
    STICKER = "sticker"
    FRAME = "frame"
    CAPTION = "caption"
    COLLAGE = "collage"
    SUFFIX = "suffix"
    SQUARE = "square"
    STICKER_SEARCH = "sticker-search"


class AttackGoal(StrEnum):
    HARMFUL = "harmful"
    MISSED = "missed"
    HARMLESS = "harmless"


DEFAULT_SIZE = {
    AttackKind.L2: 4.0,
    AttackKind.LINF: 8 / 255,
    AttackKind.STICKER: 0.05,
    AttackKind.FRAME: 0.2,
    AttackKind.CAPTION: 0.15,
    AttackKind.COLLAGE: 0.5,
    AttackKind.SQUARE: 16 / 255,
    AttackKind.STICKER_SEARCH: 0.1,
}
_SHARES = (
    AttackKind.STICKER,
    AttackKind.FRAME,
    AttackKind.CAPTION,
    AttackKind.COLLAGE,
    AttackKind.STICKER_SEARCH,
)
SEARCHES = (AttackKind.SQUARE, AttackKind.STICKER_SEARCH)
"""What goes by answers alone."""
_ONLY_WITH: dict[str, tuple[AttackKind, ...]] = {
    "paste": (AttackKind.STICKER, AttackKind.FRAME, AttackKind.COLLAGE),
    "caption": (AttackKind.CAPTION,),
    "thing": (AttackKind.STICKER,),
    "words": (AttackKind.SUFFIX,),
    "queries": SEARCHES,
    "per_minute": SEARCHES,
    "url": SEARCHES,
    "model": SEARCHES,
}
"""Options that stand for one attack or a few; None where they are not given."""
_NEEDS = {AttackKind.CAPTION: "caption", AttackKind.COLLAGE: "paste"}
_WORDS, _QUERIES, _PER_MINUTE, _MODEL = 6, 200, 60.0, "guardrail-builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOptions:
    """What the command was asked for; fields as its options."""

    attack: AttackKind
    goal: AttackGoal
    size: float
    paste: Path | None
    caption: str | None
    place: str
    thing: tuple[int, int, int, int] | None
    words: int
    queries: int
    per_minute: float
    url: str | None
    model: str
    key_variable: str
    steps: int
    restarts: int
    prompt: str
    targets: tuple[str, ...]
    policy: str
    through_guard: bool
    draws: int
    upstream: str
    tries: int
    seed: int

    @property
    def is_truth_known(self) -> bool:
        """Whether the model is the built-in one, whose harm is told by its own words."""
        if self.url is not None:
            return self.model == _MODEL
        return self.upstream == "builtin"


def read_options(given: dict[str, Any]) -> AttackOptions:
    """Raises click.UsageError where options contradict each other."""
    attack, goal = AttackKind(given.pop("attack")), AttackGoal(given.pop("goal"))
    for name, kinds in _ONLY_WITH.items():
        if given[name] is not None and attack not in kinds:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option}: only with --attack {' or '.join(kinds)}")
    if (needed := _NEEDS.get(attack)) and given[needed] is None:
        raise click.UsageError(f"--attack {attack} needs --{needed}")
    _check_goal(attack, goal, given)
    _check_place(attack, given)
    size = given.pop("size")
    if size is not None and attack not in DEFAULT_SIZE:
        raise click.UsageError(f"--size: {attack} has none that you choose")
    given["size"] = DEFAULT_SIZE.get(attack, 0.0) if size is None else size
    if attack in _SHARES and given["size"] >= 1:
        raise click.UsageError(f"--size: a {attack} takes a share of the picture below 1")
    for name, usual in (
        ("words", _WORDS), ("queries", _QUERIES), ("per_minute", _PER_MINUTE), ("model", _MODEL),
    ):  # fmt: skip
        given[name] = usual if given[name] is None else given[name]
    return AttackOptions(attack=attack, goal=goal, **given)


def _check_goal(attack: AttackKind, goal: AttackGoal, given: dict[str, Any]) -> None:
    if goal is AttackGoal.MISSED and (attack is AttackKind.SUFFIX or given["url"] is not None):
        raise click.UsageError(
            "--goal missed: only for changes of the picture against a model in this process; give "
            "harmful or harmless"
        )
    if given["through_guard"] and attack in (AttackKind.SUFFIX, *SEARCHES):
        raise click.UsageError(
            f"--through-guard: not with --attack {attack}; {' and '.join(SEARCHES)} ask a running "
            "guard by --url"
        )


def _check_place(attack: AttackKind, given: dict[str, Any]) -> None:
    if given["place"] != "random":
        if attack is not AttackKind.STICKER:
            raise click.UsageError("--place: only with --attack sticker")
        if given["thing"] is None:
            raise click.UsageError("--place: on and beside need --thing")
    elif given["thing"] is not None:
        raise click.UsageError("--thing: only with --place on or beside")
