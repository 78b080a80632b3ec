"""A sticker stays within its square, whatever the model says of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.attack.region import RegionSettings
from guardrail.attack.square import Square
from guardrail.attack.sticker import Place, attack_by_sticker, draw_squares, paste_sticker
from guardrail.attack.tensors import to_tensor
from guardrail.errors import ConfigError


class Brightness:
    """Every pixel counts, so an attack that may would change all of them."""

    device = "cpu"

    def __init__(self, sign=1.0):
        self.sign = sign

    def __call__(self, x, _draws):
        return self.sign * x.mean()


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.floats(0.07, 0.6), st.integers(0, 99))
def test_an_optimised_sticker_stays_within_its_square(height, width, area, seed):
    picture = np.random.default_rng(seed).integers(20, 236, (height, width, 3), dtype=np.uint8)
    effort = RegionSettings(area, steps=12, restarts=2, seed=seed)
    squares = draw_squares(height, width, effort)
    found = attack_by_sticker(Brightness(), picture, effort)
    changed = (found.pixels != picture).any(axis=2)
    assert changed.any()
    assert changed.sum() <= area * height * width
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    within = [
        s.top <= rows[0] and rows[-1] < s.top + s.side
        and s.left <= columns[0] and columns[-1] < s.left + s.side
        for s in squares
    ]  # fmt: skip
    assert any(within)
    assert found.loss < float(Brightness()(to_tensor(picture, "cpu"), 1))


def test_inside_its_square_it_takes_any_value():
    picture = np.full((20, 20, 3), 200, np.uint8)
    found = attack_by_sticker(Brightness(), picture, RegionSettings(0.25, steps=12))
    inside = (found.pixels != picture).any(axis=2)
    assert inside.sum() == 100
    assert (found.pixels[inside] == 0).all()


def test_a_pasted_sticker_stays_within_its_square_and_lets_through_what_is_clear():
    picture = np.full((30, 40, 3), 90, np.uint8)
    sticker = np.zeros((10, 20, 4), np.uint8)
    sticker[..., 0] = 255
    sticker[:, 10:, 3] = 255  # its left half is clear
    square = Square(top=5, left=7, side=12)
    found = paste_sticker(picture, sticker, square)
    changed = (found != picture).any(axis=2)
    assert changed[square.window].sum() == changed.sum() > 0
    rows = np.flatnonzero(changed.any(1))
    assert (rows[0], rows[-1]) == (8, 13)  # 12 x 6 in the middle of 12 x 12
    assert (found[8:14, 15:19] == (255, 0, 0)).all()
    assert (picture == 90).all()


def test_the_seed_fixes_the_places():
    settings = RegionSettings(0.1, restarts=5, seed=3)
    assert draw_squares(50, 60, settings) == draw_squares(50, 60, settings)
    others = draw_squares(50, 60, RegionSettings(0.1, restarts=5, seed=4))
    assert others != draw_squares(50, 60, settings)


def test_the_best_place_is_kept():
    picture = np.full((16, 16, 3), 128, np.uint8)

    class Corner(Brightness):
        def __call__(self, x, _draws):
            return x[:, :4, :4].mean()

    one, many = (
        attack_by_sticker(Corner(), picture, RegionSettings(0.1, steps=6, restarts=n))
        for n in (1, 30)
    )
    assert many.loss < one.loss or one.loss == 0


def test_a_picture_too_small_for_the_area_is_refused():
    with pytest.raises(ConfigError, match="pixel"):
        draw_squares(3, 3, RegionSettings(0.05))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1.0])
def test_senseless_areas_are_refused(value):
    with pytest.raises(ConfigError, match="area"):
        RegionSettings(value)


def test_a_gradient_that_is_no_number_ends_all_the_same():
    picture = np.full((8, 8, 3), 128, np.uint8)

    class Broken(Brightness):
        def __call__(self, x, _draws):
            return x.sum() * torch.tensor(float("nan"))

    found = attack_by_sticker(Broken(), picture, RegionSettings(0.2, steps=2))
    assert (found.pixels == picture).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 30), st.integers(8, 30), st.data())
def test_squares_on_the_thing_hide_the_most_of_it_and_those_beside_it_nothing(height, width, data):
    top = data.draw(st.integers(0, height - 3))
    left = data.draw(st.integers(0, width - 3))
    thing = np.zeros((height, width), dtype=bool)
    thing[top : top + 3, left : left + 3] = data.draw(st.booleans()) or np.eye(3, dtype=bool)
    settings = RegionSettings(0.1, restarts=8, seed=data.draw(st.integers(0, 9)))
    hidden = {
        place: [
            int(thing[s.window].sum()) for s in draw_squares(height, width, settings, place, thing)
        ]
        for place in Place
    }
    side = draw_squares(height, width, settings)[0].side
    most = max(
        int(thing[row : row + side, column : column + side].sum())
        for row in range(height - side + 1)
        for column in range(width - side + 1)
    )
    assert set(hidden[Place.ON]) == {most}
    assert set(hidden[Place.BESIDE]) == {0}
    assert max(hidden[Place.RANDOM]) <= most


def test_a_thing_that_leaves_no_room_has_nothing_beside_it():
    with pytest.raises(ConfigError, match="beside the thing"):
        draw_squares(9, 9, RegionSettings(0.2), Place.BESIDE, np.ones((9, 9), dtype=bool))


@pytest.mark.parametrize("thing", [None, np.zeros((9, 9), bool), np.ones((8, 9), bool)])
@pytest.mark.parametrize("place", [Place.ON, Place.BESIDE])
def test_a_place_is_of_a_thing_that_is_known(place, thing):
    with pytest.raises(ConfigError, match="which pixels"):
        draw_squares(9, 9, RegionSettings(0.2), place, thing)
