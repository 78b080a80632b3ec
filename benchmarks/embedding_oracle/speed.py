"""Milliseconds for an answer, and verdicts that change, by what the encoder computes in.

    pip install onnx onnxruntime onnxscript   # for the ONNX rows; left out where missing
    python benchmarks/embedding_oracle/speed.py

Held-out GPTFuzz answers, in batches of 32 as the oracle's thread gets them; the best of three.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from features import all_texts

from guardrail.oracles.base import Exchange
from guardrail.oracles.embedding import LAYERS, EmbeddingScorer, default_encoder
from guardrail.oracles.sentences import SentenceEncoder

ANSWERS, BATCH, ROUNDS = 192, 32, 3


def main() -> None:
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    held_out = [text for text in all_texts() if text.is_test and text.source == "gptfuzz"]
    exchanges = [Exchange("", text.text) for text in held_out[:ANSWERS]]
    reference, took = measured(default_encoder(), exchanges)
    print(f"| computed in | ms per answer | verdicts changed of {ANSWERS} | largest change |")
    print(f"|---|---|---|---|\n| float32 | {took:.1f} | – | – |", flush=True)
    for name, make in WAYS.items():
        try:
            scores, took = measured(make(), exchanges)
        except ImportError as error:
            print(f"| {name} | not measured: {error.name} is missing | | |")
            continue
        changed = int(((scores >= 0.5) != (reference >= 0.5)).sum())
        most = np.abs(scores - reference).max()
        print(f"| {name} | {took:.1f} | {changed} | {most:.4f} |", flush=True)


def measured(encoder: SentenceEncoder, exchanges: list[Exchange]) -> tuple[np.ndarray, float]:
    scorer = EmbeddingScorer(encoder=encoder)
    scorer.scores(exchanges[:BATCH])
    times, scores = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        parts = range(0, len(exchanges), BATCH)
        scores = [score for at in parts for score in scorer.scores(exchanges[at : at + BATCH])]
        times.append(1e3 * (time.perf_counter() - started) / len(exchanges))
    return np.array(scores), min(times)


def all_layers() -> SentenceEncoder:
    """Same speed class as the whole model; its scores mean nothing to these heads."""
    return with_model(default_encoder(), SentenceEncoder().load().model)


def torch_int8() -> SentenceEncoder:
    encoder = default_encoder()
    model = encoder.load().model
    small = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return with_model(encoder, small)


def onnx(*, int8: bool) -> SentenceEncoder:
    import onnxruntime

    encoder = default_encoder()
    model = encoder.load().model
    path = exported(model, int8=int8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def call(input_ids: Any, attention_mask: Any) -> SimpleNamespace:
        feed = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return SimpleNamespace(last_hidden_state=torch.from_numpy(session.run(None, feed)[0]))

    call.config, call.device = model.config, model.device  # type: ignore[attr-defined]
    return with_model(encoder, call)


def exported(model: Any, *, int8: bool) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = Path(tempfile.mkdtemp())

    class States(torch.nn.Module):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            found = model(input_ids=input_ids, attention_mask=attention_mask)
            return found.last_hidden_state

    ids = torch.ones((2, 8), dtype=torch.long)
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "width"} for name in [*names, "states"]}
    torch.onnx.export(
        States(), (ids, ids), str(folder / "model.onnx"), input_names=names,
        output_names=["states"], dynamic_axes=axes, dynamo=False,
    )  # fmt: skip
    if not int8:
        return folder / "model.onnx"
    quantize_dynamic(folder / "model.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)
    return folder / "int8.onnx"


def with_model(encoder: SentenceEncoder, model: Any) -> SentenceEncoder:
    encoder._loaded = replace(encoder.load(), model=model)  # noqa: SLF001 - a trial, not a use
    return encoder


WAYS = {
    "bfloat16": lambda: SentenceEncoder(layers=LAYERS, precision="bfloat16"),
    "torch int8": torch_int8,
    "ONNX float32": lambda: onnx(int8=False),
    "ONNX int8": lambda: onnx(int8=True),
    "float32, all layers": all_layers,
}

if __name__ == "__main__":
    sys.exit(main())
