"""A model with known truth must be true itself."""

import asyncio
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, UpstreamError
from guardrail.testing.half_space import HARMFUL_TEXT, HARMLESS_TEXT, HalfSpaceUpstream
from guardrail.types import Chat, image_placeholder
from guardrail.upstreams.base import Upstream

SIZE = (4, 5, 3)
SEEDS = st.integers(0, 2**32 - 1)


def normal_and_picture(seed):
    random = np.random.default_rng(seed)
    return random.normal(size=SIZE), random.integers(0, 256, SIZE, dtype=np.uint8)


@pytest.fixture(name="make_chat")
def make_chat_fixture():
    def make(pictures):
        urls = [{"url": image_placeholder(index)} for index in range(pictures)]
        parts = [{"type": "image_url", "image_url": url} for url in urls]
        return Chat("half-space", ({"role": "user", "content": parts},), {}, pictures)

    return make


def said(upstream, chat, pictures):
    return asyncio.run(upstream.complete(chat, pictures, seed=0)).text


@given(SEEDS, st.floats(-3, 3))
def test_the_picture_lies_as_far_inside_as_was_asked(seed, distance):
    normal, picture = normal_and_picture(seed)
    upstream = HalfSpaceUpstream.at_distance([picture], normal, distance)
    assert upstream.distance([picture]) == pytest.approx(distance, abs=1e-9)


@given(SEEDS, st.floats(0.01, 100))
def test_only_the_direction_of_the_normal_counts(seed, scale):
    normal, picture = normal_and_picture(seed)
    small, large = (HalfSpaceUpstream(normal * s, 0.25) for s in (1.0, scale))
    assert small.distance([picture]) == pytest.approx(large.distance([picture]), abs=1e-9)


@given(SEEDS)
def test_distance_is_the_shortest_way_to_the_plane(seed):
    """Along the normal one value step changes the distance by its exact ℓ2 length."""
    normal, picture = normal_and_picture(seed)
    axis = np.zeros(SIZE)
    axis[1, 2, 0] = 3.0
    moved = picture.copy()
    moved[1, 2, 0] ^= 255
    upstream = HalfSpaceUpstream(axis, 0.0)
    step = (float(moved[1, 2, 0]) - float(picture[1, 2, 0])) / 255
    assert upstream.distance([moved]) - upstream.distance([picture]) == pytest.approx(step)
    other = HalfSpaceUpstream(normal, 0.0)
    change = abs(other.distance([moved]) - other.distance([picture]))
    assert change <= abs(step) + 1e-12


def test_answers_by_side(make_chat):
    normal, picture = normal_and_picture(1)
    for distance, text in [(0.5, HARMLESS_TEXT), (-0.5, HARMFUL_TEXT)]:
        upstream = HalfSpaceUpstream.at_distance([picture], normal, distance)
        assert said(upstream, make_chat(1), [picture]) == text


def test_on_the_plane_is_harmful(make_chat):
    black = np.zeros(SIZE, np.uint8)
    assert said(HalfSpaceUpstream(np.ones(SIZE), 0.0), make_chat(1), [black]) == HARMFUL_TEXT


def test_several_pictures_are_one_vector(make_chat):
    normal, first = normal_and_picture(2)
    second = np.full((2, 2, 3), 128, np.uint8)
    joined = np.concatenate([normal.ravel(), np.ones(second.size)])
    upstream = HalfSpaceUpstream.at_distance([first, second], joined, 0.125)
    assert upstream.distance([first, second]) == pytest.approx(0.125)
    assert said(upstream, make_chat(2), [first, second]) == HARMLESS_TEXT


def test_the_share_of_harmless_answers_under_noise_is_the_stated_one():
    """An axis as normal: neither clipping nor, at a half-step, rounding moves a side."""
    sigma, draws = 0.25, 20_000
    axis = np.zeros(SIZE)
    axis[0, 0, 0] = 1.0
    picture = np.full(SIZE, 128, np.uint8)
    threshold = 100.5 / 255
    upstream = HalfSpaceUpstream(axis, -threshold)
    noise = np.random.default_rng(0).normal(0, sigma, (draws, *SIZE))
    noisy = np.clip(np.rint(picture + 255 * noise), 0, 255).astype(np.uint8)
    share = np.mean([upstream.distance([variant]) > 0 for variant in noisy])
    p = upstream.harmless_probability([picture], sigma)
    assert p == pytest.approx(NormalDist().cdf((128 / 255 - threshold) / sigma))
    assert abs(share - p) < 5 * (p * (1 - p) / draws) ** 0.5


def test_pictures_of_another_size_are_an_error(make_chat):
    upstream = HalfSpaceUpstream(np.ones(SIZE), 0.0)
    for pictures in ([], [np.zeros((1, 1, 3), np.uint8)]):
        with pytest.raises(UpstreamError, match="60 values"):
            said(upstream, make_chat(len(pictures)), pictures)


@pytest.mark.parametrize(
    ("normal", "offset"),
    [
        (np.zeros(SIZE), 0.0),
        (np.zeros(0), 0.0),
        (np.full(SIZE, np.nan), 0.0),
        (np.full(SIZE, np.inf), 0.0),
        (np.ones(SIZE), float("nan")),
    ],
)
def test_a_plane_needs_a_direction(normal, offset):
    with pytest.raises(ConfigError):
        HalfSpaceUpstream(normal, offset)


def test_it_is_an_upstream():
    upstream = HalfSpaceUpstream(np.ones(SIZE), 0.5)
    assert isinstance(upstream, Upstream)
    assert asyncio.run(upstream.models()) == [upstream.name]
    assert upstream.revision != HalfSpaceUpstream(np.ones(SIZE), 0.25).revision
    asyncio.run(upstream.aclose())
