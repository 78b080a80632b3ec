"""Makes the services of a plan: models, oracles and what is remembered are shared between them."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from guardrail.api.deployment import Deployment, Plan
from guardrail.api.drain import Drain
from guardrail.api.items import ItemMemory
from guardrail.api.pictures.fetch import INTERNET, Network
from guardrail.api.policy_set import PolicySet, ServedPolicy, policies_digest
from guardrail.api.service import Service
from guardrail.assembly import join_engine, open_entry
from guardrail.errors import ConfigError
from guardrail.keys.limits import LocalLimits
from guardrail.memory.ledger import LocalLedger
from guardrail.memory.store import LocalVerdictStore
from guardrail.policy.compile import memory_rules, variant_options
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.upstreams import read_secrets
from guardrail.shared_parts import SharedParts
from guardrail.upstreams.limits.limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from typing import Protocol

    from guardrail.api.overrides import OverrideList
    from guardrail.api.recording import RecordFunction, Recording
    from guardrail.api.settings import ServerSettings
    from guardrail.engine.engine import Engine
    from guardrail.images.keys import NoiseKey
    from guardrail.keys.limits import Limits
    from guardrail.memory.ledger import Ledger
    from guardrail.memory.rules import MemoryRules
    from guardrail.memory.store import VerdictStore
    from guardrail.oracles.base import Oracle
    from guardrail.policy.policy_list import ListedPolicy
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry
    from guardrail.shared_parts import Part
    from guardrail.sharing.sharing import Sharing
    from guardrail.upstreams.base import Upstream

    class _Hold(Protocol):
        def __call__(self, part: Part[_T]) -> _T: ...


__all__ = ["open_deployment"]

_T = TypeVar("_T")

_LEAST_WINDOW_S = 86_400.0


def open_deployment(
    read: Callable[[], Plan],
    key: NoiseKey,
    settings: ServerSettings,
    *,
    record_of: Callable[[Engine], Recording | RecordFunction | None] = lambda _: None,
    network: Network = INTERNET,
    limits: Limits | None = None,
    sharing: Sharing | None = None,
    overrides: OverrideList | None = None,
    is_alone: bool = True,
) -> Deployment:
    """The deployment of the policies and models that `read` finds.

    Args:
        read: reads the files; its plan names the models.
        key: what all noise is derived from.
        settings: of the server.
        record_of: what keeps the decisions of an engine.
        network: how links to pictures are looked up; for tests only.
        limits: counts what keys use; None counts where tries are kept.
        sharing: where tries, verdicts and limits are kept; None keeps them in this process.
        overrides: where entries are looked up, for policies that heed them.
        is_alone: whether no other process serves beside this one.

    Raises:
        ConfigError: something in the files cannot be used; or tries are to be counted, and several
            processes would each count their own.
    """
    used = limits or (LocalLimits() if sharing is None else sharing.limits)
    builder = _Builder(
        key, settings, record_of, network, used, sharing, overrides, is_alone=is_alone
    )
    plan, build = read(), builder.build
    return Deployment(
        plan,
        build(plan),
        settings,
        read=read,
        build=build,
        limits=used,
        drain=builder.drain,
        sharing=sharing,
    )


class _Builder:
    """Makes sets of policies; what two sets have in common is kept from one to the next."""

    def __init__(
        self,
        key: NoiseKey,
        settings: ServerSettings,
        record_of: Callable[[Engine], Recording | RecordFunction | None],
        network: Network,
        limits: Limits,
        sharing: Sharing | None,
        overrides: OverrideList | None,
        *,
        is_alone: bool,
    ) -> None:
        self._key = key
        self._settings = settings
        self._record_of = record_of
        self._network = network
        self._limits = limits
        self._parts = SharedParts()
        self._sharing = sharing
        self._overrides = overrides
        self._is_alone = is_alone
        self._ledger: Ledger | None = None
        self.drain = Drain()

    def build(self, plan: Plan) -> PolicySet:
        """The set of a plan. Raises ConfigError, and then nothing is left open."""
        self._check_counting(plan)
        if self._ledger is None:  # tries are counted on through every change of the policies
            windows = [one.policy.advanced.spending.window_s for one in plan.listed]
            self._ledger = self._open_ledger(max(_LEAST_WINDOW_S, *windows))
        served: list[ServedPolicy] = []
        opened: list[Part[Any]] = []
        try:
            served.extend(
                self._serve(listed, plan.upstreams or (), opened) for listed in plan.listed
            )
        except BaseException:
            with ThreadPoolExecutor(1) as aside:  # this may be a thread with a running loop
                aside.submit(asyncio.run, _close(opened)).result()
            raise
        return PolicySet(policies_digest(plan.listed), tuple(served))

    def _check_counting(self, plan: Plan) -> None:
        # Under `end_user` none spends: no request over HTTP names whose it is.
        spends = any(one.policy.spending.mode == "principal" for one in plan.listed)
        if spends and self._sharing is None and not self._is_alone:
            raise ConfigError(
                "several workers would each spend alpha for themselves; let them count together by "
                "--redis, or start one worker",
                field="spending.mode",
            )

    def _open_ledger(self, window_s: float) -> Ledger:
        if self._sharing is None:
            return LocalLedger(window_s)
        return self._sharing.open_ledger(window_s)

    def _open_store(self, rules: MemoryRules) -> VerdictStore:
        if self._sharing is None:
            return LocalVerdictStore(rules)
        return self._sharing.open_verdict_store(rules)

    def _serve(
        self,
        listed: ListedPolicy,
        entries: tuple[UpstreamEntry, ...],
        opened: list[Part[Any]],
    ) -> ServedPolicy:
        policy, rules = listed.policy, memory_rules(listed.policy)
        own: list[Part[Any]] = []

        def hold(part: Part[_T]) -> _T:
            own.append(part)
            opened.append(part)
            return part.value

        members = [self._open_model(entry, policy, hold, alone=len(entries) == 1)
                   for entry in entries]  # fmt: skip
        oracle = hold(self._take_oracle(policy))
        store = hold(self._parts.take(("verdicts", rules), lambda: self._open_store(rules)))
        items = hold(self._parts.take(("items", rules), lambda: ItemMemory(rules)))
        engine = join_engine(policy, members, oracle, self._key)

        async def close() -> None:
            if engine.text_check is not None:
                await engine.text_check.aclose()
            await _close(own)

        service = Service(
            policy,
            engine,
            self._settings,
            self._record_of(engine),
            self._network,
            ledger=self._ledger,
            store=store,
            kept_items=items,
            close=close,
            limits=self._limits,
            drain=self.drain,
            overrides=self._overrides,
        )
        return ServedPolicy(listed, service)

    def _take_oracle(self, policy: Policy) -> Part[Oracle]:
        said = policy.oracle.with_calibration(policy.folder).model_dump_json()
        files = policy.oracle.file_digests(policy.folder)
        key = ("oracle", type(policy.oracle), said, str(policy.folder), repr(files))
        return self._parts.take(key, lambda: compile_oracle(policy), lambda oracle: oracle.aclose)

    def _open_model(
        self,
        entry: UpstreamEntry,
        policy: Policy,
        hold: _Hold,
        *,
        alone: bool,
    ) -> Upstream:
        """The way to a model; its limits are one, however its pictures are encoded."""
        who: Hashable = (entry.model_dump_json(), _digest_secrets(entry), alone)
        limiter = hold(
            self._parts.take(("limits", who), lambda: self._make_limiter(entry, who), _closing)
        )
        how = tuple(sorted(variant_options(policy).items()))
        return hold(
            self._parts.take(
                ("model", who, how),
                lambda: open_entry(entry, policy, alone=alone, limiter=limiter),
                lambda model: model.aclose,
            )
        )

    def _make_limiter(self, entry: UpstreamEntry, who: Hashable) -> Limiter:
        limiter = Limiter(entry.limits)
        if self._sharing is not None:
            self._sharing.stops.join(repr(who), limiter)
        return limiter


def _closing(limiter: Limiter) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        limiter.close()

    return close


async def _close(parts: list[Part[Any]]) -> None:
    await asyncio.gather(*(part.aclose() for part in parts))


def _digest_secrets(entry: UpstreamEntry) -> str:
    """Tells apart what the environment said; the keys themselves are not kept here."""
    return hashlib.sha256("\0".join(read_secrets(entry)).encode()).hexdigest()
