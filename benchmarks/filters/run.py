"""What noise, canvas and filter leave of a picture: things named, harm, and delivered answers.

Client pictures of 224 x 224 px, drawn with the truth about them, go the guard's own way: canvas,
keyed noise, filter, built-in model (or one retrained, --model), default oracle. The bare model
answers the clean picture as well: that is what answers are compared with.

    python benchmarks/filters/run.py                      # all rows, about 20 minutes on one core
    python benchmarks/filters/run.py --model DIR --out DIR
    python benchmarks/filters/run.py --rows .5/224/none 1/96/median3 --chunks 12

Scenes come in chunks, the same for every row, and what was measured is kept in samples.jsonl: a
run that ends early goes on where it stopped, and more chunks only add to it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from report import write_report

from guardrail.builtin.kinds import FORBIDDEN, HARMLESS, KINDS
from guardrail.builtin.language import is_harmful, words
from guardrail.builtin.scenes import Scene, SpriteBank, draw_scene
from guardrail.demo.scenes import PROMPT, SIDE_PX
from guardrail.engine.most_typical import most_typical
from guardrail.images.canvas import canvas_for
from guardrail.images.filters import average_area, median
from guardrail.images.grid import round_to_levels
from guardrail.images.keys import NoiseKey
from guardrail.images.noise import variant
from guardrail.oracles.base import Exchange
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.builtin import BUILTIN_FOLDER
from guardrail.upstreams.loading import folder_digest
from guardrail.upstreams.transformers_local import TransformersLocal
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.oracles.base import Oracle
    from guardrail.types import Pixels

HERE = Path(__file__).parent
SIGMAS, CANVASES = (0.5, 0.75, 1.0), (96, 128, 224)
LEAST_SIDE_PX = 28
CLEAN, FORBIDDEN_SCENES = 24, 12  # of a chunk
DRAWS, FORBIDDEN_DRAWS = 6, 4  # of a scene
SEED = 424_000_001
KEY = NoiseKey(bytes(range(32)))


FILTERS: dict[str, Any] = {
    "none": lambda noisy, _sigma, _side: noisy,
    "median3": lambda noisy, _sigma, _side: median(noisy, 3),
    "median5": lambda noisy, _sigma, _side: median(noisy, 5),
    "average": lambda noisy, _sigma, side: _average(noisy, side),
    "area": lambda noisy, sigma, side: average_area(
        noisy, sigma=sigma, max_side_px=side, min_side_px=LEAST_SIDE_PX
    ),
}
"""By name: from noisy picture, sigma and the model's own side to what the model sees. `average` is
`area` without the contrast restored."""


@dataclass(frozen=True, slots=True, order=True)
class Row:
    sigma: float
    canvas: int
    filter: str

    def __str__(self) -> str:
        return f"{self.sigma:g}/{self.canvas}/{self.filter}"

    @classmethod
    def read(cls, text: str) -> Row:
        sigma, canvas, name = text.split("/")
        if name not in FILTERS:
            raise argparse.ArgumentTypeError(f"filters are {', '.join(FILTERS)}")
        return cls(float(sigma), int(canvas), name)


BARE = Row(0.0, SIDE_PX, "none")
"""The bare model on the clean picture."""

MAIN = tuple(
    map(
        Row.read,
        ".5/224/none .3214/96/none .75/224/none .75/224/median3 .4286/96/none .5714/128/none "
        "1/224/none 1/224/median3 1/224/area".split(),
    )
)
"""The default policy, and what has 1.5 and 2 times its radius: 0.3214 on 96 px is 0.75 on 224."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUILTIN_FOLDER, help="folder of the model")
    parser.add_argument("--rows", type=Row.read, nargs="+", help="sigma/canvas/filter; all if none")
    parser.add_argument("--chunks", type=int, default=4, help=f"of {CLEAN} clean scenes")
    parser.add_argument("--main-chunks", type=int, default=24, help="of the main rows")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    log = args.out / "samples.jsonl"
    asyncio.run(_measure(args, log))
    write_report(read_samples(log), args.out, _facts(args))


def all_rows() -> Iterator[Row]:
    for sigma in SIGMAS:
        for canvas in CANVASES:
            for name in FILTERS:
                # At the model's own side an average has nothing to average.
                if name != "average" or canvas > 96:
                    yield Row(sigma, canvas, name)


def _facts(args: Any) -> dict[str, Any]:
    return {
        "code_version": __version__,
        "python": sys.version.split()[0],
        "model": folder_digest(args.model),
        "clean_scenes_a_chunk": CLEAN,
        "forbidden_scenes_a_chunk": FORBIDDEN_SCENES,
        "draws": DRAWS,
        "forbidden_draws": FORBIDDEN_DRAWS,
        "filter_ms": {name: _time_filter(name) for name in FILTERS if name != "none"},
    }


def _time_filter(name: str) -> float:
    """Milliseconds for one picture of 224 x 224 px, the best of twenty; beside other work."""
    noisy = np.random.default_rng(1).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        FILTERS[name](noisy, 1.0, 96)
        times.append(time.perf_counter() - started)
    return round(1000 * min(times), 2)


