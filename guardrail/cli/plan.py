"""`guardrail plan`: what a promise will cost, before anything is run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy
    from guardrail.stats import Forecast, Plan, PlanForecast, PlanScenario

__all__ = ["command"]

_MOST_SAMPLES = 20_000
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
_POSITIVE = click.FloatRange(min=0, min_open=True)
_AT_LEAST_0 = click.FloatRange(min=0)


@click.command("plan")
@click.option("--sigma", type=_POSITIVE, default=0.5, show_default=True,
              help="Standard deviation of the noise, in pixel values of [0, 1].")  # fmt: skip
@click.option("--radius", type=_AT_LEAST_0, default=0.25, show_default=True,
              help="l2 size of the image changes that the promise covers.")  # fmt: skip
@click.option("--alpha", type=_OPEN, default=0.001, show_default=True,
              help="Probability, at most, of passing what should not pass.")  # fmt: skip
@click.option("--floor", type=_OPEN, default=0.5, show_default=True,
              help="The promise is about requests answered harmlessly less often.")  # fmt: skip
@click.option("--miss-rate", "miss_rate_upper", default=0.0, show_default=True,
              type=click.FloatRange(min=0, max=1, max_open=True),
              help="Of the harmlessness claim: the oracle's misses of one request's harmful "
              "answers, at most; 0 for the verdict claim.")  # fmt: skip
@click.option("--operator-norm", type=_POSITIVE, default=1.0, show_default=True,
              help="Norm of the resize before the noise; 1 for pictures that fit.")  # fmt: skip
@click.option("--harmless-rate", type=click.FloatRange(0, 1), default=0.99, show_default=True,
              help="Share of harmless answers that usual requests draw under noise.")  # fmt: skip
@click.option("--harmful-harmless-rate", type=click.FloatRange(0, 1), default=0.1,
              show_default=True, help="The same share for harmful requests.")  # fmt: skip
@click.option("--power", type=_OPEN, default=0.99, show_default=True,
              help="Probability of passing a usual request.")  # fmt: skip
@click.option("--max-samples", type=click.IntRange(1, _MOST_SAMPLES), default=None,
              help="Most calls of one decision.  [default: twice a fixed-n test's]")  # fmt: skip
@click.option("--price-per-call", "price_per_call_usd", type=_AT_LEAST_0, default=0.0,
              show_default=True, help="US dollars.")  # fmt: skip
@click.option("--latency-s", type=_AT_LEAST_0, default=1.0, show_default=True,
              help="Seconds that one call takes.")  # fmt: skip
@click.option("--parallel", type=click.IntRange(min=1), default=1, show_default=True,
              help="Calls of one decision that run at the same time.")  # fmt: skip
@click.option("--latency-weight", type=_AT_LEAST_0, default=0.0, show_default=True,
              help="What one round of waiting is worth, in calls; with 0 the plan looks after "
              "every round.")  # fmt: skip
@click.option("--policy", "policy_name", default=None,
              help="Take the numbers from a policy; options on the command line win.")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False),
              help="Draw calls against the harmless rate, and the laws, as SVG.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    policy_name: str | None,
    plot: Path | None,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Say what a promise costs: samples, calls, money and seconds, by every kind of test."""
    from guardrail.stats import forecast

    if policy_name is not None:
        numbers |= _not_given(ctx, _of_policy(policy_name))
    scenario = _scenario(numbers)
    result = forecast(scenario)
    if plot is not None:
        _write(plot, _draw(result))
    if as_json:
        click.echo(json.dumps(result.as_dict(), allow_nan=False))
    else:
        _print(result)


def _scenario(numbers: dict[str, Any]) -> PlanScenario:
    from guardrail.stats import PlanScenario

    if numbers["max_samples"] is not None:
        return PlanScenario(**numbers)
    return PlanScenario(
        **{**numbers, "max_samples": _enough(PlanScenario(**{**numbers, "max_samples": 1}))}
    )


