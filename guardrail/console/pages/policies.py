"""Policies: which decide, their versions, writing a new one, trying it, and putting it in force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from guardrail.console.policy_changes import describe_processes, find_obstacle, put_in_force
from guardrail.console.policy_difference import describe_difference, diff_lines
from guardrail.console.policy_draft import MOST_TEXT_BYTES, check_draft, read_text
from guardrail.console.policy_runs import RunKind, find_run
from guardrail.console.policy_text import find_served, read_policy_text
from guardrail.console.policy_versions import (
    VersionState,
    add_draft,
    check_version,
    find_live,
    find_version,
    list_versions,
    note_live,
    start_shadow,
)
from guardrail.console.roles import ADMINS, ANY_ROLE, EDITORS
from guardrail.console.visit import ConsoleRoute
from guardrail.console.windows import WINDOWS, DecisionWindow, read_window
from guardrail.counted_noun import count_of
from guardrail.errors import RequestError
from guardrail.policy.compile import policy_digest
from guardrail.policy.fields import describe_fields
from guardrail.policy.schema import PolicyFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.api.policy_set import ServedPolicy
    from guardrail.console.policy_text import PolicyText
    from guardrail.console.policy_versions import PolicyVersion
    from guardrail.console.visit import Visit
    from guardrail.policy.policy_list import MatchSection
    from guardrail.sharing.process_board import Processes

__all__ = ["ROUTES"]

_WRITERS = EDITORS | ADMINS
_MOST_BYTES = 4 * MOST_TEXT_BYTES
"""Of a form with a text in it, whose characters may be written as three each."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A served policy on the page of all."""

    served: ServedPolicy
    text: PolicyText | None
    live: PolicyVersion | None
    problem: str
    waiting: tuple[PolicyVersion, ...] = ()

    @property
    def waits(self) -> str:
        """How many versions are written and not in force, in words; empty where none is."""
        states = [version.state for version in self.waiting]
        drafts, shadows = states.count(VersionState.DRAFT), states.count(VersionState.SHADOW)
        words = [f"{shadows} in shadow"] if shadows else []
        words += [count_of(drafts, "draft")] if drafts else []
        return ", ".join(words)

    @property
    def decides(self) -> str:
        """Which requests it is for, in words."""
        match, unless = self.served.listed.match, self.served.listed.unless
        for_all = "every request that is left" if match.is_empty else _say_match(match)
        return for_all if unless is None else f"{for_all}, but not {_say_match(unless)}"


def _say_match(match: MatchSection) -> str:
    said = []
    for name, values in match.model_dump(exclude_none=True).items():
        pairs = [f"{k}: {v}" for k, v in values.items()] if isinstance(values, dict) else values
        said.append(f"{name} {', '.join(pairs)}")
    return "; ".join(said)


async def _show(visit: Visit) -> Response:
    deployment = visit.console.deployment
    rows = []
    if deployment is not None:
        rows = [await _read_row(visit, one) for one in deployment.current.policies]
    processes = await _look(visit)
    return visit.render(
        "policies.html",
        deployment=deployment,
        rows=rows,
        processes=processes,
        differing="" if processes is None else describe_processes(processes),
        names=_names(visit),
        since=None if deployment is None else deployment.versions[0],
        in_force_since=None
        if deployment is None
        else datetime.fromisoformat(deployment.versions[0].since),
    )


async def _look(visit: Visit) -> Processes | None:
    """Which processes serve beside this one; None where none can."""
    deployment = visit.console.deployment
    return None if deployment is None or deployment.sync is None else await deployment.sync.look()


async def _read_row(visit: Visit, served: ServedPolicy) -> _Row:
    try:
        text = await _read_text(visit, served)
    except RequestError as error:
        return _Row(served, None, None, str(error))
    live = await _note(visit, text)
    versions = await visit.run(list_versions, visit.console.database, text.name)
    waiting = [one for one in versions if one.state in (VersionState.DRAFT, VersionState.SHADOW)]
    return _Row(served, text, live, "", tuple(waiting))


async def _read_text(visit: Visit, served: ServedPolicy) -> PolicyText:
    assert visit.console.deployment is not None
    return await visit.run(read_policy_text, visit.console.deployment, served)


async def _note(visit: Visit, text: PolicyText) -> PolicyVersion | None:
    return await visit.run(note_live, visit.console.database, text)


def _names(visit: Visit) -> Mapping[str, str]:
    """Names of keys by their ids, as people know each other by them."""
    keys = visit.console.keys
    known = {} if keys is None else {key.id: key.name for key in keys.keys}
    return {**known, "local": "this machine", "": "the file"}


