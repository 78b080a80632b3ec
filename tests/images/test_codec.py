"""Decoding: right pixels for every kind of picture, and a RequestError for everything else."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from guardrail.errors import RequestError
from guardrail.images import codec
from guardrail.images.codec import ImageLimits, decode_image
from guardrail.images.encode import encode_image

LIMITS = ImageLimits()
PARAM = "messages[0].content[1].image_url.url"
REFUSALS = {
    (400, "invalid_image"),
    (413, "image_too_large"),
    (415, "unsupported_image_type"),
}
NAMES = [
    "png",
    "png_palette",
    "png_gray16",
    "png_alpha",
    "png_animated",
    "jpeg",
    "jpeg_progressive",
    "jpeg_cmyk",
    "jpeg_exif",
    "webp",
    "webp_lossless",
    "webp_animated",
    "gif",
    "gif_animated",
    "bmp",
    "bmp_palette",
    "tiff",
    "tiff_lzw",
    "tiff_gray16",
    "tiff_pages",
]
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def decode(data, declared=None, limits=LIMITS):
    return decode_image(data, declared_media_type=declared, limits=limits, param=PARAM)


def refusal(data, declared=None, limits=LIMITS):
    with pytest.raises(RequestError) as caught:
        decode(data, declared, limits)
    error = caught.value
    assert error.param == PARAM
    assert str(error).startswith(PARAM)
    assert error.__cause__ is None  # a chained message could quote the file
    return error.status, error.code


def decodes_or_refuses(data):
    try:
        picture = decode(data)
    except RequestError as error:
        refused = (error.status, error.code)
    else:
        refused = None
    if refused is not None:
        assert refused in REFUSALS
        return None
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    return picture.pixels


def png(width, height, *, depth=8, colour=2, body=b"", before=b""):
    """A PNG made by hand, so that its header may lie."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + chunks[0] + before + b"".join(chunks[1:])


def chunk(kind, part):
    return struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))


# Right pixels


