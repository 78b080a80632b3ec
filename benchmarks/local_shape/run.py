"""Answers a second and seconds a certificate of LLaVA-1.6-7B's shape, with random weights.

    python benchmarks/local_shape/run.py                            # one GPU, 8 minutes at most
    python benchmarks/local_shape/run.py --device cpu --shape small --batches 1 4 --tokens 8

Weights are made where they compute, nothing is fetched: what is measured is the cost of a model of
this shape through this package, not what any model says. Without a GPU, and unless --device says
otherwise, it measures nothing. Every row is kept as soon as it is measured, in
results/SHAPE-DEVICE.json; table.md is made from all of them.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from shape import SHAPES, new_model, new_processor

from guardrail.images.encode import encode_image
from guardrail.types import picture_chat
from guardrail.upstreams.loading import Loaded
from guardrail.upstreams.local_generate import GenerationRow, generate
from guardrail.upstreams.local_memory import RowLimit
from guardrail.upstreams.local_request import read_request
from guardrail.upstreams.transformers_local import TransformersLocal
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
QUESTION = "What is shown in this picture? Name every thing and say what it is for."
PREFIXES = (35, 1000)
"""Words in front of the picture: a usual system prompt, and a long one."""


class RandomModel(TransformersLocal):
    """A model that is in memory already, as an upstream."""

    def __init__(self, loaded: Loaded, name: str, max_batch: int) -> None:
        super().__init__(name, name=name, device=loaded.device, max_batch=max_batch)
        self._given = loaded

    def load(self) -> Loaded:
        return self._given

    def picture_side(self, _model: str) -> None:
        return None


@dataclass(frozen=True)
class Measuring:
    """What is measured, and until when."""

    loaded: Loaded
    args: argparse.Namespace
    deadline: float

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def now(self) -> float:
        """Seconds: by the clock on a GPU, else of this process, as others share the cores."""
        is_gpu = self.loaded.device.startswith("cuda")
        return time.perf_counter() if is_gpu else time.process_time()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each kind in turn; a kind is left once time is up."""
        self._answers(1, 2)  # kernels are chosen, memory is taken
        yield from self.certificates()
        yield from self.batches()
        yield from self.prefixes()

    def batches(self) -> Iterator[dict[str, Any]]:
        """Answers a second by how many are computed at once."""
        for batch in self.args.batches:
            if self.is_over:
                return
            first_s, _ = self._answers(batch, 1)
            seconds, answers = self._answers(batch, self.args.tokens)
            tokens = sum(answer.usage.completion_tokens for answer in answers)
            yield {
                "what": "answers", "batch": batch, "prompt_tokens": answers[0].usage.prompt_tokens,
                "answer_tokens": tokens / batch, "first_token_s": first_s, "seconds": seconds,
                "answers_per_s": batch / seconds, "peak_gib": _peak_gib(self.loaded.device),
            }  # fmt: skip

    def certificates(self) -> Iterator[dict[str, Any]]:
        """Whole decisions of the default policy; every answer counts as harmless."""
        from guardrail.middleware.guard import Guard

        most = max(self.args.batches)
        upstream = RandomModel(self.loaded, f"random-{self.args.shape}", most)
        with Guard("default", upstream, oracle=lambda _text: False) as guard:
            for number in range(self.args.certificates):
                if self.is_over:
                    return
                body = _body(_picture(self.args.side, number), self.args.tokens)
                start = time.monotonic()
                verdict = guard.decide_sync(body).verdict
                yield {
                    "what": "certificate", "reason": verdict.reason.value,
                    "calls": verdict.usage.calls, "seconds": time.monotonic() - start,
                }  # fmt: skip

    def prefixes(self) -> Iterator[dict[str, Any]]:
        """Seconds to the first token with the states in front of the picture computed once."""
        for words in PREFIXES:
            if not self.is_over and words < SHAPES[self.args.shape].context // 2:
                yield self.prefix(words)

    def prefix(self, words: int) -> dict[str, Any]:
        """One prefix, each way three times in turn; the fastest of each."""
        import torch
        from PIL import Image

        loaded, batch = self.loaded, self.args.prefix_batch

        text = f"SYSTEM: {'word ' * words}USER: <image> {QUESTION} ASSISTANT:"
        pictures = [[Image.fromarray(_picture(self.args.side, i))] for i in range(batch)]
        inputs = loaded.processor(text=[text] * batch, images=pictures, return_tensors="pt")
        inputs = inputs.to(loaded.device, dtype=loaded.model.dtype)
        ids = inputs["input_ids"]
        image = loaded.processor.tokenizer.convert_tokens_to_ids("<image>")
        shared = int((ids[0] == image).nonzero()[0])
        best = {"apart": float("inf"), "shared": float("inf")}
        drawn: dict[str, Any] = {}
        for _ in range(3):
            for way in best:
                start = self.now()
                with torch.inference_mode():
                    past = {}
                    if way == "shared":
                        cache = loaded.model(input_ids=ids[:1, :shared], use_cache=True)
                        cache.past_key_values.batch_repeat_interleave(batch)
                        past = {"past_key_values": cache.past_key_values}
                    tokens = loaded.model.generate(
                        **inputs, **past, max_new_tokens=1, do_sample=False, pad_token_id=0
                    )
                drawn[way] = tokens[:, -1].tolist()
                best[way] = min(best[way], self.now() - start)
        return {
            "what": "prefix", "batch": batch, "prefix_tokens": shared,
            "prompt_tokens": int(ids.shape[1]), "apart_s": best["apart"],
            "shared_s": best["shared"], "same_tokens": drawn["apart"] == drawn["shared"],
        }  # fmt: skip

    def _answers(self, batch: int, tokens: int) -> tuple[float, list[Any]]:
        request = read_request(picture_chat("m", QUESTION, {"temperature": 1}), tokens)
        rows = [GenerationRow(request, (_picture(self.args.side, i),), i) for i in range(batch)]
        _forget_peak(self.loaded.device)
        start = self.now()
        answers = generate(self.loaded, rows, "random", lambda: True, RowLimit())
        return self.now() - start, answers


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="llava-1.6-7b")
    parser.add_argument("--device", help="torch's word; the first GPU by default")
    parser.add_argument("--dtype", help="bfloat16 on a GPU, else float32")
    parser.add_argument("--minutes", type=float, default=8.0, help="no row begins later")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--side", type=int, default=224, help="of the square picture, in px")
    parser.add_argument("--certificates", type=int, default=5)
    parser.add_argument("--prefix-batch", type=int, default=8)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * args.minutes
    device = args.device or _gpu()
    if device is None:
        print("skipped: no GPU here; --device cpu --shape small measures a smaller model")
        return
    write_rows(args, device, deadline)
    (args.out / "table.md").write_text(render_tables(args.out / "results"))


