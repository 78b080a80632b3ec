"""PNG by hand: every chunk, block and checksum as the standard has them, read by other code."""

import struct
import zlib

import numpy as np
import pytest

from guardrail.images.png import write_png

NOISE = np.random.default_rng(4).integers(0, 256, (150, 200, 3), dtype=np.uint8)


def chunks(data):
    """(kind, body) of every chunk, each checksum verified, nothing before, between or after."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert data[at + 8 + size : at + 12 + size] == struct.pack(">I", zlib.crc32(kind + body))
        found.append((kind, body))
        at += 12 + size
    assert at == len(data)
    return found


def stored_blocks(stream):
    """The blocks of a zlib stream that holds stored ones only, its checksum verified."""
    assert int.from_bytes(stream[:2], "big") % 31 == 0
    assert stream[0] == 0x78
    at, last, blocks = 2, 0, []
    while not last:
        last, size, inverted = struct.unpack_from("<BHH", stream, at)
        assert last in (0, 1)
        assert size ^ inverted == 0xFFFF
        blocks.append(stream[at + 5 : at + 5 + size])
        at += 5 + size
    assert stream[at:] == struct.pack(">I", zlib.adler32(b"".join(blocks)))
    return blocks


def test_the_file_is_three_chunks_with_right_checksums():
    (header, size), (data, _), (end, nothing) = chunks(write_png(NOISE))
    assert (header, data, end, nothing) == (b"IHDR", b"IDAT", b"IEND", b"")
    assert struct.unpack(">IIBBBBB", size) == (200, 150, 8, 2, 0, 0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (150, 200), (3, 7281), (15, 1456), (1, 21845)])
def test_pixels_are_stored_row_by_row_without_a_filter(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    stream = chunks(write_png(pixels))[1][1]
    blocks = stored_blocks(stream)
    assert all(len(block) == 0xFFFF for block in blocks[:-1])
    assert all(blocks)
    rows = np.frombuffer(b"".join(blocks), np.uint8).reshape(shape[0], -1)
    assert (rows[:, 0] == 0).all()
    assert rows[:, 1:].tobytes() == pixels.tobytes()


def test_data_that_fills_its_blocks_exactly_ends_with_a_full_one():
    pixels = np.zeros((15, 1456, 3), np.uint8)  # 15 rows of 4369 bytes: 65535
    assert [len(block) for block in stored_blocks(chunks(write_png(pixels))[1][1])] == [0xFFFF]


def test_storing_costs_almost_nothing():
    assert len(write_png(NOISE)) < NOISE.nbytes * 1.01


def test_compression_makes_plain_pictures_small_and_keeps_them():
    plain = np.full((64, 64, 3), 200, np.uint8)
    packed = write_png(plain, 9)
    assert len(packed) < len(write_png(plain)) / 20
    assert zlib.decompress(chunks(packed)[1][1]) == (b"\0" + b"\xc8" * 192) * 64
