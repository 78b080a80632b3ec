"""Variants per second, from one encoded 1024x1024 picture to encoded noisy variants.

Two pipelines do the same work on the same picture, both in one thread: this package, and the plain
way (numpy float64 noise from PCG64, Pillow's resize and Pillow's PNG at its default compression).
Beside them stands the bare cost of drawing the Gaussian numbers. Time is the process's own CPU
time, and the pipelines take turns of half a second, so that other work on the machine disturbs
little and all of them alike. Rates are those of the median round; the raw seconds of every round
are in `results.json`. With `two_cores` two processes do the same work side by side, and the rate is
that of both together, by the time of the slower one. Ratios of data URLs include the base64 in
which variants travel.

Run from the repository root:  python benchmarks/variants/run.py
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL
import pybase64
from PIL import Image, features

from guardrail.images.canvas import canvas_for
from guardrail.images.codec import ImageLimits, decode_image
from guardrail.images.encode import ImageFormat, encode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.noise import variant

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE_SIDE_PX = 1024
VARIANTS = 40  # of one decision; decoding and resizing are shared by them
SIGMA = 0.25
TURN_S = 0.5
KEY = NoiseKey(bytes(32))
LONG = ("cpu_seconds_per_round", "ratio_vs_pil_png_by_round", "bytes_per_variant")


def source(image_format: str) -> bytes:
    """A smooth picture with some grain, like a photograph; seeded."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:SOURCE_SIDE_PX, 0:SOURCE_SIDE_PX] / SOURCE_SIDE_PX
    waves = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * x * y), np.sin(9 * y)], axis=-1)
    levels = 127.5 + 100 * waves + draw.normal(0, 4, waves.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(buffer, image_format)
    return buffer.getvalue()


def product(data: bytes, side: int, image_format: ImageFormat, *, urls: bool = False) -> int:
    picture = decode_image(data, declared_media_type=None, limits=ImageLimits(), param="image")
    grid = canvas_for(picture.height, picture.width, max_side_px=side).apply(picture.pixels)
    size = 0
    for index in range(VARIANTS):
        noisy = variant(
            grid,
            sigma=SIGMA,
            key=KEY,
            request_digest=bytes(32),
            policy_digest=bytes(32),
            attempt=bytes(16),
            index=index,
            image_index=0,
        )
        encoded = encode_image(noisy, image_format)
        size += len(pybase64.b64encode(encoded) if urls else encoded)
    return size


def baseline(data: bytes, side: int, *, urls: bool = False) -> int:
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((side, side), Image.Resampling.BOX)
    pixels = np.asarray(image) / 255
    draw = np.random.default_rng(0)
    size = 0
    for _ in range(VARIANTS):
        noisy = np.clip(pixels + SIGMA * draw.standard_normal(pixels.shape), 0, 1)
        buffer = io.BytesIO()
        Image.fromarray(np.rint(noisy * 255).astype(np.uint8)).save(buffer, "PNG")
        encoded = buffer.getvalue()
        size += len(base64.b64encode(encoded) if urls else encoded)
    return size


def gaussians(generator: np.random.Generator, side: int) -> int:
    """Only the normal numbers of 40 variants in float64, nothing done with them."""
    for _ in range(VARIANTS):
        generator.standard_normal(side * side * 3)
    return VARIANTS * side * side * 3 * 8


def timed(action: Callable[[], int]) -> float:
    """Seconds of processor time a decision, over as many as half a second holds.

    The first one after another pipeline finds the caches filled with that one's data; equal times
    make everyone pay for it alike.
    """
    start, done = time.process_time(), 0
    while time.process_time() - start < TURN_S:
        action()
        done += 1
    return (time.process_time() - start) / done


def pipelines(data: bytes, side: int) -> dict[str, Callable[[], int]]:
    pcg, philox = np.random.default_rng(0), np.random.Generator(np.random.Philox(0))
    return {
        "guardrail_png": lambda: product(data, side, "png"),
        "guardrail_jpeg": lambda: product(data, side, "jpeg"),
        "numpy_pil_png": lambda: baseline(data, side),
        "guardrail_data_url": lambda: product(data, side, "png", urls=True),
        "numpy_pil_data_url": lambda: baseline(data, side, urls=True),
        "bare_gaussians_pcg64": lambda: gaussians(pcg, side),
        "bare_gaussians_philox": lambda: gaussians(philox, side),
    }


def measure(data: bytes, side: int, rounds: int) -> dict[str, object]:
    actions = pipelines(data, side)
    bytes_each = {name: action() // VARIANTS for name, action in actions.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(timed(action))
    rate = {name: VARIANTS / statistics.median(each) for name, each in seconds.items()}
    return {
        "variants_per_cpu_s": {name: round(value, 1) for name, value in rate.items()},
        "ratio_vs_pil_png": round(rate["guardrail_png"] / rate["numpy_pil_png"], 2),
        "ratio_vs_pil_png_by_round": ratios(seconds, "guardrail_png", "numpy_pil_png"),
        "ratio_of_data_urls": round(rate["guardrail_data_url"] / rate["numpy_pil_data_url"], 2),
        "two_cores": on_two_cores(data, side, rounds),
        "jpeg_ratio_vs_pil_png": round(rate["guardrail_jpeg"] / rate["numpy_pil_png"], 2),
        "ratio_vs_bare_gaussians": round(rate["guardrail_png"] / rate["bare_gaussians_pcg64"], 2),
        "bytes_per_variant": bytes_each,
        "cpu_seconds_per_round": {n: [round(s, 5) for s in each] for n, each in seconds.items()},
    }


def on_two_cores(data: bytes, side: int, rounds: int) -> dict[str, float]:
    """Variants per second by two processes side by side, which share nothing but the machine."""
    seconds: dict[str, list[float]] = {"guardrail_png": [], "numpy_pil_png": []}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for turn in range(rounds + 1):
            for name, each in seconds.items():
                both = [pool.submit(half, name, data, side) for _ in range(2)]
                slower = max(one.result() for one in both)
                if turn:  # the first one warms up
                    each.append(slower)
    rate = {n: round(2 * VARIANTS / statistics.median(each), 1) for n, each in seconds.items()}
    return {**rate, "ratio": round(rate["guardrail_png"] / rate["numpy_pil_png"], 2)}


def half(name: str, data: bytes, side: int) -> float:
    """The seconds of one of the two processes."""
    if name == "guardrail_png":
        return timed(lambda: product(data, side, "png"))
    return timed(lambda: baseline(data, side))


def ratios(seconds: dict[str, list[float]], ours: str, theirs: str) -> list[float]:
    return [round(b / a, 2) for a, b in zip(seconds[ours], seconds[theirs], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    parser.add_argument("--case", help="only this one, such as canvas_336_from_jpeg")
    options = parser.parse_args()
    sources = {name: source(name.upper()) for name in ("jpeg", "png")}
    results: dict[str, dict[str, object]] = {
        "setting": {
            "source_side_px": SOURCE_SIDE_PX,
            "source_bytes": {name: len(data) for name, data in sources.items()},
            "variants_per_decision": VARIANTS,
            "sigma": SIGMA,
            "rounds": options.rounds,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "pillow_zlib_ng": features.check_feature("zlib_ng"),
            "machine": platform.machine(),
        },
    }
    for side in (336, 448):
        for name, data in sources.items():
            case = f"canvas_{side}_from_{name}"
            if options.case not in (None, case):
                continue
            results[case] = measure(data, side, options.rounds)
            print(case, json.dumps({k: v for k, v in results[case].items() if k not in LONG}))
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
