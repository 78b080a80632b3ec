"""Encoded pictures to 8-bit RGB; the way back is in `encode.py`, both are public here.

Decoding is strict about what reaches the decoder and turns every fault into a RequestError. The
pixels that come out are what a certificate's radius is measured on: orientation applied, alpha
laid over white, colour profiles ignored, 16-bit samples cut to their high byte.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from guardrail.errors import RequestError
from guardrail.images.data_url import parse_data_url, to_data_url
from guardrail.images.encode import ImageFormat, encode_image, media_type_of
from guardrail.images.header import MEDIA_TYPES, declared_size, has_too_many_scans, sniff
from guardrail.images.limits import ImageLimits, PixelBudget
from guardrail.images.png_chunks import strip_chunks

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = [
    "QUIET",
    "ImageFormat",
    "ImageLimits",
    "Picture",
    "PixelBudget",
    "damaged_error",
    "decode_image",
    "encode_image",
    "measure_size",
    "media_type_of",
    "parse_data_url",
    "to_data_url",
]

# At DEBUG Pillow writes the values of EXIF tags, such as places and names, to its log.
logging.getLogger("PIL").setLevel(logging.INFO)


class _QuietPillow:
    """Silences warnings while any thread decodes.

    `warnings.catch_warnings` swaps global state and must not overlap between threads, so the
    first thread in sets it up and the last one out restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._saved = warnings.catch_warnings(action="ignore")
                self._saved.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._saved is not None:
                self._saved.__exit__(kind, error, trace)
                self._saved = None


QUIET = _QuietPillow()


