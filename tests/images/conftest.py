"""Pictures of every kind, made here, so that no binary file needs to be stored."""

import io

import numpy as np
import pytest
from PIL import Image


def encoded(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.fixture(name="encoded", scope="session")
def encoded_fixture():
    return encoded


@pytest.fixture(scope="session")
def colours():
    """A small picture without symmetry: 11 high, 7 wide."""
    pixels = np.random.default_rng(5).integers(0, 256, (11, 7, 3), dtype=np.uint8)
    pixels.setflags(write=False)
    return pixels


@pytest.fixture(scope="session")
def files(colours):
    """Encoded pictures by name, one for each way through the decoder."""
    image = Image.fromarray(colours)
    turned = image.rotate(180)
    exif = Image.Exif()
    exif[0x0112] = 6
    gray16 = Image.fromarray(colours[:, :, 0].astype(np.uint16) * 257)
    more = {"save_all": True, "append_images": [turned]}
    return {
        "png": encoded(image, "PNG"),
        "png_palette": encoded(image.quantize(8), "PNG"),
        "png_gray16": encoded(gray16, "PNG"),
        "png_alpha": encoded(image.convert("RGBA"), "PNG"),
        "png_animated": encoded(image, "PNG", **more),
        "jpeg": encoded(image, "JPEG"),
        "jpeg_progressive": encoded(image, "JPEG", progressive=True),
        "jpeg_cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "jpeg_exif": encoded(image, "JPEG", exif=exif),
        "webp": encoded(image, "WEBP"),
        "webp_lossless": encoded(image, "WEBP", lossless=True),
        "webp_animated": encoded(image, "WEBP", **more),
        "gif": encoded(image, "GIF"),
        "gif_animated": encoded(image, "GIF", **more),
        "bmp": encoded(image, "BMP"),
        "bmp_palette": encoded(image.quantize(8), "BMP"),
        "tiff": encoded(image, "TIFF"),
        "tiff_lzw": encoded(image, "TIFF", compression="tiff_lzw"),
        "tiff_gray16": encoded(gray16, "TIFF"),
        "tiff_pages": encoded(image, "TIFF", **more),
    }
