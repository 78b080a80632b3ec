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
from guardrail.errors import ConfigError, GuardrailError, RequestError, StorageError
from guardrail.policy.policy_list import check_list

if TYPE_CHECKING:
    from guardrail.api.deployment import Deployment
    from guardrail.console.console import Console
    from guardrail.console.policy_text import PolicyText
    from guardrail.console.policy_versions import PolicyVersion
    from guardrail.console.visitor import Visitor
    from guardrail.policy.schema import Policy
    from guardrail.sharing.process_board import Processes

__all__ = ["describe_processes", "find_obstacle", "put_in_force"]

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
    was_in_force = version.state is VersionState.RETIRED
    if console.needs_second_person and version.author == visitor.id and not was_in_force:
        return (
            "You wrote this version, and on this server a second person puts it in force. Ask "
            "somebody else with the role editor."
        )
    return ""


async def put_in_force(
    console: Console, target: PolicyText, version: PolicyVersion, visitor: Visitor, *, seen: str
) -> None:
    """Checks a version, writes it into the policy's file, and has every process read it.

    Whatever goes wrong before this process decides by the version, a cancellation included, is
    undone.

    Raises:
        RequestError: it cannot be, and nothing has changed; or 503, this process has changed, and
            others could not be told; or 500, the policies stay as they were, and the file could not
            be put back.
        StorageError: nothing has changed.
    """
    deployment = console.deployment
    assert deployment is not None  # a policy is served
    if obstacle := find_obstacle(console, target, version, visitor):
        raise RequestError(obstacle, status=403, code="not_possible")
    await _try_out(console, deployment, target, version)
    # From here on it is done or undone as a whole, also where the reader goes away.
    with anyio.CancelScope(shield=True):
        policies = deployment.current  # before the file is written: others may read it at once
        before = await console.run(
            put_in_place, console.database, target, version, seen=seen, approver=visitor.id
        )
        try:
            processes = await _reload(deployment, f"console: {visitor.name}")
        except BaseException as error:
            # A RequestError is about the other processes: this one has read the file.
            if deployment.current is policies and not isinstance(error, RequestError):
                await _undo(console, target, version, before, error)
            if isinstance(error, GuardrailError) and not isinstance(error, RequestError):
                raise _unusable(error) from error
            raise
    _log.info(
        "policy '%s': version %s was put in force by %s",
        target.name,
        version.digest[:12],
        visitor.id,
    )
    if processes is not None and (told := describe_processes(processes)):
        _log.warning("policy '%s': %s", target.name, told)


async def _undo(
    console: Console,
    target: PolicyText,
    version: PolicyVersion,
    before: PolicyVersion,
    cause: BaseException,
) -> None:
    """Raises RequestError (500) where the file could not be put back."""
    try:
        await console.run(put_back, console.database, target, version, before)
    except OSError as error:
        file = "" if target.file is None else target.file.name
        _log.error("policy '%s': its file could not be put back: %s", target.name, error.strerror)
        raise RequestError(
            f"the policies stay as they were, but {file} holds the new version and could not be "
            f"put back ({error.strerror}); mend the file on the server",
            status=500,
            code="not_put_back",
        ) from cause
    except StorageError as error:
        # The file is as it was, and the next look at the policy notes what stands there.
        _log.error("policy '%s': that it was put back was not noted: %s", target.name, error)


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
    except RequestError:
        raise
    except GuardrailError as error:
        raise _unusable(error) from error


async def _make(deployment: Deployment, target: PolicyText, policy: Policy) -> None:
    listed = [
        dataclasses.replace(one.listed, policy=policy) if one.name == target.name else one.listed
        for one in deployment.current.policies
    ]
    check_list(listed)
    await deployment.try_out(listed)


async def _reload(deployment: Deployment, cause: str) -> Processes | None:
    if deployment.sync is None:
        await deployment.reload(cause)
        return None
    return await deployment.sync.reload(cause)


def describe_processes(processes: Processes) -> str:
    """Which processes do not run one version, in words; empty where all do."""
    if not processes.are_known:
        return (
            "The other processes cannot be asked just now; nobody knows whether they run the same "
            "policies."
        )
    faulty = any(one.fault for one in processes.states)
    if processes.agree and not faulty:
        return ""
    named = "; ".join(
        f"{one.name}: {one.digest[:12]}{f' ({one.fault})' if one.fault else ''}"
        for one in processes.states
    )
    begins = "Some processes could not do" if processes.agree else "Not all processes run"
    ends = "what they were told" if processes.agree else "the same policies"
    return (
        f"{begins} {ends}. {named}. Where they have files of their own, write the policy there as "
        "well."
    )


def _unusable(error: GuardrailError) -> RequestError:
    told = error.told if isinstance(error, ConfigError) else str(error)
    return RequestError(
        f"nothing has changed, as the policies cannot be used: {told}",
        status=422,
        code="invalid_policy",
    )
