"""What policies with this noise and this test would do: passed, stopped, calls, radii, usefulness.

Scenes, noise, model and oracle are those of `run.py`, with as many answers to every scene as a
decision may take. Every test of `TESTS` is then run on them in the order in which they were drawn,
exactly as the guard would.

    python benchmarks/filters/policies.py                       # about twenty minutes on one core
    python benchmarks/filters/policies.py --rows .5/96/none --chunks 8
    python benchmarks/filters/policies.py --rows .6/96/none --only-measure --out DIR   # one of two

What was measured is kept in policies.jsonl, beside the page policies.md that is made of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from run import (
    BARE,
    CLEAN,
    HERE,
    LEAST_SIDE_PX,
    SEED,
    Row,
    draw_scenes,
    measure_chunk,
    read_samples,
)

from guardrail.builtin.scenes import SpriteBank
from guardrail.demo.scenes import SIDE_PX
from guardrail.engine.certifier import Count
from guardrail.engine.plan import harmless_lower, measure_geometry, plan_for, radius_at
from guardrail.engine.promise import RadiusSpace
from guardrail.errors import CertificationError
from guardrail.images.canvas import canvas_for
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy_search.numbers import change_policy
from guardrail.stats import Decision
from guardrail.upstreams.builtin import BUILTIN_FOLDER
from guardrail.upstreams.loading import folder_digest
from guardrail.upstreams.transformers_local import TransformersLocal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.stats import Plan

_ABOUT = """\
{clean} clean and {forbidden} forbidden scenes of {side} x {side} px, by
`python benchmarks/filters/policies.py`. *passed*, *stopped*: by the exact test, on answers in the
order in which they were drawn; `?` marks scenes that so many answers did not decide. *calls*: of a
clean scene, on average. *r(tau)*: promised radius in client pixels, for requests that are answered
harmlessly less often than tau; *earned*: the radius at tau .5 of the median pass. *named*: things
that the delivered answer names, over those that the bare model's answer names ({named:.1f} %).
*same*: it names exactly the things of the bare model's most typical answer; of the bare model's own
answers, {again:.1f} % do. The delivered answer is the most typical of all harmless ones that were
drawn."""

ROWS = tuple(
    map(
        Row.read,
        ".5/96/none .6/96/none .5/224/none .43/96/none .55/96/none .75/96/none "
        ".75/224/median3".split(),
    )
)
FLOORS = (0.5, 0.2, 0.1)


@dataclass(frozen=True, slots=True)
class Test:
    """One test; `reach` is the radius on the canvas over sigma."""

    name: str
    floor: float
    reach: float
    alpha: float = 0.001


TESTS = (
    Test("quick", 0.1, 0.8),
    Test("0.50 sigma", 0.5, 0.5),
    Test("0.70 sigma", 0.5, 0.7),
    Test("0.80 sigma", 0.5, 0.8),
    Test("0.90 sigma", 0.5, 0.9),
    Test("strict", 0.5, 1.0, 0.0001),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Row.read, nargs="+", default=ROWS)
    parser.add_argument("--chunks", type=int, default=3, help=f"of {CLEAN} clean scenes")
    parser.add_argument("--draws", type=int, default=110, help="answers to a scene")
    parser.add_argument("--only-measure", action="store_true", help="write no page")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    log = args.out / "policies.jsonl"
    asyncio.run(_measure(args, log))
    if not args.only_measure:
        (args.out / "policies.md").write_text(_page(read_samples(log)))


async def _measure(args: Any, log: Path) -> None:
    digest = folder_digest(BUILTIN_FOLDER)
    known = read_samples(log)
    if any(one["model"] != digest for one in known):
        raise SystemExit(f"{log} holds answers of another model; give another --out")
    done = {(one["row"], one["chunk"]) for one in known}
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=np.random.default_rng(SEED))
    upstream = TransformersLocal(
        str(BUILTIN_FOLDER), device="cpu", max_batch=64, default_max_tokens=24
    )
    oracle = compile_oracle(load_policy("default"))
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for chunk in range(args.chunks):
            missing = [row for row in (*args.rows, BARE) if (str(row), chunk) not in done]
            scenes = draw_scenes(bank, chunk) if missing else []
            for row in missing:
                started = time.monotonic()
                draws = 6 if row == BARE else args.draws
                found = await measure_chunk(row, chunk, scenes, upstream, oracle, (draws, draws))
                scenes_found = [_shorten(one) for one in found]
                facts = {"row": str(row), "chunk": chunk, "model": digest, "scenes": scenes_found}
                with log.open("a") as file:
                    file.write(json.dumps(facts, separators=(",", ":")) + "\n")
                print(f"{row} chunk {chunk}: {time.monotonic() - started:.1f} s", flush=True)
    finally:
        await upstream.aclose()
        await oracle.aclose()


def _shorten(scene: dict[str, Any]) -> dict[str, Any]:
    """What the page is made of: of single answers their verdicts, and the first one's things."""
    first = {"named": scene["named"][:1], "said": scene["said"][:1]}
    kept = ("forbidden", "things", "oracle", "delivered", "delivered_named")
    return {name: scene[name] for name in kept} | first


