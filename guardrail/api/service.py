"""What the routes share: one policy, one engine, and the places that requests take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.api.admission import Admission
from guardrail.api.cached import Cached
from guardrail.api.caller import ANYBODY
from guardrail.api.drain import Drain
from guardrail.api.fault_count import FaultCount
from guardrail.api.items import ItemMemory
from guardrail.api.observer import Observer
from guardrail.api.pictures.fetch import INTERNET, Network, RemoteImages
from guardrail.api.pictures.loader import ImageLoader
from guardrail.api.recording import (
    CountedRecording,
    RecordFunction,
    Recording,
    as_recording,
    decide_and_keep,
)
from guardrail.api.request_rules import RequestRules, request_rules
from guardrail.api.settings import ServerSettings
from guardrail.errors import ConfigError, UpstreamError
from guardrail.keys.limits import KeyAllowance, LocalLimits
from guardrail.memory.decision_memory import DecisionMemory
from guardrail.memory.ledger import LocalLedger
from guardrail.memory.spending import Principal
from guardrail.policy.compile import check_first_try, image_limits, memory_rules
from guardrail.records.origin import UNKNOWN_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guardrail.api.caller import Caller
    from guardrail.api.overrides import OverrideList
    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Verdict
    from guardrail.keys.limits import Limits
    from guardrail.memory.allowance import Allowance
    from guardrail.memory.ledger import Ledger
    from guardrail.memory.store import VerdictStore
    from guardrail.policy.schema import Policy
    from guardrail.records.origin import Origin
    from guardrail.records.sent_pictures import PictureRoom, SentPictures
    from guardrail.types import Chat

__all__ = ["Service"]

_EVERYBODY = "everybody"


@dataclass(frozen=True)
class Service:
    """Made once for an app.

    `record` is a recorder or a function.
    If it fails, so does the request: nothing leaves unrecorded. None keeps no records, so
    that no client is given the name of one. `network` is for tests only.
    `ledger` counts the tries of principals, `limits` what keys use, `store` keeps verdicts and
    `kept_items` parts of answers; they may be shared, and None makes one in this process. `close`
    closes the engine's parts where others use them too; None closes its upstream and its oracle.
    `drain` is the server's. `overrides` is where entries are looked up that count under the policy;
    whoever made it closes it.

    Raises:
        ConfigError: the ledger's window is shorter than the policy's, the words of a block name a
            record and none are kept, the policy heeds overrides and there is no list of them, or
            all bodies together have less room than one may need.
    """

    policy: Policy
    engine: Engine
    settings: ServerSettings = field(default_factory=ServerSettings)
    record: Recording | RecordFunction | None = None
    network: Network = INTERNET
    ledger: Ledger | None = None
    store: VerdictStore | None = None
    kept_items: ItemMemory | None = None
    close: Callable[[], Awaitable[None]] | None = None
    limits: Limits | None = None
    drain: Drain = field(default_factory=Drain)
    overrides: OverrideList | None = None
    recording: Recording | None = field(init=False)
    admission: Admission = field(init=False)
    models: Cached[list[str]] = field(init=False)
    image_loader: ImageLoader = field(init=False)
    decisions: DecisionMemory = field(init=False)
    request_rules: RequestRules = field(init=False)
    items: ItemMemory = field(init=False)
    observer: Observer = field(init=False)
    record_faults: FaultCount = field(init=False, default_factory=FaultCount)

    def __post_init__(self) -> None:
        if self.record is None and self.policy.block.names_record:
            raise ConfigError(
                "the words name {record_id}, and no records are kept; keep them, or take it out",
                field="block",
            )
        if self.policy.overrides == "on" and self.overrides is None:
            raise ConfigError(
                "entries are made of records and kept beside them; run guardrail serve with "
                "--records and a database, or say off",
                field="overrides",
            )
        limits = self.policy.advanced.limits
        if self.settings.wire.max_bodies_bytes < limits.max_body_bytes:
            raise ConfigError(
                f"must be at least the policy's advanced.limits.max_body_bytes, "
                f"{limits.max_body_bytes}: the largest body would never find room",
                field="max_bodies_bytes",
            )
        self._set(
            recording=self._count_record_faults(),
            ledger=self._counting(),
            limits=self.limits or LocalLimits(),
            admission=Admission(limits.max_concurrent_requests, limits.max_waiting_requests),
            models=Cached(self._models, self.settings.probe_cache_s),
            image_loader=self._make_image_loader(),
            decisions=DecisionMemory(memory_rules(self.policy), store=self.store),
            request_rules=request_rules(self.policy),
            observer=Observer(self.policy.observe, self._keep_observed),
            items=self.kept_items or ItemMemory(memory_rules(self.policy)),
        )

    def _count_record_faults(self) -> Recording | None:
        recording = as_recording(self.record)
        return None if recording is None else CountedRecording(recording, self.record_faults)

    async def decide_and_keep(
        self,
        decide: Callable[[], Awaitable[Verdict]],
        chat: Chat,
        origin: Origin = UNKNOWN_ORIGIN,
        sent: SentPictures | None = None,
    ) -> tuple[Verdict, str | None]:
        """Makes a decision and keeps it, see `recording.decide_and_keep`."""
        return await decide_and_keep(self.recording, decide, chat, origin, sent)

    async def keep(
        self,
        verdict: Verdict,
        chat: Chat,
        origin: Origin = UNKNOWN_ORIGIN,
        sent: SentPictures | None = None,
    ) -> str | None:
        """Keeps a decision; the name of its record, None where none are kept."""
        recording = self.recording
        return None if recording is None else await recording.keep(verdict, chat, origin, sent)

    @property
    def picture_room(self) -> PictureRoom | None:
        """Where pictures wait that records keep; None where they keep none."""
        return None if self.recording is None else self.recording.picture_room

    async def check_records(self) -> None:
        """Raises GuardrailError where records must be kept and cannot be."""
        if self.recording is not None:
            await self.recording.check()

    async def _keep_observed(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None
    ) -> None:
        await self.keep(verdict, chat, origin, sent)

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _counting(self) -> Ledger:
        window_s = self.policy.advanced.spending.window_s
        if self.ledger is not None and self.ledger.window_s < window_s:
            raise ConfigError(
                f"its window of {self.ledger.window_s:g} s is shorter than that of the policy, "
                f"{window_s:g} s; make one of the longest window of all that share it",
                field="ledger",
            )
        return self.ledger or LocalLedger(window_s)

    def principal(self, end_user: str | None = None, caller: Caller = ANYBODY) -> Principal | None:
        """Whose try a request is; None where its tries are not counted.

        Args:
            end_user: whom an authenticated caller names. A caller that names nobody is known by its
                key.
            caller: who asks; where there are no keys, all callers are one.

        Raises:
            ConfigError: the name is empty, or the policy leaves no test to a first try.
        """
        ledger, mode = self.ledger, self.policy.spending.mode
        assert ledger is not None  # made with this
        if mode == "off" or (mode == "end_user" and end_user is None):
            return None
        if end_user is None:
            name = _EVERYBODY if caller.key_id is None else f"key: {caller.key_id}"
            return Principal(name, ledger)
        if not end_user:
            raise ConfigError("must name somebody; leave it out for nobody", field="principal")
        check_first_try(self.policy, self.engine.rules)
        return Principal(f"end user: {end_user}", ledger)

    def allowance(self, caller: Caller) -> Allowance | None:
        """What a caller may still spend; None where there are no keys."""
        if caller.key_id is None:
            return None
        assert self.limits is not None  # made with this
        return KeyAllowance(self.limits, caller.key_id, caller.limits, caller.tenant)

    def memory_scope(self, caller: Caller) -> str:
        """Who may be served what is remembered for a caller: its tenant, or all of them."""
        return "" if self.policy.advanced.memory.across_tenants else caller.tenant

    def _make_image_loader(self) -> ImageLoader:
        images, advanced = self.policy.images, self.policy.advanced
        limits = advanced.limits
        return ImageLoader(
            image_limits(self.policy),
            RemoteImages(
                images.remote,
                frozenset(images.remote_hosts),
                max_bytes=limits.max_image_bytes,
                timeout_s=advanced.images.remote_timeout_s,
                max_redirects=advanced.images.remote_max_redirects,
            ),
            max_link_bytes=limits.max_body_bytes,
            max_pixels=limits.max_pixels_at_once,
            network=self.network,
        )

    async def _models(self) -> list[str]:
        timeout_s = self.settings.probe_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self.engine.upstream.models()
        except TimeoutError:
            raise UpstreamError(
                f"the upstream did not list its models within {timeout_s:g} s; check that it runs",
                status=504,
                transient=True,
            ) from None

    async def aclose(self) -> None:
        """Ends running decisions, and closes the upstream and the oracle, whatever fails."""
        await self.observer.aclose()
        await self.decisions.aclose()
        self.image_loader.close()
        await (self.engine.aclose() if self.close is None else self.close())
