"""Names that may stand in a label: those of the configuration, and one for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.upstreams.base import known_models, provider_model
from guardrail.upstreams.chain import members
from guardrail.upstreams.prices import ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.rules import Rules
    from guardrail.upstreams.base import Upstream

__all__ = ["OTHER", "KnownNames", "configured_models"]

OTHER = "other"
"""Stands for every name that the configuration does not hold."""

_MOST_NAMES = 200
_MOST_CHARS = 200


class KnownNames:
    """A closed set: clients choose the names of models, and every one would be a series of its own.

    At most 200 names are known, each of at most 200 characters.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self.learn(names)

    def __len__(self) -> int:
        return len(self._names)

    def learn(self, names: Iterable[str]) -> None:
        """Adds what a changed configuration names; none is forgotten, as its series stay."""
        for name in names:
            if 0 < len(name) <= _MOST_CHARS and len(self._names) < _MOST_NAMES:
                self._names.add(name)

    def label(self, *names: str) -> str:
        """The first of these names that is known, else `OTHER`."""
        return next((name for name in names if name in self._names), OTHER)


def configured_models(rules: Rules, upstream: Upstream) -> list[str]:
    """The models that an operator has named: in maps of upstreams, or with a price of their own.

    Args:
        rules: hold the policy's own prices.
        upstream: one, or several.
    """
    mapped = [name for member in members(upstream) for name in known_models(member)]
    called = [provider_model(member, name) for member in members(upstream) for name in mapped]
    priced = [name for name in rules.prices.own if name != ANY_MODEL]
    return [*mapped, *called, *priced]
