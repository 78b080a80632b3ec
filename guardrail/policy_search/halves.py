"""Two halves of labelled requests: one to search on, one to confirm on."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["choose_search_half"]

_LABEL = b"guardrail/policy_search/halves/2"


def choose_search_half(digests: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Which requests the search may look at: each with probability 1/2, by a keyed hash.

    A function of `seed` and of what the request is alone, so that it is fixed before any outcome is
    known, and a request stays in its half when others are added. The halves are about as large as
    each other, not exactly.
    """
    key = _LABEL + str(seed).encode()
    hashes = (hmac.digest(key, digest.encode(), "sha256") for digest in digests)
    return np.fromiter((value[0] < 128 for value in hashes), dtype=np.bool_, count=len(digests))