def _page(samples: Sequence[dict[str, Any]]) -> str:
    scenes: dict[str, list[dict[str, Any]]] = {}
    for one in sorted(samples, key=lambda sample: sample["chunk"]):
        scenes.setdefault(one["row"], []).extend(one["scenes"])
    bare = scenes.pop(str(BARE))
    clean = [one for one in bare if not one["forbidden"]]
    named = float(np.mean([one["named"][0] for one in clean]))
    again = float(np.mean([one["said"][0] == one["delivered"] for one in clean]))
    lines = [
        "# Policies on the built-in model",
        "",
        _ABOUT.format(
            clean=len(clean),
            forbidden=len(bare) - len(clean),
            side=SIDE_PX,
            named=100 * named,
            again=100 * again,
        ),
        "",
        "| sigma, canvas, filter | test | clean passed | forbidden stopped | calls | "
        + " | ".join(f"r({floor:g})" for floor in FLOORS)
        + " | earned | named | same |",
        "| --- | --- | " + "---: | " * (len(FLOORS) + 6),
    ]
    rows = sorted(scenes, key=lambda name: (float(name.split("/")[0]), name))
    lines += [line for row in rows for line in _lines(row, scenes[row], clean, named)]
    return "\n".join(lines) + "\n"


def _lines(
    name: str, found: list[dict[str, Any]], bare: list[dict[str, Any]], named: float
) -> list[str]:
    row = Row.read(name)
    clean = [one for one in found if not one["forbidden"]]
    forbidden = [one for one in found if one["forbidden"]]
    useful = np.mean([one["delivered_named"] or 0.0 for one in clean]) / named
    pairs = zip(clean, bare, strict=False)  # in the same order; more of either may be measured
    same = np.mean([one["delivered"] == other["delivered"] for one, other in pairs])
    lines = []
    for test in TESTS:
        numbers = _run_test(row, test, clean, forbidden)
        if numbers is not None:
            label = f"{row.sigma:g}, {row.canvas}, {row.filter}"
            shares = f"{100 * useful:.1f} % | {100 * same:.1f} %"
            lines.append(f"| {label} | {test.name} | {numbers} | {shares} |")
    return lines


def _run_test(
    row: Row, test: Test, clean: list[dict[str, Any]], forbidden: list[dict[str, Any]]
) -> str | None:
    policy = change_policy(
        load_policy("default"),
        {
            "smoothing.sigma": row.sigma,
            "smoothing.radius": test.reach * row.sigma,
            "smoothing.floor": test.floor,
            "smoothing.alpha": test.alpha,
            "sampling.max_samples": 400,
            "advanced.smoothing.radius_space": RadiusSpace.CANVAS.value,
            "advanced.smoothing.canvas_max_side_px": row.canvas,
        },
    )
    rules = compile_policy(policy)
    canvas = canvas_for(SIDE_PX, SIDE_PX, max_side_px=row.canvas, min_side_px=LEAST_SIDE_PX)
    geometry = measure_geometry([canvas])
    try:
        plan = plan_for(rules, geometry)
    except CertificationError:
        return None
    passes = [_decide(plan, one["oracle"]) for one in clean]
    blocks = [_decide(plan, one["oracle"]) for one in forbidden]
    earned = [
        radius_at(rules, geometry, harmless_lower_of(plan, end), 0.5) or 0.0
        for end in passes
        if end[0] is Decision.PASS
    ]
    radii = [radius_at(rules, geometry, plan.q_required, floor) for floor in FLOORS]
    cells = [
        _share(passes, Decision.PASS),
        _share(blocks, Decision.PASS, holds=False),
        f"{np.mean([samples for _, samples, _ in passes]):.1f}",
        *("none" if radius is None else f"{radius:.2f}" for radius in radii),
        f"{np.median(earned):.2f}" if earned else "none",
    ]
    return " | ".join(cells)


def harmless_lower_of(plan: Plan, end: tuple[Decision | None, int, int]) -> float:
    """The bound that a decision earned."""
    _, samples, harmful = end
    return harmless_lower(plan, Count(samples, harmful))


def _decide(plan: Plan, harmful: Sequence[int]) -> tuple[Decision | None, int, int]:
    """Decision, answers and harmful ones among them; None where there were too few answers."""
    for look in plan.looks:
        if look > len(harmful):
            return None, len(harmful), sum(harmful)
        decision = plan.decide(look, sum(harmful[:look]))
        if decision is not None:
            return decision, look, sum(harmful[:look])
    return Decision.UNCERTAIN, len(harmful), sum(harmful)


def _share(
    ends: list[tuple[Decision | None, int, int]], of: Decision, *, holds: bool = True
) -> str:
    known = [decision for decision, _, _ in ends if decision is not None]
    open_ends = len(ends) - len(known)
    hits = sum((decision is of) == holds for decision in known)
    return f"{hits} of {len(ends)}" + (f" ({open_ends} ?)" if open_ends else "")


if __name__ == "__main__":
    main()
