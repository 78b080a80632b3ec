"""One decision under another policy, and as a file of a case."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.responses import Response

from guardrail.cases.case import CaseDecision
from guardrail.cases.from_record import case_from_record
from guardrail.cases.writing import write_cases
from guardrail.console.policy_text import find_served, read_policy_text
from guardrail.console.policy_trials import replay_one
from guardrail.console.policy_versions import (
    check_version,
    find_version,
    list_versions,
)
from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.records.query import DatabaseSource

if TYPE_CHECKING:
    from guardrail.console.visit import Visit
    from guardrail.policy.schema import Policy
    from guardrail.records.record import Record

__all__ = ["ROUTES"]

_log = logging.getLogger(__name__)

_MOST_VERSIONS = 20


async def _find(visit: Visit) -> Record:
    """Raises RequestError (404) where there is no such record."""
    source = DatabaseSource(visit.console.database)
    record = await visit.run(source.find, visit.request.path_params["record_id"])
    if record is None:
        raise RequestError("there is no such decision; it may have been removed", status=404)
    return record


async def _show(visit: Visit) -> Response:
    record = await _find(visit)
    chosen = visit.request.query_params.get("policy", "")
    found, problem, name = None, "", ""
    choices = await _choices(visit)
    if chosen:
        name = dict(choices).get(chosen, "")
        try:
            policy = await _read_policy(visit, chosen)
            found = await visit.run(replay_one, visit.console.database, record.record_id, policy)
        except (ConfigError, CertificationError) as error:
            problem = str(error)
    return visit.render(
        "decision_replay.html",
        record=record,
        choices=choices,
        chosen=chosen,
        name=name,
        found=found,
        problem=problem,
    )


async def _choices(visit: Visit) -> list[tuple[str, str]]:
    """Every policy that can be asked about: what stands in the address, and its words."""
    deployment, database = visit.console.deployment, visit.console.database
    choices: list[tuple[str, str]] = []
    for served in () if deployment is None else deployment.current.policies:
        choices.append((served.name, f"{served.name}, in force"))
        for one in (await visit.run(list_versions, database, served.name))[:_MOST_VERSIONS]:
            if one.state != "live":
                note = f", {one.note}" if one.note else ""
                words = f"{one.name}, {one.state} {one.digest[:12]}{note}"
                choices.append((f"{one.name}/{one.version_id}", words))
    return choices


async def _read_policy(visit: Visit, chosen: str) -> Policy:
    """Raises RequestError or ConfigError where it is none, or cannot be used."""
    name, _, version_id = chosen.partition("/")
    deployment = visit.console.deployment
    served = find_served(deployment, name)
    if not version_id:
        return served.listed.policy
    assert deployment is not None  # a policy was found
    version = await visit.run(find_version, visit.console.database, name, version_id)
    target = await visit.run(read_policy_text, deployment, served)
    checked = await visit.run(check_version, version, target)
    if checked.policy is None:
        raise ConfigError("this version has mistakes, and decides nothing")
    return checked.policy


async def _download_case(visit: Visit) -> Response:
    record = await _find(visit)
    expected = visit.request.query_params.get("expected", "")
    expect = {
        "": None,
        **{one.value: one for one in (CaseDecision.LET_THROUGH, CaseDecision.STOPPED)},
    }
    if expected not in expect:
        raise RequestError("say whether it must be let through or stopped", param="expected")
    try:
        text = await visit.run(_write_case, visit, record, expect[expected])
    except (ConfigError, CertificationError) as error:
        raise RequestError(str(error), status=422, code="no_case") from error
    if visit.console.content_keys is not None:
        assert visit.visitor is not None
        _log.info("a case of record %s was given to %s", record.record_id, visit.visitor.id)
    name = f"case-{record.record_id[:8]}.yaml"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text.encode(), media_type="text/plain; charset=utf-8", headers=headers)


def _write_case(visit: Visit, record: Record, expect: CaseDecision | None) -> str:
    return write_cases([case_from_record(record, expect, keys=visit.console.content_keys)])


ROUTES = (
    ConsoleRoute(
        "GET",
        "/decisions/{record_id}/replay",
        _show,
        REVIEWERS,
        on_decision="Replay under another policy",
    ),
    ConsoleRoute("GET", "/decisions/{record_id}/case.yaml", _download_case, REVIEWERS),
)
