"""Pictures with their bytes changed: every one is decoded within the limits or refused by name.

The decoder is asked directly for most of them, and the running proxy for some.
GUARDRAIL_FUZZ_EXAMPLES sets how many.
"""

import io
import json
import os
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from guardrail.errors import RequestError
from guardrail.images.codec import ImageLimits, decode_image

ASKED = os.environ.get("GUARDRAIL_FUZZ_EXAMPLES")
EXAMPLES = int(ASKED or "30")
LIMITS = ImageLimits(max_bytes=1 << 16, max_pixels=4096, max_side_px=256, max_total_pixels=4096)
CODES = {"invalid_image", "image_too_large", "unsupported_image_type", "images_too_large"}
NOT_A_PICTURE = CODES | {"image_type_mismatch", "invalid_image_url"}
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=ASKED is None,  # few cases are always the same, many are always new
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
COUNTS = Counter()


def saved(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010E] = "told"
    return data.tobytes()


def chunk(kind, data):
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def with_chunk(png, kind, data):
    """A PNG with one more chunk behind its header."""
    return png[:33] + chunk(kind, data) + png[33:]


def seeds():
    """Small files of every kind that the decoder knows."""
    colours = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    rgb = Image.fromarray(colours)
    rgba = Image.fromarray(np.dstack([colours, colours[:, :, 0]]))
    deep = Image.fromarray(colours[:, :, 0].astype(np.uint16) * 257)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [Image.fromarray(colours[::-1]), rgb.rotate(180)]
    png = saved(rgb, "PNG")
    return {
        "png": png,
        "png_alpha": saved(rgba, "PNG"),
        "png_palette": saved(rgb.quantize(7), "PNG", transparency=3),
        "png_1_bit": saved(rgb.convert("1"), "PNG"),
        "png_16_bit": saved(deep, "PNG"),
        "png_profile": saved(rgb, "PNG", icc_profile=profile),
        "png_orientation": saved(rgb, "PNG", exif=exif(6)),
        "png_animated": saved(rgb, "PNG", save_all=True, append_images=frames),
        "png_zipped_text": with_chunk(png, b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20), 9)),
        "png_profile_bomb": with_chunk(png, b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 22), 9)),
        "png_bomb": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 250, 16, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1 << 22), 9))
        + chunk(b"IEND", b""),
        "jpeg": saved(rgb, "JPEG"),
        "jpeg_progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg_gray": saved(rgb.convert("L"), "JPEG"),
        "jpeg_cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "jpeg_orientation": saved(rgb, "JPEG", exif=exif(5)),
        "jpeg_profile": saved(rgb, "JPEG", icc_profile=profile),
        "webp": saved(rgb, "WEBP"),
        "webp_lossless": saved(rgb, "WEBP", lossless=True),
        "webp_alpha": saved(rgba, "WEBP", exif=exif(8)),
        "webp_animated": saved(rgb, "WEBP", save_all=True, append_images=frames),
        "gif": saved(rgb, "GIF"),
        "gif_interlaced": saved(rgb, "GIF", interlace=1),
        "gif_animated": saved(rgb, "GIF", save_all=True, append_images=frames, disposal=2),
        "gif_clear": saved(rgb.quantize(7), "GIF", transparency=2),
    }


SEEDS = seeds()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "number", "cut", "drop", "repeat", "splice", "crc"]),
        st.integers(0, 1 << 14),
        st.integers(0, 255),
    ),
    max_size=5,
)
NUMBERS = (
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    bytes(4),
    b"\0\0\xff\xff",
    b"\xff\xff\0\0",
    b"\0\0\0\x01",
)


def edited(name, other, edits):
    data = bytearray(SEEDS[name])
    for what, at, value in edits:
        # Headers are where sizes and kinds stand, so half of all edits go there.
        place = (at // 2) % (64 if at % 2 else max(1, len(data)))
        match what:
            case "set":
                data[place : place + 1] = bytes([value])
            case "number":
                data[place : place + 4] = NUMBERS[value % len(NUMBERS)]
            case "cut":
                del data[place:]
            case "drop":
                del data[place : place + value]
            case "repeat":
                data[place:place] = data[place : place + value]
            case "splice":
                data[place:] = SEEDS[other][place:]
            case "crc":
                data = mended(data)
    return bytes(data)


def mended(data):
    """The checksums of a PNG's chunks made right, so that what is inside is read."""
    data, at = bytearray(data), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


FILES = st.builds(edited, st.sampled_from(sorted(SEEDS)), st.sampled_from(sorted(SEEDS)), EDITS)


@pytest.fixture(scope="module", autouse=True)
def told_counts():
    yield
    told = os.environ.get("GUARDRAIL_FUZZ_COUNTS")
    if told:
        with open(told, "a", encoding="utf-8") as lines:  # noqa: PTH123 (one line is added)
            lines.write(json.dumps({"suite": "pictures", **COUNTS}) + "\n")


def named(error):
    """The code of a refusal that says what it must."""
    assert error.param == "here"
    assert str(error).startswith("here: ")
    assert error.status in (400, 413, 415)
    COUNTS[f"decoder_{error.code}"] += 1
    return error.code


def decoded(data, limits=LIMITS):
    """The picture within the limits, or the code of its refusal."""
    COUNTS["decoder"] += 1
    try:
        picture = decode_image(data, declared_media_type=None, limits=limits, param="here")
    except RequestError as error:
        return named(error)
    COUNTS["decoder_taken"] += 1
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert 1 <= picture.height * picture.width <= limits.max_pixels
    return picture


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_decoded_or_refused(name):
    found = decoded(SEEDS[name])
    if "bomb" not in name and "zipped" not in name:
        assert sorted((found.height, found.width)) == [9, 12]
    else:
        assert not isinstance(found, str) or found in CODES


@settings(FUZZ, max_examples=10 * EXAMPLES)
@given(FILES)
def test_changed_bytes_are_a_picture_or_a_refusal(data):
    found = decoded(data)
    assert not isinstance(found, str) or found in CODES


@FUZZ
@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\xff\0\0\0WEBP"]),
       st.binary(max_size=200))  # fmt: skip
def test_bytes_behind_a_signature_are_a_picture_or_a_refusal(signature, rest):
    found = decoded(signature + rest)
    assert not isinstance(found, str) or found in CODES


@FUZZ
@given(FILES, st.sampled_from(["png", "jpeg", "webp", "gif"]))
def test_the_proxy_judges_them_or_names_them(shared, kit, data, kind):
    judged, called = len(shared.oracle.seen), len(shared.upstream.calls)
    url = kit.data_url(data or b"x", f"image/{kind}")
    messages = [{"role": "user", "content": [kit.image_part(url)]}]
    response = shared.post({"model": "scripted", "messages": messages})
    COUNTS["proxy"] += 1
    COUNTS[f"proxy_{response.status_code}"] += 1
    if response.status_code == 200:
        assert response.json()["guardrail"]["decision"] == "pass"
        assert response.json()["guardrail"]["certificate"] is not None
        assert len(shared.oracle.seen) > judged
        assert all(len(call.pictures) == 1 for call in shared.upstream.calls[called:])
        return
    assert response.status_code in (400, 413, 415)
    error = response.json()["error"]
    assert error["code"] in NOT_A_PICTURE
    assert error["param"] == "messages[0].content[0].image_url.url"
    assert len(shared.upstream.calls) == called
