"""Two halves of labelled requests: one to search on, one to confirm on."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["choose_search_half"]

_LABEL = b"guardrail/policy_search/halves/1"


def choose_search_half(
    digests: Sequence[str], forbidden: NDArray[np.bool_], seed: int
) -> NDArray[np.bool_]:
    """Which requests the search may look at; half of each kind, the smaller half where odd.

    A function of `seed` and of what each request is, so that it is fixed before any outcome is
    known and does not depend on their order.
    """
    key = _LABEL + str(seed).encode()
    hashes = [hmac.digest(key, digest.encode(), "sha256") for digest in digests]
    chosen = np.zeros(len(digests), dtype=np.bool_)
    for kind in (False, True):
        rows = sorted(np.flatnonzero(forbidden == kind).tolist(), key=hashes.__getitem__)
        chosen[rows[: len(rows) // 2]] = True
    return chosen