def _enough(scenario: PlanScenario) -> int:
    """Most samples of the optimal plan; a larger limit hardly lowers its mean."""
    from guardrail.stats.fixed import smallest_fixed

    rates = scenario.alpha, scenario.harmless_rate, scenario.power
    n, _ = smallest_fixed(scenario.q_required, *rates)
    return min(2 * n, _MOST_SAMPLES)


def _of_policy(name: str) -> dict[str, Any]:
    from guardrail.assembly import read_policy

    return _numbers(read_policy(name))


def _numbers(policy: Policy) -> dict[str, Any]:
    from guardrail.engine.plan import UNSCALED

    smoothing, sampling = policy.smoothing, policy.advanced.sampling
    claims_harmlessness = smoothing.claim == "harmlessness"
    bound = policy.oracle.bound_miss_rate(policy.folder) if claims_harmlessness else None
    return {
        "sigma": smoothing.sigma,
        "radius": smoothing.radius,
        "alpha": smoothing.alpha,
        "floor": smoothing.floor,
        "miss_rate_upper": 0.0 if bound is None else bound.miss_rate_upper,
        "harmless_rate": sampling.expected_harmless_rate,
        "power": sampling.power,
        "sampler_error": UNSCALED.sampler_error,
        "max_samples": policy.sampling.max_samples,
        "parallel": sampling.max_parallel,
        "latency_weight": sampling.latency_weight,
    }


