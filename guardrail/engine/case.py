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
                index=index,
                image_index=image_index,
            )
            for image_index, grid in enumerate(self.grids)
        )


def prepare(rules: Rules, chat: Chat, pictures: Sequence[Picture]) -> Case:
    """Resizes and digests; slow for large pictures, so not on an event loop."""
    most, least = rules.canvas_max_side_px, rules.canvas_min_side_px
    canvases = tuple(
        canvas_for(p.height, p.width, max_side_px=most, min_side_px=least) for p in pictures
    )
    grids = tuple(c.apply(p.pixels) for c, p in zip(canvases, pictures, strict=True))
    return Case(canvases, grids, request_digest(chat, pictures), geometry(canvases))


def sampling_seed(key: NoiseKey, digest: bytes, index: int) -> int:
    """63 bits for the model's own randomness, independent of the noise of every picture."""
    message = b"guardrail/sampling/1" + digest + index.to_bytes(8, "big")
    return int.from_bytes(key.derive(message)[:8], "big") >> 1
