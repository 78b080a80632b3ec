"""`guardrail policy`: check policies, show them, print their schema."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli import (
    policy_diff,
    policy_fingerprint,
    policy_replay,
    policy_test,
    policy_views,
)
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.rules import Rules
    from guardrail.policy.facts import Cost, PolicyFacts, ReachCost
    from guardrail.policy.goals import Goal
    from guardrail.policy.threat_facts import ThreatFacts

__all__ = ["command", "promise_lines"]

_SCALED = {
    "client": "Pictures larger than the canvas reach farther at lower τ, and cost fewer calls.",
    "canvas": (
        "Of a picture that is scaled down to a k-th nearly k times as much is promised; of "
        "several, what the one that is scaled least allows."
    ),
}
"""By `advanced.smoothing.radius_space`: what is promised of pictures larger than the canvas."""
_WIDTH = 94
_LABEL_WIDTH = 11
_UNBROKEN = re.compile(
    r"k = \d+ → [\d.]+ calls|k = \d+ → no plan|τ [\d.]+ → r [\w.]+|[\d.]+ → [\w. ]+ %|[\d.]+ %"
)
"""Terms within which no line is broken."""


@click.group("policy")
def command() -> None:
    """Check, test, compare and replay policies; show the shipped ones, and the schema of files."""


command.add_command(policy_test.command)
command.add_command(policy_diff.command)
command.add_command(policy_fingerprint.command)
command.add_command(policy_replay.command)
command.add_command(policy_views.command)


@command.command("check")
@click.argument("names", nargs=-1, required=True)
@click.option("--reach", "reaches", multiple=True, metavar="RADIUS@FLOOR",
              help="The other way round: what it would cost to promise this radius to requests "
              "that are answered harmlessly less often than the floor, as in 1@0.1; may be given "
              "several times.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each policy.")
@click.pass_context
def check(
    ctx: click.Context, names: tuple[str, ...], reaches: tuple[str, ...], as_json: bool
) -> None:
    """Check policies and say what each of them promises and costs.

    NAMES are files, or the names of shipped policies. All mistakes of a file are listed; the exit
    code is then 2. The words are explained in docs/glossary.md.
    """
    from guardrail.policy.mistakes import list_mistakes

    wishes = [_parse_reach(text) for text in reaches]
    all_sound = True
    for name in names:
        try:
            _check_one(name, wishes, as_json=as_json)
        except ConfigError as error:
            all_sound = False
            _show_mistakes(name, list_mistakes(error), as_json=as_json)
    ctx.exit(0 if all_sound else 2)


def _check_one(name: str, wishes: list[tuple[float, float]], *, as_json: bool) -> None:
    from guardrail.policy.compile import compile_policy
    from guardrail.policy.facts import cost_of_reach, describe_rules
    from guardrail.policy.load import load_policy

    policy = load_policy(name)
    rules = compile_policy(policy)
    facts = describe_rules(rules, reference_kind=policy.oracle.reference_kind)
    costs = [cost_of_reach(rules, radius, floor) for radius, floor in wishes]
    if as_json:
        found = _as_dict(name, rules, facts, costs) | {
            "oracle": policy.oracle.describe(),
            "goals": policy.goals.model_dump(exclude_none=True),
        }
        click.echo(json.dumps(found, allow_nan=False))
        return
    click.echo(f"{name}: ok")
    judge = _wrap(iter([("oracle", policy.oracle.describe())]))
    goals = _wrap(_goal_rows(policy.goals.wishes))
    for line in (*judge, *promise_lines(rules, facts), *_wrap(_reach_rows(rules, costs)), *goals):
        click.echo(line)


def _show_mistakes(name: str, mistakes: tuple[ConfigError, ...], *, as_json: bool) -> None:
    if as_json:
        listed = [
            {"file": m.file, "line": m.line, "field": m.field, "message": str(m)} for m in mistakes
        ]
        click.echo(json.dumps({"file": name, "mistakes": listed}))
        return
    click.echo(f"{name}: {count_of(len(mistakes), 'mistake')}", err=True)
    for mistake in mistakes:
        click.echo(f"  {mistake}", err=True)


@command.command("show")
@click.argument("name", required=False)
@click.option("--resolved", is_flag=True,
              help="Print every field with the value that it has, what the policy extends "
              "included, in place of the file as it is written.")  # fmt: skip
def show(name: str | None, resolved: bool) -> None:
    """Print a policy: the file NAME, or a shipped one by its name.

    Without NAME, list the shipped policies.
    """
    from guardrail.policy.shipped import find_policy_file, shipped_names

    if name is None:
        click.echo("\n".join(shipped_names()))
    elif resolved:
        import yaml

        from guardrail.policy.load import load_policy

        fields = load_policy(name).model_dump(mode="json", by_alias=True)
        click.echo(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), nl=False)
    else:
        from guardrail.files import read_file
        from guardrail.policy.document import LARGEST_BYTES

        file = find_policy_file(name, Path())
        data = read_file(file, "policy", max_bytes=LARGEST_BYTES)
        click.echo(data.decode(errors="replace"), nl=False)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of policy files, for editors and other tools."""
    from guardrail.policy.schema import PolicyFile

    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    click.echo(json.dumps(draft | PolicyFile.model_json_schema(), indent=2))


