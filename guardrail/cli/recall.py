"""`guardrail recall`: which share of forbidden requests a policy stops, and how far out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import guard_options, table_options
from guardrail.cli.output import require_writable
from guardrail.cli.recall_output import list_facts, print_recall
from guardrail.cli.request_sets import read_request_set
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.engine.engine import Engine
    from guardrail.evaluation.recall_facts import HeldRequest, RecallDesign
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.recall_outcome import RecallOutcome
    from guardrail.evaluation.requests import RequestSet
    from guardrail.evaluation.threat_facts import ThreatDesign, ThreatOutcome
    from guardrail.images.limits import ImageLimits
    from guardrail.policy.schema import Policy

__all__ = ["command"]

_SET = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
_MOST_DRAWS = 10_000
_WISHES = (0.5, 0.9, 0.95, 0.99)


@click.command("recall")
@click.option("--forbidden", type=_SET, required=True, help="Requests that should be stopped: a "
              "folder of pictures, or a table (JSON, CSV, TSV, Parquet) with the columns image or "
              "images, prompt, parameters, group, id.")  # fmt: skip
@click.option("--clean", type=_SET, help="Requests that should pass, in the same forms: how many "
              "do is told beside recall.")  # fmt: skip
@click.option("--prompt", default="What is shown in this picture?", show_default=True,
              help="Where a request names none.")  # fmt: skip
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--draws", type=click.IntRange(1, _MOST_DRAWS), default=100, show_default=True,
              help="Noisy variants of each request.")  # fmt: skip
@click.option("--delta", type=_OPEN, default=0.01, show_default=True,
              help="Probability, at most, that what is said of the population is "
              "wrong.")  # fmt: skip
@click.option("--requests", "most", type=click.IntRange(min=1),
              help="Measure no more than so many forbidden requests.  [default: one of each "
              "cluster of near-copies]")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True,
              help="Of the draw of one request from each cluster.")  # fmt: skip
@click.option("--threats", "per_threat", is_flag=True, help="Measure as well which share is held "
              "against each threat that the policy covers: crops, stickers, suffix.")  # fmt: skip
@click.option("--view-draws", type=click.IntRange(1, _MOST_DRAWS),
              help="Answers to each view, without noise, for --threats.  [default: 40, or as many "
              "as can show anything]")  # fmt: skip
@table_options("image=path,prompt=question")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out and name requests that cannot be "
              "read, instead of refusing the set.")  # fmt: skip
@click.option("--out", type=_FILE, help="Write the measurement, for 'recall' in the policy: YAML, "
              "or JSON by its suffix.")  # fmt: skip
@click.option("--log", "log_file", type=_FILE, help="Keep every result here; a stopped run goes "
              "on from it.  [default: beside --out]")  # fmt: skip
@click.option("--report", "report_file", type=_FILE,
              help="Write an HTML page; it shows prompts.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what it would take, and call nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guard_options
def command(
    policy_name: str,
    upstream: str,
    key_file: Path | None,
    out: Path | None,
    log_file: Path | None,
    report_file: Path | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure which share of forbidden requests a policy stops, and within which radius.

    The requests must be a fair sample of those that should be stopped, and must not have served to
    choose the policy, the model or the oracle. See docs/recall.md.
    """
    from guardrail.assembly import build_engine, read_policy

    for file in (out, log_file, report_file):
        if file is not None:
            require_writable(file)
    if log_file is None and out is not None:
        log_file = out.with_name(f"{out.name}.log.jsonl")
    # An earlier measurement that no longer fits must not keep a new one from being made.
    policy = read_policy(policy_name).model_copy(update={"recall": None})
    sets = _read_sets(policy, options)
    engine = build_engine(policy, upstream, key_file)
    _check_oracle(engine)
    try:
        run = _fix_design(engine, policy, sets, options)
        run.announce()
        if dry_run:
            return
        outcome, model = asyncio.run(run.measure(log_file))
    except KeyboardInterrupt:
        if log_file is not None:
            click.echo(f"\nstopped; the same command goes on from {log_file}", err=True)
        raise
    _finish(outcome, engine, model, options["seed"], out, report_file, as_json)


@dataclass(frozen=True, slots=True)
class _Sets:
    forbidden: RequestSet
    clean: RequestSet | None


