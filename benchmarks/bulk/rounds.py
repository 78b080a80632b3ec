"""How many rounds of calls a decision takes, and how many bytes a call is: what batches go by.

    python benchmarks/bulk/rounds.py

No model is asked. Rounds: the plan of `default`, played 2,000 times for each share of harmless
answers under noise, with all calls of a round answered before the next one goes out. Bytes: noisy
variants of the demo's pictures on the canvas of a model whose own size is not known, with 200 bytes
of text around each. Writes rounds.json and prints the tables.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from guardrail.engine.certifier import Certifier
from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.engine.prepared_request import draw_attempt, prepare_request
from guardrail.engine.preprocessing import settle
from guardrail.images.codec import decode_image
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy, image_limits
from guardrail.policy.load import load_policy
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.encoding import Encoding

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules
    from guardrail.policy.schema import Policy

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "guardrail" / "demo" / "pictures"
DECISIONS = 2000
TEXT_BYTES = 200
SETTINGS = ((4.0, 32), (30.0, 1024), (300.0, 1024))
RATES = (1.0, 0.98, 0.9, 0.0)


def play(rules: Rules, rate: float) -> dict:
    """Mean calls and rounds of a decision, and the rounds that 99 of 100 stay below."""
    plan, chance = plan_for(rules, UNSCALED), random.Random(f"{rate}")
    calls, rounds = [], []
    for _ in range(DECISIONS):
        certifier = Certifier(plan)
        sent = waves = 0
        while certifier.decision is None:
            wave = certifier.launch(rules.max_parallel)
            sent, waves = sent + len(wave), waves + 1
            for index in wave:
                harmless = chance.random() < rate
                if certifier.decision is None:
                    certifier.record(index, Outcome.HARMLESS if harmless else Outcome.HARMFUL)
        calls.append(sent)
        rounds.append(waves)
    return {
        "harmless": rate,
        "calls": round(mean(calls), 1),
        "rounds": round(mean(rounds), 2),
        "rounds_of_99_in_100": sorted(rounds)[int(0.99 * DECISIONS)],
    }


def measure_rounds(rules: Rules) -> list[dict]:
    found = []
    for weight, parallel in SETTINGS:
        changed = dataclasses.replace(rules, latency_weight=weight, max_parallel=parallel)
        found += [
            {"latency_weight": weight, "max_parallel": parallel, **play(changed, rate)}
            for rate in RATES
        ]
    return found


def measure_bytes(policy: Policy, rules: Rules) -> dict[str, int]:
    """Mean bytes of a request by the encoding of its variant."""
    preprocessing = settle(rules, None, "unknown")
    key, files = NoiseKey(bytes(32)), sorted(PICTURES.glob("*.png"))[:6]
    formats = {"png": ("png", 95), "jpeg q95": ("jpeg", 95), "jpeg q80": ("jpeg", 80)}
    sizes: dict[str, list[int]] = {name: [] for name in formats}
    for file in files:
        data = file.read_bytes()
        pictures = (
            decode_image(data, declared_media_type=None, limits=image_limits(policy), param=""),
        )
        chat = picture_chat("unknown", "What?", {})
        request = prepare_request(preprocessing, chat, pictures, draw_attempt())
        noisy = request.make_variant(0, rules, key)
        for name, (image_format, quality) in formats.items():
            (encoded,) = asyncio.run(Encoding(image_format, quality).in_base64(noisy))
            sizes[name].append(len(encoded) + TEXT_BYTES)
    return {name: round(mean(values)) for name, values in sizes.items()}


def main() -> None:
    policy = load_policy("default")
    rules = compile_policy(policy)
    found = {"rounds": measure_rounds(rules), "bytes_a_call": measure_bytes(policy, rules)}
    (HERE / "rounds.json").write_text(json.dumps(found, indent=1) + "\n")
    for row in found["rounds"]:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    for name, size in found["bytes_a_call"].items():
        print(f"{name}: {size:,} bytes a call, {200_000_000 // size:,} calls in 200 MB")


if __name__ == "__main__":
    main()