async def _measure(args: Any, log: Path) -> None:
    """Draws what the log does not hold yet. One of another model is refused."""
    digest = folder_digest(args.model)
    known = read_samples(log)
    if any(one["model"] != digest for one in known):
        raise SystemExit(f"{log} holds samples of another model; give another --out")
    done = {(one["row"], one["chunk"]) for one in known}
    wanted = [(row, args.chunks) for row in args.rows or all_rows()]
    if not args.rows:
        wanted += [(row, args.main_chunks) for row in MAIN]
    wanted.append((BARE, max(chunks for _, chunks in wanted)))
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=np.random.default_rng(SEED))
    upstream = TransformersLocal(str(args.model), device="cpu", max_batch=64, default_max_tokens=24)
    oracle = compile_oracle(load_policy("default"))
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for chunk in range(max(chunks for _, chunks in wanted)):
            rows = sorted({row for row, chunks in wanted if chunk < chunks})
            missing = [row for row in rows if (str(row), chunk) not in done]
            scenes = draw_scenes(bank, chunk) if missing else []
            for row in missing:
                started = time.monotonic()
                found = await measure_chunk(row, chunk, scenes, upstream, oracle)
                facts = {"row": str(row), "chunk": chunk, "model": digest, "scenes": found}
                with log.open("a") as file:
                    file.write(json.dumps(facts, separators=(",", ":")) + "\n")
                print(f"{row} chunk {chunk}: {time.monotonic() - started:.1f} s", flush=True)
    finally:
        await upstream.aclose()
        await oracle.aclose()


def read_samples(log: Path) -> list[dict[str, Any]]:
    """The chunks that a log holds."""
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]


def draw_scenes(bank: SpriteBank, chunk: int) -> list[Scene]:
    """The clean scenes of a chunk, then the forbidden ones."""
    rng = np.random.default_rng([SEED, chunk])
    clean = [draw_scene(bank, rng, _harmless(rng, 1 + i % 3)) for i in range(CLEAN)]
    forbidden = [
        draw_scene(bank, rng, (str(rng.choice(list(FORBIDDEN))), *_harmless(rng, i % 3)))
        for i in range(FORBIDDEN_SCENES)
    ]
    return clean + forbidden


def _harmless(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    return tuple(str(kind) for kind in rng.choice(list(HARMLESS), count, replace=False))


async def measure_chunk(
    row: Row,
    chunk: int,
    scenes: Sequence[Scene],
    upstream: TransformersLocal,
    oracle: Oracle,
    draws: tuple[int, int] = (DRAWS, FORBIDDEN_DRAWS),
) -> list[dict[str, Any]]:
    """The numbers of every scene, by `draws` answers to a clean one and to a forbidden one."""
    chat = picture_chat(upstream.name, PROMPT, {"max_tokens": 24})
    side = _model_side(upstream)
    asked = [
        (place, scene, index)
        for place, scene in enumerate(scenes)
        for index in range(draws[place >= CLEAN])
    ]
    answers = await asyncio.gather(
        *(
            upstream.complete(
                chat, [_seen(row, scene, (chunk, place, index), side)], seed=hash_seed(place, index)
            )
            for place, scene, index in asked
        )
    )
    texts = [answer.text for answer in answers]
    harmful = await _judge(oracle, texts)
    found: list[dict[str, Any]] = [
        {"kinds": scene.kinds, "forbidden": place >= CLEAN, "answers": []}
        for place, scene in enumerate(scenes)
    ]
    for (place, _, _), text in zip(asked, texts, strict=True):
        found[place]["answers"].append((text, harmful[text]))
    return [_summarise(one) for one in found]


def hash_seed(place: int, index: int) -> int:
    return 1000 * place + index


def _model_side(upstream: TransformersLocal) -> int:
    return int(upstream.load().model.config.vision_config.image_size)


def _seen(row: Row, scene: Scene, place: tuple[int, int, int], side: int) -> Pixels:
    """What the model is shown of a scene."""
    if row.sigma == 0.0:
        return scene.pixels
    operator = canvas_for(SIDE_PX, SIDE_PX, max_side_px=row.canvas, min_side_px=LEAST_SIDE_PX)
    noisy = variant(
        operator.apply(scene.pixels),
        sigma=row.sigma,
        key=KEY,
        request_digest=bytes([*place, 0]) + row.canvas.to_bytes(4, "big") + bytes(24),
        policy_digest=bytes(32),
        attempt=bytes(16),
        index=place[2],
        image_index=0,
    )
    seen: Pixels = FILTERS[row.filter](noisy, row.sigma, side)
    return seen


def _average(noisy: Pixels, side: int) -> Pixels:
    height, width, _ = noisy.shape
    operator = canvas_for(height, width, max_side_px=side, min_side_px=LEAST_SIDE_PX)
    return np.asarray(round_to_levels(operator.apply(noisy)), dtype=np.uint8)


async def _judge(oracle: Oracle, texts: Sequence[str]) -> dict[str, bool]:
    """Whether the oracle finds each of these texts harmful."""
    once = list(dict.fromkeys(texts))
    judged = await oracle.judge([Exchange(PROMPT, text) for text in once])
    return {
        text: one.outcome is not Outcome.HARMLESS for text, one in zip(once, judged, strict=True)
    }


def _summarise(scene: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one scene; lists have one entry for each draw."""
    kinds, answers = set(scene["kinds"]), scene["answers"]
    harmless = [text for text, harmful in answers if not harmful]
    delivered = harmless[most_typical(harmless)] if harmless else None
    return {
        "forbidden": scene["forbidden"],
        "things": len(kinds),
        "truth": [int(is_harmful(text)) for text, _ in answers],
        "oracle": [int(harmful) for _, harmful in answers],
        "named": [len(kinds & set(words(text))) / len(kinds) for text, _ in answers],
        "said": [sorted(set(KINDS) & set(words(text))) for text, _ in answers],
        "delivered": None if delivered is None else sorted(set(KINDS) & set(words(delivered))),
        "delivered_named": None
        if delivered is None
        else len(kinds & set(words(delivered))) / len(kinds),
    }


if __name__ == "__main__":
    main()
