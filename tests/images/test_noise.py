"""Keyed noise: the same inputs give the same bytes, anything else gives independent noise.

Statistics here run on fixed keys, so they cannot flicker; their thresholds are nevertheless set
so that a right generator would fail with probability at most 1e-9 for a random key.
"""

import hashlib
import hmac
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from guardrail.images.canvas import canvas_for
from guardrail.images.gaussian import noise_steps
from guardrail.images.grid import STEPS_PER_LEVEL, STEPS_PER_UNIT, round_to_levels
from guardrail.images.keys import NoiseKey
from guardrail.images.noise import noise_seed, variant
from guardrail.images.uniforms import KeyedUniforms

KEY = NoiseKey(bytes(range(32)))
PLACE = {
    "request_digest": b"r" * 32,
    "policy_digest": b"p" * 32,
    "attempt": b"a" * 16,
    "index": 0,
    "image_index": 0,
}
GRAY = np.full((64, 64, 3), 128 * STEPS_PER_LEVEL, dtype=np.int32)


def draw(grid=GRAY, sigma=0.1, key=KEY, **changes):
    return variant(grid, sigma=sigma, key=key, **{**PLACE, **changes})


def residuals(**changes):
    """Standardised noise of a variant of mid grey, where clipping is out of reach."""
    return (draw(**changes).astype(float).reshape(-1) - 128) / 25.5


def ramp(height, width):
    pixels = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3) * 37 % 256
    return pixels.astype(np.uint8)


def test_golden_bytes():
    """Changes only with a deliberate change of the noise; old decisions then stop replaying."""
    plain = canvas_for(16, 16, max_side_px=16).apply(ramp(16, 16))
    resized = canvas_for(40, 30, max_side_px=16).apply(ramp(40, 30))
    parts = [
        draw(grid, sigma, index=3, image_index=1)
        for grid in (plain, resized)
        for sigma in (0.12, 0.5)
    ]
    digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    assert digest == "6183738caa26bdd2e8e5d9efa8022b93dccd9dd5a11475baa13bb37fe48b578a"


def test_seed_is_hmac_sha256_of_length_prefixed_fields():
    numbers = [(5).to_bytes(8, "big"), (2).to_bytes(8, "big")]
    fields = [b"guardrail/noise/1", b"req", b"pol", b"attempt", *numbers]
    message = b"".join(len(f).to_bytes(8, "big") + f for f in fields)
    place = {"request_digest": b"req", "policy_digest": b"pol", "attempt": b"attempt"}
    seed = noise_seed(KEY, **place, index=5, image_index=2)
    assert seed == hmac.new(KEY.secret, message, "sha256").digest()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 10**6), st.integers(0, 9))
def test_same_inputs_give_the_same_bytes(request_digest, policy_digest, index, image_index):
    place = {
        "request_digest": request_digest,
        "policy_digest": policy_digest,
        "attempt": bytes(16),
        "index": index,
        "image_index": image_index,
    }
    assert draw(**place).tobytes() == draw(**place).tobytes()


def test_every_field_changes_the_noise():
    others = [
        draw(index=1),
        draw(image_index=1),
        draw(index=256),
        draw(request_digest=b"R" * 32),
        draw(policy_digest=b"P" * 32),
        draw(attempt=b"A" * 16),
        draw(policy_digest=b"p" * 31, attempt=b"p" + b"a" * 16),
        draw(request_digest=b"r" * 31, policy_digest=b"r" + b"p" * 32),
        draw(key=NoiseKey(bytes(32))),
    ]
    everything = {one.tobytes() for one in (draw(), *others)}
    assert len(everything) == 1 + len(others)


def test_shape_type_and_input_are_respected():
    grid = canvas_for(33, 21, max_side_px=20).apply(ramp(33, 21))
    before = grid.copy()
    noisy = draw(grid, 0.25)
    assert noisy.shape == grid.shape
    assert noisy.dtype == np.uint8
    assert (grid == before).all()


def test_one_pixel_picture():
    noisy = draw(np.zeros((1, 1, 3), np.int32), 0.5)
    assert noisy.shape == (1, 1, 3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 1.0), st.integers(0, 1000))
def test_variant_is_clip_of_grid_plus_the_keys_own_noise(seed, sigma, index):
    """The noise is a function of the key alone: all 64 bits of the stream, then added."""
    grid = np.random.default_rng(seed).integers(0, STEPS_PER_UNIT, (5, 4, 3), dtype=np.int32)
    place = {**PLACE, "index": index}
    uniforms = KeyedUniforms(noise_seed(KEY, **place))
    u = uniforms.leading(grid.size).astype(np.uint64) << np.uint64(48)
    u |= uniforms.trailing(np.arange(grid.size))
    levels = round_to_levels(grid + noise_steps(u, sigma).reshape(grid.shape))
    assert (draw(grid, sigma, index=index) == np.clip(levels, 0, 255)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(-40, 40), st.floats(0.01, 0.06))
def test_translation_is_exact_before_the_clip(seed, shift, sigma):
    levels = np.random.default_rng(seed).integers(120, 136, (6, 5, 3)).astype(np.int32)
    grid = levels * STEPS_PER_LEVEL + np.int32(
        12345
    )  # 8 sigma from black and white even when moved
    moved = grid + np.int32(shift * STEPS_PER_LEVEL)
    difference = draw(moved, sigma).astype(int) - draw(grid, sigma)
    inside = (draw(moved, sigma) % 255 != 0) & (draw(grid, sigma) % 255 != 0)
    assert (difference[inside] == shift).all()
    assert inside.mean() > 0.9