@pytest.mark.parametrize(
    "name",
    ["png", "png_animated", "png_alpha", "webp_lossless", "bmp", "tiff", "tiff_lzw", "tiff_pages"],
)
def test_lossless_formats_give_back_the_pixels(files, colours, name):
    picture = decode(files[name])
    assert (picture.pixels == colours).all()
    assert (picture.height, picture.width) == (11, 7)
    assert picture.source_bytes == len(files[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_decodes_to_read_only_contiguous_rgb(files, name):
    pixels = decode(files[name]).pixels
    assert pixels.shape in ((11, 7, 3), (7, 11, 3))
    assert pixels.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


@pytest.mark.parametrize("name", ["jpeg", "jpeg_progressive", "webp"])
def test_lossy_formats_come_near(encoded, name):
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    options = {"progressive": True} if name == "jpeg_progressive" else {}
    data = encoded(Image.fromarray(smooth), name.partition("_")[0].upper(), quality=95, **options)
    assert np.abs(decode(data).pixels.astype(int) - smooth).max() < 24


@pytest.mark.parametrize("name", ["gif_animated", "webp_animated", "png_animated"])
def test_the_first_frame_is_taken(files, name):
    first = files[name.removesuffix("_animated")]
    difference = decode(files[name]).pixels.astype(int) - decode(first).pixels
    assert np.abs(difference).mean() < 8


def test_palette_picture_equals_its_own_colours(files, colours):
    expected = np.asarray(Image.fromarray(colours).quantize(8).convert("RGB"))
    assert (decode(files["png_palette"]).pixels == expected).all()


def test_palette_transparency_shows_white(encoded):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    for transparency in (0, bytes([0, 255])):
        pixels = decode(encoded(image, "PNG", transparency=transparency)).pixels
        assert pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_gif_transparency_shows_white(encoded):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels = decode(encoded(image, "GIF", transparency=1)).pixels
    assert pixels.tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize(("mode", "white"), [("1", 1), ("L", 255)])
def test_grayscale_and_bilevel_have_equal_channels(encoded, mode, white):
    image = Image.new(mode, (3, 2))
    image.putpixel((1, 1), white)
    pixels = decode(encoded(image, "PNG")).pixels
    assert pixels[1, 1].tolist() == [255, 255, 255]
    assert pixels.sum() == 3 * 255


def test_gray_with_alpha_is_laid_over_white(encoded):
    image = Image.new("LA", (2, 1), (100, 255))
    image.putpixel((1, 0), (100, 0))
    assert decode(encoded(image, "PNG")).pixels[0, :, 0].tolist() == [100, 255]


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_alpha_is_composited_on_white_to_nearest(encoded, image_format):
    draw = np.random.default_rng(3)
    rgba = draw.integers(0, 256, (9, 8, 4), dtype=np.uint8)
    data = encoded(Image.fromarray(rgba), image_format, lossless=True, exact=True)
    alpha = rgba[:, :, 3:] / 255
    expected = rgba[:, :, :3] * alpha + 255 * (1 - alpha)
    assert np.abs(decode(data).pixels - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("name", ["png_gray16", "tiff_gray16"])
def test_16_bit_gray_is_scaled_not_clipped(files, colours, name):
    pixels = decode(files[name]).pixels
    assert (pixels == colours[:, :, :1]).all()


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_every_16_bit_kind_keeps_the_high_byte(colour, channels):
    samples = np.random.default_rng(colour).integers(0, 65536, (3, 5, channels)).astype(">u2")
    if channels in (2, 4):
        samples[:, :, -1] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    pixels = decode(png(5, 3, depth=16, colour=colour, body=zlib.compress(rows))).pixels
    shown = samples[:, :, :3] if channels >= 3 else np.repeat(samples[:, :, :1], 3, axis=2)
    assert (pixels == shown >> 8).all()


def test_16_bit_gray_transparency_shows_white():
    rows = b"\0" + np.array([5000, 6000], dtype=">u2").tobytes()
    before = chunk(b"tRNS", struct.pack(">H", 5000))
    data = png(2, 1, depth=16, colour=0, body=zlib.compress(rows), before=before)
    assert decode(data).pixels[0, :, 0].tolist() == [255, 6000 >> 8]


def test_cmyk_jpeg_shows_its_colours(encoded):
    red = Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK")
    pixels = decode(encoded(red, "JPEG", quality=95)).pixels
    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - [200, 30, 40]).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(encoded, orientation, image_format):
    """A bright corner must end where the tag says that the top left of the scene is."""
    corner = np.zeros((32, 16, 3), np.uint8)
    corner[:8, :8] = 255
    stored = {
        1: corner,
        2: corner[:, ::-1],
        3: corner[::-1, ::-1],
        4: corner[::-1],
        5: corner.transpose(1, 0, 2),
        6: corner.transpose(1, 0, 2)[::-1],
        7: corner.transpose(1, 0, 2)[::-1, ::-1],
        8: corner.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), image_format, exif=exif)
    picture = decode(data)
    assert np.abs(picture.pixels.astype(int) - corner).max() < 40
    as_decoded = corner if image_format == "TIFF" else stored
    assert (picture.source_height_px, picture.source_width_px) == as_decoded.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_meaningless_orientation_is_none(encoded, colours, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(encoded(Image.fromarray(colours), "PNG", exif=exif)).pixels == colours).all()


def tiff(kind, count, value):
    """An EXIF block of one orientation entry, of any type and count."""
    entry = struct.pack("<HHI4s", 0x0112, kind, count, value)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0" * 4


@pytest.mark.parametrize(("kind", "count"), [(2, 3), (3, 2), (4, 9), (5, 1), (12, 1), (99, 1)])
def test_an_orientation_of_the_wrong_kind_never_crashes(encoded, colours, kind, count):
    data = encoded(Image.fromarray(colours), "JPEG", exif=tiff(kind, count, b"\6\0\6\0"))
    assert decode(data).pixels.shape in (colours.shape, (7, 11, 3))


def test_an_exif_parser_that_fails_counts_as_no_orientation(files, colours, monkeypatch):
    def fail(self):
        raise struct.error

    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert (decode(files["png"]).pixels == colours).all()


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0" * 9])
def test_unreadable_exif_data_counts_as_none(encoded, colours, exif):
    data = encoded(Image.fromarray(colours), "JPEG", exif=exif, quality=100)
    assert decode(data).pixels.shape == colours.shape


def test_a_colour_profile_changes_nothing(encoded, colours):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.fromarray(colours), "PNG", icc_profile=profile)
    assert (decode(data).pixels == colours).all()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_one_pixel_pictures(encoded, image_format):
    pixels = decode(encoded(Image.new("RGB", (1, 1), (255, 255, 255)), image_format)).pixels
    assert pixels.shape == (1, 1, 3)
    assert pixels.min() >= 250


