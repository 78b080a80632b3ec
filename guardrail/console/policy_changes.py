"""Puts a version of a policy in force in every process, or leaves everything as it was."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import anyio

from guardrail.console.policy_versions import (
    VersionState,
    check_version,
    put_back,
    put_in_place,
)
from guardrail.errors import ConfigError, RequestError
from guardrail.policy.policy_list import check_list

if TYPE_CHECKING:
    from guardrail.api.deployment import Deployment
    from guardrail.console.console import Console
    from guardrail.console.policy_text import PolicyText
    from guardrail.console.policy_versions import PolicyVersion
    from guardrail.console.visitor import Visitor
    from guardrail.policy.schema import Policy

__all__ = ["find_obstacle", "put_in_force"]

_log = logging.getLogger(__name__)


def find_obstacle(
    console: Console, target: PolicyText, version: PolicyVersion, visitor: Visitor
) -> str:
    """Why this reader cannot put this version in force, in words; empty where they can."""
    if target.problem:
        return target.problem
    if not target.is_served:
        return (
            "The file on the server is not what decides: it was changed and not read yet, or has a "
            "mistake. Mend that first."
        )
    if version.state is VersionState.LIVE:
        return "This version is in force."
    if console.needs_second_person and version.author == visitor.id:
        return (
            "You wrote this version, and on this server a second person puts it in force. Ask "
            "somebody else with the role editor."
        )
    return ""


async def put_in_force(
    console: Console, target: PolicyText, version: PolicyVersion, visitor: Visitor, *, seen: str
) -> None:
    """Checks a version, writes it into the policy's file, and has every process read it.

    Raises:
        RequestError: it cannot be, and nothing has changed; or 503, this process has changed, and
            others could not be told.
        StorageError: likewise, nothing has changed.
    """
    deployment = console.deployment
    assert deployment is not None  # a policy is served
    if obstacle := find_obstacle(console, target, version, visitor):
        raise RequestError(obstacle, status=403, code="not_possible")
    await _try_out(console, deployment, target, version)
    # From here on it is done or undone as a whole, also where the reader goes away.
    with anyio.CancelScope(shield=True):
        before = await console.run(
            put_in_place, console.database, target, version, seen=seen, approver=visitor.id
        )
        try:
            await _reload(deployment, f"console: {visitor.name}")
        except ConfigError as error:
            await console.run(put_back, console.database, target, before)
            raise _unusable(error) from error
    _log.info(
        "policy '%s': version %s was put in force by %s",
        target.name,
        version.digest[:12],
        visitor.id,
    )


async def _try_out(
    console: Console, deployment: Deployment, target: PolicyText, version: PolicyVersion
) -> None:
    """Raises RequestError (422) where the version cannot decide in the place of the policy."""
    checked = await console.run(check_version, version, target)
    if checked.policy is None:
        told = "; ".join(
            one.words if one.line is None else f"line {one.line}: {one.words}"
            for one in checked.mistakes
        )
        raise RequestError(f"nothing has changed: {told}", status=422, code="invalid_policy")
    try:
        await _make(deployment, target, checked.policy)
    except ConfigError as error:
        raise _unusable(error) from error


async def _make(deployment: Deployment, target: PolicyText, policy: Policy) -> None:
    listed = [
        dataclasses.replace(one.listed, policy=policy) if one.name == target.name else one.listed
        for one in deployment.current.policies
    ]
    check_list(listed)
    await deployment.try_out(listed)


async def _reload(deployment: Deployment, cause: str) -> None:
    if deployment.sync is None:
        await deployment.reload(cause)
    else:
        await deployment.sync.reload(cause)


def _unusable(error: ConfigError) -> RequestError:
    return RequestError(
        f"nothing has changed, as the policies cannot be used: {error.told}",
        status=422,
        code="invalid_policy",
    )
