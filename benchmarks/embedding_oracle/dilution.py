"""One harmful sentence inside a harmless answer: do narrower windows find it?

    python benchmarks/embedding_oracle/dilution.py

The shipped heads, on the held-out fold. A way adds windows of so many words, overlapping by half,
to the passages; the worst of all decides. A narrow window says less and errs more, so it has to
exceed a passage by an offset, the smallest with which harmless answers of the training folds are
blocked at most a hundredth more often. Below them the built-in oracle at the threshold of
`../oracles`, alone and where either blocks. Encoded in bfloat16, which moves no verdict (README).
Writes dilution.json and dilution.md beside this file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from features import ABUSE, CACHE, RESPONSES, cached, labelled_and_short
from sklearn.metrics import roc_auc_score

from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.embedding import EmbeddingScorer, Heads, default_encoder, words_of
from guardrail.oracles.text.normalise import normalise
from guardrail.oracles.text.sentences import window_starts

if TYPE_CHECKING:
    from data import Text

HERE = Path(__file__).parent
Scores = Callable[[list[str]], np.ndarray]
PASSAGE = (160, 40)
NARROW = (24, 40)
WAYS = {
    "passages (as shipped)": None,
    **{f"and windows of {size} words": (size, True) for size in NARROW},
    **{f"and the words alone of {size}": (size, False) for size in NARROW},
}
BUILTIN_THRESHOLD = 0.25
MOST_MORE_ALARMS = 0.01
OFFSETS = np.arange(0.0, 12.0, 0.1)
CALM_TRAINING, HOSTS, TWEETS, PIECES = 500, 200, 400, 150
HOST_WORDS, PIECE_WORDS = (80, 300), (6, 40)


@dataclass(frozen=True)
class Margins:
    """Of n texts and h heads: the worst passage, and by way the worst narrow window; (n, h)."""

    wide: np.ndarray
    narrow: dict[str, np.ndarray]

    def worst(self, way: str, offset: np.ndarray) -> np.ndarray:
        return np.maximum(self.wide, self.narrow[way] - offset) if way in self.narrow else self.wide


def main() -> None:
    scorer = EmbeddingScorer()
    heads, _ = scorer.load()
    texts = labelled_and_short()
    calm = drawn([t for t in texts if t.fold != 4 and t.source in RESPONSES and not t.harmful])
    held_out = held(texts)
    diluted, pieces, hosts = dilutions([t for t in texts if t.fold == 4])
    everything = [
        *[t.text for t in calm[:CALM_TRAINING]], *[t.text for t in held_out],
        *hosts, *[p for some in pieces.values() for p in some],
        *[d for some in diluted.values() for d in some],
    ]  # fmt: skip
    found = dict(zip(everything, rows_of(margins(heads, everything), len(everything)), strict=True))
    known = by_way(heads, found, [text.text for text in calm[:CALM_TRAINING]])
    results = {
        way: measured(scores, held_out, (diluted, pieces, hosts)) | {"offset": offset}
        for way, (scores, offset) in known.items()
    }
    (HERE / "dilution.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "dilution.md").write_text(tables(results))
    print(tables(results))


def drawn(texts: list[Text]) -> list[Text]:
    return [texts[place] for place in np.random.default_rng(0).permutation(len(texts))]


def held(texts: list[Text]) -> list[Text]:
    """The held-out fold; of tweets and the like, which hardly fill a window, only some."""
    test = [text for text in texts if text.fold == 4]
    some = [drawn([t for t in test if t.source == source])[:TWEETS] for source in ABUSE]
    return [t for t in test if t.source in RESPONSES] + [t for part in some for t in part]


def dilutions(test: list[Text]) -> tuple[dict[str, list[str]], dict[str, list[str]], list[str]]:
    """By kind, harmless answers with a piece put in, the pieces, and the answers as they were."""
    low, high = HOST_WORDS
    hosts = [
        text.text for text in drawn(test)
        if text.source in RESPONSES and not text.harmful and low <= len(text.text.split()) <= high
    ][:HOSTS]  # fmt: skip
    rng = np.random.default_rng(1)
    pieces = harmful_pieces(test)
    diluted = {
        kind: [put_in(hosts[rng.integers(len(hosts))], piece, rng) for piece in some]
        for kind, some in pieces.items()
    }
    return diluted, pieces, hosts


def harmful_pieces(test: list[Text]) -> dict[str, list[str]]:
    """Labelled as they stand, or a sentence of a harmful answer, which may itself be harmless."""
    harmful = [text for text in drawn(test) if text.harmful]
    fits = [text.text for text in harmful if text.source in ABUSE and is_piece(text.text)]
    short = [text.text for text in harmful if text.source == "short" and is_piece(text.text)]
    rng = np.random.default_rng(2)
    inside = []
    for text in harmful:
        parts = [part for part in sentences(text.text) if is_piece(part)]
        if text.source in RESPONSES and parts:
            inside.append(parts[rng.integers(len(parts))])
    kinds = {"abuse": fits, "made-up sentences": short, "of harmful answers": inside}
    return {kind: some[:PIECES] for kind, some in kinds.items()}


def is_piece(text: str) -> bool:
    return PIECE_WORDS[0] <= len(text.split()) <= PIECE_WORDS[1]


def sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def put_in(host: str, piece: str, rng: np.random.Generator) -> str:
    parts = sentences(host)
    at = int(rng.integers(0, len(parts) + 1))
    return " ".join([*parts[:at], piece, *parts[at:]])


def cut(text: str, size: int, overlap: int) -> list[tuple[int, str]]:
    words = text.split()
    starts = window_starts(len(words), size, overlap)
    return [(at, " ".join(words[at : at + size])) for at in starts]


def margins(heads: Heads, texts: list[str]) -> Margins:
    plain = [normalise(text) for text in texts]
    wide = [cut(text, *PASSAGE) for text in plain]
    small = {size: [cut(text, size, size // 2) for text in plain] for size in NARROW}
    every = dict.fromkeys(
        part for cuts in (wide, *small.values()) for parts in cuts for _, part in parts
    )
    encoder = default_encoder(precision="bfloat16")
    vectors = dict(zip(every, cached(encoder, list(every), CACHE), strict=True))
    known = {part: heads.margins(vector, part) for part, vector in vectors.items()}
    narrow = {}
    for way, choice in WAYS.items():
        if choice is not None:
            size, encoded = choice
            rows = zip(wide, small[size], strict=True)
            narrow[way] = np.array(
                [
                    worst([known[part] for _, part in parts])
                    if encoded
                    else worst(words_inside(heads, vectors, around, parts))
                    for around, parts in rows
                ]
            )
    return Margins(np.array([worst([known[part] for _, part in parts]) for parts in wide]), narrow)


def words_inside(
    heads: Heads,
    vectors: dict[str, np.ndarray],
    around: list[tuple[int, str]],
    parts: list[tuple[int, str]],
) -> list[np.ndarray]:
    """Margins by the words of a narrow window and the meaning of the passage that it begins in."""
    found = []
    for at, part in parts:
        passage = max((start, text) for start, text in around if start <= at)[1]
        rarity = heads.rarity[words_of(part)]
        length = float(np.sqrt(np.square(rarity).sum() + 1e-9))
        by_words = heads.words[:, words_of(part)] @ rarity / length
        found.append(heads.meaning @ vectors[passage] + by_words + heads.bias)
    return found


def worst(rows: list[np.ndarray]) -> np.ndarray:
    return np.max(rows, axis=0)


def rows_of(found: Margins, count: int) -> list[Margins]:
    return [
        Margins(found.wide[[i]], {way: rows[[i]] for way, rows in found.narrow.items()})
        for i in range(count)
    ]


def together(found: dict[str, Margins], texts: list[str]) -> Margins:
    rows = [found[text] for text in texts]
    return Margins(
        np.concatenate([row.wide for row in rows]),
        {way: np.concatenate([row.narrow[way] for row in rows]) for way in rows[0].narrow},
    )


def combined(heads: Heads, worst_margins: np.ndarray) -> np.ndarray:
    """The score of the product: the worst category, each rescaled so that 0.5 is its threshold."""
    probability = heads.probabilities(worst_margins)
    scores = [
        np.interp(probability[:, heads.names.index(name)], (0.0, at, 1.0), (0.0, 0.5, 1.0))
        for name, at in heads.thresholds.items()
    ]
    return np.max(scores, axis=0)


def by_way(
    heads: Heads, found: dict[str, Margins], calm: list[str]
) -> dict[str, tuple[Scores, float | None]]:
    """How each way scores texts, and its offset."""
    alone = partial(builtin_scores, BuiltinScorer())
    ways: dict[str, tuple[Scores, float | None]] = {}
    for way in WAYS:
        offset = fitting_offset(way, heads, together(found, calm))
        ways[way] = partial(embedding_scores, heads, found, way, offset), offset
    shipped = ways[next(iter(WAYS))][0]
    ways["built-in oracle"] = alone, None
    ways["built-in oracle, or as shipped"] = partial(either, alone, shipped), None
    return ways


def embedding_scores(
    heads: Heads, found: dict[str, Margins], way: str, offset: float, texts: list[str]
) -> np.ndarray:
    return combined(heads, together(found, texts).worst(way, offset))


def builtin_scores(scorer: BuiltinScorer, texts: list[str]) -> np.ndarray:
    scores = scorer.scores([Exchange("", text) for text in texts])
    return np.interp(scores, (0.0, BUILTIN_THRESHOLD, 1.0), (0.0, 0.5, 1.0))


def either(first: Scores, second: Scores, texts: list[str]) -> np.ndarray:
    return np.maximum(first(texts), second(texts))


def measured(
    scores: Scores,
    held_out: list[Text],
    mixed: tuple[dict[str, list[str]], dict[str, list[str]], list[str]],
) -> dict:
    diluted, pieces, hosts = mixed
    by_source = {}
    for source in (*RESPONSES, *ABUSE):
        texts = [text for text in held_out if text.source == source]
        harmful = np.array([text.harmful for text in texts])
        values = scores([text.text for text in texts])
        by_source[source] = quality(values[harmful], values[~harmful])
    before = scores(hosts)
    return {
        "sources": by_source,
        "dilution": {
            kind: {
                **quality(scores(some), before),
                "found_alone": float((scores(pieces[kind]) >= 0.5).mean()),
                "n": len(some),
            }
            for kind, some in diluted.items()
        },
    }


def fitting_offset(way: str, heads: Heads, calm: Margins) -> float:
    if way not in calm.narrow:
        return 0.0
    allowed = (combined(heads, calm.wide) >= 0.5).mean() + MOST_MORE_ALARMS
    fits = [(combined(heads, calm.worst(way, at)) >= 0.5).mean() <= allowed for at in OFFSETS]
    return float(OFFSETS[fits.index(True)])


def quality(harmful: np.ndarray, harmless: np.ndarray) -> dict:
    labels = np.repeat([1, 0], [len(harmful), len(harmless)])
    return {
        "roc_auc": float(roc_auc_score(labels, np.concatenate([harmful, harmless]))),
        "recall_at_1_percent": float((harmful > np.quantile(harmless, 0.99)).mean()),
        "found": float((harmful >= 0.5).mean()),
        "false_alarms": float((harmless >= 0.5).mean()),
    }


def tables(results: dict[str, dict]) -> str:
    sources = [*RESPONSES, *ABUSE]
    lines = [f"| way | offset | {' | '.join(sources)} |", "|---" * (len(sources) + 2) + "|"]
    for way, found in results.items():
        cells = [
            "{roc_auc:.3f} / {recall_at_1_percent:.2f} / {found:.2f} / {false_alarms:.2f}".format(
                **found["sources"][source]
            )
            for source in sources
        ]
        offset = "–" if found["offset"] is None else f"{found['offset']:.1f}"
        lines.append(f"| {way} | {offset} | {' | '.join(cells)} |")
    kinds = list(next(iter(results.values()))["dilution"])
    lines += ["", f"| way | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for way, found in results.items():
        cells = [
            "{roc_auc:.3f} / {recall_at_1_percent:.2f} / {found_alone:.2f} → {found:.2f} "
            "/ {false_alarms:.2f}".format(**found["dilution"][kind])
            for kind in kinds
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