# PNG chunks that show nothing


PIXELS = b"\0\1\2\3\4\5\6"
TEXT_2_MB = b"note\0\0\0\0\0" + b"a" * (2 << 20)
PROFILE_2_MB = b"icc\0\0" + zlib.compress(b"a" * (2 << 20))


def damage(chunk_bytes):
    return chunk_bytes[:-1] + bytes([chunk_bytes[-1] ^ 1])


@pytest.mark.parametrize(
    "before",
    [
        chunk(b"iTXt", TEXT_2_MB),
        chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(b"a" * (2 << 20))),
        chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * (2 << 20))),
        chunk(b"tEXt", b"note\0" + b"a" * (2 << 20)),
        chunk(b"iCCP", PROFILE_2_MB),
        damage(chunk(b"tEXt", b"note\0words")),
        damage(chunk(b"gAMA", struct.pack(">I", 45455))),
        chunk(b"zTXt", b"note\0\0this is no zlib stream"),
        chunk(b"iCCP", b"no zero byte"),
        chunk(b"pHYs", b"short"),
        chunk(b"acTL", struct.pack(">II", 0, 0)),
        chunk(b"prVt", b"a chunk of somebody's own"),
    ],
    ids=range(12),
)
def test_chunks_that_show_nothing_refuse_nothing(before):
    data = png(2, 1, body=zlib.compress(PIXELS), before=before)
    assert decode(data).pixels.tobytes() == PIXELS[1:]


ANCILLARY = st.builds(
    lambda kind, content, whole: (bytes if whole else damage)(chunk(kind, content)),
    st.sampled_from(
        [b"iTXt", b"zTXt", b"tEXt", b"iCCP", b"gAMA", b"pHYs", b"tIME", b"eXIf", b"quUx"]
    ),
    st.binary(max_size=40),
    st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(ANCILLARY, max_size=3), min_size=4, max_size=4), st.integers(0, 14))
