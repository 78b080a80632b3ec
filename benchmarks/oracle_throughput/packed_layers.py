"""A forward pass in bfloat16 with torch's own linear layers and with packed ones, side by side.

    python benchmarks/oracle_throughput/packed_layers.py        a minute of one core

Four layers of the size of bert-base-uncased, random weights, one text of each length, one thread;
milliseconds of processor time, the best of six rounds in which both take turns.
"""

from __future__ import annotations

import copy
import time

import torch
import transformers

from guardrail.oracles.packed_linear import with_packed_layers

LENGTHS = (16, 64, 128, 256)
ROUNDS = 6


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = transformers.BertModel(transformers.BertConfig(num_hidden_layers=4)).eval().bfloat16()
    models = {"torch's own": plain, "packed": with_packed_layers(copy.deepcopy(plain))}
    print(f"| tokens | {' | '.join(models)} | same numbers |\n|---|---|---|---|")
    for length in LENGTHS:
        tokens = torch.randint(0, 1000, (1, length))
        took: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(ROUNDS):
            states = [passed(model, tokens, took[name]) for name, model in models.items()]
        cells = " | ".join(f"{1e3 * min(times):.1f}" for times in took.values())
        print(f"| {length} | {cells} | {torch.equal(*states)} |", flush=True)


def passed(model: torch.nn.Module, tokens: torch.Tensor, took: list[float]) -> torch.Tensor:
    started = time.process_time()
    with torch.inference_mode():
        states: torch.Tensor = model(input_ids=tokens).last_hidden_state
    took.append(time.process_time() - started)
    return states


if __name__ == "__main__":
    main()
