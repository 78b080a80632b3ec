"""Encoding: PNG keeps every pixel, JPEG is 4:4:4, and all decode in Pillow."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from guardrail.images.encode import encode_image, media_type_of


def open_image(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@settings(deadline=None)
@given(
    array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
        lambda shape: arrays(np.uint8, (*shape, 3))
    ),
    st.integers(0, 9),
)
def test_png_keeps_every_pixel(pixels, level):
    image = open_image(encode_image(pixels, "png", png_level=level))
    assert image.format == "PNG"
    assert image.mode == "RGB"
    assert (np.asarray(image) == pixels).all()


def test_png_passes_pillows_integrity_check(colours):
    Image.open(io.BytesIO(encode_image(colours, "png"))).verify()


def test_png_of_a_view_that_is_not_contiguous(colours):
    turned = colours[::-1, ::2]
    assert (np.asarray(open_image(encode_image(turned, "png"))) == turned).all()


def test_large_png_spans_many_stored_blocks():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    assert (np.asarray(open_image(encode_image(pixels, "png"))) == pixels).all()


def test_jpeg_has_full_colour_resolution():
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    image = open_image(encode_image(stripes, "jpeg", quality=95))
    assert image.format == "JPEG"
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert np.abs(np.asarray(image).astype(int) - stripes).max() < 40


def test_webp_comes_near():
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    image = open_image(encode_image(smooth, "webp", quality=95))
    assert image.format == "WEBP"
    assert np.abs(np.asarray(image).astype(int) - smooth).max() < 24


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_quality_buys_nearness_with_bytes(image_format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sizes = [len(encode_image(noise, image_format, quality=q)) for q in (30, 60, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_one_pixel_and_media_type(image_format):
    image = open_image(encode_image(np.full((1, 1, 3), 255, np.uint8), image_format))
    assert image.size == (1, 1)
    assert media_type_of(image_format) == Image.MIME[image.format]


def test_same_pixels_give_the_same_bytes(colours):
    assert encode_image(colours, "png") == encode_image(colours.copy(), "png")