_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/tif": "image/tiff",
    "image/heif": "image/heic",
    "image/heic-sequence": "image/heic",
    "image/heif-sequence": "image/heic",
    "image/avif-sequence": "image/avif",
}
# What decodes a format beside Pillow's own parts, and how an operator gets it.
_DECODERS = {
    "AVIF": ("PIL._avif", "Pillow 11.3 or newer"),
    "HEIF": ("pillow_heif", "the extra 'heif'"),
}
_TURNED_BY_OPENING = ("AVIF", "HEIF", "TIFF")  # turned or cropped already, here or there
_BAND_PIXELS = 1 << 19  # converted at a time: the rest of a picture is held once only
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture: read-only RGB pixels of shape (height, width, 3), dtype uint8.

    `source_width_px` and `source_height_px` are the file's own, before its orientation is applied;
    of TIFF and HEIC, whose decoders apply it, afterwards. `sha256` is that of the encoded file,
    hexadecimal; empty where there was none.
    """

    pixels: NDArray[np.uint8]
    media_type: str
    source_width_px: int
    source_height_px: int
    source_bytes: int
    sha256: str = ""

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def measure_size(
    data: bytes, declared_media_type: str | None, limits: ImageLimits, param: str
) -> tuple[int, int]:
    """(width, height) in pixels by the header alone, checked like `decode_image` does."""
    limits.check_bytes(len(data), param)
    size = declared_size(data, _format_of(data, declared_media_type, param))
    if size is None:
        raise damaged_error(param)
    limits.check_size(*size, param)
    return size


def decode_image(
    data: bytes,
    *,
    declared_media_type: str | None,
    limits: ImageLimits,
    param: str,
    budget: PixelBudget | None = None,
) -> Picture:
    """Decodes a PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC picture (the first frame).

    Args:
        data: the encoded picture.
        declared_media_type: what it must be; None: what its content says that it is.
        limits: checked on the header, before anything is decoded.
        param: JSON path of the picture in the request, for messages.
        budget: shared by the pictures of one request, and spent before this one is decoded. None:
            this picture is the only one.

    Raises:
        RequestError: 400 for a damaged picture or a wrong media type, 413 for one over the limits,
            415 for another format. The message quotes nothing of the picture.
    """
    size = measure_size(data, declared_media_type, limits, param)
    image_format = _format_of(data, declared_media_type, param)
    if image_format == "JPEG" and has_too_many_scans(data):
        raise damaged_error(param)
    try:
        with QUIET, _open(data, image_format) as image:
            _check_agrees(image.size, size, image_format, param)
            (budget or PixelBudget(limits)).spend(*size, param)
            source = image.size
            pixels = _rgb_pixels(image, param)
    except RequestError:
        raise
    except Exception:  # noqa: BLE001 - Pillow fails in dozens of ways on hostile bytes
        raise damaged_error(param) from None  # its messages may quote the file
    digest = hashlib.sha256(data).hexdigest()
    return Picture(pixels, MEDIA_TYPES[image_format], *source, len(data), digest)


def _open(data: bytes, image_format: str) -> Image.Image:
    """The picture, not decoded yet."""
    if image_format == "PNG":
        data = strip_chunks(data)
    if image_format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    return Image.open(io.BytesIO(data), formats=[image_format])


def _format_of(data: bytes, declared_media_type: str | None, param: str) -> str:
    declared = _normalise(declared_media_type)
    if declared is not None and declared not in MEDIA_TYPES.values():
        raise _unsupported_error("the declared media type is not supported", param)
    image_format = sniff(data)
    if image_format is None:
        raise _unsupported_error("the content is none of the supported formats", param)
    decoder, remedy = _DECODERS.get(image_format, (None, ""))
    if decoder is not None and find_spec(decoder) is None:
        raise _unsupported_error(
            f"{MEDIA_TYPES[image_format]} pictures need {remedy} on the server", param
        )
    if declared not in (None, MEDIA_TYPES[image_format]):
        raise RequestError(
            f"{param}: declared as {declared} but the content is {MEDIA_TYPES[image_format]}; "
            "declare the type that it is",
            param=param,
            code="image_type_mismatch",
        )
    return image_format


def _normalise(media_type: str | None) -> str | None:
    if media_type is None:
        return None
    plain = media_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def _unsupported_error(what: str, param: str) -> RequestError:
    return RequestError(
        f"{param}: {what}; send a PNG, JPEG, WebP, GIF, BMP or TIFF picture",
        status=415,
        param=param,
        code="unsupported_image_type",
    )


def damaged_error(param: str) -> RequestError:
    return RequestError(
        f"{param}: the picture is damaged or incomplete and cannot be decoded; export it again "
        "as PNG or JPEG",
        param=param,
        code="invalid_image",
    )


def _check_agrees(
    size: tuple[int, int], declared: tuple[int, int], image_format: str, param: str
) -> None:
    """Raises RequestError where a file has two sizes: limits and room went by the declared one."""
    if size == declared:
        return
    fits = size[0] * size[1] <= declared[0] * declared[1] and max(size) <= max(declared)
    if image_format not in _TURNED_BY_OPENING or not fits:
        raise damaged_error(param)


def _rgb_pixels(image: Image.Image, param: str) -> NDArray[np.uint8]:
    """Upright RGB, made band by band: beside the decoded file no more than this array is held."""
    before = image.size
    image.load()
    to_rgb = _converter(image, param)
    width, height = image.size
    if width * height > before[0] * before[1]:  # more pixels than were allowed
        raise damaged_error(param)
    orientation = _orientation(image)
    sides = (width, height) if orientation in _ON_THEIR_SIDE else (height, width)
    pixels = np.empty((*sides, 3), dtype=np.uint8)
    stored = _as_stored(pixels, orientation)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        stored[top:end] = to_rgb(image.crop((0, top, width, end)))
    pixels.setflags(write=False)
    return pixels


_ON_THEIR_SIDE = range(5, 9)


def _as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of an upright picture with its rows and columns as the file has them."""
    pixels = upright.swapaxes(0, 1) if orientation in _ON_THEIR_SIDE else upright
    rows = slice(None, None, -1 if orientation in (3, 4, 6, 7) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 7, 8) else 1)
    return pixels[rows, columns]


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; unreadable EXIF data counts as none."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - EXIF is untrusted and optional, and its parser is fragile
        return 1
    return value if isinstance(value, int) else 1


def _converter(image: Image.Image, param: str) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """What makes RGB of a part of this picture."""
    if image.mode == "F" or (image.format == "TIFF" and image.mode == "I"):
        raise _unsupported_error("its samples are not whole numbers of 8 or 16 bits", param)
    if image.mode.startswith("I"):
        return _from_16_bit_gray
    if image.has_transparency_data:
        return lambda part: _over_white(np.asarray(part.convert("RGBA")))
    return lambda part: np.asarray(part if part.mode == "RGB" else part.convert("RGB"))


def _from_16_bit_gray(image: Image.Image) -> NDArray[np.uint8]:
    """Pillow's own conversion clips at 255 instead of scaling."""
    samples = np.asarray(image).astype(np.int64)
    gray = (np.clip(samples, 0, 65535) >> 8).astype(np.uint8)
    gray[samples == image.info.get("transparency", -1)] = 255
    return np.repeat(gray[:, :, None], 3, axis=2)


def _over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha compositing on white, to nearest; (rgb a + 255 (255 - a)) / 255 fits 16 bits."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    mixed = rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127
    return (mixed // 255).astype(np.uint8)
