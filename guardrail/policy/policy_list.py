"""The policies file: several policies, the strictest first, and which requests each decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, Strict

from guardrail.errors import ConfigError
from guardrail.policy.document import NOWHERE, Source, read_document
from guardrail.policy.load import load_policy, validate_content
from guardrail.policy.mistakes import raise_mistakes
from guardrail.policy.shipped import find_policy_file, shipped_folder
from guardrail.policy.strictness import describe_looser
from guardrail.section import Section

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from guardrail.policy.schema import Policy

__all__ = [
    "Asked",
    "ListedPolicy",
    "MatchSection",
    "PoliciesFile",
    "check_list",
    "find_folders",
    "load_policies",
]

_Pattern = Annotated[str, Field(min_length=1, max_length=256)]
_Patterns = Annotated[list[_Pattern], Field(max_length=1000)]
_MOST_POLICIES = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides which policy is used.

    Attributes:
        route: the path, as `/v1/chat/completions`.
        model: as the client names it.
        headers: by their names in lower case.
        tenant, key: of the caller; empty where there are no keys.
    """

    route: str = ""
    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tenant: str = ""
    key: str = ""


class MatchSection(Section):
    """Conditions on a request. All that are given must hold; `*` stands for any characters."""

    tenants: _Patterns | None = None
    """Tenants of API keys, for example [acme, "test-*"]."""
    keys: _Patterns | None = None
    """Names of API keys."""
    models: _Patterns | None = None
    """Models as clients name them."""
    routes: _Patterns | None = None
    """Paths, for example ["/v1/responses"]."""
    headers: Annotated[dict[_Pattern, _Pattern], Field(max_length=32)] | None = None
    """Headers by name, in lower case. Clients write them: use them to tighten only."""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return self == MatchSection()

    def fits(self, asked: Asked) -> bool:
        """Whether all conditions hold; true where there are none."""
        named = (
            (self.tenants, asked.tenant),
            (self.keys, asked.key),
            (self.models, asked.model),
            (self.routes, asked.route),
        )
        return all(patterns is None or _any(patterns, value) for patterns, value in named) and all(
            fnmatchcase(asked.headers.get(name, ""), pattern)
            for name, pattern in (self.headers or {}).items()
        )


_EVERYTHING = MatchSection()


def _any(patterns: Sequence[str], value: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


class ListedEntry(Section):
    """One policy of the list."""

    model_config = ConfigDict(populate_by_name=True)

    policy: Annotated[str, Field(min_length=1)]
    """The name of a shipped policy, or a file, by its path from this one."""
    match: MatchSection = MatchSection()
    """Which requests it decides, unless a policy above it decides them; left out: all."""
    unless: MatchSection | None = Field(default=None, alias="except")
    """Requests that it leaves to the policies below it."""


class PoliciesFile(Section):
    """The whole file."""

    policies: Annotated[tuple[ListedEntry, ...], Strict(strict=False)] = Field(
        min_length=1, max_length=_MOST_POLICIES
    )
    """The strictest first. The first one that fits a request decides it; a caller may name a
    stricter one by the header x-guardrail-policy, never a looser one. The last one takes all
    requests that are left, and so has neither match nor except."""


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """A policy and the requests that it decides."""

    policy: Policy
    match: MatchSection = _EVERYTHING
    unless: MatchSection | None = None

    def fits(self, asked: Asked) -> bool:
        """Whether it decides this request, unless one above it does."""
        return self.match.fits(asked) and not (self.unless and self.unless.fits(asked))


def load_policies(path: str | os.PathLike[str]) -> tuple[ListedPolicy, ...]:
    """The policies of a file, the strictest first.

    Raises:
        ConfigError: a file cannot be read, a field is wrong, two policies have one name, a looser
            policy stands above a stricter one, or the last one does not take all requests.
    """
    file = Path(path)
    document = read_document(file, "list of policies")
    source = Source(file.parent, (document,))
    parsed = validate_content(PoliciesFile, document.content, source, schema="docs/policy.md")
    listed = tuple(
        ListedPolicy(load_policy(find_policy_file(entry.policy, file.parent)), entry.match,
                     entry.unless)
        for entry in parsed.policies
    )  # fmt: skip
    check_list(listed, source)
    return listed


def check_list(listed: Sequence[ListedPolicy], source: Source = NOWHERE) -> None:
    """Raises ConfigError where policies do not make a list; see `load_policies`."""
    raise_mistakes([*_find_mistakes(listed, source)])


def find_folders(listed: Sequence[ListedPolicy], files: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The folders in which policies and other files stand, those of the package left out."""
    own = [Path(document.file) for one in listed for document in one.policy.documents]
    folders = {file.resolve().parent for file in (*own, *files)}
    return tuple(sorted(folders - {shipped_folder().resolve()}))


def _find_mistakes(listed: Sequence[ListedPolicy], source: Source) -> Iterator[ConfigError]:
    last = listed[-1]
    if not last.match.is_empty or last.unless is not None:
        yield _mistake(
            "the last policy must take all requests that are left; leave match and except out",
            source,
            len(listed) - 1,
        )
    names = [one.policy.name for one in listed]
    for index, one in enumerate(listed):
        if one.policy.name in names[:index]:
            yield _mistake(
                f"two policies have the name '{one.policy.name}'; rename one", source, index
            )
        for above in listed[:index]:
            if looser := describe_looser(above.policy, one.policy):
                yield _mistake(
                    f"'{one.policy.name}' is stricter than '{above.policy.name}' above it "
                    f"({looser}); list the strictest first, and exempt requests by except",
                    source,
                    index,
                )


def _mistake(problem: str, source: Source, index: int) -> ConfigError:
    file, line = source.locate(("policies", index))
    return ConfigError(problem, file=file, line=line, field=f"policies.{index}")