async def _find(visit: Visit) -> PolicyText:
    name = visit.request.path_params["name"]
    return await _read_text(visit, find_served(visit.console.deployment, name))


async def _find_version(visit: Visit) -> tuple[PolicyText, PolicyVersion]:
    target = await _find(visit)
    version_id = visit.request.path_params["version_id"]
    database = visit.console.database
    return target, await visit.run(find_version, database, target.name, version_id)


async def _show_one(visit: Visit) -> Response:
    target = await _find(visit)
    live = await _note(visit, target)
    versions = await visit.run(list_versions, visit.console.database, target.name)
    processes = await _look(visit)
    return visit.render(
        "policy.html",
        differing="" if processes is None else describe_processes(processes),
        target=target,
        live=live,
        versions=versions,
        names=_names(visit),
        may_write=_may_write(visit),
        difference=await _compare(visit, versions),
        chosen=_chosen(visit, versions),
    )


def _may_write(visit: Visit) -> bool:
    return visit.may("editor") or visit.may("admin")


def _chosen(
    visit: Visit, versions: Sequence[PolicyVersion]
) -> tuple[PolicyVersion, PolicyVersion] | None:
    """The two versions that are asked about, the older one first."""
    by_id = {one.version_id: one for one in versions}
    asked = [visit.request.query_params.get(name, "") for name in ("old", "new")]
    if not all(one in by_id for one in asked):
        return None
    old, new = (by_id[one] for one in asked)
    return old, new


async def _compare(visit: Visit, versions: Sequence[PolicyVersion]) -> dict[str, Any] | None:
    pair = _chosen(visit, versions)
    if pair is None:
        return None
    target = await _find(visit)
    return await visit.run(_difference, target, *pair)


def _difference(target: PolicyText, old: PolicyVersion, new: PolicyVersion) -> dict[str, Any]:
    policies = [check_version(one, target).policy for one in (old, new)]
    return {
        "lines": diff_lines(old.text, new.text),
        "meaning": describe_difference(*policies),
    }


async def _edit(visit: Visit) -> Response:
    target = await _find(visit)
    text, version_id = target.text, visit.request.query_params.get("from", "")
    if version_id:
        version = await visit.run(find_version, visit.console.database, target.name, version_id)
        text = version.text
    return await _render_editor(visit, target, text)


async def _render_editor(
    visit: Visit, target: PolicyText, text: str, *, note: str = "", **values: Any
) -> Response:
    return visit.render(
        "policy_edit.html",
        target=target,
        text=text,
        note=note,
        fields=describe_fields(PolicyFile),
        **{"checked": None, **values},
    )


async def _check(visit: Visit) -> Response:
    target = await _find(visit)
    text = read_text(visit.form.get("text", ""), target.text)
    values: dict[str, Any] = {
        "checked": await visit.run(check_draft, text, target),
        "meaning": await visit.run(_describe_against_live, text, target),
        "target": target,
    }
    if visit.asks_part:
        return visit.render("policy_checked.html", **values)
    del values["target"]
    return await _render_editor(visit, target, text, note=visit.form.get("note", ""), **values)


def _describe_against_live(text: str, target: PolicyText) -> dict[str, Any] | None:
    return describe_difference(target.served.listed.policy, check_draft(text, target).policy)


async def _save(visit: Visit) -> Response:
    assert visit.visitor is not None
    target = await _find(visit)
    text = read_text(visit.form.get("text", ""), target.text)
    checked = await visit.run(check_draft, text, target)
    digest = "" if checked.policy is None else await visit.run(policy_digest, checked.policy)
    version_id = await visit.run(
        add_draft,
        visit.console.database,
        target.name,
        text,
        author=visit.visitor.id,
        policy_digest=digest,
        note=visit.form.get("note", ""),
    )
    return visit.redirect(f"/policies/{target.name}/versions/{version_id}")


async def _show_version(visit: Visit) -> Response:
    assert visit.visitor is not None
    target, version = await _find_version(visit)
    database = visit.console.database
    live = await visit.run(find_live, database, target.name)
    checked = await visit.run(check_version, version, target)
    obstacle = find_obstacle(visit.console, target, version, visit.visitor)
    if checked.policy is None and version.state is not VersionState.LIVE:
        obstacle = obstacle or "It has mistakes. Nothing with a mistake can be put in force."
    return visit.render(
        "policy_version.html",
        target=target,
        shown=version,
        live=live,
        checked=checked,
        meaning=await visit.run(describe_difference, target.served.listed.policy, checked.policy),
        lines=diff_lines(target.text, version.text),
        obstacle=obstacle,
        names=_names(visit),
        may_write=_may_write(visit),
        second_person=visit.console.needs_second_person,
        windows=_list_windows(version),
        **await _runs(visit, target, version),
    )


