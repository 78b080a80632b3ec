"""The kinds of oracles that a policy file can name, and where their options are found.

A kind is one of three, looked for in this order:

1. a file of the package `guardrail.oracles.kinds`, which has the name of the kind and holds one
   class of options;
2. an entry point of the group `guardrail.oracles` of an installed package;
3. `module:name`, an object in a Python module.

2 and 3 name a subclass of `OracleOptions` or a plain function (see `FunctionOracle`). Only what a
policy names is imported, from the Python path of this process; nothing is ever fetched. The
author of the policy file chooses what code runs.
"""

from __future__ import annotations

import functools
import pkgutil
import re
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from guardrail.errors import ConfigError, GuardrailError
from guardrail.oracles.function import FunctionOracle, check_oracle
from guardrail.oracles.options import HarmOptions, OracleOptions

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = [
    "GROUP",
    "FunctionOptions",
    "build_oracle",
    "builtin_kinds",
    "find_options",
    "known_kinds",
]

GROUP = "guardrail.oracles"
"""The group of entry points by which an installed package offers oracles."""

_KINDS = "guardrail.oracles.kinds"
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@functools.cache
def builtin_kinds() -> tuple[str, ...]:
    """The kinds of this package, in alphabetical order."""
    folder = import_module(_KINDS).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder)))


def known_kinds() -> tuple[str, ...]:
    """The kinds of this package, then those of other installed packages."""
    others = {entry.name for entry in metadata.entry_points(group=GROUP)}
    return (*builtin_kinds(), *sorted(others - set(builtin_kinds())))


def find_options(kind: str) -> type[OracleOptions]:
    """The class of a kind's options; imports the code that the kind names.

    Raises:
        ConfigError: there is no such kind, its code cannot be imported, or is nothing that makes
            an oracle.
    """
    if kind in builtin_kinds():
        return _builtin_options(kind)
    reference = _reference_of(kind)
    found = _load(reference)
    if isinstance(found, type):
        return _check_class(found, reference)
    if callable(found):
        return FunctionOptions
    raise ConfigError(
        f"'{reference}' is of the type {type(found).__name__}; name a subclass of "
        "guardrail.oracles.OracleOptions, or a function from a text to True or False"
    )


class FunctionOptions(HarmOptions):
    """A function that judges the text of an answer, see `FunctionOracle`."""

    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 64
    """Most calls of an async function in flight at a time; a plain one is called one at a time."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a judgement; later it counts as missing."""

    def build(self, folder: Path) -> Oracle:
        del folder
        function = _load(_reference_of(self.kind))
        return FunctionOracle(
            function,  # type: ignore[arg-type] # checked when it is made
            threshold=self.threshold,
            name=self.kind,
            max_parallel=self.max_parallel,
            deadline_s=self.deadline_s,
        )


def build_oracle(options: OracleOptions, folder: Path) -> Oracle:
    """The oracle of some options, found to be one.

    Args:
        options: what a policy chose.
        folder: where relative paths start.

    Raises:
        ConfigError: an option cannot be used, a package is missing, or what was built is no
            oracle.
        OracleError: a model cannot be loaded.
    """
    try:
        oracle = options.build(folder)
    except GuardrailError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the oracle '{options.kind}' could not be built ({_words_of(error)}); see its "
            "package's documentation",
            field="oracle",
        ) from error
    checked = check_oracle(oracle, f"what '{options.kind}' builds")
    # Those of this package compute it when it is first asked for: it may need the weights.
    if options.kind not in builtin_kinds() and not isinstance(checked.revision, str):
        raise ConfigError(
            f"what '{options.kind}' builds has a revision that is no text",
            field="oracle",
        )
    return _check_language(checked, options)


def _check_language(oracle: Oracle, options: OracleOptions) -> Oracle:
    """The oracle behind a look at each answer's language, where its options want one."""
    if not isinstance(options, HarmOptions) or not options.checks_language:
        return oracle
    from guardrail.oracles.measured_languages import LanguageCheckedOracle

    return LanguageCheckedOracle(oracle, judges_all=options.unmeasured_language == "judge")


def _builtin_options(kind: str) -> type[OracleOptions]:
    """The one class of options that a file of `kinds` defines."""
    module = import_module(f"{_KINDS}.{kind}")
    named = (getattr(module, name) for name in module.__all__)
    classes = (found for found in named if isinstance(found, type))
    (options,) = (found for found in classes if issubclass(found, OracleOptions))
    return options


def _reference_of(kind: str) -> str:
    """The object that a kind stands for, as `module:name`."""
    entries = [entry for entry in metadata.entry_points(group=GROUP) if entry.name == kind]
    references = sorted({f"{entry.module}:{entry.attr}" for entry in entries})
    if len(references) > 1:
        raise ConfigError(
            f"several installed packages have an oracle '{kind}': {', '.join(references)}; write "
            "the one that you mean in place of the name"
        )
    if references:
        return references[0]
    if _REFERENCE.fullmatch(kind):
        return kind
    raise ConfigError(
        f"there is no oracle '{kind[:64]}'; known are {', '.join(known_kinds())}, and "
        "'module:name' for Python code of your own"
    )


def _load(reference: str) -> object:
    """The object at `module:name`."""
    module_name, _, path = reference.partition(":")
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(_missing(reference, module_name, error.name or "")) from error
    except Exception as error:
        raise ConfigError(
            f"the oracle '{reference}' cannot be used: importing '{module_name}' failed "
            f"({_words_of(error)})"
        ) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ConfigError(
                f"the oracle '{reference}' cannot be used: '{module_name}' has no '{path}'; check "
                "the name, and the version that is installed"
            ) from error
    return found


def _missing(reference: str, module: str, absent: str) -> str:
    """What to do about a package that is not installed."""
    if module == absent or module.startswith(f"{absent}."):
        return (
            f"the oracle '{reference}' cannot be used: there is no module '{absent}'; install the "
            "package that brings it into this Python environment, or add its folder to PYTHONPATH"
        )
    return (
        f"the oracle '{reference}' cannot be used: it needs the package '{absent}', which is not "
        "installed; install it into this Python environment"
    )


def _check_class(found: type, reference: str) -> type[OracleOptions]:
    if not issubclass(found, OracleOptions):
        what = "the class of an oracle" if hasattr(found, "judge") else "a class"
        raise ConfigError(
            f"'{reference}' is {what}, but not one of options; name a subclass of "
            "guardrail.oracles.OracleOptions whose method 'build' returns the oracle"
        )
    if found.build is OracleOptions.build:
        raise ConfigError(
            f"the options '{reference}' lack a method 'build(self, folder)' that returns the oracle"
        )
    return found


def _words_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
