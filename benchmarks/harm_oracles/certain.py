"""Which score of the built-in oracle is certain enough to spare the encoder.

    python benchmarks/harm_oracles/certain.py

Writes certain.md. On the validation part, for several limits: how many ordinary answers the encoder
is still shown, and what share of the harmful texts that it would find by itself is lost, on average
over the sources and at most. `CERTAIN` in `guardrail/oracles/kinds/default.py` is the largest limit
at which the answers of models lose nothing. The encoder is asked only where its score can matter.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from examples import validation_texts

from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.encoder.scorer import EncoderScorer
from guardrail.oracles.kinds.default import CERTAIN

if TYPE_CHECKING:
    from data import Text

LIMITS = (0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05)
MOST_OF_A_SOURCE = 250
ORDINARY = ("assistant", "vlm")
FEWEST = 30  # harmful texts of a source whose loss counts


@dataclass(frozen=True)
class Looked:
    """Scores of one text by both oracles; that of the encoder is NaN where no limit can lose it."""

    source: str
    harmful: bool
    builtin: float
    encoder: float

    def is_found(self, limit: float) -> bool:
        """Whether the encoder is shown the text and calls it harmful; of NaN no."""
        return self.builtin >= limit and self.encoder >= 0.5


def main() -> None:
    looked = [*map(look, chosen(validation_texts()))]
    (Path(__file__).parent / "certain.md").write_text(as_markdown(looked))


def as_markdown(looked: list[Looked]) -> str:
    """A row for each limit."""
    lines = [
        (
            f"Written by certain.py, for `{ENCODER.revision}` and `{BUILTIN.revision}`; the limit "
            f"that ships is {CERTAIN:g}. Losses are points of recall, of all harmful texts of a "
            f"source of the validation part, at most {MOST_OF_A_SOURCE} of each.\n"
        ),
        "| limit | ordinary answers shown, % | lost on average | lost at most, by source |",
        "|---|---:|---:|---|",
    ]
    for limit in LIMITS:
        answers = np.mean([one.builtin >= limit for one in looked if one.source in ORDINARY])
        lost = sorted(losses(looked, limit), reverse=True)
        mean = float(np.mean([points for points, _ in lost]))
        most = ", ".join(f"{100 * points:.1f} ({source})" for points, source in lost[:4])
        lines.append(f"| {limit} | {100 * answers:.1f} | {100 * mean:.2f} | {most} |")
    return "\n".join(lines) + "\n"


def chosen(texts: list[Text]) -> list[Text]:
    """Harmful texts of each source, and ordinary ones; not more than needed."""
    rng = random.Random(6)
    groups: dict[tuple[str, bool], list[Text]] = defaultdict(list)
    for text in texts:
        if text.harmful or text.source in ORDINARY:
            groups[text.source, text.harmful].append(text)
    return [
        text
        for group in groups.values()
        for text in rng.sample(group, min(MOST_OF_A_SOURCE, len(group)))
    ]


def look(text: Text) -> Looked:
    exchange = [Exchange(text.prompt, text.text)]
    builtin = float(BUILTIN.scores(exchange)[0])
    matters = text.harmful and builtin < max(LIMITS)
    encoder = float(ENCODER.scores(exchange)[0]) if matters else float("nan")
    return Looked(text.source, text.harmful, builtin, encoder)


def losses(looked: list[Looked], limit: float) -> list[tuple[float, str]]:
    """For each source of harmful texts, the share that is found without a limit and not with it."""
    rows: dict[str, list[Looked]] = defaultdict(list)
    for one in looked:
        if one.harmful:
            rows[one.source].append(one)
    return [
        (float(np.mean([one.is_found(0.0) > one.is_found(limit) for one in group])), source)
        for source, group in rows.items()
        if len(group) >= FEWEST
    ]


ENCODER = EncoderScorer(threads=2)
BUILTIN = BuiltinScorer()

if __name__ == "__main__":
    main()
