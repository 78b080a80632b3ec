"""Format and size from the first bytes, against Pillow's own reading."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardrail.images.header import MEDIA_TYPES, declared_size, has_too_many_scans, sniff


def save(width, height, image_format, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 200)).save(buffer, image_format, **options)
    return buffer.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(
        [("PNG", {}), ("JPEG", {}), ("GIF", {}), ("WEBP", {}), ("BMP", {})]
        + [("TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "jpeg")]
    ),
)
def test_size_is_what_was_written(width, height, kind):
    data = save(width, height, kind[0], **kind[1])
    assert sniff(data) == kind[0]
    assert declared_size(data, kind[0]) == (width, height)


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xc0\0\x11\x08\0\1\0\1" * 40}),
        ("JPEG", {"comment": b"\xff\xc0\0\x11\x08\0\1\0\1"}),
        ("JPEG", {"icc_profile": bytes(range(256)) * 600}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\0\0\0\0"}),
    ],
)
def test_segments_that_imitate_a_header_do_not_mislead(image_format, options):
    assert declared_size(save(123, 45, image_format, **options), image_format) == (123, 45)


def test_fill_bytes_before_a_marker_are_skipped():
    data = save(12, 34, "JPEG")
    start = data.index(b"\xff\xc0")
    assert declared_size(data[:start] + b"\xff" * 7 + data[start:], "JPEG") == (12, 34)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_header_cut_short_has_no_size_or_the_right_one(image_format):
    data = save(123, 45, image_format)
    for end in range(len(data)):
        assert declared_size(data[:end], image_format) in (None, (123, 45))
    assert declared_size(data[:8], image_format) is None


def test_an_unknown_webp_chunk_has_no_size():
    assert declared_size(b"RIFF\0\0\0\0WEBPJUNK" + b"\0" * 30, "WEBP") is None


def test_a_png_without_its_header_chunk_has_no_size():
    assert declared_size(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIDAT" + b"\0" * 30, "PNG") is None


@given(st.sampled_from(sorted(MEDIA_TYPES)), st.binary(max_size=200))
def test_any_bytes_give_a_size_or_none(image_format, data):
    size = declared_size(data, image_format)
    assert size is None or (size[0] >= 0 and size[1] >= 0)


@given(st.binary(max_size=20))
def test_unknown_signatures_are_none(data):
    known = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
    assert sniff(data) is None or data.startswith(known) or data[4:8] == b"ftyp"


def test_honest_jpegs_have_few_scans():
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", progressive=True, quality=95)
    assert not has_too_many_scans(buffer.getvalue())


def test_what_lies_after_the_picture_is_not_counted():
    data = save(8, 8, "JPEG")
    assert not has_too_many_scans(data + b"\xff\xda\0\x02" * 500)
    assert has_too_many_scans(data[:-2] + b"\xff\xda\0\x02" * 500 + data[-2:])
