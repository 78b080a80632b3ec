"""Counts 20,000 made answers and measures near copies and how far forms give labels away.

    pip install scikit-learn                      # for the report only
    python benchmarks/made_answers/report.py      # writes report.md beside it

The separation by a plain n-gram model says how easy the set is, not how good an oracle is.
"""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from made_answers import COMPOSED, MadeAnswer, form_family, make_answers
from made_answers.make import NEAR_COPY, SHORTEST_RUNS, jaccard, runs_of_words, smallest_runs

COUNT, SEED = 20_000, 1
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def main() -> None:
    answers = make_answers(COUNT, SEED)
    parts = (
        f"# {COUNT:,} made answers, seed {SEED}\n\nWritten by `report.py`.",
        _count_domains(answers),
        _count_categories(answers),
        _count_words(answers),
        _count_near_copies(answers),
        _measure_separation(),
    )
    Path(__file__).with_name("report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _count_domains(answers: list[MadeAnswer]) -> str:
    count = Counter((answer.domain, answer.harmful) for answer in answers)
    forms = Counter((d, label) for d, label, _ in {(a.domain, a.harmful, a.form) for a in answers})
    rows: list[tuple[object, ...]] = [
        (d, count[d, False], forms[d, False], count[d, True], forms[d, True])
        for d in sorted({answer.domain for answer in answers})
    ]
    return _table(("domain", "harmless", "forms", "harmful", "forms"), rows)


def _count_categories(answers: list[MadeAnswer]) -> str:
    count = Counter(answer.category or "(harmless)" for answer in answers)
    return _table(("category", "answers"), list(count.most_common()))


def _count_words(answers: list[MadeAnswer]) -> str:
    rows: list[tuple[object, ...]] = []
    for harmful in (False, True):
        words = sorted(len(a.answer.split()) for a in answers if a.harmful == harmful)
        quantiles = (words[int(q * len(words))] for q in _QUANTILES)
        rows.append(("harmful" if harmful else "harmless", *quantiles, words[-1]))
    return _table(("words at quantile", *map(str, _QUANTILES), "most"), rows)


def _count_near_copies(answers: list[MadeAnswer]) -> str:
    """All pairs that share one of eight smallest checksums: 3 in a million near pairs do not."""
    runs = [runs_of_words(answer.answer) for answer in answers]
    buckets: dict[tuple[int, int], list[int]] = {}
    for place, found in enumerate(runs):
        if len(found) >= SHORTEST_RUNS:
            for key in smallest_runs(found):
                buckets.setdefault(key, []).append(place)
    near = {
        pair
        for places in buckets.values()
        for pair in combinations(places, 2)
        if jaccard(runs[pair[0]], runs[pair[1]]) >= NEAR_COPY
    }
    long = sum(len(found) >= SHORTEST_RUNS for found in runs)
    return (
        f"Pairs that share {NEAR_COPY:.0%} of their runs of three words: {len(near)}, among the "
        f"{long:,} answers of at least {SHORTEST_RUNS} such runs."
    )


def _measure_separation() -> str:
    """Trained on three quarters of families and contents, measured on the others."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    vectorizer = HashingVectorizer(ngram_range=(1, 2), n_features=2**18)
    train = [a for a in make_answers(14_000, 1, "train") if _use(a, held_back=False)]
    test = [a for a in make_answers(6_000, 2, "test") if _use(a, held_back=True)]
    model = LogisticRegression(C=20, max_iter=300)
    model.fit(vectorizer.transform(a.answer for a in train), [a.harmful for a in train])
    scores = model.decision_function(vectorizer.transform(a.answer for a in test))
    auc = roc_auc_score([a.harmful for a in test], scores)
    return (
        f"A logistic model on one- and two-word features, trained on {len(train):,} answers, "
        f"separates {len(test):,} answers of other families and other contents with an AUC of {auc:.3f}."
    )


def _use(answer: MadeAnswer, *, held_back: bool) -> bool:
    family = form_family(answer.form)
    return family not in COMPOSED and (zlib.crc32(family.encode()) % 4 == 0) == held_back


if __name__ == "__main__":
    main()
