"""What a head does on a source that it was not trained on, for several ways to train it.

`python benchmarks/embedding_oracle/across_sources.py` prints a table; `report.py` keeps the row of
the constants in use. This is the honest estimate for answers of another kind, and what the
constants in `fit.py` were chosen by.
"""

from __future__ import annotations

import sys
from itertools import product

import fit
import numpy as np
from features import RESPONSES, Features, features
from sklearn.metrics import roc_auc_score

WAYS = {
    "words and embedding": (0.5, 0.2),
    "words only": (0.0, 0.2),
    "more of the embedding": (1.0, 0.2),
    "no abuse": (0.5, 0.0),
    "as much abuse as answers": (0.5, 1.0),
}
STRENGTHS = (0.1, 0.3)


def main() -> None:
    found = features()
    print(f"| way | C | {' | '.join(RESPONSES)} |\n|---|---|---|---|---|")
    for (name, (share, abuse)), strength in product(WAYS.items(), STRENGTHS):
        fit.MEANING_SHARE, fit.STRENGTH = share, strength
        fit.SOURCE_WEIGHT |= {"davidson": abuse, "hatecheck": abuse}
        areas = [
            roc_auc_score(found.harmful[found.source == source], worst)
            for source, worst in left_out(found).items()
        ]
        cells = " | ".join(f"{area:.3f}" for area in areas)
        print(f"| {name} | {strength} | {cells} |", flush=True)


def left_out(found: Features) -> dict[str, np.ndarray]:
    """The worst margins on each source of answers, of a head that was trained on all others."""
    label = fit.labels(found, "harm")
    weighty = np.array([fit.SOURCE_WEIGHT.get(source, 1.0) > 0 for source in found.source])
    result = {}
    for source in RESPONSES:
        others = weighty & ~np.isin(found.source, [source, f"cut {source}"])
        view = fit.rows(found, others)
        worst = fit.margins(found, view, fit.fit(found, view, label, others))
        result[source] = worst[found.source == source]
    return result


if __name__ == "__main__":
    sys.exit(main())
