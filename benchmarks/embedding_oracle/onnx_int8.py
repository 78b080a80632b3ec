"""The encoder in ONNX Runtime, float32 and int8, beside the product's own precisions.

    pip install onnx onnxruntime && python benchmarks/embedding_oracle/onnx_int8.py [--answers 64]

Held-out answers of all three sources in turn, judged by the shipped heads in batches of 32, one
thread, processor time; ways take turns and the best of three rounds counts. int8 is ONNX Runtime's
dynamic quantisation, one scale for each channel of the weights. Writes onnx_int8.json beside this
file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch
from features import RESPONSES, labelled_and_short
from onnxruntime.quantization import QuantType, quantize_dynamic
from speed import with_model

from guardrail.oracles.base import Exchange
from guardrail.oracles.classifier.int8_linear import with_int8_layers
from guardrail.oracles.embedding import EmbeddingScorer, default_encoder

if TYPE_CHECKING:
    from guardrail.oracles.text.sentences import SentenceEncoder

RESULTS = Path(__file__).with_name("onnx_int8.json")
BATCH, ROUNDS = 32, 3


class States(torch.nn.Module):
    """What is exported: tokens and mask to the states of the last layer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return found.last_hidden_state


class InOnnxRuntime:
    """Stands for the torch model in the encoder."""

    device = torch.device("cpu")

    def __init__(self, path: Path, config: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.config = config
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

    def __call__(self, **inputs: torch.Tensor) -> Any:
        arrays = {name: value.numpy() for name, value in inputs.items()}
        (states,) = self.session.run(None, arrays)
        return SimpleNamespace(last_hidden_state=torch.from_numpy(states))


def exported(folder: Path) -> tuple[Path, Path]:
    """The encoder's files in float32 and int8."""
    exact, small = folder / "float32.onnx", folder / "int8.onnx"
    tokens = torch.randint(1000, 20_000, (2, 40))
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        States(default_encoder().load().model),
        (tokens, torch.ones_like(tokens)),
        exact,
        dynamo=False,  # the newer exporter's graph was slower in int8
        input_names=names,
        output_names=["states"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in (*names, "states")},
        opset_version=17,
    )
    quantize_dynamic(exact, small, weight_type=QuantType.QInt8, per_channel=True)
    return exact, small


def ways(folder: Path) -> dict[str, SentenceEncoder]:
    exact, small = exported(folder)
    config = default_encoder().load().model.config
    own_int8 = with_int8_layers(default_encoder().load().model)
    return {
        "float32": default_encoder(),
        "bfloat16": default_encoder(precision="bfloat16"),
        "int8 layers of the classifiers": with_model(default_encoder(), own_int8),
        "ONNX Runtime, float32": with_model(default_encoder(), InOnnxRuntime(exact, config)),
        "ONNX Runtime, int8": with_model(default_encoder(), InOnnxRuntime(small, config)),
    }


def scored(scorer: EmbeddingScorer, exchanges: list[Exchange]) -> np.ndarray:
    parts = [exchanges[at : at + BATCH] for at in range(0, len(exchanges), BATCH)]
    return np.array([score for part in parts for score in scorer.scores(part)])


def chosen(count: int) -> list[Exchange]:
    held_out = [text for text in labelled_and_short() if text.is_test]
    by_source = [[text for text in held_out if text.source == source] for source in RESPONSES]
    in_turn = [text for row in zip(*by_source, strict=False) for text in row]
    return [Exchange("", text.text) for text in in_turn[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=48, help="timed; four times as many judged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    judged = chosen(4 * options.answers)
    timed = judged[: options.answers]
    with tempfile.TemporaryDirectory() as folder:
        scorers = {
            name: EmbeddingScorer(encoder=encoder) for name, encoder in ways(Path(folder)).items()
        }
        scores = {name: scored(scorer, judged) for name, scorer in scorers.items()}
        times: dict[str, list[float]] = {name: [] for name in scorers}
        for _ in range(ROUNDS):
            for name, scorer in scorers.items():
                started = time.process_time()
                scored(scorer, timed)
                times[name].append(1e3 * (time.process_time() - started) / len(timed))
    rows = {name: row(scores["float32"], scores[name], times[name]) for name in scores}
    results = {"answers_judged": len(judged), "answers_timed": len(timed), "ways": rows}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(RESULTS.read_text())


def row(exact: np.ndarray, scores: np.ndarray, times: list[float]) -> dict[str, float]:
    return {
        "processor_ms_per_answer": round(min(times), 1),
        "verdicts_changed": int(((exact >= 0.5) != (scores >= 0.5)).sum()),
        "largest_change": round(float(np.abs(exact - scores).max()), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
