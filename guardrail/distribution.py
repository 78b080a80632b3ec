"""The name under which this package is installed, and what else is installed under its own.

The registry's `guardrail` is another project's package with a folder of the same name. Files of
both lie in one folder then: whichever was installed last owns `guardrail/__init__.py`, and removing
the other package removes that file.
"""

from __future__ import annotations

import sys

__all__ = ["DISTRIBUTION", "find_stranger", "install_command"]

DISTRIBUTION = "certified-guardrail"
_STRANGER = "guardrail"


def install_command(extra: str) -> str:
    """What to run for the packages of an extra.

    pip and uv take the extra from the distribution that is installed here, so that this works for
    a wheel or a folder that no registry knows.
    """
    return f"run: pip install '{DISTRIBUTION}[{extra}]'"


def find_stranger() -> str | None:
    """What is wrong and what to do where another distribution named `guardrail` is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(_STRANGER)
    except PackageNotFoundError:
        return None
    ours = "Guard" in getattr(sys.modules["guardrail"], "__all__", ())
    harm = "removing it alone would break this one" if ours else "it has replaced files of this one"
    return (
        f"another package, named '{_STRANGER}' ({found}), is installed beside this one, which is "
        f"named '{DISTRIBUTION}'. Both are imported as 'guardrail', and {harm}; run "
        f"'pip uninstall {_STRANGER} {DISTRIBUTION}' and then install {DISTRIBUTION} again"
    )
