"""Routes for operators: which policies decide, reading them again, going back to former ones."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from guardrail.api.errors import Reply
from guardrail.api.strict_json import parse_object
from guardrail.errors import ConfigError, RequestError
from guardrail.server.authentication import get_caller
from guardrail.server.body import read_body
from guardrail.server.json_response import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.api.deployment import Deployment, Version
    from guardrail.server.policy_sync import PolicySync
    from guardrail.sharing.process_board import Processes
    from guardrail.types import Json

__all__ = ["policies_endpoint", "reload_endpoint", "rollback_endpoint"]

_MOST_BYTES = 4096


def policies_endpoint(
    deployment: Deployment, sync: PolicySync
) -> Callable[[Request], Awaitable[Response]]:
    """GET: the versions, the one that decides first, and which one each process runs."""

    async def answer(_request: Request) -> Response:
        return json_response(_list_versions(deployment, await sync.look()))

    return answer


def reload_endpoint(
    deployment: Deployment, sync: PolicySync
) -> Callable[[Request], Awaitable[Response]]:
    """POST: all processes read their files again; 422 with every mistake in this one's."""

    async def answer(request: Request) -> Response:
        name = get_caller(request.scope).name
        try:
            processes = await sync.reload(name)
        except ConfigError as error:
            raise _unusable(error) from error
        return json_response(_list_versions(deployment, processes))

    return answer


def rollback_endpoint(
    deployment: Deployment, sync: PolicySync
) -> Callable[[Request], Awaitable[Response]]:
    """POST `{"digest": ...}`: a former version decides again in all, until the files change."""

    async def answer(request: Request) -> Response:
        name = get_caller(request.scope).name
        with closing(await read_body(deployment.bodies, request, max_bytes=_MOST_BYTES)) as body:
            given = await body.parse(parse_object)
        digest = given.get("digest")
        if not isinstance(digest, str):
            raise RequestError(
                "digest: must name a version; GET /admin/policies lists them",
                param="digest",
            )
        try:
            processes = await sync.roll_back(digest, name)
        except ConfigError as error:
            raise _unusable(error) from error
        return json_response(_list_versions(deployment, processes))

    return answer


def _unusable(error: ConfigError) -> RequestError:
    return RequestError(
        f"nothing has changed, as the policies cannot be used: {error}",
        status=422,
        code="invalid_policy",
    )


def _list_versions(deployment: Deployment, processes: Processes) -> Reply:
    versions: list[Json] = [_describe(version) for version in deployment.versions]
    states: list[Json] = [
        {
            "name": one.name,
            "digest": one.digest,
            "since": one.since,
            "fault": one.fault or None,
        }
        for one in processes.states
    ]
    body = {"object": "list", "data": versions, "processes": states, "agree": processes.agree}
    return Reply(200, body)


def _describe(version: Version) -> dict[str, Json]:
    return {
        "digest": version.digest,
        "since": version.since,
        "cause": version.cause,
        "policies": [
            {
                "name": one.policy.name,
                "mode": one.policy.mode.value,
                "match": one.match.model_dump(exclude_none=True),
                "except": None if one.unless is None else one.unless.model_dump(exclude_none=True),
            }
            for one in version.plan.listed
        ],
    }
