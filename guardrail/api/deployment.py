"""The policies that a server decides by, and their change while it runs.

A request takes the set of policies of the moment it is read and keeps it to its end. A new set is
made whole before it takes the old one's place, so a mistake changes nothing; the old one is closed
when the last request that took it has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from guardrail.api.bodies import Bodies
from guardrail.api.drain import Drain
from guardrail.api.policy_set import PolicySet, ServedPolicy, policies_digest
from guardrail.api.refusals import Refusals
from guardrail.errors import ConfigError, RequestError
from guardrail.keys.limits import LocalLimits
from guardrail.policy.policy_list import ListedPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.api.service import Service
    from guardrail.api.settings import ServerSettings
    from guardrail.keys.limits import Limits
    from guardrail.policy.upstreams import UpstreamEntry
    from guardrail.sharing.process_board import Processes
    from guardrail.sharing.sharing import Sharing

__all__ = ["Deployment", "Lease", "Plan", "PolicyChanges", "Version", "fixed_deployment"]

_MOST_VERSIONS = 50

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set of policies is made of, read from files.

    Attributes:
        listed: the policies, the strictest first.
        upstreams: the models; None for those that the server was started with.
    """

    listed: tuple[ListedPolicy, ...]
    upstreams: tuple[UpstreamEntry, ...] | None = field(default=None, repr=False)


Read: TypeAlias = "Callable[[], Plan]"
Build: TypeAlias = "Callable[[Plan], PolicySet]"


@dataclass(frozen=True, slots=True)
class Version:
    """A set of policies that decided, or decides.

    Attributes:
        digest: its name.
        since: when it last took effect, ISO 8601, UTC.
        cause: what made it take effect: `start`, `signal`, `file`, or who asked for it.
        plan: what it is made of.
    """

    digest: str
    since: str
    cause: str
    plan: Plan


class PolicyChanges(Protocol):
    """Changes of policies that reach every process that serves, see `PolicySync`."""

    async def reload(self, cause: str) -> Processes:
        """Has every process read its files again."""
        ...

    async def look(self) -> Processes:
        """Which processes there are now, and what they run."""
        ...


class Lease:
    """One request's hold on a set of policies; releasing it twice does no harm."""

    def __init__(self, holders: _Holders) -> None:
        self._holders: _Holders | None = holders
        self.policies = holders.policies

    def release(self) -> None:
        holders, self._holders = self._holders, None
        if holders is not None:
            holders.leave()