def _list_windows(version: PolicyVersion) -> dict[str, str]:
    shadow = {"shadow": "all since the shadow began"}
    return {**(shadow if version.state is VersionState.SHADOW else {}), **WINDOWS}


async def _runs(visit: Visit, target: PolicyText, version: PolicyVersion) -> dict[str, Any]:
    database, version_id = visit.console.database, version.version_id
    return {
        "tests": await visit.run(find_run, database, version_id, RunKind.TESTS),
        "replay": await visit.run(find_run, database, version_id, RunKind.REPLAY),
        "digest_in_force": await visit.run(policy_digest, target.served.listed.policy),
        "may_read_decisions": visit.may("reviewer"),
    }


async def _show_runs(visit: Visit) -> Response:
    """The part that a page asks for while a run is under way."""
    target, version = await _find_version(visit)
    return visit.render(
        "policy_runs.html", target=target, shown=version, **await _runs(visit, target, version)
    )


async def _download(visit: Visit) -> Response:
    _, version = await _find_version(visit)
    return _send(version.text, version.name)


async def _download_served(visit: Visit) -> Response:
    target = await _find(visit)
    return _send(target.text, target.name)


def _send(text: str, name: str) -> Response:
    plain = "".join(one if one.isascii() else "_" for one in name)
    headers = {"content-disposition": f'attachment; filename="{plain}.yaml"'}
    return Response(text.encode(), media_type="text/plain; charset=utf-8", headers=headers)


async def _test(visit: Visit) -> Response:
    assert visit.visitor is not None
    target, version = await _find_version(visit)
    await visit.run(
        visit.console.policy_runs.start,
        RunKind.TESTS,
        target,
        version,
        asked_by=visit.visitor.id,
    )
    return _back_to(visit, version, "runs")


async def _replay(visit: Visit) -> Response:
    assert visit.visitor is not None
    target, version = await _find_version(visit)
    if version.state is VersionState.SHADOW and visit.form.get("span") == "shadow":
        window = DecisionWindow("shadow", since=version.changed)
    else:
        window = read_window(visit.form, datetime.now(UTC))
    await visit.run(
        visit.console.policy_runs.start,
        RunKind.REPLAY,
        target,
        version,
        asked_by=visit.visitor.id,
        window=window,
    )
    return _back_to(visit, version, "runs")


async def _shadow(visit: Visit) -> Response:
    target, version = await _find_version(visit)
    checked = await visit.run(check_version, version, target)
    if checked.policy is None:
        raise RequestError("a version with mistakes decides nothing; mend them", status=422)
    await visit.run(start_shadow, visit.console.database, version)
    return _back_to(visit, version, "steps")


async def _promote(visit: Visit) -> Response:
    assert visit.visitor is not None
    target, version = await _find_version(visit)
    seen = visit.form.get("seen", "")
    await put_in_force(visit.console, target, version, visit.visitor, seen=seen)
    return visit.redirect(f"/policies/{target.name}")


def _back_to(visit: Visit, version: PolicyVersion, place: str) -> Response:
    return visit.redirect(f"/policies/{version.name}/versions/{version.version_id}#{place}")


_ONE = "/policies/{name}"
_VERSION = "/policies/{name}/versions/{version_id}"
ROUTES = (
    ConsoleRoute("GET", "/policies", _show, ANY_ROLE, nav="Policies"),
    ConsoleRoute("GET", _ONE, _show_one, ANY_ROLE),
    ConsoleRoute("GET", f"{_ONE}/text", _download_served, ANY_ROLE),
    ConsoleRoute("GET", f"{_ONE}/edit", _edit, _WRITERS),
    ConsoleRoute("POST", f"{_ONE}/check", _check, _WRITERS, most_bytes=_MOST_BYTES),
    ConsoleRoute("POST", f"{_ONE}/drafts", _save, _WRITERS, most_bytes=_MOST_BYTES),
    ConsoleRoute("GET", _VERSION, _show_version, ANY_ROLE),
    ConsoleRoute("GET", f"{_VERSION}/runs", _show_runs, ANY_ROLE),
    ConsoleRoute("GET", f"{_VERSION}/text", _download, ANY_ROLE),
    ConsoleRoute("POST", f"{_VERSION}/tests", _test, _WRITERS),
    ConsoleRoute("POST", f"{_VERSION}/replay", _replay, _WRITERS),
    ConsoleRoute("POST", f"{_VERSION}/shadow", _shadow, _WRITERS),
    ConsoleRoute("POST", f"{_VERSION}/promote", _promote, _WRITERS),
)
