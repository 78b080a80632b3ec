"""The search for a sticker by answers: all that it asks differs inside one square of its share."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.attack.black_box import AskedReply, BlackBoxSettings, End, search_by_asking
from guardrail.attack.candidates import Candidate
from guardrail.attack.moving_sticker import MovingSticker
from guardrail.attack.square import Square, largest_side
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError

PASS, HARM = AskedReply(Action.PASS, "a dog."), AskedReply(Action.PASS, "harm")
BLOCK = AskedReply(Action.BLOCK)


class Answers:
    """Answers as a function of the picture says; keeps what was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def ask(self, pixels):
        self.asked.append(pixels.copy())
        return self.answer(pixels)


def search(target, picture, area, queries, **given):
    effort = BlackBoxSettings(MovingSticker(area), queries, per_minute=float("inf"), **given)
    return search_by_asking(target, picture, effort, wants=lambda t: t == "harm")


def side_of_change(found, picture):
    """The side of the smallest square that holds all that differs; 0 where nothing does."""
    changed = (found != picture).any(axis=2)
    if not changed.any():
        return 0
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.floats(0, 1, exclude_min=True, exclude_max=True),
    st.integers(1, 40), st.integers(1, 3), st.integers(0, 99), st.sets(st.sampled_from([0, 1, 2])),
)  # fmt: skip
def test_all_that_is_asked_differs_inside_one_square_of_its_share(
    height, width, area, queries, answers, seed, blocked
):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    target = Answers(lambda pixels: BLOCK if int(pixels.sum()) % 3 in blocked else PASS)
    effort = {"queries": queries, "answers": min(answers, queries), "seed": seed}
    pixels = Fraction(repr(area)) * height * width
    if pixels < 1:
        with pytest.raises(ConfigError, match="area"):
            search(target, picture, area, **effort)
        assert not target.asked
        return
    found = search(target, picture, area, **effort)
    assert (len(target.asked), found.end) == (queries, End.QUERIES_SPENT)
    assert found.queries == queries
    for asked in (*target.asked, found.pixels):
        assert asked.shape == picture.shape
        assert side_of_change(asked, picture) ** 2 <= pixels


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 0.99), st.floats(0, 1),
    st.integers(0, 999),
)  # fmt: skip
def test_a_step_moves_the_content_or_paints_a_square_of_it(height, width, area, used, seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(1, 255, (height, width, 3), dtype=np.uint8)
    if area * height * width < 1.01:
        return
    proposals = MovingSticker(area)
    best = proposals.begin(picture, rng)
    assert best.sticker.side == largest_side(height, width, area)
    for _ in range(8):
        step = proposals.change(best, picture, used, rng)
        old, new = best.pixels[best.sticker.window], step.pixels[step.sticker.window]
        if step.sticker == best.sticker:
            painted = (old != new).any(axis=2)
            assert len(np.unique(new[painted], axis=0)) <= 1
            assert np.isin(new[painted], (0, 255)).all()
        else:
            far = abs(np.subtract(*((s.sticker.top, s.sticker.left) for s in (best, step))))
            assert far.max() <= max(1, round((1 - used) * max(height, width)))
            assert (old == new).all()
        best = step


def test_both_steps_are_taken_and_become_smaller():
    picture = np.full((60, 80, 3), 100, np.uint8)
    rng = np.random.default_rng(5)
    proposals = MovingSticker(0.1)
    best = proposals.begin(picture, rng)
    moved, painted = {}, {}
    for used in (0.0, 0.99):
        steps = [proposals.change(best, picture, used, rng) for _ in range(200)]
        moves = [s.sticker for s in steps if s.sticker != best.sticker]
        moved[used] = max(
            max(abs(m.top - best.sticker.top), abs(m.left - best.sticker.left)) for m in moves
        )
        painted[used] = max(
            (s.pixels != best.pixels).any(axis=2).sum() for s in steps if s.sticker == best.sticker
        )
        assert 0 < len(moves) < 100
    assert moved[0.0] > 10 > moved[0.99] == 1
    assert painted[0.0] > 40 > painted[0.99] > 0


def test_where_the_first_sticker_is_worse_others_are_tried_from_the_picture_itself():
    picture = np.full((8, 8, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    drawn = [
        MovingSticker(0.1).change(Candidate(picture), picture, 0.5, rng).sticker for _ in range(20)
    ]
    assert {square.side for square in drawn} == {2}
    assert len(set(drawn)) > 3


def test_a_planted_hole_that_a_sticker_opens_is_found():
    picture = np.full((24, 30, 3), 128, np.uint8)

    def answer(pixels):
        """Dark pixels in the lower half pass; where they are on the right, they draw harm."""
        dark = pixels[12:].max(axis=2) == 0
        if dark[:, 15:].sum() >= 9:
            return HARM
        return PASS if dark.any() else BLOCK

    target = Answers(answer)
    found = search(target, picture, 0.1, 2000, seed=1)
    assert found.end is End.FOUND
    assert found.wanted == 2
    assert found.queries == len(target.asked) < 2000
    assert found.replies[Action.BLOCK] >= 2
    assert answer(found.pixels) is HARM
    assert (found.pixels == target.asked[-1]).all()
    assert 3 <= side_of_change(found.pixels, picture) <= 8


def test_the_seed_fixes_what_is_asked():
    picture = np.full((9, 7, 3), 128, np.uint8)
    asked = []
    for seed in (1, 1, 2):
        target = Answers(lambda _: PASS)
        search(target, picture, 0.2, 20, seed=seed)
        asked.append(np.stack(target.asked))
    one, two, three = asked
    assert (one == two).all()
    assert (one != three).any()


@pytest.mark.parametrize("area", [0, 1, -0.1, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(area):
    with pytest.raises(ConfigError, match="area"):
        MovingSticker(area)


@pytest.mark.parametrize(
    ("height", "width", "area", "side"),
    [(10, 10, 0.09, 3), (10, 10, 0.0899, 2), (10, 10, 0.25, 5), (1, 100, 0.9, 1),
     (224, 224, 0.1, 70), (50, 2, 0.29, 2), (10, 100, 0.049, 7), (10, 100, 0.0489, 6)],
)  # fmt: skip
def test_the_largest_square_of_a_share_is_exact(height, width, area, side):
    assert largest_side(height, width, area) == side
    assert Square(0, 0, side).window == (slice(0, side), slice(0, side))