def _read_sets(policy: Policy, options: dict[str, Any]) -> _Sets:
    clean = options["clean"]
    return _Sets(
        forbidden=read_request_set(policy, options["forbidden"], options, most=options["most"]),
        clean=None if clean is None else read_request_set(policy, clean, options),
    )


def _check_oracle(engine: Engine) -> None:
    from guardrail.oracles.base import ReferenceOracle

    if isinstance(engine.oracle, ReferenceOracle):
        raise ConfigError(
            "this oracle compares answers with a reference of the same request, so it cannot say "
            "which requests should be stopped; use an oracle of harm",
            field="oracle.kind",
        )


@dataclass(frozen=True, slots=True)
class _Measurement:
    """Everything that is fixed before the first call; `threats` is None where none is measured."""

    engine: Engine
    policy: Policy
    sets: _Sets
    design: RecallDesign
    threats: ThreatDesign | None
    limits: ImageLimits
    options: dict[str, Any]

    def announce(self) -> None:
        """Says what is asked and what it will take at most, on standard error."""
        from guardrail.stats import fewest_requests

        forbidden, design = self.sets.forbidden, self.design
        count, share = len(forbidden.drawn), design.delta / 3
        needs = ", ".join(
            f"{wish:g}: {fewest_requests(wish, share, design.beta):,}" for wish in _WISHES
        )
        calls = count * design.draws
        tries = 1 + self.engine.rules.retries
        clusters = count_of(forbidden.clusters, "cluster")
        set_of = f"{count_of(forbidden.requests, 'request')} in {clusters} of near-copies"
        again = f"{count_of(tries * calls, 'call')} if every one had to be repeated"
        lines = [
            f"{forbidden.name}: {set_of}; {count:,} will be measured, one of a cluster",
            f"to show a recall, all shown held, takes so many requests: {needs}",
            (
                f"at most {count_of(calls, 'answer')} of the model, {design.draws:,} for each "
                f"request ({again})"
            ),
            *(f"left out: {problem}" for problem in forbidden.problems),
        ]
        if self.sets.clean is not None:
            clean = self.sets.clean
            most = len(clean.drawn) * self.engine.rules.max_samples
            lines.append(
                f"{clean.name}: {count_of(len(clean.drawn), 'clean request')}, one of a cluster, "
                f"at most {count_of(most, 'answer')}"
            )
            lines += [f"left out: {problem}" for problem in clean.problems]
        lines += self._announce_threats(count)
        for line in lines:
            click.echo(line, err=True)

    def _announce_threats(self, requests: int) -> list[str]:
        from guardrail.engine.threat_wording import left_out_sentence

        if self.threats is None:
            left_out = left_out_sentence(self.engine.rules.threats)
            return [f"{left_out}; --threats measures them."] if left_out else []
        said = (
            f"threats ({', '.join(self.threats.statements)}): "
            f"{count_of(self.threats.draws, 'answer')} to each view of "
            f"{count_of(requests, 'request')} at most, fewer where a view can no longer show "
            "anything or another one is enough"
        )
        return [said]

    async def measure(self, log_file: Path | None) -> tuple[RecallOutcome, str]:
        """The outcome, and the name of the model."""
        from guardrail.evaluation.recall_log import RecallLog

        try:
            model = self.options["model"] or (await self.engine.upstream.models())[0]
            with RecallLog(log_file, self._settings(model)) as log:
                return await self._all(model, log), model
        finally:
            await self.engine.aclose()

    async def _all(self, model: str, log: RecallLog) -> RecallOutcome:
        from guardrail.cli.progress import progress_bar
        from guardrail.evaluation.clean import CleanTraffic, decide_clean
        from guardrail.evaluation.recall import measure_recall
        from guardrail.evaluation.recall_outcome import RecallOutcome

        engine, design, forbidden = self.engine, self.design, self.sets.forbidden
        with progress_bar("forbidden", len(forbidden.drawn)) as step:
            tell_price = _PriceTeller(len(forbidden.drawn) * design.draws)

            def tell(result: HeldRequest) -> None:
                tell_price(result)
                step()

            results = await measure_recall(engine, design, forbidden, model, self.limits, log, tell)
        threats = None if self.threats is None else await self._views(self.threats, model, log)
        clean = None
        if self.sets.clean is not None:
            with progress_bar("clean", len(self.sets.clean.drawn)) as step:
                decisions = await decide_clean(
                    engine, self.sets.clean, model, self.limits, log, step
                )
            clean = CleanTraffic(tuple(decisions), design.delta)
        return RecallOutcome(design, forbidden, tuple(results), clean, threats)

    async def _views(self, design: ThreatDesign, model: str, log: RecallLog) -> ThreatOutcome:
        from guardrail.cli.progress import progress_bar
        from guardrail.evaluation.threat_facts import ThreatOutcome
        from guardrail.evaluation.threat_recall import measure_threats

        forbidden = self.sets.forbidden
        with progress_bar("views", len(forbidden.drawn)) as step:
            results = await measure_threats(
                self.engine, design, forbidden, model, self.limits, log, step
            )
        return ThreatOutcome(design, results)

    def _settings(self, model: str) -> dict[str, Any]:
        """All that a result depends on; a key of this process alone is left out."""
        rules, design = self.engine.rules, self.design
        return {
            "policy": rules.name,
            "policy_digest": rules.digest,
            "model": model,
            "upstream": self.engine.upstream.name,
            "upstream_revision": self.engine.upstream.revision,
            "oracle_revision": self.engine.oracle.revision,
            "draws": design.draws,
            "delta": design.delta,
            "beta": design.beta,
            "steps": list(design.steps),
            "data_digest": self.sets.forbidden.digest,
            "requests": len(self.sets.forbidden.drawn),
            "seed": self.options["seed"],
        }


