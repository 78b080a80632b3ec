"""From the scores of the validation part to the operating point of a shipped oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.optimize
from examples import ORDINARY, weight_of

if TYPE_CHECKING:
    from data import Text

MOST_FALSE_ALARMS = 0.008  # of every kind of ordinary answer


def operating_point(texts: list[Text], margins: np.ndarray) -> float:
    """The lowest margin at which no kind of ordinary answer is stopped too often."""
    source = np.array([text.source if not text.harmful else "" for text in texts])
    limits = {
        name: float(np.quantile(margins[np.isin(source, members)], 1.0 - MOST_FALSE_ALARMS))
        for name, members in ORDINARY.items()
    }
    print({name: round(limit, 3) for name, limit in limits.items()})
    return max(limits.values())


def slope_of(texts: list[Text], margins: np.ndarray) -> float:
    """Of the logistic curve that fits the labels best (Platt)."""
    harmful = np.array([text.harmful for text in texts])
    weight = np.array([weight_of(text) for text in texts])

    def loss(point: np.ndarray) -> float:
        logit = point[0] * margins + point[1]
        return float(np.dot(weight, np.logaddexp(0, np.where(harmful, -logit, logit))))

    slope, _ = scipy.optimize.minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(slope)
