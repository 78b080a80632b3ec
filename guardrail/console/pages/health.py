"""Whether everything runs: models, lines, oracles, records, and what keys use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.console.quality import read_canaries
from guardrail.console.roles import ANY_ROLE
from guardrail.console.statistics import Group, read_key_use
from guardrail.console.visit import ConsoleRoute
from guardrail.upstreams.chain import members
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.breaker import BreakerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from guardrail.api.deployment import Deployment
    from guardrail.api.policy_set import ServedPolicy
    from guardrail.console.visit import Visit
    from guardrail.keys.api_key import ApiKey

__all__ = ["ROUTES"]

_MOST_KEYS = 200


@dataclass(frozen=True, slots=True)
class _UpstreamState:
    """One way to a model; `limited` is False for a model that has no line."""

    name: str
    limited: bool
    waiting: int = 0
    in_flight: int = 0
    paused: int = 0
    open_breakers: int = 0

    @property
    def word(self) -> str:
        """`answers`, `pauses` or `is left alone`."""
        if self.open_breakers:
            return "is left alone"
        return "pauses" if self.paused else "takes calls"


@dataclass(frozen=True, slots=True)
class _KeyUse:
    """What a key has asked today, and how much it may; without a key, all of those."""

    key_id: str
    key: ApiKey | None
    group: Group

    @property
    def share_usd(self) -> float | None:
        """Of its dollars of the day; None where they are not limited."""
        limit = None if self.key is None else self.key.limits.usd_per_day
        return None if limit is None else min(1.0, self.group.cost_usd / limit)


async def _show(visit: Visit) -> Response:
    return await _render(visit, "health.html")


async def _show_parts(visit: Visit) -> Response:
    """The part that a page asks for again and again."""
    return await _render(visit, "health_parts.html")


async def _render(visit: Visit, template: str) -> Response:
    console, deployment = visit.console, visit.console.deployment
    policies = () if deployment is None else deployment.current.policies
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    use = await visit.run(read_key_use, console.database, midnight)
    return visit.render(
        template,
        deployment=deployment,
        policies=policies,
        upstreams=_read_upstreams(policies),
        record_faults=sum(one.service.record_faults.total for one in policies),
        refused={} if deployment is None else _refusals(deployment),
        canaries=read_canaries(console.telemetry),
        keys=_read_keys(visit, use),
        database=console.database.name,
    )


def _refusals(deployment: Deployment) -> dict[str, int]:
    return {bound: times for bound, times in deployment.refusals.counts().items() if times}


def _read_upstreams(policies: Sequence[ServedPolicy]) -> list[_UpstreamState]:
    """Each once, as policies share them."""
    found: dict[str, _UpstreamState] = {}
    for served in policies:
        for member in members(served.service.engine.upstream):
            if not isinstance(member, LimitedUpstream):
                found[member.name] = _UpstreamState(member.name, limited=False)
                continue
            limiter = member.limiter
            found[member.name] = _UpstreamState(
                member.name,
                True,
                limiter.waiting,
                limiter.in_flight,
                limiter.count_paused(),
                limiter.count_breakers()[BreakerState.OPEN],
            )
    return list(found.values())


def _read_keys(visit: Visit, use: dict[str, Group]) -> list[_KeyUse]:
    """The keys that asked most; for a reviewer or an editor as well, as no secret is shown."""
    known = {} if visit.console.keys is None else {key.id: key for key in visit.console.keys.keys}
    rows = [_KeyUse(key_id, known.get(key_id), group) for key_id, group in use.items()]
    rows += [
        _KeyUse(key.id, key, Group())
        for key in known.values()
        if key.id not in use and key.is_valid(datetime.now(UTC))
    ]
    return sorted(rows, key=lambda row: row.group.calls, reverse=True)[:_MOST_KEYS]


ROUTES = (
    ConsoleRoute("GET", "/health", _show, ANY_ROLE, nav="Health"),
    ConsoleRoute("GET", "/health/parts", _show_parts, ANY_ROLE),
)
