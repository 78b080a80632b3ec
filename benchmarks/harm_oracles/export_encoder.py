"""Makes the shipped files of the trained encoder: `export_encoder.py --work FOLDER`.

The network goes to ONNX and is quantised to int8 (one scale for each column of a weight, seven bits
of it used, so that processors without VNNI instructions do not saturate). Then the validation part
chooses the operating point, and `model.json` says it. Needs torch, transformers, onnx and
onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from encoder_model import CATEGORIES, HarmEncoder, base_model
from examples import validation_texts
from operating_point import operating_point, slope_of
from train_encoder import base_folder

from guardrail.oracles.base import Exchange
from guardrail.oracles.encoder.scorer import ENCODER_MODEL, FORMAT, EncoderScorer

NAMES = ("input_ids", "attention_mask", "token_type_ids")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        action="append",
        help="where train_encoder.py wrote; of several runs the mean of the weights is taken",
    )
    parser.add_argument("--out", type=Path, default=ENCODER_MODEL)
    options = parser.parse_args()
    model = base_model(base_folder())
    model.load_state_dict(mean_of([torch.load(f / "model.pt") for f in options.work]))
    options.out.mkdir(parents=True, exist_ok=True)
    export(model.eval(), options.out / "model.onnx")
    shutil.copy(base_folder() / "tokenizer.json", options.out / "tokenizer.json")
    write_settings(options.out, slope=1.0, at=0.0)
    texts = validation_texts()
    scorer = EncoderScorer(options.out, threads=2)
    logits = scorer.logits([Exchange(text.prompt, text.text) for text in texts])[:, 0]
    write_settings(options.out, slope=slope_of(texts, logits), at=operating_point(texts, logits))
    print({path.name: path.stat().st_size for path in options.out.iterdir()})


def mean_of(runs: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Weights between those of several runs (model soups, Wortsman et al. 2022)."""
    return {name: torch.stack([run[name] for run in runs]).mean(0) for name in runs[0]}


def export(model: HarmEncoder, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    warnings.simplefilter("ignore")
    tokens = torch.randint(1000, 20_000, (2, 40))
    inputs = (tokens, torch.ones_like(tokens), torch.zeros_like(tokens))
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "float32.onnx"
        torch.onnx.export(
            model,
            inputs,
            exact,
            dynamo=False,  # the newer exporter's graph was slower in int8
            input_names=list(NAMES),
            output_names=["logits"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in NAMES}
            | {"logits": {0: "rows"}},
            opset_version=17,
        )
        quantize_dynamic(
            exact, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )
        _compare(exact, path)


def _compare(exact: Path, small: Path) -> None:
    """Prints how far int8 moves the logits of random windows."""
    import onnxruntime

    rng = np.random.default_rng(3)
    ids = rng.integers(1000, 20_000, (32, 100))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    inputs["token_type_ids"] = np.ones_like(ids)
    rows = [onnxruntime.InferenceSession(path).run(None, inputs)[0] for path in (exact, small)]
    print(f"int8 moves the logit of harm by at most {np.abs(rows[0] - rows[1])[:, 0].max():.3f}")


def write_settings(folder: Path, *, slope: float, at: float) -> None:
    settings = {"format": FORMAT, "categories": CATEGORIES, "slope": slope, "at": at}
    (folder / "model.json").write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