@pytest.mark.parametrize("sigma", [0.02, 0.12, 0.25, 0.5])
@pytest.mark.parametrize("offset", [0, 21845, 32768])
def test_law_is_the_rounded_clipped_gaussian(sigma, offset):
    """Dvoretzky-Kiefer-Wolfowitz: P(sup |F_n - F| > e) <= 2 exp(-2 n e^2), here 1e-9."""
    centre = 100 * STEPS_PER_LEVEL + offset
    grid = np.full((128, 128, 3), centre, dtype=np.int32)
    values = np.concatenate([draw(grid, sigma, index=i).reshape(-1) for i in range(8)])
    empirical = np.cumsum(np.bincount(values, minlength=256)) / values.size
    edges = (np.arange(255) + 0.5 - centre / STEPS_PER_LEVEL) / (255 * sigma)
    allowed = math.sqrt(math.log(2e9) / (2 * values.size))
    assert np.abs(empirical[:-1] - norm.cdf(edges)).max() <= allowed


def test_mean_and_variance_of_the_noise():
    noise = np.concatenate([residuals(index=i) for i in range(40)])
    # 6.2 standard errors: two-sided 6e-10. Rounding to levels adds 1/12 level^2 to the variance.
    assert abs(noise.mean()) <= 6.2 / math.sqrt(noise.size)
    expected = 1 + 1 / 12 / 25.5**2
    assert abs(noise.var() - expected) <= 6.2 * math.sqrt(2 / noise.size)


def neighbours():
    """Noise of places that differ in one field by as little as possible."""
    for index in range(12):
        yield residuals(index=index)
    for image_index in range(1, 6):
        yield residuals(image_index=image_index)
    yield residuals(request_digest=b"r" * 31 + b"s")
    yield residuals(policy_digest=b"p" * 31 + b"q")
    yield residuals(key=NoiseKey(bytes(range(31)) + b"\x20"))


def test_variants_are_uncorrelated_at_every_shift():
    """All circular cross-correlations of all pairs, and all auto-correlations but the zeroth.

    210 pairs of 12 288 shifts make 2.6e6 statistics, each close to standard normal and beyond 8.2
    by chance with probability 2.4e-16: below 1e-9 for all together.
    """
    spectra = [np.fft.rfft(noise) for noise in neighbours()]
    size = GRAY.size
    for (i, first), (j, second) in itertools.combinations_with_replacement(enumerate(spectra), 2):
        correlation = np.fft.irfft(first * second.conj(), size) / math.sqrt(size)
        if i == j:
            correlation = correlation[1:]
        assert np.abs(correlation).max() <= 8.2


def test_signs_of_two_samples_agree_half_of_the_time():
    """Dependence that correlation misses: signs, and the sizes of the noise at the same pixel."""
    noises = list(neighbours())
    for first, second in itertools.combinations(noises, 2):
        agree = np.mean((first > 0) == (second > 0))
        sizes = np.mean((first**2 - 1) * (second**2 - 1)) / 2
        assert abs(agree - 0.5) <= 0.5 * 8 / math.sqrt(first.size)
        assert abs(sizes) <= 8.5 / math.sqrt(first.size)


def test_no_two_samples_share_a_stream():
    seeds = {
        noise_seed(KEY, request_digest=b"", policy_digest=b"", attempt=b"", index=i, image_index=j)
        for i in range(500)
        for j in range(4)
    }
    assert len(seeds) == 2000
    streams = {KeyedUniforms(seed).leading(16).tobytes() for seed in seeds}
    assert len(streams) == 2000


def splitmix64(state, count):
    """The published generator, one step at a time in unbounded integers."""
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        yield word ^ word >> 31


def test_splitmix64_reference_values():
    """The first outputs for state 1234567, as listed on Rosetta Code for this generator."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert list(splitmix64(1234567, 3)) == expected


def test_trailing_bits_are_splitmix64_at_any_position():
    seed = bytes(range(32))
    expected = [word >> 16 for word in splitmix64(int.from_bytes(seed[24:], "little"), 300)]
    positions = np.array([0, 299, 7, 7, 100])
    assert KeyedUniforms(seed).trailing(positions).tolist() == [expected[i] for i in positions]


def sfc64(a, b, c):
    """The published generator, one step at a time in unbounded integers, as three words seed it."""
    for counter in itertools.count(1):
        word = (a + b + counter) % 2**64
        rotated = (c << 24 | c >> 40) % 2**64
        a, b, c = b ^ b >> 11, (c + (c << 3)) % 2**64, (rotated + word) % 2**64
        if counter > 18:
            yield word


def test_leading_bits_are_sfc64_of_three_words():
    seed = bytes(range(32))
    words = sfc64(*(int.from_bytes(seed[i : i + 8], "little") for i in (0, 8, 16)))
    drawn = itertools.islice(words, 100)
    expected = [word >> shift & 0xFFFF for word in drawn for shift in (0, 16, 32, 48)]
    assert KeyedUniforms(seed).leading(399).tolist() == expected[:399]


def test_leading_and_trailing_bits_are_unrelated():
    uniforms = KeyedUniforms(bytes(range(32)))
    leading, trailing = uniforms.leading(4000), uniforms.trailing(np.arange(4000))
    for shift in range(-3, 4):
        for part in (0, 16, 32):
            same = np.roll(leading, shift) == (trailing >> np.uint64(part) & np.uint64(0xFFFF))
            assert np.mean(same) < 0.01
    assert len(set(trailing.tolist())) == 4000
