"""Hidden parts and stickers: the truth follows what can still be seen."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.builtin.kinds import HARMLESS, KINDS
from guardrail.builtin.occlusion import add_sticker, cover_window, keep_window
from guardrail.builtin.scenes import FONT_PATH, Placed, Scene, SpriteBank, draw_scene

SIDE = 96
needs_font = pytest.mark.skipif(
    not FONT_PATH.is_file(), reason="the Noto Color Emoji font is not installed"
)


def scene(seed):
    """Two things as blocks of noise on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    owner = np.full((SIDE, SIDE), -1, np.int16)
    things = []
    for kind, left in (("dog", 4), ("gun", 52)):
        top = int(rng.integers(0, 56))
        owner[top : top + 40, left : left + 40] = KINDS.index(kind)
        things.append(Placed(kind, (left, top, left + 40, top + 40)))
    return Scene(pixels, tuple(things), "red", owner)


def share_left(before, after, kind):
    index = KINDS.index(kind)
    untouched = (before.pixels == after.pixels).all(axis=-1) & (before.owner == index)
    return np.count_nonzero(untouched) / np.count_nonzero(before.owner == index)


def check_truth(before, after):
    """What is named is seen, what is hidden is not named, and pixels belong to what is named."""
    for thing in before.things:
        left = share_left(before, after, thing.kind)
        if thing in after.things:
            assert left >= 0.39
        else:
            assert left <= 0.13
    owners = {KINDS[i] for i in np.unique(after.owner) if i >= 0}
    assert owners == set(after.kinds)
    middles = [thing.box[0] + thing.box[2] for thing in after.things]
    assert middles == sorted(middles)
    assert after.background == before.background


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([cover_window, keep_window]), st.integers(0, 2**32 - 1))
def test_windows_hide_things_wholly_or_leave_them_to_be_seen(change, seed):
    before = scene(seed)
    untouched = before.pixels.copy()
    after = change(before, np.random.default_rng(seed))
    check_truth(before, after)
    assert np.array_equal(before.pixels, untouched)
    covered = (after.pixels != before.pixels).any(axis=-1)
    if covered.any():
        colours = np.unique(after.pixels[covered], axis=0)
        assert len(colours) == 1


def test_windows_hide_something_as_a_rule():
    changed = {
        change: sum(
            (change(scene(seed), np.random.default_rng(seed)).pixels != scene(seed).pixels).any()
            for seed in range(60)
        )
        for change in (cover_window, keep_window)
    }
    assert min(changed.values()) > 40
    kept = [keep_window(scene(s), np.random.default_rng(s)).kinds for s in range(60)]
    assert len({len(kinds) for kinds in kept}) > 1


def test_nothing_can_be_hidden_of_an_empty_scene():
    empty = replace(scene(0), things=(), owner=np.full((SIDE, SIDE), -1, np.int16))
    assert cover_window(empty, np.random.default_rng(0)).things == ()


@needs_font
def test_a_sticker_is_a_harmless_thing_more():
    rng = np.random.default_rng(0)
    bank = SpriteBank(side=SIDE, variants=2, rng=rng)
    added = 0
    for _ in range(40):
        before = draw_scene(bank, rng, ("gun", "dog"))
        after = add_sticker(before, bank, rng)
        check_truth(before, after)
        new = set(after.kinds) - set(before.kinds)
        assert new <= set(HARMLESS)
        added += len(new)
    assert added > 30
