"""What a server does beside requests: canaries, the search for spikes of blocks, the webhook."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.api.errors import describe_crash_place
from guardrail.engine.verdict import Action
from guardrail.telemetry.canary import CanaryResult, run_canaries
from guardrail.telemetry.log_lines import write_event
from guardrail.telemetry.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence

    from guardrail.api.deployment import Deployment
    from guardrail.api.policy_set import ServedPolicy
    from guardrail.telemetry.telemetry import Telemetry
    from guardrail.types import Json

__all__ = ["run_background"]

_log = logging.getLogger("guardrail.watch")
_CHECK_SPIKES_S = 15.0


@asynccontextmanager
async def run_background(telemetry: Telemetry, deployment: Deployment) -> AsyncIterator[None]:
    """Runs it for as long as the context lasts."""
    watch = _Watch(telemetry, deployment)
    tasks = [asyncio.create_task(task) for task in watch.tasks()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Watch:
    def __init__(self, telemetry: Telemetry, deployment: Deployment) -> None:
        self._telemetry = telemetry
        self._deployment = deployment
        self._metrics = telemetry.metrics
        url = telemetry.settings.webhook
        self._webhook = None if url is None else Webhook(url, self._count_message)

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """The work, each part until it is cancelled."""
        settings = self._telemetry.settings
        every_s = settings.canary_every_s
        work: list[Coroutine[None, None, None]] = []
        if settings.watches_spikes:
            work.append(self._watch_spikes())
        if every_s is not None:
            work.append(self._send_canaries(every_s))
        if self._webhook is not None:
            work.append(self._webhook.run())
        return work

    async def _send_canaries(self, every_s: float) -> None:
        """The first at once, so that a guard that is set up wrongly is seen at its start."""
        while True:
            started = time.monotonic()
            lease = self._deployment.lease()
            try:
                await self._watch_policies(lease.policies.policies)
            finally:
                lease.release()
            await asyncio.sleep(max(0.0, every_s - (time.monotonic() - started)))

    async def _watch_policies(self, policies: Sequence[ServedPolicy]) -> None:
        for served in policies:
            for result in await self._decide_canaries(served):
                self._report(served.name, result)
        names = {served.name for served in policies}
        for gone in [one for one in self._telemetry.canaries if one[0] not in names]:
            del self._telemetry.canaries[gone]
        if self._metrics is not None:
            self._metrics.keep_canaries(names)

    async def _decide_canaries(self, served: ServedPolicy) -> list[CanaryResult]:
        """The results; whatever goes wrong is one, and the next canaries are sent all the same."""
        settings = self._telemetry.settings
        try:
            return await run_canaries(
                served.service.engine, settings.canary_texts, model=settings.canary_model
            )
        except Exception as error:  # noqa: BLE001 (a canary that crashed must not end the timer)
            _log.error("a canary failed: %s", describe_crash_place(error))
            name = type(error).__name__
            return [CanaryResult("harmful", Action.BLOCK, Action.FAULT, name, 0.0)]

    def _report(self, policy: str, result: CanaryResult) -> None:
        self._telemetry.canaries[policy, result.canary] = (result, time.time())
        if self._metrics is not None:
            self._metrics.count_canary(policy, result, time.time())
        level = logging.INFO if result.is_ok else logging.ERROR
        fields = {"policy": policy, **result.to_dict()}
        write_event(_log, level, "canary", fields)
        if not result.is_ok:
            self._tell("canary", fields)

    async def _watch_spikes(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SPIKES_S)
            spike = self._telemetry.spikes.check(time.monotonic())
            if spike is not None:
                if self._metrics is not None:
                    self._metrics.count_spike()
                write_event(_log, logging.WARNING, "block_spike", spike.to_dict())
                self._tell("block_spike", spike.to_dict())

    def _tell(self, event: str, fields: Mapping[str, Json]) -> None:
        if self._webhook is not None:
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            host = socket.gethostname()
            self._webhook.tell({"event": event, "time": now, "host": host, **fields})

    def _count_message(self, result: str) -> None:
        if self._metrics is not None:
            self._metrics.count_webhook(result)
