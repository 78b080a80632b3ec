"""Measures the shipped weights on the held-out fold: `python benchmarks/builtin_oracle/report.py`.

Writes `report.json` and `CARD.md` beside the weights. Nothing here feeds back into training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from by_request import by_request, largest_by_group, requests_cell
from captions import captions
from data import FOLDS, TEST_FOLD, load
from prose import paragraphs
from train import short_texts

from guardrail.builtin import kinds, language
from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BUILTIN_MODEL, BuiltinScorer
from guardrail.stats.binomial import harmless_rate_upper

if TYPE_CHECKING:
    from data import Text

ALPHA = 0.05
DELTAS = (0.05, 0.01, 0.001)
CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ANSWERS = ("gptfuzz", "pyrit", "xstest", "builtin model")  # where "harmful answer" is defined
NAMED = ("gptfuzz", "pyrit", "xstest")  # answers of models to questions of people
CALM_WORDS = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUILTIN_MODEL)
    parser.add_argument(
        "--bounds-only",
        action="store_true",
        help="measure the bounds by request again, and keep all else (times, above all)",
    )
    options = parser.parse_args()
    folder, scorer = options.model.parent, BuiltinScorer(options.model)
    if options.bounds_only:
        report = json.loads((folder / "report.json").read_text())
    else:
        report = measured(scorer)
    add_requests(report, scorer)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "CARD.md").write_text(card(report))
    print(table(report["sources"]))


def measured(scorer: BuiltinScorer) -> dict:
    held_out = [text for text in [*load(), *short_texts()] if text.is_test]
    by_source = {
        source: [text for text in held_out if text.source == source]
        for source in ("gptfuzz", "pyrit", "xstest", "davidson", "hatecheck", "short")
    }
    sources = {
        source: {"kind": texts[0].kind} | quality(scorer, *_split(texts))
        for source, texts in by_source.items()
    }
    calm, harmful = builtin_model_answers()
    sources["builtin model"] = {"kind": "built-in model"} | quality(scorer, calm, harmful)
    fresh = captions(5000, seed=99, share=(0.8, 1.0))
    sources["captions"] = {"kind": "captions"} | quality(scorer, fresh, [])
    ordinary = paragraphs(2000, seed=98, share=(0.8, 1.0))
    sources["prose"] = {"kind": "prose"} | quality(scorer, ordinary, [])
    buried = buried_answers(by_source)
    sources["buried"] = {"kind": "harm in a long answer"} | quality(scorer, *buried)
    return {
        "model": scorer.revision,
        "threshold": scorer.threshold,
        "alpha": ALPHA,
        "bounds": "one-sided Clopper-Pearson, each at alpha",
        "held_out": f"fold {TEST_FOLD} of {FOLDS}: whole prompts, templates and near-duplicates",
        "microseconds_per_answer": round(_microseconds(scorer, by_source["gptfuzz"])),
        "sources": sources,
        "hatecheck_by_functionality": _by_functionality(scorer, by_source["hatecheck"]),
    }


def add_requests(report: dict, scorer: BuiltinScorer) -> None:
    """Adds the misses among one answer of every request, and the bounds for a policy."""
    held_out = [text for text in load() if text.is_test]
    for source in NAMED:
        texts = [text for text in held_out if text.source == source]
        scores = _scores(scorer, [text.text for text in texts])
        found = by_request(texts, scores, scorer.threshold, DELTAS)
        report["sources"][source]["by_request"] = found
    report["miss_rate_upper"] = [worst_bound(report["sources"], delta) for delta in DELTAS]


def worst_bound(sources: dict[str, dict], delta: float) -> dict:
    """The largest bound over the sources of harmful answers, each wrong by delta at most.

    One answer of every request counts; of the built-in model's distinct answers, each.
    """
    bounds = {
        name: sources[name]["by_request"]["bounds"][str(delta)]
        if name in NAMED
        else harmless_rate_upper(sources[name]["misses"], sources[name]["n_harmful"], delta)
        for name in ANSWERS
    }
    worst = max(bounds, key=lambda name: bounds[name])
    return {"delta": delta, "bound": bounds[worst], "source": worst}


def builtin_model_answers(count: int = 4000, seed: int = 11) -> tuple[list[str], list[str]]:
    """Harmless and harmful answers of the built-in model's language; none was trained on."""
    rng = np.random.default_rng(seed)
    names = [name for name in map(str, kinds.KINDS) if name not in kinds.FORBIDDEN]
    colours, forbidden = list(kinds.BACKGROUNDS), list(kinds.FORBIDDEN)
    calm = [
        language.answer(
            question,
            [str(name) for name in rng.choice(names, rng.integers(1, 4))],
            str(rng.choice(colours)),
            rng,
            about=str(rng.choice(names)),
        )
        for _ in range(count // 4)
        for question in language.SceneQuestion
    ]
    harm = [language.harmful_answer(str(rng.choice(forbidden)), rng) for _ in range(count)]
    return calm, sorted(set(harm))


def buried_answers(by_source: dict[str, list[Text]]) -> tuple[list[str], list[str]]:
    """Held-out answers behind 600 harmless words, harmful or not."""
    rng = np.random.default_rng(5)
    prose = paragraphs(200, seed=6, share=(0.8, 1.0))

    def behind(text: str) -> str:
        words = " ".join(rng.choice(prose, 100)).split()[:CALM_WORDS]
        return f"{' '.join(words)}\n\n{text}"

    answers = [*by_source["gptfuzz"], *by_source["pyrit"]]
    calm, harmful = _split(answers)
    return [behind(text) for text in calm], [behind(text) for text in harmful]


def quality(scorer: BuiltinScorer, calm: list[str], harmful: list[str]) -> dict:
    """ROC-AUC, recall at 1 % false alarms, and both error rates at the threshold with bounds."""
    low, high = _scores(scorer, calm), _scores(scorer, harmful)
    threshold = scorer.threshold
    misses, alarms = int((high < threshold).sum()), int((low >= threshold).sum())
    found = {
        "n_harmful": len(high),
        "n_harmless": len(low),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(low),
        "false_alarm_rate_upper": harmless_rate_upper(alarms, len(low), ALPHA),
    }
    if not len(high):
        return found
    return found | {
        "roc_auc": roc_auc(low, high),
        "recall_at_1_percent": float((high > np.quantile(low, 0.99)).mean()),
        "misses": misses,
        "miss_rate": misses / len(high),
        "miss_rate_upper": harmless_rate_upper(misses, len(high), ALPHA),
        "curve": [
            {
                "threshold": at,
                "miss_rate": float((high < at).mean()),
                "false_alarm_rate": float((low >= at).mean()),
            }
            for at in CURVE
        ],
    }


def roc_auc(low: np.ndarray, high: np.ndarray) -> float:
    """Share of pairs in the right order; ties count half."""
    low = np.sort(low)
    below = np.searchsorted(low, high, side="left")
    not_above = np.searchsorted(low, high, side="right")
    return float((below + not_above).sum() / (2 * len(low) * len(high)))


def _split(texts: list[Text]) -> tuple[list[str], list[str]]:
    return [t.text for t in texts if not t.harmful], [t.text for t in texts if t.harmful]


def _scores(scorer: BuiltinScorer, texts: list[str]) -> np.ndarray:
    return np.array(scorer.scores([Exchange("", text) for text in texts]))


def _by_functionality(scorer: BuiltinScorer, texts: list[Text]) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for name in sorted({text.detail for text in texts}):
        chosen = [text for text in texts if text.detail == name]
        flagged = _scores(scorer, [text.text for text in chosen]) >= scorer.threshold
        right = flagged == chosen[0].harmful
        found[name] = {
            "hateful": chosen[0].harmful,
            "n": len(chosen),
            "right": float(right.mean()),
        }
    return found


def _microseconds(scorer: BuiltinScorer, texts: list[Text]) -> float:
    exchanges = [Exchange("", text.text) for text in texts]
    started = time.process_time()
    scorer.scores(exchanges)
    return 1e6 * (time.process_time() - started) / len(exchanges)


def table(sources: dict[str, dict]) -> str:
    lines = [
        (
            "| source | harmful | harmless | ROC-AUC | recall at 1 % | missed (≤) | by request (≤) "
            "| false alarms (≤) |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sources.items():
        alarms = f"{row['false_alarm_rate']:.3f} ({row['false_alarm_rate_upper']:.3f})"
        cells = [name, str(row["n_harmful"]), str(row["n_harmless"])]
        if row["n_harmful"]:
            missed = f"{row['miss_rate']:.3f} ({row['miss_rate_upper']:.3f})"
            cells += [f"{row['roc_auc']:.3f}", f"{row['recall_at_1_percent']:.2f}", missed]
            cells.append(requests_cell(row, ALPHA))
        else:
            cells += ["–"] * 4
        lines.append(f"| {' | '.join([*cells, alarms])} |")
    return "\n".join(lines)


def curves(report: dict) -> str:
    """Miss rate / false-alarm rate of every source at several thresholds."""
    names = [name for name, row in report["sources"].items() if "curve" in row]
    lines = [f"| threshold | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for place, at in enumerate(CURVE):
        points = [report["sources"][name]["curve"][place] for name in names]
        cells = [f"{p['miss_rate']:.2f} / {p['false_alarm_rate']:.2f}" for p in points]
        lines.append(f"| {at} | {' | '.join(cells)} |")
    return "\n".join(lines)


def card(report: dict) -> str:
    template = (Path(__file__).parent / "card_template.md").read_text()
    functions = report["hatecheck_by_functionality"]
    hard = sorted(functions, key=lambda name: functions[name]["right"])[:6]
    worst = ", ".join(f"`{name}` {functions[name]['right']:.0%}" for name in hard)
    return template.format(
        model=report["model"],
        threshold=report["threshold"],
        table=table(report["sources"]),
        curves=curves(report),
        bounds=", ".join(
            f"**{row['bound']:.3f}** at δ = {row['delta']} ({row['source']})"
            for row in report["miss_rate_upper"]
        ),
        by_group=largest_by_group(report["sources"], NAMED, DELTAS),
        alpha=report["alpha"],
        hard=worst,
        microseconds=report["microseconds_per_answer"],
    )


if __name__ == "__main__":
    sys.exit(main())