def _not_given(ctx: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """Those that no option gave, or that have no option."""
    free = (click.core.ParameterSource.DEFAULT, None)
    return {k: v for k, v in values.items() if ctx.get_parameter_source(k) in free}


def _print(result: Forecast) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.stats import FLOORS

    scenario = result.scenario
    click.echo(
        f"To promise radius {scenario.radius:g} at sigma {scenario.sigma:g} "
        f"(alpha {scenario.alpha:g}, floor {scenario.floor:g}{_condition(scenario)}), more than "
        f"{result.q_required:.4f} of the answers under noise\nmust be found harmless. No test can "
        f"show that with fewer than {result.fewest_samples} calls. The same calls promise: a "
        f"request that is\nanswered harmlessly less often than τ passes with probability at most "
        f"{scenario.alpha:g} a try within\nradius r: {_show_promise(result)}.\n"
    )
    print_table(
        "The other way round: the fewest calls that promise a radius to requests below τ",
        ("radius", *(f"τ {floor:g}" for floor in FLOORS)),
        _reach_rows(result),
    )
    print_table(
        f"Calls per decision (usual: harmless rate {scenario.harmless_rate:g}; harmful: "
        f"{scenario.harmful_harmless_rate:g})",
        ("test", "usual", "p50", "p95", "p99", "most", "harmful", "passes usual", "false pass"),
        [_calls_row(name, row) for name, row in _tests(result)],
    )
    print_table(
        f"Cost and time per decision (US$ {scenario.price_per_call_usd:g} and "
        f"{scenario.latency_s:g} s a call, {scenario.parallel} at a time)",
        ("test", "usual $", "usual s", "harmful $", "harmful s"),
        [_cost_row(name, row) for name, row in _tests(result)],
    )
    print_table(
        "What n samples achieve on average, exactly and by the papers' law",
        ("n", "radius, share of limit", "papers", "accuracy lost", "papers"),
        [_law_row(law) for law in result.laws],
    )


def _condition(scenario: PlanScenario) -> str:
    misses = scenario.miss_rate_upper
    return f", on requests of which the oracle misses at most {misses:g}" if misses else ""


def _show_promise(result: Forecast) -> str:
    from guardrail.engine.wording import digits_down

    return ", ".join(
        f"τ {row.floor:g} → r {'none' if row.radius is None else digits_down(row.radius)}"
        for row in result.promised
    )


def _reach_rows(result: Forecast) -> list[tuple[str, ...]]:
    rows: dict[float, list[str]] = {}
    for need in result.fewest_by_reach:
        fewest = math.inf if need.fewest_samples is None else need.fewest_samples
        cell = f"{fewest:,}" if fewest <= _MOST_SAMPLES else f"over {_MOST_SAMPLES:,}"
        rows.setdefault(need.radius, []).append(cell)
    return [(f"{radius:g}", *cells) for radius, cells in rows.items()]


def _tests(result: Forecast) -> list[tuple[str, PlanForecast]]:
    return [
        ("optimal (this guard)", result.optimal),
        ("fixed n, stopped when settled", result.fixed_n),
        ("fixed n", result.fixed_n_plain),
        ("betting sequence", result.betting),
        *((f"convention n = {n:,}", row) for n, row in result.conventions.items()),
    ]


def _calls_row(name: str, row: PlanForecast) -> tuple[str, ...]:
    means = (row.expected_calls_at_harmless_rate, row.expected_calls_harmful)
    usual, harmful = (f"{mean:,.1f}" for mean in means)
    spread = (f"{n:,}" for n in (row.calls_p50, row.calls_p95, row.calls_p99, row.max_samples))
    return (name, usual, *spread, harmful, f"{row.power:.4f}", f"{row.false_pass:.2g}")


def _cost_row(name: str, row: PlanForecast) -> tuple[str, ...]:
    money = (f"{row.cost_usd:,.4f}", f"{row.cost_harmful_usd:,.4f}")
    time = (f"{row.latency_s:,.2f}", f"{row.latency_harmful_s:,.2f}")
    return (name, money[0], time[0], money[1], time[1])


def _law_row(law: Any) -> tuple[str, ...]:
    shares = (law.radius_ratio, law.radius_ratio_paper, law.accuracy_loss, law.accuracy_loss_paper)
    return (f"{law.n:,}", *(f"{share:.3f}" for share in shares))


def _draw(result: Forecast) -> str:
    from guardrail.html_page.figure import Curve, Panel, figure
    from guardrail.stats import calls_curve

    rates = tuple(i / 200 for i in range(201))
    calls = tuple(
        Curve(name, tuple((q, calls) for q, calls, _ in calls_curve(plan, rates)))
        for name, plan in _plans(result.scenario)
    )
    laws = tuple(
        Curve(label, tuple((float(law.n), getattr(law, name)) for law in result.laws), dashed)
        for label, name, dashed in (
            ("radius ratio, exact", "radius_ratio", False),
            ("radius ratio, papers", "radius_ratio_paper", True),
            ("accuracy loss, exact", "accuracy_loss", False),
            ("accuracy loss, papers", "accuracy_loss_paper", True),
        )
    )
    required = ((result.q_required, "required"),)
    return figure(
        (
            Panel("Expected calls of one decision", "harmless rate", "calls", calls, required,
                  log_y=True),
            Panel("What n samples achieve", "samples n", "share", laws, log_x=True),
        )
    )  # fmt: skip


def _plans(scenario: PlanScenario) -> list[tuple[str, Plan]]:
    """The tests whose calls depend on the outcomes, as `forecast` makes them."""
    from guardrail.stats import betting_plan, fixed_plan, optimal_plan

    q, alpha, most = scenario.q_required, scenario.alpha, scenario.max_samples
    q1, power = scenario.harmless_rate, scenario.power
    optimal = optimal_plan(
        q,
        alpha,
        q1=q1,
        power=power,
        max_samples=most,
        looks=scenario.looks,
        latency_weight=scenario.latency_weight,
        max_parallel=scenario.parallel,
    )
    fixed = fixed_plan(q, alpha, q1=q1, power=power, max_samples=most)
    betting = betting_plan(q, alpha, block_alpha=1.0 - power, max_samples=most)
    return [("optimal", optimal), ("fixed n, when settled", fixed), ("betting", betting)]


def _write(path: Path, text: str) -> None:
    from guardrail.errors import ConfigError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the figure cannot be written ({error.strerror}); choose another path",
            file=str(path),
        ) from error
