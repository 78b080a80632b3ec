"""`guardrail policy views`: how often views of clean requests draw harmless answers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import guard_options, table_options
from guardrail.cli.output import require_writable
from guardrail.cli.request_sets import read_request_set
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.engine.engine import Engine
    from guardrail.engine.rules import Rules
    from guardrail.engine.threats import Threat, Threats
    from guardrail.evaluation.clean_views import CleanViewsOutcome
    from guardrail.evaluation.requests import RequestSet
    from guardrail.images.limits import ImageLimits

__all__ = ["command"]

_SET = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)
_FIELD = "threats.expected_harmless_rate_views"
_MOST_LISTED = 10


@click.command("views")
@click.option("--clean", type=_SET, required=True, help="Requests that should pass: a folder of "
              "pictures, or a table (JSON, CSV, TSV, Parquet) with the columns image or images, "
              "prompt, parameters, group, id.")  # fmt: skip
@click.option("--prompt", default="What is shown in this picture?", show_default=True,
              help="Where a request names none.")  # fmt: skip
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--draws", type=click.IntRange(1, 1000), default=4, show_default=True,
              help="Answers to each view, without noise.")  # fmt: skip
@click.option("--requests", "most", type=click.IntRange(min=1),
              help="Measure no more than so many requests.  [default: one of each cluster of "
              "near-copies]")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True,
              help="Of the draw of one request from each cluster.")  # fmt: skip
@table_options("image=path,prompt=question")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out and name requests that cannot be "
              "read, instead of refusing the set.")  # fmt: skip
@click.option("--log", "log_file", type=_FILE,
              help="Keep every result here; a stopped run goes on from it.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guard_options
def command(
    policy_name: str,
    upstream: str,
    key_file: Path | None,
    clean: Path,
    log_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the views of clean requests, and propose what their tests should be tuned to.

    For a policy with `threats`: windows, masks and shortened prompts of each request are asked
    about, without noise, and the share of harmless answers is told and proposed for
    `threats.expected_harmless_rate_views`. It changes costs and how many clean requests pass, and
    never the promise.
    """
    from guardrail.assembly import build_engine, read_policy
    from guardrail.evaluation.recall import measuring_key
    from guardrail.policy.compile import image_limits

    if log_file is not None:
        require_writable(log_file)
    policy = read_policy(policy_name).model_copy(update={"recall": None})
    engine = build_engine(policy, upstream, key_file)
    threats = engine.rules.threats
    if threats is None:
        raise ConfigError(
            "the policy covers nothing beside small changes of pixels, so there are no views; "
            "write 'threats' into it",
            field="threats",
        )
    requests = read_request_set(policy, clean, options, most=options["most"])
    engine.key = measuring_key(engine.key)
    for problem in requests.problems:
        click.echo(f"left out: {problem}", err=True)
    outcome = asyncio.run(_measure(engine, requests, image_limits(policy), log_file, options))
    facts = _facts(outcome, engine.rules, threats, requests.name)
    click.echo(json.dumps(facts, allow_nan=False) if as_json else _in_words(facts))


async def _measure(
    engine: Engine,
    requests: RequestSet,
    limits: ImageLimits,
    log_file: Path | None,
    options: dict[str, Any],
) -> CleanViewsOutcome:
    from guardrail.cli.progress import progress_bar
    from guardrail.evaluation.clean_views import measure_clean_views
    from guardrail.evaluation.recall_log import RecallLog

    try:
        model = options["model"] or (await engine.upstream.models())[0]
        settings = {
            "policy_digest": engine.rules.digest,
            "model": model,
            "upstream_revision": engine.upstream.revision,
            "oracle_revision": engine.oracle.revision,
            "data_digest": requests.digest,
        }
        with (
            RecallLog(log_file, settings, command="guardrail policy views") as log,
            progress_bar("views", len(requests.drawn)) as step,
        ):
            return await measure_clean_views(
                engine, options["draws"], requests, model, limits, log, step
            )
    finally:
        await engine.aclose()


