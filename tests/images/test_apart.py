"""A process of its own decodes to the same pixels, refuses in the same words, and may die."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from guardrail.api.pictures import apart
from guardrail.api.pictures.apart import decode_apart, is_decoded_apart
from guardrail.errors import RequestError
from guardrail.images.codec import ImageLimits, decode_image

SMALL = ImageLimits(max_pixels=400, max_side_px=30)


def webp(width=14, height=9, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", **options)
    return buffer.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def outcome(decode, data, media_type="image/webp", limits=SMALL):
    try:
        return decode(data, declared_media_type=media_type, limits=limits, param="here")
    except RequestError as error:
        return (str(error), error.status, error.param, error.code)


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": orientation(6)}])
def test_the_same_picture(options):
    data = webp(**options)
    here, there = outcome(decode_image, data), outcome(decode_apart, data)
    np.testing.assert_array_equal(here.pixels, there.pixels)
    assert not there.pixels.flags.writeable
    for name in ("media_type", "source_width_px", "source_height_px", "source_bytes"):
        assert getattr(here, name) == getattr(there, name)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(webp()[:40], "image/webp"), (webp(29, 29), "image/webp"), (webp(), "image/png")],
)
def test_the_same_refusal(data, media_type):
    here, there = outcome(decode_image, data, media_type), outcome(decode_apart, data, media_type)
    assert here == there
    assert len(here) == 4


def test_a_picture_larger_than_any_pipe():
    data = webp(700, 500)
    limits = ImageLimits()
    here, there = (
        outcome(decode_image, data, None, limits),
        outcome(decode_apart, data, None, limits),
    )
    np.testing.assert_array_equal(here.pixels, there.pixels)


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "print('{', end='')",
        "print('no json')",
        "import sys; sys.stdin.read(); print('{\"shape\": [5, 5, 3]}'); print('short')",
    ],
)
def test_a_process_that_dies_or_babbles_is_a_damaged_picture(program, monkeypatch):
    popen = subprocess.Popen

    def other(_command, **options):
        return popen([sys.executable, "-c", program], **options)

    monkeypatch.setattr(apart.subprocess, "Popen", other)
    _, status, param, code = outcome(decode_apart, webp())
    assert (status, param, code) == (400, "here", "invalid_image")


def test_a_process_that_hangs_is_ended(monkeypatch):
    popen = subprocess.Popen

    def other(_command, **options):
        return popen([sys.executable, "-c", "import time; time.sleep(600)"], **options)

    monkeypatch.setattr(apart.subprocess, "Popen", other)
    monkeypatch.setattr(apart, "_WALL_S", 0.2)
    assert outcome(decode_apart, webp())[3] == "invalid_image"


@pytest.mark.parametrize("image_format", ["BMP", "TIFF"])
def test_rarer_formats_are_decoded_apart(colours, image_format):
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, image_format)
    data = buffer.getvalue()
    assert is_decoded_apart(data, (7, 11))
    np.testing.assert_array_equal(outcome(decode_apart, data, None).pixels, colours)


def test_only_large_webp_is_worth_a_process(colours):
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    assert is_decoded_apart(webp(), (6000, 4000))
    assert not is_decoded_apart(webp(), (600, 400))
    assert not is_decoded_apart(buffer.getvalue(), (6000, 4000))