def write_rows(args: argparse.Namespace, device: str, deadline: float) -> None:
    """Measures, and keeps what is measured after each row."""
    import torch
    import transformers

    dtype = args.dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    shape = SHAPES[args.shape]
    torch.manual_seed(0)
    processor = new_processor(shape)
    start = time.monotonic()
    model = new_model(shape, processor, device=device, dtype=dtype)
    head = {
        "shape": args.shape, "device": _describe(device), "dtype": dtype,
        "parameters": sum(p.numel() for p in model.parameters()), "side_px": args.side,
        "tokens": args.tokens, "made_s": time.monotonic() - start, "torch": torch.__version__,
        "transformers": transformers.__version__, "code_version": __version__,
    }  # fmt: skip
    file = args.out / "results" / f"{args.shape}-{device.partition(':')[0]}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for row in Measuring(Loaded(model, processor, device), args, deadline).rows():
        rows.append(row)
        file.write_text(json.dumps({**head, "rows": rows}, indent=1) + "\n")
        print(row, flush=True)


def render_tables(folder: Path) -> str:
    """All results as Markdown."""
    parts = ["# Speed of a LLaVA-1.6 shape with random weights"]
    for file in sorted(folder.glob("*.json")):
        parts += _section(json.loads(file.read_text()))
    return "\n\n".join(parts) + "\n"


def _section(facts: dict[str, Any]) -> list[str]:
    of = {what: [r for r in facts["rows"] if r["what"] == what]
          for what in ("answers", "certificate", "prefix")}  # fmt: skip
    passed = [row for row in of["certificate"] if row["reason"] == "certified"]
    clock = "" if "cpu" not in facts["device"] else " Seconds of the processor, but certificates'."
    parts = [
        f"## {facts['shape']} on {facts['device']}",
        (f"{facts['parameters'] / 1e6:,.0f} million parameters in {facts['dtype']}, pictures of "
        f"{facts['side_px']} x {facts['side_px']} px, answers of {facts['tokens']} tokens; torch "
        f"{facts['torch']}, transformers {facts['transformers']}, "
        f"guardrail {facts['code_version']}.{clock}"),
    ]  # fmt: skip
    if passed:
        seconds = sorted(row["seconds"] for row in passed)
        parts.append(
            f"A certificate of the default policy: {seconds[(len(seconds) - 1) // 2]:.1f} s "
            f"(median of {len(seconds)}) with {passed[0]['calls']} answers."
        )
    parts += [
        f"A decision without a certificate: {row['reason']}."
        for row in of["certificate"]
        if row not in passed
    ]
    if of["answers"]:
        parts.append(_table(
            ["answers at once", "prompt tokens", "to the first token, s", "whole, s",
             "answers a second", "memory, GiB"],
            [[str(r["batch"]), str(r["prompt_tokens"]), f"{r['first_token_s']:.3g}",
              f"{r['seconds']:.3g}", f"{r['answers_per_s']:.3g}", _gib(r["peak_gib"])]
             for r in of["answers"]]))  # fmt: skip
    if of["prefix"]:
        parts.append(
            "States of the tokens in front of the picture computed once for a batch, instead of "
            "for each of its rows (to the first token):"
        )
        parts.append(_table(
            ["tokens in front", "of", "rows", "each, s", "shared, s", "saved"],
            [[str(r["prefix_tokens"]), str(r["prompt_tokens"]), str(r["batch"]),
              f"{r['apart_s']:.3g}", f"{r['shared_s']:.3g}",
              f"{1 - r['shared_s'] / r['apart_s']:.1%}"] for r in of["prefix"]]))  # fmt: skip
    return parts


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---:"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gib(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f}"


def _body(pixels: np.ndarray, tokens: int) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(encode_image(pixels, "png")).decode()
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": QUESTION},
    ]
    return {
        "model": "random", "max_tokens": tokens, "temperature": 1,
        "messages": [{"role": "user", "content": content}],
    }  # fmt: skip


def _picture(side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def _gpu() -> str | None:
    import torch

    return "cuda" if torch.cuda.is_available() else None


def _describe(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{device}, {torch.get_num_threads()} threads"


def _peak_gib(device: str) -> float | None:
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if device.startswith("cuda") else None


def _forget_peak(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
