"""The smallest change: near a minimum that is known, measured as it is written, checked there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.attack.minimum_norm import MinimumNormSettings, find_smallest_change
from guardrail.attack.tensors import distances, to_tensor
from guardrail.errors import ConfigError


class HalfSpace:
    """A model that changes its mind beyond a plane: the smallest change is the way to it."""

    device = "cpu"

    def __init__(self, picture, distance, seed=0):
        normal = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, *picture.shape[:2])))
        self.normal = (normal / normal.norm()).float()
        self.offset = float((self.normal * to_tensor(picture, "cpu")).sum()) + distance

    def __call__(self, x, _draws):
        return self.offset - (self.normal * x).sum()

    def is_beyond(self, pixels):
        return float(self(to_tensor(pixels, "cpu"), 1)) <= 0.0


def grey(side):
    return np.full((side, side, 3), 128, np.uint8)


@pytest.mark.parametrize("distance", [0.3, 1.0, 3.0])
def test_it_finds_the_known_minimum_of_a_half_space(distance):
    picture = grey(16)  # no value is driven out of [0, 1], so the minimum is the distance itself
    plane = HalfSpace(picture, distance)
    found = find_smallest_change(
        plane, picture, MinimumNormSettings(steps=80), is_reached=plane.is_beyond
    )
    assert plane.is_beyond(found.pixels)
    assert distance - 1e-3 <= found.l2 <= 1.05 * distance
    assert found.l2 == distances(found.pixels, picture)["l2"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 4.0))
def test_no_size_is_claimed_that_the_written_picture_does_not_have(seed, distance):
    picture = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    plane = HalfSpace(picture, distance, seed)
    found = find_smallest_change(
        plane, picture, MinimumNormSettings(steps=30), is_reached=plane.is_beyond
    )
    if found is None:
        return  # clipped to [0, 1] the plane may be out of reach
    assert found.pixels.dtype == np.uint8
    assert plane.is_beyond(found.pixels)
    assert found.l2 == distances(found.pixels, picture)["l2"]
    assert found.l2 >= distance - 1e-4  # nothing beyond the plane is nearer


def test_a_change_counts_only_where_the_goal_is_reached_in_fact():
    picture = grey(16)
    plane = HalfSpace(picture, 1.0)
    later = HalfSpace(picture, 1.3)  # the goal lies behind the loss's own zero
    found = find_smallest_change(plane, picture, MinimumNormSettings(), is_reached=later.is_beyond)
    assert 1.3 <= found.l2 <= 1.4
    unreachable = find_smallest_change(
        plane, picture, MinimumNormSettings(steps=20), is_reached=lambda _: False
    )
    assert unreachable is None


def test_a_goal_that_is_reached_already_needs_no_change():
    picture = grey(8)
    plane = HalfSpace(picture, -0.1)
    steps = []
    found = find_smallest_change(
        plane, picture, MinimumNormSettings(), is_reached=plane.is_beyond,
        progress=lambda: steps.append(1),
    )  # fmt: skip
    assert found.l2 == 0.0
    assert (found.pixels == picture).all()
    assert not steps


def test_a_restart_after_one_that_found_nothing_looks_farther():
    picture = grey(32)
    plane = HalfSpace(picture, 6.0)

    def search(restarts):
        effort = MinimumNormSettings(steps=20, restarts=restarts)  # 1.05 ** 20 = 2.65
        return find_smallest_change(plane, picture, effort, is_reached=plane.is_beyond)

    assert search(1) is None
    assert 6.0 <= search(2).l2 < 7.5


def test_the_smallest_of_the_restarts_is_kept():
    picture = grey(16)
    plane = HalfSpace(picture, 1.0)
    sizes = [
        find_smallest_change(
            plane, picture, MinimumNormSettings(steps=25, restarts=n), is_reached=plane.is_beyond
        ).l2
        for n in (1, 2, 4)
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_the_seed_fixes_what_is_found():
    picture = np.random.default_rng(4).integers(0, 256, (12, 12, 3), dtype=np.uint8)

    class Curved(HalfSpace):
        def __call__(self, x, draws):
            return super().__call__(x, draws) + (x**3).sum() * 0.05 - 3.0

    plane = Curved(picture, 3.0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    def find(seed):
        effort = MinimumNormSettings(steps=15, restarts=3, seed=seed)
        return find_smallest_change(plane, picture, effort, is_reached=plane.is_beyond)

    one, two = find(1), find(1)
    assert torch.equal(torch.rand(3), expected)
    assert one.l2 == two.l2
    assert (one.pixels == two.pixels).all()


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["steps", "restarts", "first_norm", "draws"])
def test_senseless_settings_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        MinimumNormSettings(**{name: value})
