"""What a picture's first bytes say: its format and size, read without decoding anything.

Only formats named here reach the decoder, and only sizes that the limits allow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MEDIA_TYPES", "PICTURE_SUFFIXES", "declared_size", "has_too_many_scans", "sniff"]

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}

PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Of the names of files that may hold one of them."""
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}  # bytes of the headers that there are
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_SHORT, _TIFF_LONG = 3, 4
_MOST_TIFF_ENTRIES = 1024  # usual files have about 20
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MOST_FTYP_BYTES = 256
# The property that names the size of one of a file's pictures: 20 bytes long, version 0, no flags.
_SPATIAL_EXTENT = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{8})", re.DOTALL)
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range of the start-of-frame markers
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MAX_SCANS = 64  # usual progressive files have about 10
# 0xFF and a code that is neither stuffing, fill, TEM nor RSTn, which carry no length; searching
# for it also skips a scan's compressed data, where a bare 0xFF is always stuffed.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")


def sniff(data: bytes) -> str | None:
    """The format's name as in `MEDIA_TYPES`, or None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and _little(data, 14, 4) in _BMP_HEADERS:
        return "BMP"
    if data.startswith(_TIFF_STARTS):
        return "TIFF"
    return _sniff_boxes(data)


def _sniff_boxes(data: bytes) -> str | None:
    """AVIF and HEIF are told apart by the brands of the file, the own one and those it fits."""
    if data[4:8] != b"ftyp":
        return None
    end = min(_big(data, 0, 4), _MOST_FTYP_BYTES)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def declared_size(data: bytes, image_format: str) -> tuple[int, int] | None:
    """(width, height) in pixels as the header gives them, or None where it is cut short.

    Of AVIF and HEIF, files of several pictures (thumbnails, tiles, the whole), those of the
    largest; the one that is shown may be turned and cropped, but has no more pixels.
    """
    readers = {
        "PNG": _png_size,
        "JPEG": _jpeg_size,
        "GIF": _gif_size,
        "WEBP": _webp_size,
        "BMP": _bmp_size,
        "TIFF": _tiff_size,
        "AVIF": _largest_size,
        "HEIF": _largest_size,
    }
    return readers[image_format](data)


def _big(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(data[start : start + count], "big")


def _little(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(data[start : start + count], "little")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return _big(data, 16, 4), _big(data, 20, 4)


def _gif_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 10:
        return None
    return _little(data, 6, 2), _little(data, 8, 2)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    return None


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 26:
        return None
    if _little(data, 14, 4) == 12:
        return _little(data, 18, 2), _little(data, 20, 2)
    width, height = _little(data, 18, 4), _little(data, 22, 4)
    return width, min(height, (1 << 32) - height)  # negative where the top row comes first


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """By the first directory of the file: a number of entries of 12 bytes each."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"

    def number(at: int, count: int) -> int:
        return int.from_bytes(data[at : at + count], order)

    start = number(4, 4)
    entries = number(start, 2)
    if entries > _MOST_TIFF_ENTRIES or start + 2 + 12 * entries > len(data):
        return None
    sides: dict[int, int] = {}
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = number(at, 2), number(at + 2, 2), number(at + 4, 4)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT) and count == 1 and kind in (_TIFF_SHORT, _TIFF_LONG):
            sides.setdefault(tag, number(at + 8, 2 if kind == _TIFF_SHORT else 4))
    if len(sides) < 2:
        return None
    return sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT]


def _largest_size(data: bytes) -> tuple[int, int] | None:
    found = [(_big(extent, 0, 4), _big(extent, 4, 4)) for extent in _extents(data)]
    return max(found, key=lambda size: size[0] * size[1], default=None)


def _extents(data: bytes) -> Iterator[bytes]:
    """What stands in the `meta` box, before the compressed pictures of the `mdat` box."""
    start = data.find(b"meta")
    end = start - 4 + _big(data, start - 4, 4) if start >= 4 else 0
    for match in _SPATIAL_EXTENT.finditer(data, max(start, 0), max(end, 0)):
        yield match[1]


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, at in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME and at + 9 <= len(data):
            return _big(data, at + 7, 2), _big(data, at + 5, 2)
    return None


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG passes over its pixels more often than any honest encoder makes it.

    A scan costs the decoder time for every pixel but the sender only a few bytes, so a small file
    could otherwise keep a decoder busy for hours.
    """
    scans = 0
    for marker, _ in _jpeg_segments(data):
        scans += marker == _START_OF_SCAN
        if scans > _MAX_SCANS:
            return True
    return False


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, position) of each segment up to the end of the first picture."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end() - 2
        if marker == _END_OF_IMAGE:
            return
        yield marker, at
        at += 2 + max(2, _big(data, at + 2, 2))