def test_chunks_in_any_order_leave_the_pixels_alone(around, cut):
    """Before and after the palette, between two parts of the pixels, and behind them."""
    body = zlib.compress(b"\0\0\1\0\1\0", 0)
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)),
        chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60])),
        chunk(b"IDAT", body[:cut]),
        chunk(b"IDAT", body[cut:]),
    ]
    chunks = [
        whole for part, others in zip(parts, around, strict=True) for whole in (part, *others)
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")
    first, second = [10, 20, 30], [40, 50, 60]
    assert decode(data).pixels.tolist() == [[first, second], [second, first]]


def test_transparency_of_a_wrong_checksum_is_left_out():
    before = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    shown = png(2, 1, body=zlib.compress(PIXELS), before=before)
    assert decode(shown).pixels.tolist() == [[[255, 255, 255], [4, 5, 6]]]
    unseen = png(2, 1, body=zlib.compress(PIXELS), before=damage(before))
    assert decode(unseen).pixels.tobytes() == PIXELS[1:]


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_critical_chunk_of_a_wrong_checksum_is_damage(files, kind):
    data = files["png_palette"]
    start = data.index(kind) - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    assert refusal(data[:start] + damage(data[start:end]) + data[end:]) == (400, "invalid_image")


# Formats with decoders of their own


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_kinds_of_tiff(encoded, colours, mode, compression):
    image = Image.fromarray(colours).convert(mode)
    data = encoded(image, "TIFF", compression=compression)
    # libtiff makes RGB of YCbCr itself, and rounds otherwise
    assert np.abs(decode(data).pixels.astype(int) - np.asarray(image.convert("RGB"))).max() <= 1


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_of_32_bits_are_refused(encoded, mode):
    assert refusal(encoded(Image.new(mode, (3, 2)), "TIFF")) == (415, "unsupported_image_type")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_kinds_of_bmp(encoded, colours, mode):
    image = Image.fromarray(colours).convert(mode)
    assert (decode(encoded(image, "BMP")).pixels == np.asarray(image.convert("RGB"))).all()


def test_a_bmp_from_the_top_down():
    rows = bytes([1, 2, 3, 0]) + bytes([4, 5, 6, 0])
    head = struct.pack("<IiiHHIIiiII", 40, 1, -2, 1, 24, 0, 8, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 62, 0, 0, 54) + head + rows
    assert decode(data).pixels.tolist() == [[[3, 2, 1]], [[6, 5, 4]]]


def boxed(image_format, colours, **options):
    """AVIF or HEIF; skips where nothing here can write it."""
    if image_format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow knows no AVIF")
    smooth = np.linspace(0, 255, 48 * 32 * 3).reshape(48, 32, 3).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, image_format, quality=95, **options)
    return smooth, buffer.getvalue()


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_avif_and_heic(colours, image_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth, data = boxed(image_format, colours, exif=exif.tobytes())
    upright = np.rot90(smooth, -1) if orientation == 6 else smooth
    picture = decode(data)
    assert np.abs(picture.pixels.astype(int) - upright).max() < 24
    assert picture.media_type in ("image/avif", "image/heic")
    assert sorted((picture.source_width_px, picture.source_height_px)) == [32, 48]
    assert refusal(data, limits=ImageLimits(max_pixels=1535)) == (413, "image_too_large")
    assert refusal(data[: len(data) // 2]) == (400, "invalid_image")


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
def test_what_is_missing_to_decode_them_is_named(colours, image_format, monkeypatch):
    monkeypatch.setattr(codec, "find_spec", lambda _name: None)
    brand = {"AVIF": b"avif", "HEIF": b"heic"}[image_format]
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand
    with pytest.raises(RequestError, match="on the server; send a PNG") as caught:
        decode(data)
    assert (caught.value.status, caught.value.code) == (415, "unsupported_image_type")


def test_a_boxed_file_that_hides_its_size_is_refused(colours):
    _, data = boxed("AVIF", colours)
    assert refusal(data.replace(b"ispe", b"free")) == (400, "invalid_image")


# Media types


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("png", None),
        ("png", "image/png"),
        ("png", " IMAGE/PNG ; charset=binary"),
        ("jpeg", "image/jpeg"),
        ("jpeg", "image/jpg"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
        ("bmp", "image/x-ms-bmp"),
        ("tiff", "image/tif"),
    ],
)
def test_an_agreeing_declaration_is_accepted(files, name, declared):
    assert decode(files[name], declared).media_type == f"image/{name}"


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("png", "image/jpeg", (400, "image_type_mismatch")),
        ("gif", "image/webp", (400, "image_type_mismatch")),
        ("png", "image/svg+xml", (415, "unsupported_image_type")),
        ("png", "text/html", (415, "unsupported_image_type")),
        ("png", "", (415, "unsupported_image_type")),
    ],
)
def test_a_disagreeing_declaration_is_refused(files, name, declared, expected):
    assert refusal(files[name], declared) == expected


@pytest.mark.parametrize("image_format", ["ICO", "PPM", "TGA", "PDF", "JPEG2000", "DDS"])
def test_other_formats_that_pillow_knows_are_refused(encoded, colours, image_format):
    data = encoded(Image.fromarray(colours), image_format)
    assert refusal(data) == (415, "unsupported_image_type")


@pytest.mark.parametrize("data", [b"", b"\0", b"<svg/>", b"hello world" * 9, b"\x89PNG", b"RIFF"])
def test_what_is_no_picture_is_refused(data):
    assert refusal(data) == (415, "unsupported_image_type")


# Limits


@pytest.mark.parametrize("side", [30_000, 2**31 - 1])
def test_a_huge_png_header_is_refused_before_decoding(side, monkeypatch):
    monkeypatch.setattr(codec.Image, "open", None)  # would fail if it were reached
    assert refusal(png(side, side)) == (413, "image_too_large")


def test_limits_are_exact(files):
    def bounds(**changes):
        return ImageLimits(
            **{"max_bytes": 10**6, "max_pixels": 10**6, "max_side_px": 99, **changes}
        )

    size = len(files["png"])
    for good in ({"max_bytes": size}, {"max_pixels": 77}, {"max_side_px": 11}):
        assert decode(files["png"], limits=bounds(**good)).height == 11
    for bad in ({"max_bytes": size - 1}, {"max_pixels": 76}, {"max_side_px": 10}):
        assert refusal(files["png"], limits=bounds(**bad)) == (413, "image_too_large")


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_limited_in_every_format(files, name, monkeypatch):
    monkeypatch.setattr(codec.Image, "open", None)
    assert refusal(files[name], limits=ImageLimits(max_pixels=76)) == (413, "image_too_large")


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(width, height):
    assert refusal(png(width, height)) == (400, "invalid_image")


