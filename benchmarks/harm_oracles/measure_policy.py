"""The oracle of a policy on held-out answers, by source.

    python benchmarks/harm_oracles/measure_policy.py detoxify [--most 500]

The policy is a shipped one or a file. Prints a table; writes nothing. The answers are the test part
of the labelled sets (data.py). Errors differ by source, so nothing is pooled.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from typing import TYPE_CHECKING, Any

from data import DATA, Text, load

from guardrail.oracles.base import Exchange
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.stats import harmless_rate_upper
from guardrail.tuning.dataset import Dataset, LabelledAnswer
from guardrail.tuning.metrics import area, recalls
from guardrail.tuning.scores import KnownScores
from guardrail.tuning.scoring import SCORING_THRESHOLD, score_all
from guardrail.tuning.thresholds import LabelledSample, measure

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy

DELTA = 0.001
DEADLINE_S = 600.0  # loading a large model may take longer than an answer may wait in service
MOST = 500  # texts of one source, so that the whole takes minutes
SOURCES = ("gptfuzz", "jbb", "pyrit", "xstest", "davidson", "hatecheck", "assistant", "vlm")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("policy", help="a shipped policy, or a file")
    parser.add_argument("--most", type=int, default=MOST, help="texts of one source, at most")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"the labelled sets are not at {DATA}; see README.md")
        return 1
    policy = load_policy(options.policy)
    texts = load()
    sets = {source: dataset(source, draw(texts, source, options.most)) for source in SOURCES}
    print(table(asyncio.run(measure_policy(policy, sets))))
    return 0


def draw(texts: list[Text], source: str, most: int) -> list[Text]:
    """Held-out texts of a source, in an order that depends on the texts alone."""
    found = [text for text in texts if text.is_test and text.source == source]
    return sorted(found, key=lambda text: hashlib.sha256(text.text.encode()).digest())[:most]


async def measure_policy(policy: Policy, data: dict[str, Dataset]) -> list[dict[str, Any]]:
    """A row of numbers for each source. Raises ConfigError or OracleError."""
    # Scores do not depend on the threshold, and `score_all` wants them judged at its own.
    changes = {"threshold": SCORING_THRESHOLD, "deadline_s": DEADLINE_S}
    known = {name: changes[name] for name in changes if name in type(policy.oracle).model_fields}
    choice = policy.oracle.model_copy(update=known)
    oracle = compile_oracle(policy.model_copy(update={"oracle": choice}))
    threshold = float(getattr(policy.oracle, "threshold", SCORING_THRESHOLD))
    try:
        await oracle.judge([Exchange("", "A cat sleeps.")])  # loads the model, which is not timed
        return [await _row(policy.name, oracle, threshold, source, data[source]) for source in data]
    finally:
        await oracle.aclose()


async def _row(
    name: str, oracle: Any, threshold: float, source: str, data: Dataset
) -> dict[str, Any]:
    results = await score_all(data, oracle, KnownScores(None, "benchmark"))
    row = {
        "oracle": name,
        "source": source,
        "n_harmful": sum(result.row.harmful for result in results),
        "n_harmless": sum(not result.row.harmful for result in results),
        "ms_per_answer": sum(result.scored.ms for result in results) / len(results),
    }
    if not row["n_harmful"]:
        alarms = sum(result.scored.score >= threshold for result in results)
        upper = harmless_rate_upper(alarms, len(results), DELTA)
        return row | {
            "false_alarm_rate": alarms / len(results),
            "false_alarm_rate_upper": upper,
        }
    found = measure(LabelledSample(results), delta=DELTA, target=None, threshold=threshold)
    curve = area(results)
    at_one = [recall.recall for recall in recalls(results) if recall.false_alarm_rate == 0.01]
    return row | {
        "auc": None if curve is None else [curve.auc, curve.lower, curve.upper],
        "miss_rate": found.miss_rate,
        "miss_rate_upper": found.miss_rate_upper,
        "false_alarm_rate": found.false_alarm_rate,
        "false_alarm_rate_upper": found.false_alarm_rate_upper,
        "recall_at_1_percent": at_one[0] if at_one else None,
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
    misses = f"{_number(row.get('miss_rate'))} ({_number(row.get('miss_rate_upper'))})"
    return (
        f"| {row['oracle']} | {row['source']} | {row['n_harmful']} | {row['n_harmless']} "
        f"| {_auc(row.get('auc'))} | {misses} "
        f"| {_number(row['false_alarm_rate'])} ({row['false_alarm_rate_upper']:.3f}) "
        f"| {_number(row.get('recall_at_1_percent'))} | {row['ms_per_answer']:.2f} |\n"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _auc(found: list[float] | None) -> str:
    return "–" if found is None else f"{found[0]:.3f} ({found[1]:.3f}–{found[2]:.3f})"


if __name__ == "__main__":
    sys.exit(main())
