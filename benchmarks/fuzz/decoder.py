"""The decoder under atheris: any bytes are a picture within the limits or a refusal.

Started by run.py; takes libFuzzer's options.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["PIL", "guardrail.images"]):
    from PIL import Image

    from guardrail.errors import RequestError
    from guardrail.images.codec import ImageLimits, decode_image

LIMITS = ImageLimits(max_bytes=1 << 14, max_pixels=4096, max_side_px=256, max_total_pixels=4096)


def decode(data: bytes) -> None:
    try:
        picture = decode_image(data, declared_media_type=None, limits=LIMITS, param="here")
    except RequestError:
        return
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert picture.pixels.size <= 3 * LIMITS.max_pixels


def seeds(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for image_format in ("PNG", "JPEG", "WEBP", "GIF"):
        for mode in ("RGB", "L"):
            buffer = io.BytesIO()
            image.convert(mode).save(buffer, image_format)
            (folder / f"{image_format}_{mode}").write_bytes(buffer.getvalue())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder))
        atheris.Setup([*sys.argv, folder], decode)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