def test_a_gif_without_pixels_is_refused():
    assert refusal(b"GIF89a" + b"\0" * 40) == (400, "invalid_image")


def test_a_small_file_of_many_pixels_is_refused(encoded):
    bomb = encoded(Image.new("1", (20_000, 2_000)), "PNG")
    assert len(bomb) < 20_000
    assert refusal(bomb) == (413, "image_too_large")


def test_pillows_own_bomb_check_ends_as_a_refusal(encoded, monkeypatch):
    """Reached only where the operator's limits are above Pillow's."""
    data = encoded(Image.new("1", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    assert decode(data).width == 100  # above the limit: a warning, which must not leak
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert refusal(data) == (400, "invalid_image")


def test_a_gif_frame_larger_than_its_screen_is_refused(files):
    data = bytearray(files["gif"])
    data[6:10] = struct.pack("<HH", 2, 2)
    assert refusal(bytes(data)) == (400, "invalid_image")


def test_compressed_text_beside_the_pixels_cannot_fill_the_memory():
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * (100 << 20)))
    rows = zlib.compress(b"\0\1\2\3")
    tracemalloc.start()
    pixels = decode(png(1, 1, body=rows, before=text)).pixels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.tolist() == [[[1, 2, 3]]]
    assert peak < 4 << 20


def test_a_jpeg_of_endless_scans_is_refused(files):
    data = files["jpeg_progressive"]
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    assert decode(data[:-2] + scan * 3 + b"\xff\xd9").width == 7
    assert refusal(data[:-2] + scan * 100 + b"\xff\xd9") == (400, "invalid_image")


# Damage


@pytest.mark.parametrize("name", NAMES)
def test_truncated_anywhere_it_is_refused_or_still_whole(files, name):
    whole = decode(files[name]).pixels
    refused = 0
    for end in range(len(files[name])):
        pixels = decodes_or_refuses(files[name][:end])
        refused += pixels is None
        assert pixels is None or np.array_equal(pixels, whole)
    assert refused > 100


@FUZZ
@given(st.sampled_from(NAMES), st.lists(st.tuples(st.integers(0), st.integers(0, 7)), max_size=6))
def test_flipped_bits_never_crash(files, name, flips):
    data = bytearray(files[name])
    for position, bit in flips:
        data[position % len(data)] ^= 1 << bit
    decodes_or_refuses(bytes(data))


@FUZZ
@given(st.sampled_from(NAMES), st.integers(0, 2000), st.binary(max_size=40), st.integers(0, 40))
def test_spliced_bytes_never_crash(files, name, position, inserted, removed):
    data = files[name]
    at = position % len(data)
    decodes_or_refuses(data[:at] + inserted + data[at + removed :])


@FUZZ
@given(
    st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8X", b""]
    ),
    st.binary(max_size=300),
)
def test_any_bytes_after_a_signature_never_crash(signature, data):
    decodes_or_refuses(signature + data)


def test_a_seeded_storm_of_damage_never_crashes(files):
    draw = np.random.default_rng(20)
    for name in NAMES:
        for _ in range(200):
            data = bytearray(files[name])
            for _ in range(draw.integers(1, 5)):
                data[draw.integers(len(data))] = draw.integers(256)
            decodes_or_refuses(bytes(data))


@pytest.mark.parametrize(
    "fault", [OSError, SyntaxError, struct.error, ValueError, MemoryError, RecursionError, KeyError]
)
def test_whatever_the_decoder_raises_ends_as_a_refusal(files, fault, monkeypatch):
    def fail(*args, **kwargs):
        raise fault("secret content")

    monkeypatch.setattr(codec.Image, "open", fail)
    with pytest.raises(RequestError) as caught:
        decode(files["png"])
    assert caught.value.code == "invalid_image"
    assert "secret" not in str(caught.value)


def test_an_interrupt_is_not_swallowed(files, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(codec.Image, "open", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode(files["png"])


def test_what_is_encoded_decodes_to_the_same_pixels(colours):
    assert (decode(encode_image(colours, "png")).pixels == colours).all()
