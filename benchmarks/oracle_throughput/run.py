"""Texts and tokens judged a second by Detoxify and by the detoxify oracle, on the same texts.

    python benchmarks/oracle_throughput/run.py [--threads 1] [--rounds 2] [--texts 16]

Needs the extra `detoxify`. Models have the published architectures and random weights: speed
depends on the architecture, not on what was learned. The oracle is measured whole, behind its
worker, with one caller for each text; Detoxify is called with one text at a time, and with
8 at a time in the order in which they come. Within a round all take turns, so that whatever else
the machine does meets all of them; each one's best round counts. What counts is processor time
with one thread, the default, and wall time with more. Writes results.json and table.md beside
this file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from models import CLASSES, detoxify, write
from texts import answers

from guardrail.oracles.base import Exchange
from guardrail.oracles.classifier.detoxify import HARM_CATEGORIES, DetoxifyScorer
from guardrail.oracles.classifier.precision import PRECISIONS
from guardrail.oracles.worker import ThreadedOracle

RESULTS = Path(__file__).with_name("results.json")
ROWS = {
    "usual": "as long as real answers",
    "repeated": "the same, each four times",
    "past_512": "longer than 512 tokens",
}
JUDGES = ("detoxify_single", "detoxify_naive", *PRECISIONS)
FAST = ("avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
TIMES = 4  # a decoder that is nearly greedy says the same to most noisy variants
AT_ONCE = 32
NAIVE = 8  # larger batches in the order of arrival are mostly padding
DEADLINE_S = 3600.0

Arm = Callable[[Sequence[str]], list[float]]


def single(model: Any) -> Arm:
    return lambda texts: [_worst(model.predict(text)) for text in texts]


def naive(model: Any) -> Arm:
    """In lists of two or more: for a list of one Detoxify returns bare numbers."""

    def judge(texts: Sequence[str]) -> list[float]:
        found: list[float] = []
        for start in range(0, len(texts), NAIVE):
            rows = model.predict(list(texts[start : start + NAIVE]))
            columns = zip(*(rows[name] for name in HARM_CATEGORIES if name in rows), strict=True)
            found += [max(column) for column in columns]
        return found

    return judge


def _worst(row: dict[str, float]) -> float:
    return max(value for name, value in row.items() if name in HARM_CATEGORIES)


def ours(scorer: DetoxifyScorer) -> Arm:
    async def judge(texts: Sequence[str]) -> list[float]:
        oracle = ThreadedOracle(scorer, threshold=0.5, max_batch=AT_ONCE, deadline_s=DEADLINE_S)
        try:
            calls = [oracle.judge([Exchange("", text)]) for text in texts]
            return [judgement.score for (judgement,) in await asyncio.gather(*calls)]
        finally:
            await oracle.aclose()

    return lambda texts: asyncio.run(judge(texts))


def arms(
    model_type: str, folder: Path, wanted: Sequence[str] = JUDGES
) -> tuple[dict[str, Arm], dict[str, Any]]:
    """Everyone who judges with that model, and how the precisions agree on the probe texts."""
    path = write(model_type, folder)
    theirs = detoxify(model_type, folder)
    found = {"detoxify_single": single(theirs), "detoxify_naive": naive(theirs)}
    found = {name: arm for name, arm in found.items() if name in wanted}
    agreement = {}
    for precision in (name for name in PRECISIONS if name in wanted):
        scorer = DetoxifyScorer(
            checkpoint=path, huggingface_config_path=folder, precision=precision
        )
        found[precision] = ours(scorer)
        if scorer.agreement is not None:
            agreement[precision] = {
                "probes": scorer.agreement.texts,
                "differing": scorer.agreement.differing,
                "largest_difference": round(scorer.agreement.largest, 4),
            }
    return found, agreement


def measured(judges: dict[str, Arm], texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Seconds of every judge in every round, and its scores."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in judges}
    scores = {name: judge(texts) for name, judge in judges.items()}  # warms up, too
    for _ in range(rounds):
        for name, judge in judges.items():
            start = clock()
            judge(texts)
            seconds[name].append(clock() - start)
    return {"seconds": seconds, "scores": scores}


def summary(found: dict[str, Any], texts: int, tokens: dict[str, int]) -> dict[str, Any]:
    seconds, scores = found["seconds"], found["scores"]
    base = seconds["detoxify_single"]
    return {
        name: {
            "texts_per_s": round(texts / min(times), 2),
            "tokens_per_s": round(tokens[name] / min(times)),
            "times_single_texts": _ratio(base, times),
            "times_single_tokens": round(
                _ratio(base, times) * tokens[name] / tokens["detoxify_single"], 2
            ),
            "seconds": [round(value, 3) for value in times],
            **_against(scores.get("float32", scores["detoxify_single"]), scores[name]),
        }
        for name, times in seconds.items()
    }


def _ratio(base: Sequence[float], times: Sequence[float]) -> float:
    return round(min(base) / min(times), 2)


def _against(exact: Sequence[float], scores: Sequence[float]) -> dict[str, Any]:
    pairs = list(zip(exact, scores, strict=True))
    return {
        "verdicts_unlike_float32": sum((a >= 0.5) != (b >= 0.5) for a, b in pairs),
        "largest_difference": round(max(abs(a - b) for a, b in pairs), 5),
    }


def lengths(model_type: str, folder: Path, texts: Sequence[str]) -> list[int]:
    name = f"{ {'original': 'Bert', 'unbiased': 'Roberta'}.get(model_type, 'Albert') }Tokenizer"
    tokenizer = getattr(transformers, name).from_pretrained(folder)
    return [len(tokenizer(text, verbose=False)["input_ids"]) for text in texts]


def chosen(row: str, options: argparse.Namespace) -> list[str]:
    match row:
        case "repeated":
            return answers(options.texts // TIMES, long=False) * TIMES
        case "past_512":
            return answers(options.long_texts, long=True)
        case _:
            return answers(options.texts, long=False)


def rows(model_type: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / model_type
        judges, agreement = arms(model_type, folder, options.judges)
        found: dict[str, Any] = {"rounds": options.rounds, "agreement_on_load": agreement}
        for row in options.rows:
            texts = chosen(row, options)
            count = len(texts)
            sizes = lengths(model_type, folder, texts)
            assert (min(sizes) > 512) if row == "past_512" else (max(sizes) <= 512), sizes
            whole, cut = sum(sizes), sum(min(size, 512) for size in sizes)
            tokens = {name: cut if name.startswith("detoxify") else whole for name in judges}
            print(model_type, row, f"{count} texts, {whole} tokens", flush=True)
            times = measured(judges, texts, options.rounds)
            found[row] = {
                "texts": count,
                "tokens": whole,
                "tokens_judged_by_detoxify": cut,
                "judges": summary(times, count, tokens),
            }
            print(json.dumps(found[row]["judges"], indent=1), flush=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--long-texts", type=int, default=2, help="2 or more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--models", nargs="*", default=list(CLASSES))
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--judges", nargs="*", choices=JUDGES, default=list(JUDGES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "instructions": [name for name in FAST if name in _flags()],
        "versions": {name: version(name) for name in ("torch", "transformers", "detoxify")},
        "models": {},
    }
    if options.out.is_file():  # models that are not measured now keep their rows
        results["models"] = json.loads(options.out.read_text("utf-8"))["models"]
    for name in options.models:
        results["models"][name] = rows(name, options)
        options.out.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        options.out.with_name("table.md").write_text(table(results["models"]), "utf-8")


def _flags() -> list[str]:
    return Path("/proc/cpuinfo").read_text("utf-8").split()


def table(models: dict[str, Any]) -> str:
    """Texts a second beside Detoxify's, one text at a time; then tokens, which it cuts off."""
    lines = ["| model | texts | who | texts/s | times single | times single, by tokens judged |"]
    lines += ["|---|---|---|---:|---:|---:|"]
    for model, found in models.items():
        for row, what in ((row, what) for row, what in ROWS.items() if row in found):
            lines += [
                f"| {model} | {what} | {name.replace('_', ', ')} | {judge['texts_per_s']:.2f} "
                f"| {judge['times_single_texts']:.2f} | {judge['times_single_tokens']:.2f} |"
                for name, judge in found[row]["judges"].items()
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
