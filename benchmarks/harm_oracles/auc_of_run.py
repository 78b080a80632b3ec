"""AUC by source of a training run that was not exported, such as one on shuffled labels.

    python benchmarks/harm_oracles/auc_of_run.py --work FOLDER [--most 60]

Scores texts of the test part in torch, at most `--most` of each label of a source. Prints a table;
writes nothing. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from encoder_model import HarmEncoder, base_model
from held_out import held_out_texts
from report import auc
from train_encoder import base_folder

from guardrail.oracles.base import Exchange
from guardrail.oracles.encoder.scorer import EncoderScorer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data import Text
    from numpy.typing import NDArray

    from guardrail.oracles.encoder.windows import EncoderWindow

MOST = 60
FEWEST = 15  # texts of each label of a source


class RunScorer(EncoderScorer):
    """The shipped encoder's windows and tokens, with the weights of a run."""

    def __init__(self, model: HarmEncoder) -> None:
        super().__init__()
        self._model = model

    def run(self, windows: Sequence[EncoderWindow]) -> NDArray[np.float64]:
        rows = []
        for window in windows:
            ids = torch.tensor([window.ids])
            types = (torch.arange(ids.shape[1]) >= window.answer_at).long()[None]
            with torch.inference_mode():
                rows.append(self._model(ids, torch.ones_like(ids), types)[0].double().numpy())
        return np.array(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where train_encoder.py wrote")
    parser.add_argument("--most", type=int, default=MOST, help="texts of a label of a source")
    options = parser.parse_args()
    model = base_model(base_folder())
    model.load_state_dict(torch.load(options.work / "model.pt"))
    scorer = RunScorer(model.eval())
    found = {
        source: auc(score(scorer, texts[True]), score(scorer, texts[False]))
        for source, texts in sorted(draw(held_out_texts(), options.most).items())
    }
    print(f"| {' | '.join(found)} | mean |")
    print(f"|{'---:|' * (len(found) + 1)}")
    print(f"| {' | '.join(f'{value:.2f}' for value in found.values())} ", end="")
    print(f"| {np.mean(list(found.values())):.2f} |")
    return 0


def draw(texts: Sequence[Text], most: int) -> dict[str, dict[bool, list[Text]]]:
    """By source and label, in an order that depends on the texts alone; sources with both."""
    groups: dict[str, dict[bool, list[Text]]] = defaultdict(lambda: {True: [], False: []})
    for text in sorted(texts, key=lambda one: hashlib.sha256(one.text.encode()).digest()):
        group = groups[text.source][text.harmful]
        if len(group) < most:
            group.append(text)
    return {name: both for name, both in groups.items() if min(map(len, both.values())) >= FEWEST}


def score(scorer: EncoderScorer, texts: Sequence[Text]) -> NDArray[np.float64]:
    """Shape (n,): the logit of harm of the worst window of each text."""
    return scorer.logits([Exchange(text.prompt, text.text) for text in texts])[:, 0]


if __name__ == "__main__":
    sys.exit(main())
