"""Keyed noise: a variant is a pure function of picture, secret and its place in the request.

seed = HMAC-SHA256(secret, fields), and `uniforms.py` draws from it. The fields name the request,
the policy, the attempt, the sample and the picture, so no two samples and no two pictures share
noise, and a decision's noise can be made again from its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.images.gaussian import add_noise
from guardrail.images.uniforms import KeyedUniforms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from guardrail.images.grid import GridArray
    from guardrail.images.keys import NoiseKey

__all__ = ["noise_seed", "variant"]

_LABEL = b"guardrail/noise/1"


def variant(
    canvas_pixels: GridArray,
    *,
    sigma: float,
    key: NoiseKey,
    request_digest: bytes,
    policy_digest: bytes,
    attempt: bytes,
    index: int,
    image_index: int,
) -> NDArray[np.uint8]:
    """One noisy variant of a canvas: grid value + keyed Gaussian, then clipped to 8 bits.

    Args:
        canvas_pixels: grid values from `CanvasOperator.apply`, shape (h, w, 3).
        sigma: standard deviation in [0, 1] canvas pixel units.
        key: the secret.
        request_digest: covers decoded pixels, texts, model and sampling parameters.
        policy_digest: covers the policy, and the canvas where that follows from the model.
        attempt: tells decisions on the same request apart.
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
        attempt=attempt,
        index=index,
        image_index=image_index,
    )
    noisy = add_noise(canvas_pixels.reshape(-1), sigma, KeyedUniforms(seed))
    return noisy.reshape(canvas_pixels.shape)


def noise_seed(
    key: NoiseKey,
    *,
    request_digest: bytes,
    policy_digest: bytes,
    attempt: bytes,
    index: int,
    image_index: int,
) -> bytes:
    """The 32 bytes from which one variant's noise is derived."""
    numbers = (index.to_bytes(8, "big"), image_index.to_bytes(8, "big"))
    return key.derive(_LABEL, request_digest, policy_digest, attempt, *numbers)
