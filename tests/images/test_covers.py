"""Windows and masks: every place and size by brute force, and what stands under a mask."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.images.covers import Box, masks, sticker_side, windows

LONGEST = 23
COUNTS = (4, 9, 16, 25)
SHARES = (0.001, 0.02, 0.05, 0.1, 0.3)


def holds(box, top, left, height, width):
    """Whether the rectangle lies whole in the box."""
    return (
        box.top <= top
        and top + height <= box.top + box.height
        and box.left <= left
        and left + width <= box.left + box.width
    )


def uncovered(boxes, height, width, square):
    """The squares of the picture that lie whole in no box, sides cut to the picture's."""
    rows, columns = min(square, height), min(square, width)
    return [
        (top, left)
        for top in range(height - rows + 1)
        for left in range(width - columns + 1)
        if not any(holds(box, top, left, rows, columns) for box in boxes)
    ]


def uncovered_runs(pieces, n, length):
    """Runs of `length` pixels of an axis that lie whole in no piece (start, side)."""
    return [
        a
        for a in range(n - length + 1)
        if not any(start <= a and a + length <= start + side for start, side in pieces)
    ]


def test_every_square_lies_whole_in_a_window():
    for height, width, count in itertools.product((1, 5, 12, 17), (5, 11, 17), COUNTS):
        for sees in range(1, min(height, width) + 1):
            boxes = windows(height, width, count=count, sees=sees)
            assert not uncovered(boxes, height, width, sees)
            assert len(set(boxes)) == len(boxes) <= count
            assert all(holds(Box(0, 0, height, width), *vars_of(box)) for box in boxes)


def vars_of(box):
    return box.top, box.left, box.height, box.width


def rows_of(boxes):
    return sorted({(box.top, box.height) for box in boxes})


def columns_of(boxes):
    return sorted({(box.left, box.width) for box in boxes})


def test_every_run_of_an_axis_lies_whole_in_a_window_and_fails_to_without_the_last():
    failing = total = 0
    for n, count in itertools.product(range(1, 2 * LONGEST), COUNTS):
        for sees in range(1, n + 1):
            rows = rows_of(windows(n, n, count=count, sees=sees))
            assert not uncovered_runs(rows, n, sees)
            if len(rows) > 1:
                total += 1
                failing += bool(uncovered_runs(rows[:-1], n, sees))
    assert failing == total > 3000  # no window is one too many, and the last one never is


def test_windows_are_as_small_as_their_number_allows():
    for n, count, sees in itertools.product(range(2, 30), COUNTS, range(1, 30)):
        if sees > n:
            continue
        ((_, side), *_) = rows_of(windows(n, n, count=count, sees=sees))
        smaller = side - 1
        if smaller < sees:
            continue
        step = smaller - sees + 1
        needed = len({*range(0, n - smaller, step), n - smaller})
        assert needed**2 > count


def test_a_large_enough_square_holds_a_whole_window():
    for n, count in itertools.product(range(2, 40), COUNTS):
        for sees in range(1, n + 1):
            pieces = rows_of(windows(n, n, count=count, sees=sees))
            side = pieces[0][1]
            untouched = 2 * side - sees
            for a in range(n - untouched + 1):
                assert any(a <= start and start + side <= a + untouched for start, _ in pieces)


def test_every_sticker_lies_whole_under_a_mask_corners_included():
    for height, width in itertools.product((2, 5, 12, 17), (3, 11, 17)):
        for count, share in itertools.product(COUNTS, SHARES):
            try:
                boxes = masks(height, width, count=count, max_share=share)
            except CertificationError:
                assert height * width <= 50 or share > 0.02
                continue
            assert not uncovered(boxes, height, width, sticker_side(height, width, share))
            assert len(set(boxes)) == len(boxes) <= count
            assert all(holds(Box(0, 0, height, width), *vars_of(box)) for box in boxes)


@pytest.mark.parametrize("axis", [rows_of, columns_of])
def test_no_mask_may_be_left_out(axis):
    failing = 0
    for n, count in itertools.product(range(12, 3 * LONGEST), COUNTS):
        boxes = masks(n, n, count=count, max_share=0.02)
        pieces, side = axis(boxes), sticker_side(n, n, 0.02)
        assert not uncovered_runs(pieces, n, side)
        for left_out in pieces:
            kept = [piece for piece in pieces if piece is not left_out]
            if uncovered_runs(kept, n, side):
                failing += 1
            else:  # only where the masks are pushed back from the picture's end
                assert pieces[-1][0] % max(1, pieces[1][0] - pieces[0][0])
    assert failing > 400


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(SHARES))
def test_a_sticker_is_the_smallest_square_of_its_share(height, width, share):
    side = sticker_side(height, width, share)
    area = Fraction(str(share)) * height * width
    assert (side - 1) ** 2 < area <= side**2


def test_a_share_is_the_decimal_number_that_was_written():
    assert sticker_side(100, 50, 0.02) == 10  # the float is a little more than a fiftieth


def test_windows_have_the_shape_of_the_picture():
    ((_, height), *_), ((_, width), *_) = (
        axis(windows(480, 640, count=9, sees=32)) for axis in (rows_of, columns_of)
    )
    assert (height, width) == (181, 234)
    assert windows(96, 96, count=9, sees=37)[0] == Box(0, 0, 56, 56)


def test_what_cannot_be_covered_is_named():
    with pytest.raises(CertificationError, match=r"20 x 10 pixels has no square of 11 x 11"):
        windows(10, 20, count=9, sees=11)
    with pytest.raises(CertificationError, match="covered whole by a mask"):
        masks(2, 2, count=4, max_share=0.6)
    for count in (-4, 0, 1, 5, 8):
        with pytest.raises(CertificationError, match=f"{count} places do not fill a square"):
            windows(10, 20, count=count, sees=2)
