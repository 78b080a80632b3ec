"""The semantic oracle on pairs of known truth, and the action oracle on a model of known rates.

    python benchmarks/semantic_oracle/run.py        three minutes on one core

Writes results.json and table.md beside this file. Needs the extra `embedding`. The pairs come from
templates (pairs.py); every number of pairs stands with its two-sided 95 % interval
(Clopper-Pearson).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from pairs import KINDS, Pair, pairs  # noqa: E402 (found beside this file)

from guardrail.engine.certificate.verification import verify_certificate  # noqa: E402
from guardrail.engine.engine import Engine  # noqa: E402
from guardrail.engine.plan import UNSCALED, plan_for  # noqa: E402
from guardrail.images.codec import Picture  # noqa: E402
from guardrail.images.keys import NoiseKey  # noqa: E402
from guardrail.oracles.semantic.compare import EmbeddingComparer  # noqa: E402
from guardrail.oracles.text.sentences import SentenceEncoder  # noqa: E402
from guardrail.policy.compile import compile_policy  # noqa: E402
from guardrail.policy.load import load_policy  # noqa: E402
from guardrail.policy.oracle import compile_oracle  # noqa: E402
from guardrail.stats import harmless_rate_lower, harmless_rate_upper  # noqa: E402
from guardrail.types import picture_chat  # noqa: E402
from guardrail.upstreams.scripted import Call, Scripted, Step  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guardrail.engine.rules import Rules

POLICY = HERE.parents[1] / "policies" / "action.yaml"
SIMILARITIES = (0.70, 0.75, 0.80, 0.85, 0.90)
ACTION_RATES = (0.4, 0.6, 0.69, 0.8, 0.9, 0.97, 0.99, 1.0)
REQUESTS = 200


def main() -> int:
    import torch

    torch.set_num_threads(1)
    every = pairs()
    rows = asyncio.run(_methods(every))
    results = {
        "pairs": len(every),
        "encoder": SentenceEncoder().revision,
        "meaning": rows,
        "actions": asyncio.run(_actions()),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = f"{_table(rows)}\n\n{_action_table(results['actions'])}\n"
    (HERE / "table.md").write_text(text)
    print(text)
    return 0


async def _methods(every: Sequence[Pair]) -> list[dict[str, Any]]:
    """One row for each method, limit and kind of pair."""
    encoder, rows = SentenceEncoder(), []
    for details in (False, True):
        for similarity in SIMILARITIES:
            comparer = EmbeddingComparer(
                encoder, similarity=similarity, details=details, max_batch=256
            )
            judged = await _judged(comparer, every)
            await comparer.aclose()
            rows += _rows({"details": details, "similarity": similarity}, every, judged)
    return rows


async def _judged(comparer: EmbeddingComparer, every: Sequence[Pair]) -> list[bool]:
    """Whether the method calls each pair the same; a first answer is compared with all at once."""
    seconds: dict[str, list[str]] = {}
    for pair in every:
        seconds.setdefault(pair.first, []).append(pair.second)
    found = {}
    for first, others in seconds.items():
        differences = await comparer.differences(first, others)
        found |= {(first, text): d < 0.5 for text, d in zip(others, differences, strict=True)}
    return [found[pair.first, pair.second] for pair in every]


def _rows(
    method: dict[str, Any], every: Sequence[Pair], judged: Sequence[bool]
) -> Iterator[dict[str, Any]]:
    for kind in (*KINDS, "all"):
        row: dict[str, Any] = {**method, "kind": kind}
        for name, truth in (("same_found", True), ("other_found", False)):
            right = [
                said == truth
                for pair, said in zip(every, judged, strict=True)
                if pair.same == truth and kind in (pair.kind, "all")
            ]
            row[name] = _share(sum(right), len(right))
        yield row


def _share(count: int, of: int) -> dict[str, Any]:
    lower, upper = (bound(count, of, 0.025) for bound in (harmless_rate_lower, harmless_rate_upper))
    return {"count": count, "of": of, "lower": round(lower, 4), "upper": round(upper, 4)}


async def _actions() -> list[dict[str, Any]]:
    """Whole decisions about a model that takes one action at a known rate, else another one."""
    policy = load_policy(POLICY)
    rules = compile_policy(policy)
    plan = plan_for(rules, UNSCALED)
    return [
        {
            "rate": rate,
            "rate_required": round(plan.q_required, 4),
            "should_pass": rate >= plan.q_required,
            "pass_probability": round(plan.power_at(rate), 6),
            **await _run_decision(rules, compile_oracle(policy), rate),
        }
        for rate in ACTION_RATES
    ]


async def _run_decision(rules: Rules, oracle: Any, rate: float) -> dict[str, Any]:
    engine = Engine(rules, Scripted(_acting(rate)), oracle, NoiseKey(bytes(32)))
    passed, reasons, calls, right = 0, dict[str, int](), 0, 0
    for request in range(REQUESTS):
        pixels = np.random.default_rng(request).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Picture(pixels, "image/png", 8, 8, pixels.nbytes)
        verdict = await engine.decide(picture_chat("scripted", "Where to?"), (picture,))
        calls += verdict.usage.calls
        reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1
        if verdict.answer is not None:
            passed += 1
            right += "left" in json.dumps(verdict.answer.message["tool_calls"])
            verify_certificate(verdict.certificate)  # raises if it does not hold
    return {
        "passed": _share(passed, REQUESTS),
        "delivered_the_frequent_action": right,
        "calls": round(calls / REQUESTS, 1),
        "reasons": dict(sorted(reasons.items())),
    }


def _acting(rate: float) -> Callable[[Call], Step]:
    """Left at the rate, else right; by the call's seed alone."""

    def act(call: Call) -> Step:
        draw = random.Random(call.seed)
        direction = "left" if draw.random() < rate else "right"
        arguments = {"direction": direction, "metres": 2 + draw.uniform(-0.2, 0.2)}
        function = {"name": "drive", "arguments": json.dumps(arguments)}
        return Step(message={"tool_calls": [{"id": "1", "type": "function", "function": function}]})

    return act


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """For the limits' sweep over all pairs, then by kind at the policy's own limit."""
    lines = ["| method | same meaning found | other meaning found |", "|---|---|---|"]
    lines += [
        f"| cosine >= {row['similarity']:.2f}{' and details' if row['details'] else ''} "
        f"| {_cell(row['same_found'])} | {_cell(row['other_found'])} |"
        for row in rows
        if row["kind"] == "all"
    ]
    lines += ["", "| kind | same found | other found, cosine alone | with details |"]
    lines += ["|---|---|---|---|"]
    at = load_policy(HERE.parents[1] / "policies" / "semantic.yaml").oracle.similarity
    for kind in KINDS:
        alone, both = (
            next(
                row
                for row in rows
                if (row["kind"], row["similarity"], row["details"]) == (kind, at, details)
            )
            for details in (False, True)
        )
        lines.append(
            f"| {kind} | {_cell(both['same_found'])} | {_cell(alone['other_found'])} "
            f"| {_cell(both['other_found'])} |"
        )
    return "\n".join(lines)


def _action_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| true rate of the action | passed | calls | reasons |", "|---|---|---|---|"]
    lines += [
        f"| {row['rate']:g} | {_cell(row['passed'])} | {row['calls']} | "
        + ", ".join(f"{reason} {count}" for reason, count in row["reasons"].items())
        + " |"
        for row in rows
    ]
    return "\n".join(lines)


def _cell(share: dict[str, Any]) -> str:
    rate = share["count"] / share["of"]
    return f"{rate:.3f} ({share['lower']:.3f} to {share['upper']:.3f})"


if __name__ == "__main__":
    sys.exit(main())