@dataclass(slots=True)
class _PriceTeller:
    """Says after the first answers what all of them would cost."""

    most_answers: int
    done: bool = False

    def __call__(self, result: HeldRequest) -> None:
        counts = result.counts
        if self.done or not counts.usage.calls or not counts.cost_usd:
            return
        self.done = True
        most = counts.cost_usd / counts.usage.calls * self.most_answers
        click.echo(
            f"the first {count_of(counts.usage.calls, 'answer')} cost US$ {counts.cost_usd:.2g}; "
            f"at that rate all of them cost at most US$ {most:.2f}",
            err=True,
        )


def _fix_design(
    engine: Engine, policy: Policy, sets: _Sets, options: dict[str, Any]
) -> _Measurement:
    from guardrail.evaluation.recall import farthest_radius, measuring_key
    from guardrail.evaluation.recall_facts import BETA, RecallDesign
    from guardrail.evaluation.recall_outcome import curve_steps
    from guardrail.policy.compile import image_limits

    engine.key = measuring_key(engine.key)
    farthest_radius(engine.rules, options["draws"], BETA)
    design = RecallDesign(
        draws=options["draws"],
        delta=options["delta"],
        beta=BETA,
        steps=curve_steps(engine.rules, options["draws"], BETA),
    )
    threats = _fix_threats(engine, sets.forbidden, options)
    return _Measurement(engine, policy, sets, design, threats, image_limits(policy), options)


def _fix_threats(
    engine: Engine, forbidden: RequestSet, options: dict[str, Any]
) -> ThreatDesign | None:
    from guardrail.evaluation.recall_facts import BETA
    from guardrail.evaluation.threat_facts import plan_threats

    if not options["per_threat"]:
        if options["view_draws"] is not None:
            raise click.UsageError("--view-draws is for --threats; give that as well")
        return None
    return plan_threats(
        engine.rules.threats,
        max(len(request.images) for _, request in forbidden.drawn),
        draws=options["view_draws"],
        delta=options["delta"],
        beta=BETA,
        seed=options["seed"],
    )


def _finish(
    outcome: RecallOutcome,
    engine: Engine,
    model: str,
    seed: int,
    out: Path | None,
    report_file: Path | None,
    as_json: bool,
) -> None:
    from guardrail.engine.threat_wording import left_out_sentence
    from guardrail.evaluation.recall_outcome import recall_of
    from guardrail.evaluation.recall_report import RecallReport, write_recall_report
    from guardrail.sealed import write_sealed

    left_out = left_out_sentence(engine.rules.threats) if outcome.threats is None else ""
    recall = recall_of(outcome, engine, model, seed)
    if out is not None:
        write_sealed(out, recall)
    if report_file is not None:
        write_recall_report(report_file, RecallReport(outcome, recall, left_out))
    if as_json:
        click.echo(json.dumps(list_facts(outcome, recall, left_out), allow_nan=False))
    else:
        print_recall(outcome, recall, left_out, out)
