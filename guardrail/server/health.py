"""GET /healthz: the process is alive. GET /readyz: model and oracle answer, records can be kept."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from guardrail.api.cached import Cached
from guardrail.api.errors import Reply, log_crash
from guardrail.errors import GuardrailError, OracleError, StorageError
from guardrail.oracles.base import Exchange
from guardrail.server.json_response import json_response
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.api.deployment import Deployment
    from guardrail.api.service import Service
    from guardrail.server.policy_sync import PolicySync

__all__ = ["live_endpoint", "ready_endpoint"]

_PROBE = Exchange(prompt="Say hello.", response="Hello.")
_FINE = "ok"
_RECORDS_FAILED = "records cannot be kept; the log says why"


async def live_endpoint(_request: Request) -> Response:
    """Answers 200 as long as the process does."""
    return json_response(Reply(200, {"status": "ok"}))


def ready_endpoint(
    deployment: Deployment, sync: PolicySync
) -> Callable[[Request], Awaitable[Response]]:
    """200 where models, oracles and Redis answer and records can be kept, else 503.

    Nor is a process ready that runs another version than the one that all were rolled back to.
    """
    readiness = Cached(lambda: _readiness(deployment, sync), deployment.settings.probe_cache_s)

    async def answer(_request: Request) -> Response:
        if deployment.drain.has_begun:  # known at once, whatever is remembered
            return json_response(Reply(503, {"status": "draining"}, {"retry-after": "5"}))
        return json_response(await readiness.get())

    return answer


async def _readiness(deployment: Deployment, sync: PolicySync) -> Reply:
    lease = deployment.lease()
    try:
        services = [one.service for one in lease.policies.policies]
        # Policies share models and oracles: each is asked once.
        models = {id(one.engine.upstream): one.models.get for one in services}
        oracles = {id(one.engine.oracle): partial(_probe_oracle, one) for one in services}
        probes: dict[str, Sequence[Callable[[], Awaitable[object]]]] = {
            "upstream": [*models.values()],
            "oracle": [*oracles.values()],
        }
        if services[0].recording is not None:
            probes["records"] = [services[0].check_records]  # all policies keep theirs in one place
        if deployment.sharing is not None:
            probes["redis"] = [deployment.sharing.probe]
        if sync.has_board:
            probes["policies"] = [sync.check]
        found = await asyncio.gather(*map(_check_all, probes.values()))
    finally:
        lease.release()
    said = dict(zip(probes, found, strict=True))
    ready = all(one == _FINE for one in found)
    body = {"status": "ready" if ready else "not ready", **said}
    return Reply(200 if ready else 503, body, {} if ready else {"retry-after": "5"})


async def _check_all(probes: Sequence[Callable[[], Awaitable[object]]]) -> str:
    """`ok`, or what is wrong with the first that fails."""
    found = await asyncio.gather(*map(_check, probes))
    return next((said for said in found if said != _FINE), _FINE)


async def _check(probe: Callable[[], Awaitable[object]]) -> str:
    """`ok`, or what is wrong."""
    try:
        await probe()
    except StorageError:
        return _RECORDS_FAILED  # its words name the operator's files and servers; the log has them
    except GuardrailError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (any fault means: not ready)
        log_crash(error)
        return f"failed ({type(error).__name__})"
    return _FINE


async def _probe_oracle(service: Service) -> None:
    try:
        async with asyncio.timeout(service.settings.probe_timeout_s):
            judgements = await service.engine.oracle.judge([_PROBE])
    except TimeoutError:
        raise OracleError("the oracle did not answer in time; check that it runs") from None
    if len(judgements) != 1 or judgements[0].outcome is Outcome.MISSING:
        raise OracleError("the oracle gave no judgement; check how it is set up")
