"""Scenes: the truth that comes with a picture must be the truth about its pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.builtin.kinds import BACKGROUNDS, KINDS
from guardrail.builtin.scenes import FONT_PATH, SpriteBank, draw_scene
from guardrail.errors import ConfigError

needs_font = pytest.mark.skipif(
    not FONT_PATH.is_file(), reason="the Noto Color Emoji font is not installed"
)


@pytest.fixture(scope="module")
def bank():
    return SpriteBank(side=96, variants=2, rng=np.random.default_rng(0))


def test_a_missing_font_says_how_to_install_it(tmp_path):
    with pytest.raises(ConfigError, match="apt-get install fonts-noto-color-emoji"):
        SpriteBank(side=96, variants=1, rng=np.random.default_rng(0), font_path=tmp_path / "x.ttf")


@needs_font
def test_every_kind_is_drawn_and_no_two_look_alike(bank):
    rng = np.random.default_rng(0)
    seen = set()
    for kind in KINDS:
        sprite = bank.pick(kind, 1.0, rng)
        assert sprite.shape[2] == 4
        assert 0.25 * 96 <= max(sprite.shape[:2]) <= 0.82 * 96
        assert (sprite[..., 3] > 128).mean() > 0.05
        seen.add(bank._sprites[kind][0].tobytes())
    assert len(seen) == len(KINDS)


@needs_font
@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
    st.sampled_from([None, *BACKGROUNDS]),
    st.integers(0, 2**32 - 1),
)
def test_a_scene_tells_the_truth_about_itself(bank, kinds, background, seed):
    scene = draw_scene(bank, np.random.default_rng(seed), tuple(kinds), background)
    assert scene.pixels.shape == (96, 96, 3)
    assert scene.pixels.dtype == np.uint8
    assert sorted(scene.kinds) == sorted(kinds)
    assert scene.background == (background or scene.background)
    assert scene.background in BACKGROUNDS
    middles = [thing.box[0] + thing.box[2] for thing in scene.things]
    assert middles == sorted(middles)
    shown = {KINDS[i] for i in np.unique(scene.owner) if i >= 0}
    assert shown == set(kinds)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 96
        ys, xs = np.nonzero(scene.owner == KINDS.index(thing.kind))
        assert xs.min() >= left
        assert xs.max() < right
        assert ys.min() >= top
        assert ys.max() < bottom


@needs_font
@pytest.mark.parametrize("name", list(BACKGROUNDS))
def test_the_background_has_its_colour(bank, name):
    scene = draw_scene(bank, np.random.default_rng(1), ("dog",), name)
    mean = scene.pixels[scene.owner < 0].mean(axis=0)
    distances = {
        other: float(np.linalg.norm(mean - colour)) for other, colour in BACKGROUNDS.items()
    }
    assert min(distances, key=distances.get) == name


@needs_font
def test_the_same_seed_draws_the_same_scene():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return draw_scene(SpriteBank(side=48, variants=1, rng=rng), rng, ("dog", "apple")).pixels

    one = draw(3)
    assert (one == draw(3)).all()
    assert (one != draw(4)).any()
