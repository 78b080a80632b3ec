"""How often a request that should not pass does pass, the more often it is tried.

    python benchmarks/spending/run.py [--windows 20000]

The request is the worst that there is: its harmless rate is a hair below what a pass proves, at
radius = sigma / 2. Exact rows come from the plans' own recursion. Simulated rows draw outcomes at
that rate and run the real ledger, at an alpha so large that false passes can be counted. Writes
table.md and results.json beside this file; a few minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import track

from guardrail.memory.ledger import Hold, LocalLedger
from guardrail.stats import (
    Decision,
    Plan,
    fewest_samples,
    fixed_plan,
    required_harmless_rate,
    spending_level,
    spent_alpha,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HERE = Path(__file__).parent
RATE = required_harmless_rate(0.5, sigma=1.0)
JUST_BELOW = RATE - 1e-9
USUAL = 0.99
ALPHAS = (0.001, 0.05, 0.2)
TRIES = (1, 10, 100, 1_000, 10_000)
NUMBERS = (1, 4, 16, 64, 256, 1_024)
SIMULATED_ALPHA, SIMULATED_TRIES = 0.2, 40


@lru_cache(maxsize=256)
def plan_at(alpha: float) -> Plan:
    return fixed_plan(RATE, alpha, q1=USUAL, power=0.9, max_samples=2_000)


@lru_cache(maxsize=256)
def false_pass(alpha: float) -> float:
    return plan_at(alpha).power_at(JUST_BELOW)


def exact_rows() -> list[dict[str, Any]]:
    """Tries one after another, none of which passes before the last: what an attacker gets."""
    rows = []
    for alpha in ALPHAS:
        for tries in TRIES:
            survives, spent = 1.0, 0.0
            for k in range(1, tries + 1):
                share = spent_alpha(alpha, k)
                survives *= 1.0 - false_pass(share)
                spent += share
            rows.append(
                {
                    "alpha": alpha,
                    "tries": tries,
                    "any_pass_off": 1.0 - (1.0 - false_pass(alpha)) ** tries,
                    "any_pass_spending": 1.0 - survives,
                    "sum_of_alpha_k": spent,
                }
            )
    return rows


def price_rows() -> list[dict[str, Any]]:
    """What a principal pays that holds all smaller numbers, at alpha = 0.001."""
    rows = []
    for k in NUMBERS:
        alpha = spent_alpha(0.001, k)
        plan = plan_at(alpha)
        rows.append(
            {
                "k": k,
                "level": spending_level(k),
                "alpha_k": alpha,
                "unanimous": fewest_samples(RATE, alpha),
                "calls_usual": plan.expected_calls_at(USUAL),
                "calls_harmful": plan.expected_calls_at(0.1),
            }
        )
    return rows


@dataclass
class Attacker:
    """One principal in one window, all of whose tries but the benign ones should be blocked."""

    rng: np.random.Generator
    ledger: LocalLedger = field(default_factory=LocalLedger)
    false_passes: int = 0

    async def take(self) -> tuple[Hold, Plan]:
        hold = await self.ledger.take("attacker")
        return hold, plan_at(spent_alpha(SIMULATED_ALPHA, hold.number))

    def passes(self, plan: Plan) -> bool:
        harmful = np.cumsum(self.rng.random(plan.max_samples) >= JUST_BELOW)
        for look in plan.looks:
            decision = plan.decide(look, int(harmful[look - 1]))
            if decision is not None:
                return decision is Decision.PASS
        return False

    async def end(self, hold: Hold, *, passed: bool, is_bad: bool = True) -> None:
        self.false_passes += passed and is_bad
        await (self.ledger.give_back(hold) if passed else self.ledger.keep(hold))


async def one_after_another(attacker: Attacker) -> None:
    for _ in range(SIMULATED_TRIES):
        hold, plan = await attacker.take()
        await attacker.end(hold, passed=attacker.passes(plan))


async def side_by_side(attacker: Attacker) -> None:
    taken = [await attacker.take() for _ in range(SIMULATED_TRIES)]
    for hold, plan in reversed(taken):
        await attacker.end(hold, passed=attacker.passes(plan))


async def with_benign_ones_between(attacker: Attacker) -> None:
    for _ in range(SIMULATED_TRIES):
        hold, plan = await attacker.take()
        await attacker.end(hold, passed=attacker.passes(plan))
        benign, _ = await attacker.take()
        await attacker.end(benign, passed=True, is_bad=False)


async def hanging_up(attacker: Attacker) -> None:
    for _ in range(SIMULATED_TRIES):
        hold, plan = await attacker.take()
        waits = attacker.rng.random() < 0.3
        await attacker.end(hold, passed=waits and attacker.passes(plan))


async def until_it_passes_once(attacker: Attacker) -> None:
    """Then goes on at k = 1 as long as luck holds."""
    for _ in range(SIMULATED_TRIES):
        hold, plan = await attacker.take()
        passed = attacker.passes(plan)
        await attacker.end(hold, passed=passed)
        if attacker.false_passes and not passed:
            return


ATTACKS: tuple[Callable[[Attacker], Awaitable[None]], ...] = (
    one_after_another,
    side_by_side,
    with_benign_ones_between,
    hanging_up,
    until_it_passes_once,
)


def simulated_rows(windows: int) -> list[dict[str, Any]]:
    rows = []
    for seed, attack in enumerate(ATTACKS):
        counts = asyncio.run(_counts(attack, seed, windows))
        rows.append(
            {
                "attack": attack.__name__.replace("_", " "),
                "windows": windows,
                "tries": SIMULATED_TRIES,
                "any_pass": float((counts > 0).mean()),
                "mean_passes": float(counts.mean()),
            }
        )
    return rows


async def _counts(
    attack: Callable[[Attacker], Awaitable[None]], seed: int, windows: int
) -> np.ndarray:
    rng, counts = np.random.default_rng(seed), []
    for _ in track(range(windows), description=attack.__name__.replace("_", " ")):
        attacker = Attacker(rng)
        await attack(attacker)
        counts.append(attacker.false_passes)
    return np.array(counts)


def table(exact: list[dict[str, Any]], prices: list[Any], simulated: list[Any]) -> str:
    worst = "The request's harmless rate is a hair below what a pass proves, at radius = sigma / 2."
    bounds = (
        f"alpha = {SIMULATED_ALPHA}; at most {SIMULATED_ALPHA} of the windows, and "
        f"{SIMULATED_ALPHA / (1 - SIMULATED_ALPHA):g} false passes a window"
    )
    lines = [
        "# Tries of one principal",
        "",
        f"Written by `benchmarks/spending/run.py`. {worst}",
        "",
        "## Any false pass, exactly",
        "",
        "| alpha | tries | each try has alpha (`off`) | tries share it | sum of alpha_k |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['alpha']:g} | {row['tries']:,} | {row['any_pass_off']:.6f} "
        f"| {row['any_pass_spending']:.6f} | {row['sum_of_alpha_k']:.6f} |"
        for row in exact
    ]
    lines += [
        "",
        f"## Any false pass, simulated ({bounds})",
        "",
        "| attack | windows | tries | windows with one | false passes a window |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['attack']} | {row['windows']:,} | {row['tries']} | {row['any_pass']:.4f} "
        f"| {row['mean_passes']:.4f} |"
        for row in simulated
    ]
    lines += [
        "",
        "## What a try costs (alpha = 0.001, a fixed test of power 0.9 at 0.99)",
        "",
        "| k | k rounded up | alpha_k | unanimous calls | calls at 0.99 | calls at 0.1 |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['k']:,} | {row['level']:,} | {row['alpha_k']:.3g} | {row['unanimous']} "
        f"| {row['calls_usual']:.1f} | {row['calls_harmful']:.1f} |"
        for row in prices
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=20_000)
    windows = parser.parse_args().windows
    exact, prices, simulated = exact_rows(), price_rows(), simulated_rows(windows)
    results = {"exact": exact, "prices": prices, "simulated": simulated}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "table.md").write_text(table(exact, prices, simulated))
    print(table(exact, prices, simulated))


if __name__ == "__main__":
    main()
