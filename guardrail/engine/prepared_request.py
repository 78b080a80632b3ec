"""A request with pictures, prepared once: its canvases, its digest, its variants and seeds.

Noise and seeds are derived from secret, request, policy, attempt and index. The attempt makes a
decision's draws fresh though an equal request was decided before. If a request came twice and met
the same noise while the model drew anew, the second decision would not be a fresh try: given noise
that happens to be favourable, its probability of passing may exceed alpha.

An attempt is 128 random bits, drawn for each decision. They need no counter that restarts and
replicas would have to share: among a million decisions on one request the probability that any two
have the same attempt is below 2e-27. It stands in certificate and record, so that a decision can
be replayed. It is zero where nothing random is left, as every try would bring the same outcome.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.plan import Geometry, measure_geometry
from guardrail.engine.threats import Threat
from guardrail.images.fills import cut_window, fill_masked
from guardrail.images.grid import round_to_levels
from guardrail.images.noise import variant
from guardrail.oracles.base import is_function
from guardrail.upstreams.base import is_deterministic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.preprocessing import Preprocessing
    from guardrail.engine.rules import Rules
    from guardrail.engine.threats import View
    from guardrail.images.canvas import CanvasOperator
    from guardrail.images.codec import Picture
    from guardrail.images.grid import GridArray
    from guardrail.images.keys import NoiseKey
    from guardrail.oracles.base import Oracle
    from guardrail.types import Chat, Pixels
    from guardrail.upstreams.base import Upstream

__all__ = [
    "ATTEMPT_BYTES",
    "CLEAN_INDEX",
    "ONLY_ATTEMPT",
    "SELECTION_INDEX",
    "PreparedRequest",
    "choose_attempt",
    "derive_seed",
    "draw_attempt",
    "prepare_request",
]

ATTEMPT_BYTES = 16

ONLY_ATTEMPT = bytes(ATTEMPT_BYTES)
"""The attempt of every decision whose outcome follows from request, policy and key alone."""

CLEAN_INDEX = 2**32
"""The index under which the one call without noise draws its seed."""

SELECTION_INDEX = 2**33
"""The first index of the draws on which a reference is chosen: none of them is drawn again."""

_SEED_LABEL = b"guardrail/sampling/1"
_MOST_THREADS = 8


def choose_attempt(upstream: Upstream, oracle: Oracle) -> bytes:
    """The attempt of a decision that begins now; `ATTEMPT_BYTES` bytes.

    Fresh, unless the model gives the same answer bit for bit to the same chat, pictures and seed,
    and the oracle the same judgement to the same exchange: a judge that draws at random would meet
    old noise again just as a model would.
    """
    is_fixed = is_deterministic(upstream) and is_function(oracle)
    return ONLY_ATTEMPT if is_fixed else draw_attempt()


def draw_attempt() -> bytes:
    """An attempt that no other decision has."""
    return secrets.token_bytes(ATTEMPT_BYTES)


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """All that the draws of one decision follow from, but for rules and key.

    Attributes:
        preprocessing: canvas and filter, settled for the model that is asked.
        canvases: how each picture is scaled and laid on its canvas.
        grids: the pictures on their canvases, before noise.
        digest: the request's, see `request_digest`.
        attempt: tells the draws from those of other decisions on the same request.
        geometry: of all canvases together.
    """

    preprocessing: Preprocessing
    canvases: tuple[CanvasOperator, ...]
    grids: tuple[GridArray, ...]
    digest: bytes
    attempt: bytes
    geometry: Geometry

    def make_variant(self, index: int, rules: Rules, key: NoiseKey) -> tuple[Pixels, ...]:
        """Variant `index` of every picture, filtered; the same bytes whenever it is asked for.

        Raises CertificationError where a user's own filter fails.
        """
        context = self.preprocessing.noise_context(rules.digest)
        noisy = (
            variant(
                grid,
                sigma=rules.sigma,
                key=key,
                request_digest=self.digest,
                policy_digest=context,
                attempt=self.attempt,
                index=index,
                image_index=image_index,
            )
            for image_index, grid in enumerate(self.grids)
        )
        return tuple(self.preprocessing.filter(one) for one in noisy)

    async def draw_variant(self, index: int, rules: Rules, key: NoiseKey) -> tuple[Pixels, ...]:
        """What `make_variant` returns, made in a thread, first come first served."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_variant_threads(), self.make_variant, index, rules, key)

    def derive_seed(self, index: int, rules: Rules, key: NoiseKey, view: View | None = None) -> int:
        """The seed of the model's own randomness for variant `index`; see `derive_seed`."""
        return derive_seed(key, rules, self.digest, self.attempt, index, view)

    def show_view(self, view: View, pictures: Sequence[Picture]) -> tuple[Pixels, ...]:
        """The pictures of a view as the model is shown them, all of it without noise or filter.

        Window and mask act on the client's pixels, before the canvas.

        Args:
            view: which one.
            pictures: the request's.
        """
        shown = [round_to_levels(grid).astype(np.uint8) for grid in self.grids]
        if view.picture is not None and view.box is not None:
            pixels = pictures[view.picture].pixels
            cut = view.threat is Threat.CROPS
            seen = cut_window(pixels, view.box) if cut else fill_masked(pixels, view.box)
            grid = self.preprocessing.canvas_for(*seen.shape[:2]).apply(seen)
            shown[view.picture] = round_to_levels(grid).astype(np.uint8)
        return tuple(shown)

    def draw_view(
        self, view: View, pictures: Sequence[Picture]
    ) -> asyncio.Future[tuple[Pixels, ...]]:
        """What `show_view` returns, made in a thread."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(_variant_threads(), self.show_view, view, pictures)


def prepare_request(
    preprocessing: Preprocessing,
    chat: Chat,
    pictures: Sequence[Picture],
    attempt: bytes,
    *,
    digest: bytes | None = None,
) -> PreparedRequest:
    """Resizes and digests; slow for large pictures, so not on an event loop.

    `digest` is that of this request where it is known already.
    """
    canvases = tuple(preprocessing.canvas_for(p.height, p.width) for p in pictures)
    grids = tuple(c.apply(p.pixels) for c, p in zip(canvases, pictures, strict=True))
    if digest is None:
        digest = request_digest(chat, pictures)
    geometry = measure_geometry(canvases)
    return PreparedRequest(preprocessing, canvases, grids, digest, attempt, geometry)


def derive_seed(
    key: NoiseKey,
    rules: Rules,
    request_digest: bytes,
    attempt: bytes,
    index: int,
    view: View | None = None,
) -> int:
    """63 bits for the model's own randomness, independent of all noise and of other views'."""
    policy_digest = bytes.fromhex(rules.digest)
    place = index.to_bytes(8, "big")
    of_view = () if view is None else (view.key,)
    seed = key.derive(_SEED_LABEL, request_digest, policy_digest, attempt, place, *of_view)
    return int.from_bytes(seed[:8], "big") >> 1


@lru_cache(maxsize=1)
def _variant_threads() -> ThreadPoolExecutor:
    """As many threads as there are processors, for the variants of all decisions.

    More would only take the interpreter's lock from each other and from the event loop. They are
    apart from the loop's own threads, so that waves of variants do not keep other requests'
    pictures from being decoded.
    """
    count = min(os.cpu_count() or 1, _MOST_THREADS)
    return ThreadPoolExecutor(count, thread_name_prefix="guardrail-variants")
