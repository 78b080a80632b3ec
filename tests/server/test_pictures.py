"""The image loader: data URLs and links become the same pixels, within bounds for all of them."""

import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest

from guardrail.api.pictures import apart as module
from guardrail.api.pictures.fetch import RemoteImages
from guardrail.api.pictures.loader import Embedded, ImageLoader, Link, source_at
from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits

LIMITS = ImageLimits(max_pixels=5000, max_total_pixels=6000)


@asynccontextmanager
async def loader(limits=LIMITS, remote=None, *, max_link_bytes=1 << 20, max_pixels=6000):
    made = ImageLoader(
        limits, remote or RemoteImages(), max_link_bytes=max_link_bytes, max_pixels=max_pixels
    )
    try:
        yield made
    finally:
        made.close()


def embedded(data, at="p"):
    return Embedded(data, "image/png", at)


@pytest.mark.parametrize("url", ["http://a.example/x", "HTTPS://a.example/x", "http:x"])
def test_links_are_kept_as_they_are(url):
    assert source_at(url, "p", LIMITS) == Link(url, "p")


def test_a_source_does_not_show_what_it_holds(kit):
    shown = repr([source_at("https://a.example/secret", "p", LIMITS), embedded(b"secret")])
    assert "secret" not in shown


def test_pictures_come_in_order_and_take_room(run, kit):
    async def scenario():
        async with loader() as made:
            sources = [embedded(kit.png(seed=i), f"p{i}") for i in range(3)]
            async with made.open(sources) as pictures:
                assert sources == []  # nothing encoded is kept while a decision lasts
                assert made.room.free == 6000 - 3 * 12 * 9
            assert made.room.free == 6000
            return [picture.pixels for picture in pictures]

    for index, pixels in enumerate(run(scenario())):
        np.testing.assert_array_equal(pixels, kit.pixels(seed=index))


def test_no_picture_takes_nothing(run):
    async def scenario():
        async with loader() as made, made.open([]) as pictures:
            return pictures, made.room.free

    assert run(scenario()) == ((), 6000)


@pytest.mark.parametrize(
    ("sources", "status", "param"),
    [
        ([("png", "a"), ("huge", "b")], 413, "b"),
        ([("large", "a"), ("large", "b")], 413, "b"),
        ([("png", "a"), ("broken", "b")], 400, "b"),
        ([("text", "a")], 415, "a"),
    ],
)
def test_faults_name_the_picture_and_leave_all_room(run, kit, sources, status, param):
    files = {
        "png": kit.png(),
        "huge": kit.png_header(90, 90),
        "large": kit.png(60, 60),
        "broken": kit.png()[:60],
        "text": b"hello",
    }

    async def scenario():
        async with loader() as made:
            with pytest.raises(RequestError) as caught:
                async with made.open([embedded(files[name], at) for name, at in sources]):
                    pass
            return caught.value, made.room.free

    error, free = run(scenario())
    assert (error.status, error.param, free) == (status, param, 6000)


def test_only_small_pictures_are_decoded_on_the_event_loop(run, kit, monkeypatch):
    """What counts is the size in pixels: a few bytes can hold millions of them."""
    threads = []
    decode = module.decode_image

    def spy(*arguments, **options):
        threads.append(threading.current_thread().name)
        return decode(*arguments, **options)

    monkeypatch.setattr(module, "decode_image", spy)
    plain = kit.encoded(kit.Image.new("1", (2000, 2000)))
    assert len(plain) < 2000

    async def scenario():
        async with loader(ImageLimits(), max_pixels=1) as made:
            for data in (kit.png(), plain):
                async with made.open([embedded(data)]):
                    pass

    run(scenario())
    assert threads[0] == threading.main_thread().name
    assert threads[1].startswith("guardrail-decode")


def test_requests_wait_for_the_pixels_of_others(run, kit):
    async def scenario():
        entered = []
        leave = asyncio.Event()

        async def visit(made, name):
            async with made.open([embedded(kit.png(60, 60))]):
                entered.append(name)
                await leave.wait()

        async with loader() as made:
            tasks = [asyncio.create_task(visit(made, name)) for name in "ab"]
            for _ in range(50):
                await asyncio.sleep(0)
            before = list(entered)
            leave.set()
            await asyncio.gather(*tasks)
            return before, entered

    before, after = run(scenario())
    assert (before, after) == (["a"], ["a", "b"])


def test_links_are_refused_by_default_with_the_field_that_would_allow_them(run):
    async def scenario():
        async with loader() as made:
            with pytest.raises(RequestError) as caught:
                async with made.open([Link("https://a.example/x.png", "p")]):
                    pass
            return caught.value

    error = run(scenario())
    assert (error.status, error.code, error.param) == (400, "remote_image_url_not_supported", "p")
    assert "images.remote" in str(error)
    assert "a.example" not in str(error)
