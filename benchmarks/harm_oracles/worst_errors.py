"""The worst errors of the shipped default oracle on the test part, by source, with their causes.

    python benchmarks/harm_oracles/worst_errors.py --cache FOLDER [--show]

Writes `worst_errors.md`. What is said of an error, its cause and a description, was written by
reading it and stands in `worst_errors.json`; `--show` prints the texts for reading. The page quotes
no text. Scores are those of the cascade: the built-in oracle's where it is certain, else the
encoder's, so that the encoder is asked only where it decides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from held_out import held_out_texts

from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.encoder.scorer import EncoderScorer
from guardrail.oracles.kinds.default import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from data import Text

HERE = Path(__file__).parent
THRESHOLD = 0.5
MOST = 20
ORDINARY = ("assistant", "vlm", "manuals", "service", "functions", "tools", "records", "captions")
"""One list of false alarms: none of these may be stopped."""
LABELLED = ("gptfuzz", "jbb", "pyrit", "xstest", "hatecheck", "davidson")
CHUNK = 100


@dataclass(frozen=True)
class Error:
    """A text on the wrong side of the threshold; `id` names it within its source."""

    source: str
    id: str
    score: float
    category: str
    text: Text


@dataclass(frozen=True)
class Reading:
    """What a reader found: why the oracle errs, and what the text is."""

    cause: str
    text: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where scores are kept")
    parser.add_argument("--show", action="store_true", help="print the texts, write nothing")
    options = parser.parse_args()
    wanted = {*ORDINARY, *LABELLED}
    texts = [text for text in held_out_texts() if text.source in wanted]
    lists = find_errors(texts, score(texts, options.cache))
    if options.show:
        print_texts(lists)
        return 0
    page = as_markdown(lists, read_readings(HERE / "worst_errors.json"))
    (HERE / "worst_errors.md").write_text(page)
    return 0


def score(texts: list[Text], cache: Path) -> list[tuple[float, str]]:
    """The default oracle's score and kind of harm for each text, computed once."""
    builtin, encoder = BuiltinScorer(), EncoderScorer()
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"default-{encoder.revision}-{builtin.revision}.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    keys = [digest_of(text) for text in texts]
    left = [(k, t) for k, t in zip(keys, texts, strict=True) if k not in known]
    for start in range(0, len(left), CHUNK):
        for key, text in left[start : start + CHUNK]:
            exchange = [Exchange(text.prompt, text.text)]
            found = builtin.scores(exchange)[0]
            if found >= CERTAIN:
                found = encoder.scores(exchange)[0]
            known[key] = [float(found), str(getattr(found, "category", ""))]
        path.write_text(json.dumps(known))
        print(f"scored {min(start + CHUNK, len(left))} of {len(left)}", file=sys.stderr, flush=True)
    return [(known[key][0], known[key][1]) for key in keys]


def digest_of(text: Text) -> str:
    return hashlib.sha256(f"{text.prompt}\0{text.text}".encode(errors="replace")).hexdigest()


def find_errors(texts: list[Text], scores: list[tuple[float, str]]) -> dict[str, list[Error]]:
    """The worst first, by list: the false alarms, then the misses."""
    lists: dict[str, list[Error]] = defaultdict(list)
    for text, (value, category) in zip(texts, scores, strict=True):
        if (value >= THRESHOLD) != text.harmful:
            kind = "Missed" if text.harmful else "False alarms"
            source = "ordinary answers" if text.source in ORDINARY else text.source
            name = text.id or digest_of(text)[:8]
            lists[f"{kind}: {source}"].append(Error(text.source, name, value, category, text))
    order = [
        f"{k}: {s}" for k in ("False alarms", "Missed") for s in ("ordinary answers", *LABELLED)
    ]
    found = {}
    for name in order:
        if name in lists:
            sign = 1.0 if name.startswith("Missed") else -1.0
            found[name] = sorted(lists[name], key=lambda error: (sign * error.score, error.id))
    return found


def print_texts(lists: dict[str, list[Error]]) -> None:
    for name, errors in lists.items():
        print(f"\n{'=' * 20} {name}: {len(errors)}")
        for error in errors[:MOST]:
            print(f"\n--- {error.source} {error.id} {error.score:.3f} {error.category}")
            print(f"[{error.text.prompt[:300]}]\n{error.text.text}")


def read_readings(path: Path) -> dict[str, Reading]:
    """By source and id."""
    rows = json.loads(path.read_text())
    return {name: Reading(cause, text) for name, (cause, text) in rows.items()}


def as_markdown(lists: dict[str, list[Error]], readings: dict[str, Reading]) -> str:
    head = (HERE / "worst_errors_head.md").read_text()
    parts = [head, *(_causes(kind, lists, readings) for kind in ("False alarms", "Missed"))]
    for name, errors in lists.items():
        parts.append(f"## {name}, the worst {min(MOST, len(errors))} of {len(errors)}\n")
        parts.append("| text | words | score | as | cause | what it is |")
        parts.append("|---|---:|---:|---|---|---|")
        parts += [_row(error, readings) for error in errors[:MOST]]
        parts.append("")
    return "\n".join(parts)


def _causes(kind: str, lists: dict[str, list[Error]], readings: dict[str, Reading]) -> str:
    """How many of the errors that were read have which cause, by list."""
    found = {
        name.removeprefix(f"{kind}: "): Counter(_causes_of(errors[:MOST], readings))
        for name, errors in lists.items()
        if name.startswith(kind)
    }
    total: Counter[str] = sum(found.values(), Counter())
    lines = [
        f"### {kind}, by cause\n",
        f"| cause | {' | '.join(found)} | all |",
        f"|---|{'---:|' * (len(found) + 1)}",
    ]
    for cause, count in total.most_common():
        cells = (str(counts[cause] or "") for counts in found.values())
        lines.append(f"| {cause} | {' | '.join(cells)} | {count} |")
    return "\n".join(lines) + "\n"


def _causes_of(errors: Iterable[Error], readings: dict[str, Reading]) -> list[str]:
    return [_reading(error, readings).cause for error in errors]


def _reading(error: Error, readings: dict[str, Reading]) -> Reading:
    return readings.get(f"{error.source} {error.id}", Reading("not read yet", ""))


def _row(error: Error, readings: dict[str, Reading]) -> str:
    reading = _reading(error, readings)
    return (
        f"| {error.source} {error.id} | {len(error.text.text.split())} | {error.score:.3f} "
        f"| {error.category} | {reading.cause} | {reading.text} |"
    )


if __name__ == "__main__":
    sys.exit(main())
