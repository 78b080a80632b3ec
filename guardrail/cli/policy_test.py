"""`guardrail policy test`: cases with expected decisions, for continuous integration."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import model_options
from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from guardrail.cases.case import Case
    from guardrail.cases.results import CaseResult, Summary
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("test")
@click.argument("names", nargs=-1, required=True)
@click.option("--cases", "sources", multiple=True, required=True, metavar="FILE",
              help="Cases: a file, a folder of files, or the suite 'starter' that ships; may be "
              "given several times.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="TAG",
              help="Only cases with this tag; given several times, with all of them.")  # fmt: skip
@click.option("--junit", "junit_file", type=_FILE, metavar="FILE",
              help="Write the results as JUnit's XML, too.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True,
              help="Cases that are decided at a time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print one JSON object for each case, and one for each policy.")  # fmt: skip
@model_options
def command(
    names: tuple[str, ...],
    sources: tuple[str, ...],
    tags: tuple[str, ...],
    junit_file: Path | None,
    jobs: int,
    as_json: bool,
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
) -> None:
    """Test policies by cases: answers and pictures with the decision that is expected.

    NAMES are files, or the names of shipped policies. Exit code 0: all cases came out as expected;
    1: some did not; 2: a file cannot be used, or a case could not be decided. What cannot be
    decided is neither stopped nor let through.
    """
    from guardrail.assembly import read_policy, read_upstreams
    from guardrail.cli.output import require_writable

    if junit_file is not None:
        require_writable(junit_file)
    policies = [(name, read_policy(name)) for name in dict.fromkeys(names)]
    cases = _choose_cases(sources, tags)
    chosen = read_upstreams(upstreams, upstreams_file)
    results = {name: _run(name, policy, chosen, cases, jobs) for name, policy in policies}
    _report(results, as_json=as_json)
    if junit_file is not None:
        from guardrail.cases.junit import junit_report

        junit_file.write_bytes(junit_report(results))
    raise click.exceptions.Exit(_exit_code(results))


def _choose_cases(sources: tuple[str, ...], tags: tuple[str, ...]) -> list[Case]:
    from guardrail.cases.reading import load_cases
    from guardrail.errors import ConfigError

    cases = [case for source in dict.fromkeys(sources) for case in load_cases(source)]
    chosen = [case for case in cases if set(tags) <= set(case.tags)]
    if not chosen:
        known = sorted({tag for case in cases for tag in case.tags})
        raise ConfigError(
            f"{count_of(len(cases), 'case')}, none with the tags {', '.join(tags)}; there are "
            f"{', '.join(known) or 'none'}"
        )
    return chosen


def _run(
    name: str,
    policy: Policy,
    upstreams: tuple[UpstreamEntry, ...],
    cases: list[Case],
    jobs: int,
) -> list[CaseResult]:
    from guardrail.assembly import build_engine
    from guardrail.cases.running import CASES_KEY, allow_time, run_cases
    from guardrail.cli.progress import progress_bar

    engine = build_engine(allow_time(policy), upstreams, CASES_KEY)

    async def run() -> list[CaseResult]:
        with progress_bar(f"cases, {name}", len(cases)) as step:
            try:
                return await run_cases(engine, policy, cases, jobs=jobs, step=step)
            finally:
                await engine.aclose()

    return asyncio.run(run())


def _exit_code(results: dict[str, list[CaseResult]]) -> int:
    """1 where anything came out otherwise than expected, else 2 where anything was not decided."""
    from guardrail.cases.results import summarize

    codes = {summarize(of).exit_code for of in results.values()}
    return 1 if 1 in codes else max(codes)


def _report(results: dict[str, list[CaseResult]], *, as_json: bool) -> None:
    from guardrail.cases.results import summarize

    summaries = {name: summarize(of) for name, of in results.items()}
    if as_json:
        for name, of in results.items():
            for result in of:
                click.echo(json.dumps({"policy": name, **result.to_dict()}))
        for name, summary in summaries.items():
            click.echo(json.dumps({"policy": name, "summary": _facts(summary)}))
        return
    for name, of in results.items():
        for result in of:
            if not result.is_as_expected:
                click.echo(_in_words(name, result))
    if len(results) > 1:
        _print_table(summaries)
    for name, summary in summaries.items():
        click.echo(_summary_line(name, summary))


def _facts(summary: Summary) -> dict[str, Any]:
    return {**dataclasses.asdict(summary), "exit_code": summary.exit_code}


def _in_words(policy: str, result: CaseResult) -> str:
    case = result.case
    place = "" if case.file is None else f"{case.file}:{case.line}: "
    said = "; ".join(result.problems) if result.is_decided else f"not decided: {result.error}"
    return f"{place}{_one_line(case.name)} [{policy}]: {said}"


def _one_line(name: str) -> str:
    """A name as a terminal can show it: names are other people's text."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


def _print_table(summaries: dict[str, Summary]) -> None:
    from guardrail.cli.tables import print_table

    columns = ("policy", "as expected", "missed harm", "false alarms", "other", "not decided",
               "calls", "US$")  # fmt: skip
    rows = [
        (name, f"{one.as_expected} of {one.cases}", str(one.missed_harm), str(one.false_alarms),
         str(one.other), str(one.errors), str(one.calls), _dollars(one))
        for name, one in summaries.items()
    ]  # fmt: skip
    print_table("Cases", columns, rows)


def _summary_line(name: str, one: Summary) -> str:
    parts = [
        f"{one.as_expected} of {count_of(one.cases, 'case')} as expected",
        f"{one.missed_harm} missed harm (let through)",
        f"{count_of(one.false_alarms, 'false alarm')} (stopped)",
        *([f"{one.other} otherwise not as expected"] if one.other else []),
        *([f"{one.errors} not decided"] if one.errors else []),
        count_of(one.calls, "call"),
        *([] if one.cost_usd is None else [f"US$ {_dollars(one)}"]),
    ]
    return f"{name}: {', '.join(parts)}"


def _dollars(one: Summary) -> str:
    return "unknown" if one.cost_usd is None else f"{one.cost_usd:.2g}"
