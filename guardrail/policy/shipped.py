"""The policies that ship with the package, by their names."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from guardrail.errors import ConfigError

__all__ = ["find_policy_file", "shipped_folder", "shipped_names", "shipped_policy"]

_HERE = Path(__file__).resolve().parents[1]
_WHEEL, _CHECKOUT = _HERE / "policies", _HERE.parent / "policies"
_ENDINGS = frozenset({".yaml", ".yml", ".json"})


@cache
def shipped_names() -> tuple[str, ...]:
    """`default` and the others, in the order of the alphabet."""
    found = [file.stem for file in shipped_folder().glob("*.yaml")]
    return tuple(sorted(found, key=lambda name: (name != "default", name)))


def shipped_policy(name: str) -> Path:
    """The path of a policy that ships with the package.

    Raises:
        ConfigError: there is none of that name.
    """
    names = shipped_names()
    if name in names:
        return shipped_folder() / f"{name}.yaml"
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"those that ship are {', '.join(names)}"
    hint = f"did you mean '{near[0]}'? T{listed[1:]}" if near else listed
    raise ConfigError(f"there is no file and no shipped policy '{name}'; {hint}")


def find_policy_file(name: str, folder: Path) -> Path:
    """The file of a policy: a file by its path from `folder`, else a shipped policy by its name.

    A name has no separator and no ending: with either it is always a path.

    Raises:
        ConfigError: there is no file and no shipped policy of that name.
    """
    file = folder / name
    is_path = Path(name).name != name or file.suffix.lower() in _ENDINGS
    return file if is_path or file.is_file() else shipped_policy(name)


def shipped_folder() -> Path:
    """Where they stand: in the package, or in a checkout beside it."""
    return _WHEEL if _WHEEL.is_dir() else _CHECKOUT
