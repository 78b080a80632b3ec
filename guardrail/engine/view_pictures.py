"""The pictures of views, made once for all draws of a view: without noise these see the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.threats import View
    from guardrail.images.codec import Picture
    from guardrail.types import Pixels

__all__ = ["ViewPictures"]

_KEPT = 8
"""Views whose pictures are kept; the draws of one come close together. Of a picture of 12
megapixels a mask takes a tenth of a second to fill and scale, and has some four draws."""


class ViewPictures:
    """Shows the views of one request."""

    def __init__(self, request: PreparedRequest, pictures: Sequence[Picture]) -> None:
        self._request, self._pictures = request, pictures
        self._made: dict[object, asyncio.Future[tuple[Pixels, ...]]] = {}

    async def show(self, view: View) -> tuple[Pixels, ...]:
        """What `PreparedRequest.show_view` returns."""
        # Prompts of any length have the same pictures; a window and a mask may share a place.
        key = None if view.box is None else (view.threat, view.picture, view.box)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._request.draw_view(view, self._pictures)
            if len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
        # Whoever is cancelled leaves it to the others.
        return await asyncio.shield(made)
