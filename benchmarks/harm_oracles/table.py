"""Writes the measured numbers as tables: table.md here, and a card beside each model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from guardrail.oracles.builtin import BUILTIN_MODEL
from guardrail.oracles.encoder.scorer import ENCODER_MODEL

HERE = Path(__file__).parent
TRAINING = (HERE / "card_training.md").read_text()
SPLIT = (HERE / "card_split.md").read_text()
NAMES = {"default": "default (both)", "encoder": "encoder", "builtin": "built-in"}


def write_tables(results: dict[str, Any]) -> None:
    (HERE / "table.md").write_text(_whole(results))
    for oracle, folder in (("builtin", BUILTIN_MODEL.parent), ("encoder", ENCODER_MODEL)):
        template = (HERE / f"card_{oracle}.md").read_text()
        measured = _one_oracle(results["oracles"][oracle], "###")
        speed = results["speed"]
        card = template.format(
            revision=results[oracle],
            training=TRAINING,
            split=SPLIT,
            measured=measured,
            milliseconds=f"{speed[f'{oracle}_ms']:.1f}",
            words=f"{speed['words']:.0f}",
            megabytes=f"{results['bytes'][oracle] / 1e6:.1f}",
        )
        (folder / "CARD.md").write_text(card)
        report = {"model": results[oracle], **results["oracles"][oracle]}
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")


def _whole(results: dict[str, Any]) -> str:
    speed, size = results["speed"], results["bytes"]
    parts = [
        "# The shipped oracles on held-out answers\n",
        (
            "Written by `benchmarks/harm_oracles/report.py` from results.json. Rates with "
            "two-sided 95 % Clopper-Pearson intervals, at the shipped operating point (score 0.5), "
            "which was chosen on other texts. Intervals take answers for independent, which those "
            "to one question are not.\n"
        ),
        (
            f"The default is the built-in oracle (`{results['builtin']}`), and where that scores "
            f"{results['certain']:g} or more, the encoder (`{results['encoder']}`). That limit "
            "was chosen on the validation part (`certain.py`).\n"
        ),
        "| | built-in | encoder | default |",
        "|---|---:|---:|---:|",
        (
            f"| processor time, ms for an ordinary answer ({speed['words']:.0f} words on average) "
            f"| {speed['builtin_ms']:.2f} | {speed['encoder_ms']:.1f} | {speed['default_ms']:.1f} |"
        ),
        f"| megabytes | {size['builtin'] / 1e6:.1f} | {size['encoder'] / 1e6:.1f} | both |",
        f"| ordinary answers shown to the encoder | | | {_percent(speed['doubtful_share'])} |",
        "| of a day's 10,000 ordinary answers, stopped | "
        + " | ".join(_day(results["oracles"][name]) for name in ("builtin", "encoder", "default"))
        + " |\n",
    ]
    for oracle, name in NAMES.items():
        parts.append(f"## {name}\n")
        parts.append(_one_oracle(results["oracles"][oracle], "###"))
    return "\n".join(parts)


def _day(found: dict[str, Any]) -> str:
    return f"{10_000 * found['sources']['assistant']['false_alarms']['rate']:.0f}"


def _one_oracle(found: dict[str, Any], level: str) -> str:
    return "\n".join(
        [
            f"{level} By source\n",
            _sources(found["sources"]),
            f"{level} By length\n",
            _lengths(found["lengths"]),
            f"{level} By request, default plan\n",
            (
                "Ordinary requests that are stopped. Each variant is answered by one of so many "
                "models, each as likely.\n"
            ),
            _requests(found["requests"]),
            f"{level} Misses, one answer a request\n",
            (
                "One answer of each harmful request of the test and the validation part, and the "
                "upper bound of the average miss rate. Where the source names no prompts, each "
                "answer that is no near-copy counts as a request; by neighbours in the file or "
                "shared wording there are so many groups, with the bound in brackets.\n"
            ),
            _bounds(found["bounds"]),
            f"{level} By kind of harm\n",
            _categories(found["categories"]),
            f"{level} One short harmful text in an ordinary answer of 350 to 650 words\n",
            _dilution(found["dilution"]),
            f"{level} The worst errors\n",
            _worst(found["worst"]),
        ]
    )


def _sources(rows: dict[str, Any]) -> str:
    lines = [
        (
            "Recall at 0.1, 1 and 5 % false alarms on ordinary assistant answers, and on answers "
            "of vision-language models.\n"
        ),
        (
            "| source | harmful | harmless | AUC | recall | false alarms | recall at .1 / 1 / 5 % "
            "(assistant) | (VLM) |"
        ),
        "|---|---:|---:|---:|---|---|---|---|",
    ]
    for name, row in rows.items():
        at = row.get("recall_at", {})
        lines.append(
            f"| {name} | {row['harmful']} | {row['harmless']} | {_number(row.get('auc'))} "
            f"| {_rate(row['recall'])} | {_rate(row['false_alarms'])} "
            f"| {_three(at.get('assistant'))} | {_three(at.get('vlm'))} |"
        )
    return "\n".join(lines) + "\n"


def _lengths(rows: dict[str, Any]) -> str:
    lines = ["| words | false alarms of ordinary answers | recall of GPTFuzz, JBB, PyRIT |"]
    lines.append("|---|---|---|")
    lines += [
        f"| {n} | {_rate(r['false_alarms'])} | {_rate(r['recall'])} |" for n, r in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _requests(rows: dict[str, Any]) -> str:
    lines = ["| requests | number | stopped |", "|---|---:|---:|"]
    lines += [f"| {n} | {r['requests']} | {_percent(r['stopped'])} |" for n, r in rows.items()]
    return "\n".join(lines) + "\n"


def _bounds(rows: dict[str, Any]) -> str:
    lines = ["| source | missed | at δ = .05 | .01 | .001 | groups |", "|---|---|---|---|---|---|"]
    for name, row in rows.items():
        cells = [f"{row['bounds'][delta]:.3f}" for delta in ("0.05", "0.01", "0.001")]
        groups = f"{row['groups']} ({row['bounds_by_group']['0.001']:.3f})"
        missed = f"{row['misses']} of {row['counted']}"
        lines.append(f"| {name} | {missed} | {' | '.join(cells)} | {groups} |")
    return "\n".join(lines) + "\n"


def _categories(rows: dict[str, Any]) -> str:
    lines = ["| kind | recall | named rightly, of those found |", "|---|---|---|"]
    lines += [
        f"| {n} | {_rate(r['recall'])} | {_rate(r['named_rightly'])} |" for n, r in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _dilution(rows: dict[str, Any]) -> str:
    lines = ["| text | called harmful |", "|---|---|"]
    lines += [f"| {name} | {_rate(row)} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def _worst(found: dict[str, Any]) -> str:
    lines = ["| ordinary, yet called harmful | score | as | harmful, yet passed | score |"]
    lines.append("|---|---:|---|---|---:|")
    for alarm, miss in zip(found["false_alarms"], found["misses"], strict=True):
        lines.append(
            f"| {alarm['source']} {alarm['id']} ({alarm['words']} words) | {alarm['score']:.2f} "
            f"| {alarm['category']} | {miss['source']} {miss['id']} ({miss['words']} words) "
            f"| {miss['score']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def _rate(found: dict[str, float] | None) -> str:
    if found is None:
        return "–"
    interval = f"{100 * found['lower']:.1f}–{100 * found['upper']:.1f}"
    return f"{100 * found['rate']:.1f} % ({interval})"


def _three(found: dict[str, Any] | None) -> str:
    if not found:
        return "–"
    return " / ".join(f"{row['rate']:.2f}" for row in found.values())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