def promise_lines(rules: Rules, facts: PolicyFacts) -> tuple[str, ...]:
    """What the policy promises and costs, in lines for people.

    The same lines head the shipped policy files, where a test holds them equal.
    """
    return tuple(_wrap(_rows(rules, facts)))


def _rows(rules: Rules, facts: PolicyFacts) -> Iterator[tuple[str, str]]:
    from guardrail.engine.preprocessing import describe_pictures

    yield "promises", f"{facts.promise} {_SCALED[rules.radius_space.value]}"
    if told := describe_pictures(rules):
        yield "pictures", told
    if not facts.reference_kind:
        yield "of harm", _about_harm(rules)
    passes = ", ".join(f"{rate:g} → {_share(share)}" for rate, share in facts.passes)
    yield "passes", f"by the rate at which answers are found harmless under noise: {passes}"
    fewest = count_of(facts.fewest_samples, "harmless answer is", "harmless answers in a row are")
    yield "needs", f"a harmless rate above {facts.q_required:.4f}; {fewest} enough"
    usual, harmful = facts.usual, facts.harmful
    ordinary = f"harmless rate {usual.harmless_rate:g}, of which {_round_down(usual.passes)} pass"
    cost = f"{_calls(usual)} for ordinary requests ({ordinary})"
    most = f"at most {facts.max_samples}"
    yield "costs", f"{cost}, {_calls(harmful)} at {harmful.harmless_rate:g}; {most}"
    lost = ", ".join(
        f"{row.fault_share * 100:g} % → {_round_down(row.pass_rate)}" for row in facts.faults
    )
    yield (
        "faults",
        f"ordinary requests that pass, by the share of lost answers: {lost}; {_retry(rules)}",
    )
    yield "spending", _spending(facts)
    if facts.threats is not None:
        yield from _threat_rows(rules, facts.threats)


def _threat_rows(rules: Rules, facts: ThreatFacts) -> Iterator[tuple[str, str]]:
    """Each threat beside l2, and what all of them take together."""
    recalls = _recall_statements(rules)
    size = f"{facts.width_px} x {facts.height_px} px"
    for one in facts.threats:
        cost = f"{one.views} views, {one.calls:.1f} calls for ordinary requests"
        span = f"from {one.fewest_calls} to {one.most_calls}"
        told = f"{one.promise} A picture of {size} has {cost} ({span})."
        yield one.threat, " ".join(filter(None, (told, recalls.get(one.threat, ""))))
    calls = sum(one.calls for one in facts.threats)
    views = sum(one.views for one in facts.threats)
    total = (
        f"{views} views of one picture of {size} take {calls:.1f} calls beside those of the "
        f"request itself; of ordinary requests at least {_round_down(facts.power)} pass all tests"
    )
    alone = (
        ""
        if facts.text_calls is None
        else f"; a request without pictures takes {facts.text_calls:.1f} calls at most on average"
    )
    unknown = (
        ""
        if len(recalls) > 1
        else "; which share of forbidden requests they hold is measured by "
        "`guardrail recall --threats`"
    )
    yield "threats", f"{total}{alone}{unknown}"


def _recall_statements(rules: Rules) -> dict[str, str]:
    """What was measured of forbidden requests in words, by threat; only what was."""
    if rules.recall is None:
        return {}
    return rules.recall.sentences({} if rules.threats is None else rules.threats.settings)


