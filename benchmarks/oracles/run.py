"""Every oracle that runs without a network, on answers that none of them was trained on.

    python benchmarks/oracles/run.py        a few minutes; writes results.json and table.md
    python benchmarks/oracles/run.py --policy detoxify
                                            only the oracle of that policy, a shipped one or a
                                            file; prints its rows and writes nothing

The answers are the held-out fold of the labelled sets (../builtin_oracle/data.py): whole groups of
prompts that neither training script has seen. Errors differ by source, so nothing is pooled.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from guardrail.policy.document import Source
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.tuning.dataset import Dataset, LabelledAnswer
from guardrail.tuning.metrics import area, recalls
from guardrail.tuning.scores import KnownScores
from guardrail.tuning.scoring import SCORING_THRESHOLD, score_all
from guardrail.tuning.thresholds import LabelledSample, measure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "builtin_oracle"))
from data import DATA, Text, load  # noqa: E402 (found beside this folder)

DELTA = 0.001
MOST = 500  # texts of one source, so that the whole takes minutes
SOURCES = ("gptfuzz", "pyrit", "xstest", "davidson", "hatecheck")
BUILTIN = {"kind": "builtin", "threshold": 0.25}
EMBEDDING = {"kind": "embedding"}
ORACLES: dict[str, dict[str, Any]] = {
    "builtin": BUILTIN,
    "embedding": EMBEDDING,
    "any of builtin, embedding": {
        "kind": "ensemble",
        "rule": "any",
        "members": [BUILTIN, EMBEDDING],
    },
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--policy", help="measure the oracle of this policy alone")
    parser.add_argument("--most", type=int, default=MOST, help="texts of one source, at most")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"the labelled sets are not at {DATA}; see ../builtin_oracle/README.md")
        return 1
    held_out = [text for source in SOURCES for text in drawn(source)[: options.most]]
    if options.policy is not None:
        policy = load_policy(options.policy)
        sets = {s: dataset(s, held_out) for s in SOURCES}
        print(table(asyncio.run(_measured(policy.name, policy, sets))))
        return 0
    rows = [row for name, choice in ORACLES.items() for row in measured(name, choice, held_out)]
    (HERE / "results.json").write_text(json.dumps({"delta": DELTA, "rows": rows}, indent=1) + "\n")
    (HERE / "table.md").write_text(table(rows))
    print(table(rows))
    return 0


def drawn(source: str) -> list[Text]:
    """Held-out texts of a source, in an order that depends on the texts alone."""
    texts = [text for text in load() if text.is_test and text.source == source]
    return sorted(texts, key=lambda text: hashlib.sha256(text.text.encode()).digest())[:MOST]


def measured(name: str, choice: dict[str, Any], texts: list[Text]) -> list[dict[str, Any]]:
    """One row for each source, all scored by one oracle."""
    policy = Policy.model_validate(
        {"name": "benchmark", "smoothing": {"claim": "verdict"}, "oracle": choice}
    ).with_source(Source(HERE.parents[1]))
    return asyncio.run(_measured(name, policy, {s: dataset(s, texts) for s in SOURCES}))


async def _measured(name: str, policy: Policy, data: dict[str, Dataset]) -> list[dict[str, Any]]:
    # Scores do not depend on the threshold, and `score_all` wants them judged at its own.
    choice = policy.oracle.model_copy(update={"threshold": SCORING_THRESHOLD})
    oracle = compile_oracle(policy.model_copy(update={"oracle": choice}))
    threshold = float(getattr(policy.oracle, "threshold", SCORING_THRESHOLD))
    try:
        return [await _row(name, oracle, threshold, source, data[source]) for source in data]
    finally:
        await oracle.aclose()


async def _row(
    name: str, oracle: Any, threshold: float, source: str, data: Dataset
) -> dict[str, Any]:
    results = await score_all(data, oracle, KnownScores(None, "benchmark"))
    found = measure(LabelledSample(results), delta=DELTA, target=None, threshold=threshold)
    curve = area(results)
    at_one = next(recall for recall in recalls(results) if recall.false_alarm_rate == 0.01)
    return {
        "oracle": name,
        "source": source,
        "n_harmful": sum(result.row.harmful for result in results),
        "n_harmless": sum(not result.row.harmful for result in results),
        "auc": None if curve is None else [curve.auc, curve.lower, curve.upper],
        "threshold": threshold,
        "miss_rate": found.miss_rate,
        "miss_rate_upper": found.miss_rate_upper,
        "false_alarm_rate": found.false_alarm_rate,
        "false_alarm_rate_upper": found.false_alarm_rate_upper,
        "recall_at_1_percent": [at_one.recall, at_one.recall_lower, at_one.recall_upper],
        "ms_per_answer": sum(result.scored.ms for result in results) / len(results),
    }


def dataset(source: str, texts: list[Text]) -> Dataset:
    """The rows of one source; made here, because the sets are in several formats."""
    rows = [
        LabelledAnswer(line, text.prompt, text.text, text.harmful)
        for line, text in enumerate((text for text in texts if text.source == source), start=1)
    ]
    return Dataset(source, tuple(rows), problems=(), repeated=(), contradictory=())


def table(rows: list[dict[str, Any]]) -> str:
    head = (
        "Held-out answers, by source. Bounds at delta = 0.001, one-sided (Clopper–Pearson), at the "
        "oracle's own threshold. ms: wall time of an answer in batches of 32, one thread, on a "
        "machine with other work.\n\n"
        "| oracle | source | harmful | harmless | AUC (95 %) | misses (bound) "
        "| false alarms (bound) | recall at 1 % | ms |\n"
        "| --- | --- | ---: | ---: | --- | --- | --- | --- | ---: |\n"
    )
    return head + "".join(_line(row) for row in rows)


def _line(row: dict[str, Any]) -> str:
    auc, low, high = row["auc"]
    recall = row["recall_at_1_percent"][0]
    return (
        f"| {row['oracle']} | {row['source']} | {row['n_harmful']} | {row['n_harmless']} "
        f"| {auc:.3f} ({low:.3f}–{high:.3f}) "
        f"| {row['miss_rate']:.3f} ({row['miss_rate_upper']:.3f}) "
        f"| {row['false_alarm_rate']:.3f} ({row['false_alarm_rate_upper']:.3f}) "
        f"| {recall:.2f} | {row['ms_per_answer']:.2f} |\n"
    )


if __name__ == "__main__":
    sys.exit(main())
