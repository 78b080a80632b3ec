"""All checks, one after the other, in the order in which one would look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.assembly import read_policy, read_upstreams
from guardrail.doctor.access import examine_access
from guardrail.doctor.finding import Finding, error
from guardrail.doctor.machine import examine_open_files, examine_versions
from guardrail.doctor.places import examine_places
from guardrail.doctor.policies import examine_fit, examine_oracle, examine_policy
from guardrail.doctor.upstreams import examine_upstream
from guardrail.errors import GuardrailError
from guardrail.policy.policy_list import load_policies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry

__all__ = ["examine"]


async def examine(
    options: Mapping[str, object], *, model: str | None = None, calls: bool = True
) -> AsyncIterator[Finding]:
    """Every finding as soon as it is there.

    Args:
        options: of `guardrail serve`, by their long names; None where not given.
        model: whom to ask of each upstream; None for the first one that it lists.
        calls: whether models and oracles are asked anything.
    """
    looks = (
        examine_versions,
        examine_open_files,
        lambda: examine_access(options),
        lambda: examine_places(options),
    )
    for look in looks:
        for finding in _guard(look):
            yield finding
    policies, found = _read_policies(options)
    for finding in found:
        yield finding
    for policy in policies:
        for finding in [*examine_policy(policy), *await examine_oracle(policy, calls=calls)]:
            yield finding
    entries, found = _read_entries(options)
    for finding in found:
        yield finding
    # How pictures are sent differs little between policies: the first one is asked with.
    for entry in entries if policies else ():
        for finding in await examine_upstream(entry, policies[0], model=model, calls=calls):
            yield finding
    for policy in policies if entries else ():
        for finding in await examine_fit(policy, entries):
            yield finding


def _guard(look: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    try:
        return look()
    except GuardrailError as fault:
        return [error("files", str(fault))]


def _read_policies(options: Mapping[str, object]) -> tuple[list[Policy], list[Finding]]:
    listed = options.get("--policies")
    try:
        if listed is None:
            return [read_policy(str(options["--policy"]))], []
        return [one.policy for one in load_policies(str(listed))], []
    except GuardrailError as fault:
        return [], [error("policies", str(fault), "see 'guardrail policy check'")]


def _read_entries(
    options: Mapping[str, object],
) -> tuple[tuple[UpstreamEntry, ...], list[Finding]]:
    specs, file = options.get("--upstream") or (), options.get("--upstreams")
    assert isinstance(specs, tuple)
    try:
        return read_upstreams(specs, None if file is None else str(file)), []
    except GuardrailError as fault:
        return (), [error("upstreams", str(fault), "see docs/upstreams.md")]
