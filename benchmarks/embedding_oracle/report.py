"""Measures the shipped heads on the held-out fold: `python benchmarks/embedding_oracle/report.py`.

Writes `report.json` and `CARD.md` beside the heads. Nothing here feeds back into training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from across_sources import left_out
from features import CACHE, RESPONSES, Features, category, features
from sklearn.metrics import roc_auc_score

from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.embedding import EMBEDDING_HEADS, EmbeddingScorer
from guardrail.stats.binomial import harmless_rate_upper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "builtin_oracle"))

from by_request import by_request, largest_by_group, requests_cell
from captions import captions
from data import FOLDS, TEST_FOLD, Text, load
from prose import paragraphs

ALPHA = 0.05
DELTAS = (0.05, 0.01, 0.001)
RESAMPLES = 1000
THRESHOLD = 0.5  # of the combined score
CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SOURCES = (*RESPONSES, "davidson", "hatecheck", "short")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=Path, default=EMBEDDING_HEADS)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument(
        "--bounds-only",
        action="store_true",
        help="measure the bounds by request again (a few minutes), and keep all else",
    )
    options = parser.parse_args()
    folder, scorer = options.heads.parent, EmbeddingScorer(options.heads)
    if options.bounds_only:
        report = json.loads((folder / "report.json").read_text())
        held_out = [text for text in load() if text.is_test and text.source in RESPONSES]
    else:
        found = features(cache=options.cache)
        report = measured(scorer, found)
        held_out = [t for t in found.texts if t.fold == TEST_FOLD and t.source in RESPONSES]
    add_requests(report, scorer, held_out)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "CARD.md").write_text(card(report))
    print(card(report))


def measured(scorer: EmbeddingScorer, found: Features) -> dict:
    held_out = [text for text in found.texts if text.fold == TEST_FOLD and text.source in SOURCES]
    fresh = {
        "captions": captions(2000, seed=99, share=(0.8, 1.0)),
        "prose": paragraphs(500, seed=98, share=(0.8, 1.0)),
    }
    made_up = [Text(s, "", "", text, False, text) for s, texts in fresh.items() for text in texts]
    probabilities = scorer.probabilities([text.text for text in held_out])
    heads, _ = scorer.load()
    texts = [*held_out, *made_up]
    scores = scores_of(scorer, texts)
    sources = {
        source: quality([t for t in texts if t.source == source], scores_at(texts, scores, source))
        for source in (*SOURCES, *fresh)
    }
    return {
        "heads": scorer.revision,
        "thresholds": dict(heads.thresholds),
        "alpha": ALPHA,
        "bounds": "one-sided Clopper-Pearson, each at alpha",
        "intervals": f"2.5 % to 97.5 % of {RESAMPLES} resamples of whole groups",
        "held_out": f"fold {TEST_FOLD} of {FOLDS}: whole prompts, templates and near-duplicates",
        "milliseconds_per_answer": round(milliseconds(scorer, held_out), 1),
        "sources": sources,
        "builtin_oracle": builtin_areas(held_out),
        "left_out": across(found),
        "heads_alone": by_head(held_out, probabilities, heads.names),
    }


def scores_of(scorer: EmbeddingScorer, texts: list[Text]) -> np.ndarray:
    return np.array(scorer.scores([Exchange("", text.text) for text in texts]))


def scores_at(texts: list[Text], scores: np.ndarray, source: str) -> np.ndarray:
    return scores[[text.source == source for text in texts]]


def quality(texts: list[Text], scores: np.ndarray) -> dict:
    """ROC-AUC, recall at 1 % false alarms, and both error rates at the threshold with bounds."""
    harmful = np.array([text.harmful for text in texts])
    high, low = scores[harmful], scores[~harmful]
    alarms = int((low >= THRESHOLD).sum())
    found = {
        "n_harmful": len(high),
        "n_harmless": len(low),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(low),
        "false_alarm_rate_upper": harmless_rate_upper(alarms, len(low), ALPHA),
    }
    if not len(high):
        return found
    misses = int((high < THRESHOLD).sum())
    return found | {
        **area(texts, scores, harmful),
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


def area(texts: list[Text], scores: np.ndarray, harmful: np.ndarray) -> dict:
    """ROC-AUC with an interval; prompts and templates are drawn again, not single texts."""
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(text.group, []).append(place)
    members = [np.array(places) for places in groups.values()]
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        if 0 < harmful[drawn].sum() < len(drawn):
            areas.append(roc_auc_score(harmful[drawn], scores[drawn]))
    low, high = np.quantile(areas, [0.025, 0.975])
    return {
        "roc_auc": float(roc_auc_score(harmful, scores)),
        "roc_auc_interval": [float(low), float(high)],
    }


def add_requests(report: dict, scorer: EmbeddingScorer, held_out: list[Text]) -> None:
    """Adds the misses among one answer of every request to the report."""
    for source in RESPONSES:
        texts = [text for text in held_out if text.source == source]
        found = by_request(texts, scores_of(scorer, texts), THRESHOLD, DELTAS)
        report["sources"][source]["by_request"] = found
    report["miss_rate_upper"] = [worst_bound(report["sources"], delta) for delta in DELTAS]


def worst_bound(sources: dict[str, dict], delta: float) -> dict:
    """The largest bound over the sources of model answers, each wrong by delta at most."""
    bounds = {name: sources[name]["by_request"]["bounds"][str(delta)] for name in RESPONSES}
    worst = max(bounds, key=lambda name: bounds[name])
    return {"delta": delta, "bound": bounds[worst], "source": worst}


def builtin_areas(texts: list[Text]) -> dict[str, float]:
    """The built-in oracle on the same texts, which it has not seen either."""
    scorer = BuiltinScorer()
    found = {}
    for source in SOURCES:
        chosen = [text for text in texts if text.source == source]
        scores = scorer.scores([Exchange("", text.text) for text in chosen])
        found[source] = float(roc_auc_score([text.harmful for text in chosen], scores))
    return found


def across(found: Features) -> dict[str, dict]:
    """On each source of answers, a head that was trained on all the others."""
    result = {}
    for source, worst in left_out(found).items():
        texts = [text for text in found.texts if text.source == source]
        harmful = np.array([text.harmful for text in texts])
        low, high = worst[~harmful], worst[harmful]
        recall = float((high > np.quantile(low, 0.99)).mean())
        result[source] = area(texts, worst, harmful) | {"recall_at_1_percent": recall}
    return result


def by_head(texts: list[Text], probabilities: np.ndarray, names: tuple[str, ...]) -> dict:
    """Each category's own harm against everything harmless."""
    kinds = np.array([category(text) or "" for text in texts])
    harmful = np.array([text.harmful for text in texts])
    found = {}
    for column, name in enumerate(names):
        own = harmful & ((kinds == name) | (name == "harm"))
        chosen = own | ~harmful
        found[name] = {
            "n_harmful": int(own.sum()),
            "roc_auc": float(roc_auc_score(own[chosen], probabilities[chosen, column])),
        }
    return found