class Deployment:
    """The set that decides now, and those before it. Used from one event loop.

    Args:
        plan: what the first set is made of.
        policies: the first set.
        settings: of the server, the same for all policies.
        read: reads the plan anew; None where there is nothing to read.
        build: makes a set of a plan; both run in a thread, and raise ConfigError.
        limits: counts what keys use, through every change of the policies; None makes one.
        drain: of the server, the same for all policies.
        sharing: what other processes share; closed with this.
    """

    def __init__(
        self,
        plan: Plan,
        policies: PolicySet,
        settings: ServerSettings,
        *,
        read: Read | None = None,
        build: Build | None = None,
        limits: Limits | None = None,
        drain: Drain | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.settings = settings
        self.refusals = Refusals()
        self.bodies = Bodies(settings.wire, self.refusals)
        self.limits = LocalLimits() if limits is None else limits
        self.drain = drain or Drain()
        self.sharing = sharing
        self.sync: PolicyChanges | None = None
        """Reaches all processes; None until a server has been made of this."""
        self._read, self._build = read, build
        self._holders = _Holders(policies)
        self._changing = asyncio.Lock()
        self._versions: OrderedDict[str, Version] = OrderedDict()
        self._note(policies.digest, "start", plan)

    @property
    def current(self) -> PolicySet:
        """The set that decides now."""
        return self._holders.policies

    @property
    def versions(self) -> tuple[Version, ...]:
        """The newest first, at most 50."""
        return tuple(reversed(self._versions.values()))

    def lease(self) -> Lease:
        """Takes the set that decides now; give it back."""
        self._holders.enter()
        return Lease(self._holders)

    @property
    def reads_files(self) -> bool:
        """Whether `reload` has anything to read."""
        return self._read is not None

    async def try_out(self, listed: Sequence[ListedPolicy]) -> None:
        """Makes a set of these policies and closes it again; nothing changes.

        Raises:
            ConfigError: it cannot be made.
        """
        if self._build is None:
            raise ConfigError("this server's policies cannot be changed while it runs")
        async with self._changing:
            plan = Plan(tuple(listed), self.versions[0].plan.upstreams)
            policies = await asyncio.to_thread(self._build, plan)
            await asyncio.gather(*(one.service.aclose() for one in policies.policies))

    async def reload(self, cause: str) -> bool:
        """Reads the files again; whether anything changed.

        Raises:
            ConfigError: something in them is wrong, or there are none. Nothing has changed then.
        """
        if self._read is None:
            raise ConfigError("this server was started without files that could be read again")
        async with self._changing:
            plan = await asyncio.to_thread(self._read)
            return await self._change(plan, cause)

    async def roll_back(self, digest: str, cause: str) -> bool:
        """Makes a former version decide again, until the files change; whether it is another one.

        Raises:
            RequestError: 404, there is no such version.
            ConfigError: it cannot be made any more.
        """
        async with self._changing:
            version = self._versions.get(digest)
            if version is None:
                raise RequestError(
                    "there is no such version; GET /admin/policies lists them",
                    status=404,
                    param="digest",
                    code="version_not_found",
                )
            return await self._change(version.plan, cause)

    async def aclose(self) -> None:
        """Closes the set that decides now, whoever uses it still."""
        await self._holders.policies_aclose()
        if self.sharing is not None:
            await self.sharing.aclose()

    async def _change(self, plan: Plan, cause: str) -> bool:
        assert self._build is not None  # given with `read`
        same_models = plan.upstreams == next(iter(self.versions)).plan.upstreams
        if policies_digest(plan.listed) == self.current.digest and same_models:
            return False
        policies = await asyncio.to_thread(self._build, plan)
        old, self._holders = self._holders, _Holders(policies)
        self._note(policies.digest, cause, plan)
        old.retire()
        names = ", ".join(one.name for one in policies.policies)
        _log.info("policies changed (%s): %s, version %s", cause, names, policies.digest[:12])
        return True

    def _note(self, digest: str, cause: str, plan: Plan) -> None:
        self._versions.pop(digest, None)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._versions[digest] = Version(digest, since, cause, plan)
        while len(self._versions) > _MOST_VERSIONS:
            self._versions.popitem(last=False)


def fixed_deployment(service: Service) -> Deployment:
    """One policy that is never changed."""
    listed = ListedPolicy(service.policy)
    served = PolicySet(policies_digest([listed]), (ServedPolicy(listed, service),))
    return Deployment(
        Plan((listed,)), served, service.settings, limits=service.limits, drain=service.drain
    )


class _Holders:
    """How many requests use a set; one that is retired closes when the last of them ends."""

    def __init__(self, policies: PolicySet) -> None:
        self.policies = policies
        self._count = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None

    def enter(self) -> None:
        self._count += 1

    def leave(self) -> None:
        self._count -= 1
        self._close_if_unused()

    def retire(self) -> None:
        self._retired = True
        self._close_if_unused()

    async def policies_aclose(self) -> None:
        await asyncio.gather(*(one.service.aclose() for one in self.policies.policies))

    async def _finish(self) -> None:
        await asyncio.gather(*(one.service.observer.wait() for one in self.policies.policies))
        await self.policies_aclose()

    def _close_if_unused(self) -> None:
        if self._retired and not self._count and self._closing is None:
            self._closing = asyncio.create_task(self._finish())
            self._closing.add_done_callback(_log_fault)


def _log_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a former policy's parts could not be closed: %s", type(error).__name__)
