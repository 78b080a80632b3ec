"""A request with pictures, prepared once: its canvases, its digest, its variants and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.digest import request_digest
from guardrail.engine.plan import Geometry, geometry
from guardrail.images.canvas import CanvasOperator, canvas_for
from guardrail.images.noise import variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import Rules
    from guardrail.images.codec import Picture
    from guardrail.images.grid import GridArray
    from guardrail.images.keys import NoiseKey
    from guardrail.types import Chat, Pixels

__all__ = ["CLEAN_INDEX", "SELECTION_INDEX", "Case", "prepare", "sampling_seed"]

_SAMPLING_LABEL = b"guardrail/sampling/1"

CLEAN_INDEX = 2**32
"""The index under which the one call without noise draws its seed."""

SELECTION_INDEX = 2**33
"""The first index of the draws on which a reference is chosen: none of them is drawn again."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one decision is about; `grids` are the pictures on their canvases, before noise."""

    canvases: tuple[CanvasOperator, ...]
    grids: tuple[GridArray, ...]
    digest: bytes
    attempt: bytes
    where: Geometry

    def variants(self, index: int, rules: Rules, key: NoiseKey) -> tuple[Pixels, ...]:
        """Noisy variant `index` of every picture; the same bytes whenever it is asked for."""
        return tuple(
            variant(
                grid,
                sigma=rules.sigma,
                key=key,
                request_digest=self.digest,
                policy_digest=bytes.fromhex(rules.digest),
                attempt=self.attempt,
                index=index,
                image_index=image_index,
            )
            for image_index, grid in enumerate(self.grids)
        )

    def seed(self, index: int, rules: Rules, key: NoiseKey) -> int:
        """What the model's own randomness of variant `index` grows from; see `sampling_seed`."""
        return sampling_seed(key, rules, self.digest, self.attempt, index)


def prepare(
    rules: Rules,
    chat: Chat,
    pictures: Sequence[Picture],
    attempt: bytes,
    *,
    digest: bytes | None = None,
) -> Case:
    """Resizes and digests; slow for large pictures, so not on an event loop.

    `digest` is that of this request where it is known already.
    """
    most, least = rules.canvas_max_side_px, rules.canvas_min_side_px
    canvases = tuple(
        canvas_for(p.height, p.width, max_side_px=most, min_side_px=least) for p in pictures
    )
    grids = tuple(c.apply(p.pixels) for c, p in zip(canvases, pictures, strict=True))
    if digest is None:
        digest = request_digest(chat, pictures)
    return Case(canvases, grids, digest, attempt, geometry(canvases))


def sampling_seed(
    key: NoiseKey, rules: Rules, request_digest: bytes, attempt: bytes, index: int
) -> int:
    """63 bits for the model's own randomness, independent of the noise of every picture."""
    policy_digest = bytes.fromhex(rules.digest)
    place = index.to_bytes(8, "big")
    seed = key.derive(_SAMPLING_LABEL, request_digest, policy_digest, attempt, place)
    return int.from_bytes(seed[:8], "big") >> 1
