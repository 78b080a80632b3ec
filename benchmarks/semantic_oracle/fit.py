"""Fits the small model of the method `pair`: one hidden layer, by Adam, in NumPy, seeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit"]

HIDDEN = 32
EPOCHS = 60
BATCH = 128
RATE = 3e-3
DECAY = 2e-3  # of the weights, as in AdamW
CLIP = 5.0


def fit(
    features: NDArray[np.float32], same: NDArray[np.bool_], seed: int = 1
) -> dict[str, NDArray[np.float32]]:
    """The arrays of a `PairHead` from features (n, f) and truths (n,)."""
    rng = np.random.default_rng(seed)
    mean, scale = features.mean(0), np.maximum(features.std(0), 0.05)
    standard = np.clip((features - mean) / scale, -CLIP, CLIP)
    wide = features.shape[1]
    weights = [
        rng.normal(0, np.sqrt(2 / wide), (wide, HIDDEN)), np.zeros(HIDDEN),
        rng.normal(0, np.sqrt(1 / HIDDEN), HIDDEN), np.zeros(()),
    ]  # fmt: skip
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    step, steps = 0, EPOCHS * (len(same) // BATCH + 1)
    for _ in range(EPOCHS):
        order = rng.permutation(len(same))
        for rows in np.array_split(order, len(same) // BATCH + 1):
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            gradients = _gradients(weights, standard[rows], same[rows])
            for at, gradient in enumerate(gradients):
                first, second = moments[at]
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient**2 - second)
                slope = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
                decay = DECAY * weights[at] if np.ndim(weights[at]) and at % 2 == 0 else 0.0
                weights[at] = weights[at] - rate * (slope + decay)
    names = ("hidden", "hidden_bias", "last", "last_bias")
    arrays = dict(zip(names, weights, strict=True)) | {"mean": mean, "scale": scale}
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def _gradients(
    weights: list[NDArray[np.float64]], rows: NDArray[np.float32], same: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    hidden, hidden_bias, last, last_bias = weights
    before = rows @ hidden + hidden_bias
    after = np.maximum(before, 0)
    wrong = (1 / (1 + np.exp(-(after @ last + last_bias))) - same) / len(same)
    back = np.outer(wrong, last) * (before > 0)
    return [rows.T @ back, back.sum(0), after.T @ wrong, wrong.sum()]
