"""Milliseconds for an answer, and verdicts that change, by what the encoder computes in.

    python benchmarks/embedding_oracle/speed.py

Held-out GPTFuzz answers, in batches of 32 as the oracle's thread gets them; the best of three.
Processor time of all threads, so that other work on the machine matters little.
"""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from features import all_texts

from guardrail.oracles.base import Exchange
from guardrail.oracles.embedding import LAYERS, EmbeddingScorer, default_encoder
from guardrail.oracles.text.sentences import SentenceEncoder

ANSWERS, BATCH, ROUNDS = 192, 32, 3


def main() -> None:
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    held_out = [text for text in all_texts() if text.is_test and text.source == "gptfuzz"]
    exchanges = [Exchange("", text.text) for text in held_out[:ANSWERS]]
    reference, took = measured(default_encoder(), exchanges)
    print("| computed in | processor ms per answer | verdicts changed | largest change |")
    print(f"|---|---|---|---|\n| float32 | {took:.1f} | – | – |", flush=True)
    for name, make in WAYS.items():
        scores, took = measured(make(), exchanges)
        changed = int(((scores >= 0.5) != (reference >= 0.5)).sum())
        most = np.abs(scores - reference).max()
        print(f"| {name} | {took:.1f} | {changed} | {most:.4f} |", flush=True)


def measured(encoder: SentenceEncoder, exchanges: list[Exchange]) -> tuple[np.ndarray, float]:
    scorer = EmbeddingScorer(encoder=encoder)
    scorer.scores(exchanges[:BATCH])
    times, scores = [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        parts = range(0, len(exchanges), BATCH)
        scores = [score for at in parts for score in scorer.scores(exchanges[at : at + BATCH])]
        times.append(1e3 * (time.process_time() - started) / len(exchanges))
    return np.array(scores), min(times)


def all_layers() -> SentenceEncoder:
    """Same speed class as the whole model; its scores mean nothing to these heads."""
    return with_model(default_encoder(), SentenceEncoder().load().model)


def torch_int8() -> SentenceEncoder:
    encoder = default_encoder()
    model = encoder.load().model
    small = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return with_model(encoder, small)


def with_model(encoder: SentenceEncoder, model: Any) -> SentenceEncoder:
    encoder._loaded = replace(encoder.load(), model=model)  # noqa: SLF001 - a trial, not a use
    return encoder


WAYS = {
    "bfloat16": lambda: SentenceEncoder(layers=LAYERS, precision="bfloat16"),
    "torch int8": torch_int8,
    "float32, all layers": all_layers,
}

if __name__ == "__main__":
    sys.exit(main())
