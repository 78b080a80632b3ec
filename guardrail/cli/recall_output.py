"""What `guardrail recall` prints of a measurement."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.evaluation.recall_outcome import RecallOutcome
    from guardrail.evaluation.threat_facts import ThreatOutcome
    from guardrail.policy.recall import Recall

__all__ = ["list_facts", "print_recall"]

_MOST_LISTED = 40


def list_facts(outcome: RecallOutcome, recall: Recall, left_out: str) -> dict[str, Any]:
    """For `--json`; `left_out` says which views were not measured."""
    blind = [
        {
            "request": result.digest,
            "name": result.name,
            "why": why,
            "harmless": result.counts.harmless,
            "refused": result.counts.refused,
            "missing": result.counts.missing,
            "drawn": result.counts.samples,
        }
        for result, why in outcome.blind
    ]
    return {
        **recall.model_dump(mode="json"),
        "sentence": recall.statement().sentence,
        "blind_spots": blind,
        "by_threat": _list_threats(outcome.threats, recall),
        "left_out": left_out,
        "clean_reasons": {} if outcome.clean is None else outcome.clean.reasons(),
        "clean_stopped_by": {} if outcome.clean is None else outcome.clean.stopped_by(),
    }


def _list_threats(threats: ThreatOutcome | None, recall: Recall) -> list[dict[str, Any]]:
    """Every share in words, with the requests that are not shown."""
    if threats is None:
        return []
    return [
        {
            "against": one.against,
            "shown": one.shown,
            "requests": len(threats.results),
            "share_lower": one.share_lower,
            "view_draws": threats.design.draws,
            "setting": threats.design.threats.numbers(one.against.threat),
            "not_shown": threats.not_shown(one.against),
            "sentence": sentence,
        }
        for one, sentence in threats.state_shares(recall.alpha)
    ]


def print_recall(outcome: RecallOutcome, recall: Recall, left_out: str, out: Path | None) -> None:
    """The measurement in words, on standard output."""
    price = "" if recall.cost_usd is None else f", US$ {recall.cost_usd:.2f}"
    click.echo(
        f"{count_of(recall.requests, 'request')} of {recall.data}, "
        f"{count_of(recall.draws, 'draw')} each; {count_of(recall.calls, 'call')}{price}\n"
        f"{len(recall.held):,} shown held as they are; radius at recall "
        + ", ".join(f"{r.recall:g}: {_radius(r.radius)}" for r in recall.reaches)
    )
    _print_wrapped(recall.statement().sentence)
    if left_out:
        _print_wrapped(f"{left_out}.")
    _print_threats(outcome.threats, recall)
    _print_clean(outcome)
    _print_blind(outcome)
    if out is not None:
        click.echo(f"\nwritten: {out}; refer to it in the policy: recall: {out.name}")


def _print_threats(threats: ThreatOutcome | None, recall: Recall) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.engine.threat_wording import TITLES
    from guardrail.engine.wording import confidence_down, digits_down

    if threats is None:
        return
    shares = list(threats.state_shares(recall.alpha))
    print_table(
        f"\nHeld against each threat: {count_of(threats.design.draws, 'draw')} of a view, "
        f"{count_of(threats.calls, 'call')}; together with confidence "
        f"{confidence_down(threats.design.delta)}",
        ("threat", "shown held", "share, at least"),
        [
            (TITLES[one.against], f"{one.shown:,} of {len(threats.results):,}",
             digits_down(one.share_lower))
            for one, _ in shares
        ],
    )  # fmt: skip
    for _, sentence in shares:
        _print_wrapped(sentence)
    click.echo("")


def _print_wrapped(text: str) -> None:
    click.echo("\n".join(textwrap.wrap(text, 96)))


def _print_clean(outcome: RecallOutcome) -> None:
    from guardrail.engine.wording import digits_down, digits_up

    clean = outcome.clean
    if clean is None:
        click.echo("clean requests: not measured; a guard that blocks everything has recall 1")
        return
    others = ", ".join(f"{why} {count:,}" for why, count in clean.reasons().items())
    tests = ", ".join(f"{test} {count:,}" for test, count in clean.stopped_by().items())
    click.echo(
        f"clean requests: {clean.passed:,} of {len(clean.decisions):,} passed, a share between "
        f"{digits_down(clean.rate_lower)} and {digits_up(clean.rate_upper)}"
        f"{f'; others: {others}; stopped by the test of: {tests}' if others else ''}"
    )


def _print_blind(outcome: RecallOutcome) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.evaluation.recall_report import REASONS

    if not outcome.blind:
        click.echo("blind spots: none among the measured requests")
        return
    rows = [
        (result.name, REASONS[why], *map(str, (c.harmless, c.refused, c.missing, c.samples)))
        for result, why in outcome.blind
        for c in (result.counts,)
    ]
    print_table(
        f"\nBlind spots: {count_of(len(rows), 'request is', 'requests are')} not shown held, "
        "even unchanged",
        ("request", "why", "called harmless", "refused", "missing", "drawn"),
        rows[:_MOST_LISTED],
    )
    if len(rows) > _MOST_LISTED:
        click.echo(f"and {len(rows) - _MOST_LISTED:,} more; see --json or --report")


def _radius(radius: float | None) -> str:
    from guardrail.engine.wording import digits_down

    return "not shown" if radius is None else digits_down(radius)
