"""A PNG without the chunks that do not change its pixels.

Decoders disagree on how much text, how large a colour profile and which checksums they put up
with: Pillow refuses a valid file for a text of more than a megabyte. None of that is shown, so it
is taken out before anything decodes the file, as libpng skips it.

    IHDR iTXt(2 MB) iCCP tRNS IDAT tEXt IDAT IEND  ->  IHDR tRNS IDAT IDAT IEND
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["strip_chunks"]

_START = 8  # bytes of the signature
_FRAME = 12  # bytes around a chunk's content: its length, its kind and its checksum
_ANCILLARY = 0x20  # the bit of the kind's first letter that makes it a small one
_SHOWN = {b"tRNS", b"eXIf"}  # transparency, and which side is up
_MOST_EXIF_BYTES = 1 << 16


def strip_chunks(data: bytes) -> bytes:
    """The file with its critical chunks, and those of transparency and orientation that are whole.

    The orientation goes before the pixels, in whose midst it would end them for Pillow. What is
    cut short or follows the end is left as it is, for the decoder to judge.
    """
    view = memoryview(data)
    before, pixels, at = [view[:_START]], list[memoryview](), _START
    for start, end in _chunks(data):
        kind = data[start + 4 : start + 8]
        part = pixels if kind == b"IDAT" or (pixels and kind != b"eXIf") else before
        if _is_kept(data, start, end):
            part.append(view[start:end])
        at = end
    return b"".join((*before, *pixels, view[at:]))


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk starts and ends, up to the end of the picture."""
    start, kind = _START, b""
    while kind != b"IEND" and start + _FRAME <= len(data):
        kind = data[start + 4 : start + 8]
        end = start + _FRAME + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            return
        yield start, end
        start = end


def _is_kept(data: bytes, start: int, end: int) -> bool:
    kind = data[start + 4 : start + 8]
    if not kind[0] & _ANCILLARY:
        return kind != b"IDAT" or end - start > _FRAME  # empty ones are allowed, and end Pillow
    if kind not in _SHOWN or end - start > _FRAME + _MOST_EXIF_BYTES:
        return False
    checksum = int.from_bytes(data[end - 4 : end], "big")
    return zlib_ng.crc32(memoryview(data)[start + 4 : end - 4]) == checksum
