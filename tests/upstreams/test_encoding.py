import asyncio
import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

from guardrail.errors import ConfigError
from guardrail.upstreams import encoding
from guardrail.upstreams.encoding import Encoding


def decoded(url, media_type):
    head, payload = url.split(b",", 1)
    assert head == f"data:{media_type};base64".encode()
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(payload, validate=True))))


@pytest.mark.parametrize("size", [1, 20, 300])
def test_png_keeps_every_pixel(make_picture, size):
    pictures = [make_picture(size, size + 1, seed) for seed in range(3)]
    urls = asyncio.run(Encoding().data_urls(pictures))
    for url, picture in zip(urls, pictures, strict=True):
        np.testing.assert_array_equal(decoded(url, "image/png"), picture)


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_lossy_formats_are_near_and_quality_counts(image_format):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1))] * 3, axis=2)
    fine, coarse = (
        asyncio.run(Encoding(image_format, quality).data_urls([picture]))[0] for quality in (95, 5)
    )
    seen = decoded(fine, f"image/{image_format}").astype(int)
    assert np.abs(seen - picture).mean() < 4
    assert len(coarse) < len(fine)


@pytest.mark.parametrize(
    ("image_format", "small", "large"), [("png", 512, 600), ("jpeg", 8, 256), ("webp", 8, 256)]
)
def test_only_large_pictures_are_encoded_in_a_thread(
    make_picture, monkeypatch, image_format, small, large
):
    threads = []
    encode = encoding.encode_image

    def spy(*arguments, **options):
        threads.append(threading.current_thread())
        return encode(*arguments, **options)

    monkeypatch.setattr(encoding, "encode_image", spy)
    for side in (small, large):
        asyncio.run(Encoding(image_format).data_urls([make_picture(side, side)]))
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


def test_no_picture_no_url():
    assert asyncio.run(Encoding().data_urls([])) == []


@pytest.mark.parametrize(
    ("image_format", "quality", "field"),
    [("gif", 90, "variant_format"), ("png", 0, "jpeg_quality"), ("jpeg", 101, "jpeg_quality")],
)
def test_wrong_options_are_named(image_format, quality, field):
    with pytest.raises(ConfigError) as caught:
        Encoding(image_format, quality)
    assert caught.value.field == field


def test_text_names_what_changes_the_pixels():
    assert str(Encoding()) == "png"
    assert str(Encoding("jpeg", 80)) == "jpeg q80"
