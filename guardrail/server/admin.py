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
    from guardrail.types import Json

__all__ = ["policies_endpoint", "reload_endpoint", "rollback_endpoint"]

_MOST_BYTES = 4096


def policies_endpoint(deployment: Deployment) -> Callable[[Request], Awaitable[Response]]:
    """GET: the versions, the one that decides first."""

    async def answer(_request: Request) -> Response:
        return json_response(_list_versions(deployment))

    return answer


def reload_endpoint(deployment: Deployment) -> Callable[[Request], Awaitable[Response]]:
    """POST: reads the files again; 422 with every mistake where something in them is wrong."""

    async def answer(request: Request) -> Response:
        name = get_caller(request.scope).name
        try:
            await deployment.reload(name)
        except ConfigError as error:
            raise _unusable(error) from error
        return json_response(_list_versions(deployment))

    return answer


def rollback_endpoint(deployment: Deployment) -> Callable[[Request], Awaitable[Response]]:
    """POST `{"digest": ...}`: a former version decides again, until the files change."""

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
            await deployment.roll_back(digest, name)
        except ConfigError as error:
            raise _unusable(error) from error
        return json_response(_list_versions(deployment))

    return answer


def _unusable(error: ConfigError) -> RequestError:
    return RequestError(
        f"nothing has changed, as the policies cannot be used: {error}",
        status=422,
        code="invalid_policy",
    )


def _list_versions(deployment: Deployment) -> Reply:
    versions: list[Json] = [_describe(version) for version in deployment.versions]
    return Reply(200, {"object": "list", "data": versions})


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
