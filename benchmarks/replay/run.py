"""How long a replay takes: reading records once, then another policy's decisions about all of them.

Records of the shipped default policy are made: certificates and tests are real, outcomes and scores
are drawn. They are written to a file of lines, which `guardrail policy replay` then reads. Timed
are reading, the policy that made them, another threshold (no new test), another radius whose test
is computed for the first time, and the same again.

Run from the repository root:  python benchmarks/replay/run.py [--records 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import platform
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.assembly import read_policy
from guardrail.engine.certifier import Certifier
from guardrail.engine.engine import Engine
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.documents import open_documents
from guardrail.records.recorder import build_record
from guardrail.replay.loading import load_decisions
from guardrail.replay.replay import replay_policy
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Scripted

if TYPE_CHECKING:
    from guardrail.replay.decisions import RecordedDecisions

HERE = Path(__file__).parent
SIZES = ((96, 96), (224, 224), (300, 400), (480, 640), (768, 1024))
RATES = (0.995, 0.98, 0.9, 0.6, 0.1)
SHARES = (0.8, 0.1, 0.04, 0.03, 0.03)
THRESHOLD = 0.5
SEED = 7
DIFFERENT = 2_000
"""Further records repeat these under other names, each a request of its own."""


class Harmless:
    """Every answer is harmless; its verdicts are a cut of a score at the threshold."""

    revision = "harmless"
    cuts_scores = True
    threshold = THRESHOLD

    async def judge(self, exchanges: Any) -> list[Judgement]:
        return [Judgement(Outcome.HARMLESS, 0.0)] * len(exchanges)

    async def aclose(self) -> None:
        pass


async def make_patterns(policy: Policy) -> list[dict[str, Any]]:
    """One real record for each size of picture."""
    rules = compile_policy(policy)
    found = []
    for height, width in SIZES:
        pixels = np.zeros((height, width, 3), np.uint8)
        data = encode_image(pixels, "png")
        picture = decode_image(data, declared_media_type=None, limits=ImageLimits(), param="p")
        engine = Engine(rules, Scripted(["A cat."]), Harmless(), NoiseKey(bytes(32)))
        chat = picture_chat("model", "What is this?")
        verdict = await engine.decide(chat, [picture])
        found.append(build_record(verdict, chat, engine).to_dict())
    return found


def make_record(number: int, pattern: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A record with drawn outcomes, decided by the plan of its certificate."""
    record = {**pattern, "certificate": dict(pattern["certificate"])}
    rate = float(rng.choice(RATES, p=SHARES))
    plan = PLANS[record["certificate"]["plan_digest"]]
    certifier, samples = Certifier(plan), []
    sample = pattern["samples"][0]
    while certifier.decision is None:
        for index in certifier.launch(32):
            harmful = bool(rng.random() >= rate)
            score = float(rng.uniform(0.5, 1.0) if harmful else rng.beta(1.0, 6.0) * 0.5)
            outcome = Outcome.HARMFUL if harmful else Outcome.HARMLESS
            samples.append({**sample, "index": index, "outcome": outcome.value, "score": score,
                            "reason": "builtin: violence" if harmful else "",
                            "field": "content"})  # fmt: skip
            certifier.record(index, outcome)
    passed = certifier.decision.value == "pass"
    harm = {"block": "harmful", "uncertain": "uncertain"}
    record.update(
        record_id=f"{number:032x}", request_digest=f"{number:064x}", attempt=f"{number:032x}",
        samples=samples, action="pass" if passed else "block",
        reason="certified" if passed else harm[certifier.decision.value], calls=len(samples),
        cost_usd=0.0001 * len(samples),
    )  # fmt: skip
    record["certificate"].update(
        decision=certifier.decision.value,
        counts=[[count.samples, count.harmful] for count in certifier.counts],
    )
    return record


PLANS: dict[str, Any] = {}


def write_records(file: Path, count: int, policy: Policy) -> None:
    patterns = asyncio.run(make_patterns(policy))
    from guardrail.engine.certificate.codec import decode_certificate

    for pattern in patterns:
        certificate = decode_certificate(copy.deepcopy(pattern["certificate"]))
        PLANS[certificate.plan_digest] = certificate.plan()
    rng = np.random.default_rng(SEED)
    with file.open("w") as stream:
        for number in range(min(count, DIFFERENT)):
            record = make_record(number, patterns[number % len(patterns)], rng)
            line = json.dumps(record) + "\n"
            # The name stands in the ids of record, request and attempt.
            for other in range(number, count, DIFFERENT):
                stream.write(line.replace(f"{number:032x}", f"{other:032x}"))


def change(policy: Policy, **fields: Any) -> Policy:
    content = policy.model_dump(mode="json", by_alias=True)
    for place, value in fields.items():
        section, _, name = place.partition("__")
        content[section][name] = value
    return Policy.model_validate({**content, "name": "other"})


def timed(work: Any) -> tuple[float, float, Any]:
    """Seconds by the clock and of the processor, and what came of it."""
    started, used = time.perf_counter(), time.process_time()
    found = work()
    return (
        round(time.perf_counter() - started, 3),
        round(time.process_time() - used, 3),
        found,
    )


def measure(decisions: RecordedDecisions, policy: Policy) -> dict[str, Any]:
    threshold = change(policy, oracle__threshold=0.35)
    radius = change(policy, smoothing__radius=0.3)
    # Processes that decide have computed the plan that is in force; a replay alone has not.
    compile_policy(policy)
    compile_policy(threshold)
    facts: dict[str, Any] = {"records": len(decisions), "draws": len(decisions.outcome)}
    for name, other in (("same_policy", policy), ("threshold", threshold),
                        ("radius_first_time", radius), ("radius_again", radius)):  # fmt: skip
        seconds, used, found = timed(lambda other=other: replay_policy(decisions, other))
        facts[f"{name}_s"], facts[f"{name}_cpu_s"] = seconds, used
        facts[f"{name}_known"] = round(float(found.known.mean()), 4)
        facts[f"{name}_changed"] = int(found.changed.sum())
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    policy = read_policy("default")
    results: dict[str, Any] = {
        "machine": platform.machine(), "cores_used": 1,
        "load_at_start": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        file = Path(folder) / "records.jsonl"
        write_records(file, arguments.records, policy)
        results["record_bytes"] = file.stat().st_size // arguments.records
        with open_documents(str(file)) as documents:
            results["read_s"], results["read_cpu_s"], decisions = timed(
                lambda: load_decisions(documents)
            )
        results["all"] = measure(decisions, policy)
        with open_documents(str(file)) as documents:
            part = load_decisions(islice(documents, 20_000))
            results["page_of_20000"] = measure(part, policy)
    results["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
