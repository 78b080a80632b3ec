"""The digest of the pictures covers every pixel, every shape and the order."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guardrail.images.codec import Picture
from guardrail.images.digest import pixels_digest

PIXELS = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda size: arrays(np.uint8, (*size, 3))
)


def picture(pixels, media_type="image/png"):
    return Picture(pixels, media_type, pixels.shape[1], pixels.shape[0], 10)


@given(st.lists(PIXELS, max_size=3), st.lists(PIXELS, max_size=3))
def test_equal_exactly_for_equal_pictures(first, second):
    same = len(first) == len(second) and all(
        np.array_equal(a, b) for a, b in zip(first, second, strict=True)
    )
    digests = [pixels_digest([picture(p) for p in each]) for each in (first, second)]
    assert (digests[0] == digests[1]) == same


def test_shape_counts_where_the_bytes_are_the_same():
    pixels = np.arange(24, dtype=np.uint8)
    wide, high = pixels.reshape(2, 4, 3), pixels.reshape(4, 2, 3)
    assert pixels_digest([picture(wide)]) != pixels_digest([picture(high)])


def test_how_pictures_are_split_and_ordered_counts():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    top, bottom = picture(pixels[:1].copy()), picture(pixels[1:].copy())
    digests = {
        pixels_digest(each) for each in ([picture(pixels)], [top, bottom], [bottom, top], [], [top])
    }
    assert len(digests) == 5


def test_the_file_around_the_pixels_does_not_count():
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert pixels_digest([picture(pixels)]) == pixels_digest([picture(pixels, "image/webp")])


def test_reference_value():
    pixels = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    shape = b"".join(side.to_bytes(8, "big") for side in (1, 2, 3))
    expected = hashlib.sha256(b"guardrail/pixels/1" + shape + bytes(range(6))).digest()
    assert pixels_digest([picture(pixels)]) == expected