def milliseconds(scorer: EmbeddingScorer, texts: list[Text]) -> float:
    """Wall clock, in batches of 32, as the oracle's thread works."""
    exchanges = [Exchange("", text.text) for text in texts if text.source == "gptfuzz"][:320]
    started = time.perf_counter()
    for start in range(0, len(exchanges), 32):
        scorer.scores(exchanges[start : start + 32])
    return 1e3 * (time.perf_counter() - started) / len(exchanges)


def card(report: dict) -> str:
    template = (Path(__file__).parent / "card_template.md").read_text()
    return template.format(
        heads=report["heads"],
        alpha=report["alpha"],
        thresholds=", ".join(f"`{k}` {v:.2f}" for k, v in report["thresholds"].items()),
        table=table(report),
        across=across_table(report["left_out"]),
        curves=curves(report["sources"]),
        alone=alone_table(report["heads_alone"]),
        bounds=", ".join(
            f"**{row['bound']:.3f}** at δ = {row['delta']} ({row['source']})"
            for row in report["miss_rate_upper"]
        ),
        by_group=largest_by_group(report["sources"], RESPONSES, DELTAS),
        milliseconds=report["milliseconds_per_answer"],
    )


def table(report: dict) -> str:
    heading = (
        "source",
        "harmful",
        "harmless",
        "ROC-AUC (95 %)",
        "built-in",
        "recall at 1 %",
        "missed (≤)",
        "by request (≤)",
        "false alarms (≤)",
    )
    lines = [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
    for name, row in report["sources"].items():
        cells = [name, str(row["n_harmful"]), str(row["n_harmless"]), *["–"] * 5]
        if row["n_harmful"]:
            cells[3:] = [
                _interval(row),
                f"{report['builtin_oracle'][name]:.3f}",
                f"{row['recall_at_1_percent']:.2f}",
                f"{row['miss_rate']:.3f} ({row['miss_rate_upper']:.3f})",
                requests_cell(row, ALPHA),
            ]
        cells.append(f"{row['false_alarm_rate']:.3f} ({row['false_alarm_rate_upper']:.3f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def across_table(rows: dict[str, dict]) -> str:
    lines = ["| left out | ROC-AUC (95 %) | recall at 1 % |", "|---|---|---|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {_interval(row)} | {row['recall_at_1_percent']:.2f} |")
    return "\n".join(lines)


def alone_table(rows: dict[str, dict]) -> str:
    lines = ["| category | held-out harmful texts | ROC-AUC |", "|---|---|---|"]
    lines += [f"| `{k}` | {row['n_harmful']} | {row['roc_auc']:.3f} |" for k, row in rows.items()]
    return "\n".join(lines)


def curves(sources: dict[str, dict]) -> str:
    """Miss rate / false-alarm rate of every source at several thresholds."""
    names = [name for name, row in sources.items() if "curve" in row]
    lines = [f"| threshold | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for place, at in enumerate(CURVE):
        points = [sources[name]["curve"][place] for name in names]
        cells = [f"{p['miss_rate']:.2f} / {p['false_alarm_rate']:.2f}" for p in points]
        lines.append(f"| {at} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(row: dict) -> str:
    low, high = row["roc_auc_interval"]
    return f"{row['roc_auc']:.3f} ({low:.3f}–{high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
