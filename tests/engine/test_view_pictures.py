"""Pictures of views: made once, kept for few of them, and never one for another."""

import asyncio
import itertools

import pytest

from guardrail.engine.threats import Threat, View
from guardrail.engine.view_pictures import ViewPictures
from guardrail.images.covers import Box


class Request:
    """Makes pictures when it is told to, and keeps a list of what it made."""

    def __init__(self):
        self.made = []
        self.ready = asyncio.Event()

    def draw_view(self, view, pictures):
        self.made.append((view, pictures))
        return asyncio.ensure_future(self._draw(view))

    async def _draw(self, view):
        await self.ready.wait()
        return (view,)


def view_at(place, threat=Threat.CROPS, picture=0):
    return View(threat, picture, Box(0, place, 4, 4))


def test_all_draws_of_a_view_share_one_picture():
    async def run():
        request = Request()
        shown = ViewPictures(request, ["a picture"])
        asked = [asyncio.ensure_future(shown.show(view_at(n))) for n in (1, 2, 1, 2, 1)]
        await asyncio.sleep(0)
        asked[0].cancel()  # whoever leaves takes nothing away from the others
        await asyncio.sleep(0)
        request.ready.set()
        found = await asyncio.gather(*asked[1:])
        assert found == [(view_at(n),) for n in (2, 1, 2, 1)]
        assert request.made == [(view_at(1), ["a picture"]), (view_at(2), ["a picture"])]

    asyncio.run(run())


def test_a_window_is_no_mask_and_a_picture_no_other():
    async def run():
        request = Request()
        request.ready.set()
        shown = ViewPictures(request, [])
        views = [view_at(1), view_at(1, Threat.STICKERS), view_at(1, picture=1), view_at(2)]
        views.append(View(Threat.SUFFIX, cut=3))
        for view in [*views, *views]:
            assert await shown.show(view) == (view,)
        assert len(request.made) == len(views)
        assert await shown.show(View(Threat.SUFFIX, cut=4)) == (views[-1],)  # the same pictures

    asyncio.run(run())


@pytest.mark.parametrize("views", [8, 9, 30])
def test_few_are_kept(views):
    async def run():
        request = Request()
        request.ready.set()
        shown = ViewPictures(request, [])
        for number in itertools.chain(range(views), range(views)):
            assert await shown.show(view_at(number)) == (view_at(number),)
        assert len(request.made) == (views if views <= 8 else 2 * views)
        assert len(shown._made) <= 8

    asyncio.run(run())
