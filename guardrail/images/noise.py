"""Keyed noise: a variant is a pure function of picture, secret and its place in the request.

seed = HMAC-SHA256(secret, fields), and the seed fills key and counter of a Philox4x64 generator
(Salmon et al. 2011) and the state of a finer one. The fields name the request, the policy, the
sample and the picture, so no two samples and no two pictures share noise, and the same request
draws the same noise again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guardrail.images.gaussian import add_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.images.grid import GridArray
    from guardrail.images.keys import NoiseKey

__all__ = ["noise_seed", "variant"]

_LABEL = b"guardrail/noise/1"
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def variant(
    canvas_pixels: GridArray,
    *,
    sigma: float,
    key: NoiseKey,
    request_digest: bytes,
    policy_digest: bytes,
    index: int,
    image_index: int,
) -> NDArray[np.uint8]:
    """One noisy variant of a canvas: grid value + keyed Gaussian, then clipped to 8 bits.

    Args:
        canvas_pixels: grid values from `CanvasOperator.apply`, shape (h, w, 3).
        sigma: standard deviation in [0, 1] canvas pixel units.
        key: the secret.
        request_digest: covers decoded pixels, texts, model and sampling parameters.
        policy_digest: covers the policy.
        index: the sample's number in the decision, from 0.
        image_index: the picture's number in the request, from 0.

    Returns:
        Eight-bit pixels of the canvas's shape; the same bytes for the same arguments.

    Raises:
        ConfigError: `sigma` is not in (0, 4].
    """
    seed = noise_seed(
        key,
        request_digest=request_digest,
        policy_digest=policy_digest,
        index=index,
        image_index=image_index,
    )
    levels = add_noise(canvas_pixels.reshape(-1), sigma, _KeyedUniforms(seed))
    np.clip(levels, 0, 255, out=levels)
    return levels.astype(np.uint8).reshape(canvas_pixels.shape)


def noise_seed(
    key: NoiseKey, *, request_digest: bytes, policy_digest: bytes, index: int, image_index: int
) -> bytes:
    """The 32 bytes from which one variant's noise grows."""
    numbers = (index.to_bytes(8, "big"), image_index.to_bytes(8, "big"))
    fields = (_LABEL, request_digest, policy_digest, *numbers)
    # Each field carries its length, so no two lists of fields run together into one message.
    return key.derive(b"".join(len(part).to_bytes(8, "big") + part for part in fields))


class _KeyedUniforms:
    """64-bit integers: leading bits from Philox, trailing bits by position from SplitMix64.

    Both are functions of the seed alone, so the noise never depends on the picture. SplitMix64
    (Steele, Lea and Flood 2014) can be read at any position; it decides only where within its
    1/65536 of probability a value lies, and matters for fewer than one value in a hundred.
    """

    def __init__(self, seed: bytes) -> None:
        words = np.frombuffer(seed, dtype="<u8").astype(np.uint64)
        self._key, self._nonce, self._state = words[:2], words[2], words[3:]

    def leading(self, count: int) -> NDArray[np.uint16]:
        counter = np.array([0, 0, 0, self._nonce], dtype=np.uint64)
        generator = np.random.Philox(key=self._key, counter=counter)
        return _quarters(generator.random_raw(-(-count // 4)))[:count]

    def trailing(self, positions: NDArray[np.intp]) -> NDArray[np.uint64]:
        word = self._state + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN_GAMMA
        word = (word ^ word >> np.uint64(30)) * _MIX_1
        word = (word ^ word >> np.uint64(27)) * _MIX_2
        bits: NDArray[np.uint64] = (word ^ word >> np.uint64(31)) >> np.uint64(16)
        return bits


def _quarters(words: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Each word as four 16-bit integers, in the same order on every machine."""
    return words.astype("<u8", copy=False).view("<u2").astype(np.uint16, copy=False)