def _about_harm(rules: Rules) -> str:
    if rules.recall is not None:
        return rules.recall.sentence
    if rules.claim == "harmlessness":
        return "the condition on the oracle's misses is measured as an average, by calibration"
    return (
        "the promise speaks of the oracle's verdicts; how much forbidden traffic they catch is "
        "measured by `guardrail recall`"
    )


def _retry(rules: Rules) -> str:
    if rules.retry == "undrawn":
        return "a call is repeated only where it certainly drew no answer"
    return (
        f"lost answers are asked for again (retry: any), and the promise is about the model asked "
        f"up to {count_of(rules.retries + 1, 'time')}, until an answer comes"
    )


def _spending(facts: PolicyFacts) -> str:
    """What tries cost that share one alpha, and what they add up to where they do not."""
    rows = ", ".join(
        f"k = {cost.k} → "
        + ("no plan" if cost.expected_calls is None else f"{cost.expected_calls:.1f} calls")
        for cost in facts.spending
    )
    return (
        f"off, N tries pass falsely with probability at most N × {facts.alpha:g}; on, all tries of "
        f"a principal together at most {facts.alpha:g}, at the k-th number held: {rows}"
    )


def _calls(cost: Cost) -> str:
    return f"{cost.calls:.1f} calls in {cost.rounds:.2f} rounds"


def _round_down(share: float) -> str:
    """Percent, rounded down: only what always passes is 100 %."""
    return f"{math.floor(share * 1000) / 10:.1f} %"


def _share(share: float) -> str:
    percent = 100.0 * share
    return f"{percent:.2f} %" if percent >= 0.01 else "less than 0.01 %"


def _reach_rows(rules: Rules, costs: list[ReachCost]) -> Iterator[tuple[str, str]]:
    for cost in costs:
        wish = f"radius {cost.radius:g} at τ {cost.floor:g}"
        if cost.q_required is None or cost.fewest_samples is None:
            yield "reach", f"{wish} cannot be promised: no harmless rate below 1 shows it"
            continue
        told = (
            f"{wish} costs {count_of(cost.fewest_samples, 'call')} or more (harmless rate above "
            f"{cost.q_required:.4f})"
        )
        if cost.calls is None:
            yield "reach", f"{told}; no plan within max_samples {rules.max_samples} passes"
        else:
            yield "reach", f"{told}; {cost.calls:.1f} on average for ordinary requests"


def _goal_rows(goals: tuple[Goal, ...]) -> Iterator[tuple[str, str]]:
    if goals:
        wishes = "; ".join(goal.sentence for goal in goals)
        yield "goals", f"{wishes} (wishes, which decide nothing: `guardrail tune` works on them)"


def _wrap(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    indent = " " * (_LABEL_WIDTH + 2)
    for label, text in rows:
        lines = textwrap.wrap(
            _UNBROKEN.sub(lambda found: found[0].replace(" ", "\u00a0"), text),
            _WIDTH,
            initial_indent=f"  {label:<{_LABEL_WIDTH}}",
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from (line.replace("\u00a0", " ") for line in lines)


def _as_dict(name: str, rules: Rules, facts: PolicyFacts, costs: list[ReachCost]) -> dict[str, Any]:
    return {
        "file": name,
        "policy": rules.name,
        "digest": rules.digest,
        "mode": rules.mode,
        "claim": rules.claim,
        "sigma": rules.sigma,
        "canvas_max_side_px": rules.canvas_max_side_px,
        "canvas_limit_px": rules.canvas_limit_px,
        "denoise": rules.denoise,
        "radius": rules.promised_radius,
        "floor": rules.floor,
        "miss_rate_upper": rules.miss_rate_upper,
        "delta": rules.delta,
        "recall": None if rules.recall is None else rules.recall.to_dict(),
        "recall_statements": _recall_statements(rules),
        **dataclasses.asdict(facts),
        "reach": [dataclasses.asdict(cost) for cost in costs],
    }


def _parse_reach(text: str) -> tuple[float, float]:
    """`1@0.1` as radius and floor."""
    found = re.fullmatch(r"(\d*\.?\d+)@(\d*\.?\d+)", text)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is not a radius and a floor; write them as 1@0.1", param_hint="--reach"
        )
    return float(found[1]), float(found[2])
