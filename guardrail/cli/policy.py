"""`guardrail policy`: check files, print the schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.group("policy")
def command() -> None:
    """Check policy files and print their schema."""


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each file.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check policy FILES and say what each of them promises and costs."""
    from guardrail.engine.plan import UNSCALED, plan_for
    from guardrail.policy.compile import compile_policy
    from guardrail.policy.load import load_policy

    for file in files:
        rules = compile_policy(load_policy(file), file=str(file))
        plan = plan_for(rules, UNSCALED)
        q1 = rules.expected_harmless_rate
        facts = {
            "file": str(file),
            "policy": rules.name,
            "digest": rules.digest,
            "mode": rules.mode,
            "claim": rules.claim,
            "radius": rules.promised_radius,
            "alpha": rules.alpha,
            "q_required": plan.q_required,
            "max_samples": plan.max_samples,
            "false_pass": plan.false_pass_upper,
            "power": plan.power_at(q1),
            "expected_calls_at_harmless_rate": plan.expected_calls_at(q1),
            "expected_calls_harmful": plan.expected_calls_at(0.1),
        }
        click.echo(json.dumps(facts) if as_json else _in_words(facts, q1))


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of policy files."""
    from guardrail.policy.schema import Policy

    click.echo(json.dumps(Policy.model_json_schema(), indent=2))


def _in_words(facts: dict[str, object], q1: float) -> str:
    return (
        f"{facts['file']}: ok\n"
        f"  promises   l2 radius {facts['radius']:g} with false-pass probability at most "
        f"{facts['false_pass']:.2g} (alpha {facts['alpha']:g}, claim: {facts['claim']})\n"
        f"  needs      a harmless rate above {facts['q_required']:.4f} under noise\n"
        f"  costs      {facts['expected_calls_at_harmless_rate']:.1f} calls on average at a "
        f"harmless rate of {q1:g} (passing {facts['power']:.1%}), "
        f"{facts['expected_calls_harmful']:.1f} at 0.1; at most {facts['max_samples']}"
    )
