from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from guardrail.demo.scenes import load_scenes
from guardrail.images.codec import Picture, decode_image
from guardrail.images.limits import ImageLimits
from guardrail.images.perceptual import (
    NEAR_COPY_BITS,
    PictureMark,
    are_near_copies_of_picture,
    mark_of,
    perceptual_hash,
)

LIMITS = ImageLimits(
    max_bytes=1 << 24, max_pixels=1 << 24, max_total_pixels=1 << 24, max_side_px=4096
)


def picture(pixels: np.ndarray) -> Picture:
    height, width = pixels.shape[:2]
    return Picture(pixels, "image/png", width, height, 0)


def encoded(pixels: np.ndarray, kind: str, **options: int) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return decode_image(stream.getvalue(), declared_media_type=None, limits=LIMITS, param="it")


def demo_pixels() -> dict[str, np.ndarray]:
    scenes = load_scenes()
    return {s.name: np.asarray(Image.open(io.BytesIO(s.png)).convert("RGB")) for s in scenes}


def test_copies_of_a_picture_are_near_copies():
    for pixels in demo_pixels().values():
        original = mark_of(picture(pixels))
        noise = np.random.default_rng(1).integers(-6, 7, pixels.shape)
        copies = [
            encoded(pixels, "JPEG", quality=30),
            picture(np.asarray(Image.fromarray(pixels).resize((112, 112)))),
            picture((pixels * 0.9).astype(np.uint8)),
            picture(np.clip(pixels + noise, 0, 255).astype(np.uint8)),
        ]
        for copy in map(mark_of, copies):
            assert copy.digest != original.digest
            assert are_near_copies_of_picture(original, copy)


def test_most_attacked_pictures_are_near_copies_of_their_own_and_none_of_another():
    marks = {name: mark_of(picture(pixels)) for name, pixels in demo_pixels().items()}
    near = {
        (a, b)
        for a in marks
        for b in marks
        if a < b and are_near_copies_of_picture(marks[a], marks[b])
    }
    number = {name: name.rsplit("-", 1)[1] for name in marks if not name.startswith("forbidden")}
    own = {(a, b) for a in number for b in number if a < b and number[a] == number[b]}
    assert near <= own
    small = {(f"attacked-small-{i}", f"clean-{i}") for i in range(1, 9)}
    large = {(f"attacked-large-{i}", f"clean-{i}") for i in range(1, 9)}
    assert small <= near
    # The largest attacks change what the mark is made of by more than a near copy may.
    assert len(near & large) >= 6


def test_the_distance_is_a_count_of_bits_and_closed():
    one = PictureMark(b"a", 0)
    assert are_near_copies_of_picture(one, PictureMark(b"b", (1 << NEAR_COPY_BITS) - 1))
    assert not are_near_copies_of_picture(one, PictureMark(b"b", (1 << NEAR_COPY_BITS + 1) - 1))
    assert are_near_copies_of_picture(one, PictureMark(b"a", (1 << 64) - 1))  # equal pixels


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_picture_has_no_frequencies(level: int):
    assert perceptual_hash(np.full((40, 50, 3), level, dtype=np.uint8)) == 0


def test_the_mean_takes_no_part_and_the_mirror_flips_the_odd_columns():
    pixels = demo_pixels()["clean-3"]
    mirrored = perceptual_hash(np.ascontiguousarray(pixels[:, ::-1]))
    changed = perceptual_hash(pixels) ^ mirrored
    odd = sum(1 << 64 - i for i in range(1, 65) if i % 9 % 2)
    assert changed == odd  # coefficient i stands in row i // 9, column i % 9
