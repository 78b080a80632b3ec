"""Size and time of one encoded variant by format and quality, and what other encoders would save.

A noisy canvas of 336 pixels is encoded again and again in one thread; times are the process's own
CPU time, the median of all rounds. `simplejpeg` and `imagecodecs` are measured where they are
installed. The numbers are in `formats.json`.

Run from the repository root:  python benchmarks/variants/formats.py
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL

from guardrail.images.encode import encode_image
from guardrail.images.grid import STEPS_PER_LEVEL
from guardrail.images.keys import NoiseKey
from guardrail.images.noise import variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIDE_PX, SIGMA = 336, 0.25


def noisy() -> NDArray[np.uint8]:
    """A variant of a smooth picture; always the same."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    waves = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * x * y), np.sin(9 * y)], axis=-1)
    grid = np.rint((127.5 + 100 * waves) * STEPS_PER_LEVEL).astype(np.int32)
    return variant(
        grid,
        sigma=SIGMA,
        key=NoiseKey(bytes(32)),
        request_digest=bytes(32),
        policy_digest=bytes(32),
        attempt=bytes(16),
        index=0,
        image_index=0,
    )


def ours(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    yield "png", lambda: encode_image(pixels, "png")
    yield "png, compressed", lambda: encode_image(pixels, "png", png_level=1)
    for quality in (75, 90, 95):
        yield f"jpeg q{quality}", lambda q=quality: encode_image(pixels, "jpeg", quality=q)
        yield f"webp q{quality}", lambda q=quality: encode_image(pixels, "webp", quality=q)


def others(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The same 4:4:4 and the same qualities by other bindings of the same libraries."""
    for quality in (75, 90, 95):
        if (simplejpeg := _installed("simplejpeg")) is not None:
            yield (
                f"jpeg q{quality}, simplejpeg",
                lambda q=quality, e=simplejpeg.encode_jpeg: e(
                    pixels, quality=q, colorsubsampling="444"
                ),
            )
        if (imagecodecs := _installed("imagecodecs")) is not None:
            yield (
                f"jpeg q{quality}, imagecodecs",
                lambda q=quality, e=imagecodecs.jpeg8_encode: e(pixels, level=q, subsampling="444"),
            )
            yield (
                f"webp q{quality}, imagecodecs",
                lambda q=quality, e=imagecodecs.webp_encode: e(
                    pixels, level=q, method=0, lossless=False
                ),
            )


def _installed(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def measured(encode: Callable[[], bytes], rounds: int) -> dict[str, float]:
    size = len(encode())  # also warms up
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        encode()
        taken.append(time.process_time() - start)
    return {"bytes": size, "cpu_ms": round(1000 * statistics.median(taken), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("formats.json"))
    options = parser.parse_args()
    pixels = noisy()
    results: dict[str, object] = {
        "setting": {
            "side_px": SIDE_PX,
            "sigma": SIGMA,
            "raw_bytes": pixels.nbytes,
            "rounds": options.rounds,
            "python": platform.python_version(),
            "pillow": PIL.__version__,
        }
    }
    for name, encode in (*ours(pixels), *others(pixels)):
        results[name] = measured(encode, options.rounds)
        print(name, results[name])
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