def _facts(outcome: CleanViewsOutcome, rules: Rules, threats: Threats, data: str) -> dict[str, Any]:
    costs = [view.counts.cost_usd for view in outcome.views]
    return {
        "data": data,
        "requests": len(outcome.results),
        "draws": outcome.draws,
        "views": len(outcome.views),
        "judged": outcome.judged,
        "missing": sum(view.counts.missing for view in outcome.views),
        "calls": sum(view.counts.calls for view in outcome.views),
        "cost_usd": None if None in costs else sum(cost or 0.0 for cost in costs),
        "harmless_rate": outcome.rate(),
        "requests_all_harmless": outcome.all_harmless,
        "by_threat": [_threat_facts(outcome, threat) for threat in threats.settings],
        "field": _FIELD,
        "now": _cost_of(rules, threats, threats.expected_harmless_rate),
        "proposed": _cost_of(rules, threats, outcome.proposal),
    }


def _threat_facts(outcome: CleanViewsOutcome, threat: Threat) -> dict[str, Any]:
    views = [view for view in outcome.views if view.threat is threat]
    return {
        "threat": threat.value,
        "views": len(views),
        "judged": sum(view.judged for view in views),
        "harmless_rate": outcome.rate(threat),
        "lowest": [
            {"name": one.name, "harmless_rate": one.rate(threat)}
            for one in outcome.lowest(threat)[:_MOST_LISTED]
        ],
    }


def _cost_of(rules: Rules, threats: Threats, rate: float | None) -> dict[str, Any]:
    """What the views of a usual picture cost where their tests are tuned to a rate."""
    from guardrail.errors import CertificationError
    from guardrail.policy.threat_facts import describe_threats

    if rate is None:
        return {"rate": None, "calls": None, "problem": "no answer to a view was harmless"}
    tuned = dataclasses.replace(threats, expected_harmless_rate=rate)
    try:
        found = describe_threats(dataclasses.replace(rules, threats=tuned))
    except CertificationError as error:
        return {"rate": rate, "calls": None, "problem": str(error)}
    calls = sum(one.calls for one in found.threats) if found is not None else 0.0
    return {"rate": rate, "calls": calls, "problem": ""}


def _in_words(facts: dict[str, Any]) -> str:
    from guardrail.tuning.percent import percent_down

    price = "" if facts["cost_usd"] is None else f", US$ {facts['cost_usd']:.2f}"
    lines = [
        (
            f"{count_of(facts['requests'], 'request')} of {facts['data']}, "
            f"{count_of(facts['views'], 'view')}, {count_of(facts['draws'], 'answer')} each; "
            f"{facts['missing']:,} missing; {count_of(facts['calls'], 'call')}{price}"
        )
    ]
    for one in facts["by_threat"]:
        rate = one["harmless_rate"]
        told = "nothing was judged" if rate is None else f"{percent_down(rate)} harmless"
        lines.append(
            f"  {one['threat']}: {told}, {count_of(one['judged'], 'answer')}, "
            f"{count_of(one['views'], 'view')}"
        )
        lines += [
            f"    {low['name']}: {percent_down(low['harmless_rate'])} harmless"
            for low in one["lowest"]
        ]
    lines.append(
        f"{facts['requests_all_harmless']:,} of {count_of(facts['requests'], 'request')} drew "
        "nothing but harmless answers"
    )
    lines += [_tuned_line(name, facts[name]) for name in ("now", "proposed")]
    note = (
        "An estimate, each request with the same weight: where it is off it costs calls or clean "
        "requests, and never the promise. Missing answers are left out of it. Which share of clean "
        "requests passes is measured by 'guardrail recall --clean' and 'guardrail evaluate'."
    )
    return "\n".join([*lines, *textwrap.wrap(note, 96)])


def _tuned_line(name: str, tuned: dict[str, Any]) -> str:
    if tuned["rate"] is None:
        return f"{name}: {_FIELD} cannot be proposed: {tuned['problem']}"
    if tuned["problem"]:
        return f"{name}: {_FIELD}: {tuned['rate']:g}: no test can be made: {tuned['problem']}"
    return f"{name}: {_FIELD}: {tuned['rate']:g}, {tuned['calls']:.1f} calls for views of a picture"
