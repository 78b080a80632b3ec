"""Kept pictures on the page of a decision: shown as their pixels alone, to reviewers alone."""

import asyncio
import io
import re
import zlib
from contextlib import closing

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from guardrail.console.console import open_console
from guardrail.images.codec import encode_image
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.records.content import ContentKeys
from guardrail.records.open import open_journal
from guardrail.records.query import open_source
from guardrail.records.recorder import Recorder
from guardrail.records.sent_pictures import PictureRoom, SentPictures
from guardrail.records.tables import PICTURES
from guardrail.records.writer import RecordWriter
from tests.console.conftest import ROLES, make_client, sign_in
from tests.records.conftest import CLEAN, CONTENT_KEYS, HARM, make_engine, make_picture, request
from tests.server.conftest import png_header

PATIENT = {"retries": 0, "call_timeout_s": 300.0, "deadline_s": 600.0}


def keep(address, *, script=(CLEAN,), pictures=1, files=None, room=True):
    """A decision about pictures, which are kept as `files`; its id."""
    engine = make_engine(script, limits=PATIENT)
    chat, decoded = request(pictures)
    files = files or [encode_image(one.pixels, "png") for one in decoded]
    with (
        closing(open_journal(address)) as journal,
        closing(RecordWriter(journal)) as writer,
    ):
        recorder = Recorder(
            writer,
            engine,
            content_keys=CONTENT_KEYS,
            picture_room=PictureRoom() if room else None,
        )

        async def go():
            verdict = await engine.decide(chat, decoded)
            sent = SentPictures()
            sent.fill(files, recorder.picture_room)
            return await recorder.keep(verdict, chat, sent=sent)

        return asyncio.run(go())


@pytest.fixture
def shown(sqlite_url):
    with open_console(sqlite_url, content_keys=CONTENT_KEYS) as console:
        yield sqlite_url, console, make_client(console)


def get(client, record_id, rest="1"):
    return client.get(f"/console/decisions/{record_id}/pictures/{rest}")


def read(answer):
    assert answer.status_code == 200
    return np.asarray(Image.open(io.BytesIO(answer.content), formats=["PNG"]))


def test_pictures_are_shown_in_order_with_headers_that_leave_them_no_power(shown):
    address, _, client = shown
    record_id = keep(address, pictures=2)
    page = client.get(f"/console/decisions/{record_id}").text
    sources = re.findall(r'<img src="(/console/decisions/[^"]*)"', page)
    place = f"/console/decisions/{record_id}/pictures"
    assert sources == [
        f"{place}/{name}?small" for name in ("1", "1/spread", "1/spot", "2", "2/spread", "2/spot")
    ]
    for number in (1, 2):
        answer = get(client, record_id, str(number))
        assert np.array_equal(read(answer), make_picture(number - 1).pixels)
        headers = answer.headers
        assert headers["content-type"] == "image/png"
        assert headers["content-security-policy"].startswith("default-src 'none'; sandbox")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-disposition"] == (
            f'inline; filename="{record_id[:8]}-{number}.png"'
        )


@pytest.mark.parametrize("script", [(CLEAN,), (HARM,)])
@pytest.mark.parametrize("pattern", ["spread", "spot"])
def test_an_example_is_no_larger_than_its_certificate_says(shown, script, pattern):
    address, _, client = shown
    record_id = keep(address, script=script)
    with open_source(address) as source:
        certificate = source.find(record_id).read_certificate()
    before = read(get(client, record_id)).astype(float) / 255
    after = read(get(client, record_id, f"1/{pattern}")).astype(float) / 255
    size = np.linalg.norm(after - before)
    radius = certificate.radius if script == (CLEAN,) else certificate.promised_radius
    assert 0.9 * radius < size <= radius
    page = client.get(f"/console/decisions/{record_id}").text
    assert "of no attack" in page
    promised = "passes, after any change of its pixels by at most r" in page
    assert promised is (script == (HARM,))


def test_a_large_picture_is_shown_smaller_and_opened_whole(shown):
    address, _, client = shown
    wide = np.zeros((40, 1000, 3), np.uint8)
    wide[:, 500:] = 255
    record_id = keep(address, files=[encode_image(wide, "png")])
    assert read(get(client, record_id)).shape == (40, 1000, 3)
    small = read(get(client, record_id, "1?small"))
    assert small.shape == (32, 800, 3)
    assert (small[:, :400] == 0).all()
    assert (small[:, 400:] == 255).all()
    assert get(client, record_id, "1/spread").status_code == 200  # it lies within this one


def test_a_picture_of_other_sides_than_the_certificates_has_no_examples(shown):
    address, _, client = shown
    record_id = keep(address, files=[encode_image(make_picture(0, 5, 5).pixels, "png")])
    answer = get(client, record_id, "1/spread")
    assert answer.status_code == 409
    assert "another size" in answer.text


@pytest.mark.parametrize("path", ["0", "2", "99999999999999999999", "1/other", "1/spread/more"])
def test_there_are_no_other_pictures(shown, path):
    address, _, client = shown
    record_id = keep(address)
    assert get(client, record_id, path).status_code == 404
    assert get(client, "0" * 32, "1").status_code == 404


def save(image_format, **options):
    buffer = io.BytesIO()
    Image.fromarray(make_picture().pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


HTML = b"<html><script>alert(document.domain)</script></html>"


@pytest.mark.parametrize(
    "data",
    [
        save("PNG") + HTML,
        save("GIF", comment=HTML) + HTML,
        save("JPEG", comment=HTML),
        save("WEBP", exif=HTML),
    ],
    ids=["png", "gif", "jpeg", "webp"],
)
def test_nothing_but_pixels_of_a_polyglot_is_sent(shown, data):
    address, _, client = shown
    assert HTML in data
    record_id = keep(address, files=[data])
    for rest in ("1", "1?small", "1/spread"):
        answer = get(client, record_id, rest)
        assert read(answer).shape == (9, 12, 3)
        assert b"script" not in answer.content


BOMB = png_header(16_000, 16_000) + zlib.compress(bytes(1000))


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        HTML,
        save("PNG")[:60],
        BOMB,
        png_header(5, 5) + HTML,
        b"GIF89a" + HTML,
        b"",
    ],
    ids=["svg", "html", "cut", "bomb", "header", "gif", "empty"],
)
def test_what_is_no_picture_is_refused_and_no_byte_of_it_sent(shown, data):
    address, _, client = shown
    record_id = keep(address, files=[data])
    answer = get(client, record_id)
    assert answer.status_code in (400, 413, 415)
    assert answer.headers["content-type"].startswith("text/html")
    assert "alert(" not in answer.text
    assert client.get(f"/console/decisions/{record_id}").status_code == 200


def test_what_was_not_kept_or_was_erased_is_said_so(shown):
    address, console, client = shown
    without = keep(address, room=False)
    page = client.get(f"/console/decisions/{without}").text
    assert "Pictures were not kept" in page
    assert "12 × 9 pixels" in page
    assert get(client, without).status_code == 404
    erased = keep(address, pictures=2)
    with console.database.write() as connection:
        connection.execute(sa.delete(PICTURES).where(PICTURES.c.number == 0))
    page = client.get(f"/console/decisions/{erased}").text
    assert "Picture 1: it was erased" in page
    assert f"{erased}/pictures/2" in page
    assert get(client, erased).status_code == 404
    large = keep(address, files=[bytes(5 << 20)])
    page = client.get(f"/console/decisions/{large}").text
    assert "more than 4 MiB" in page


@pytest.mark.parametrize(
    ("keys", "status"), [(None, 403), (ContentKeys(KeyRing(NoiseKey(bytes([7] * 32)))), 409)]
)
def test_without_the_key_nothing_is_shown(sqlite_url, keys, status):
    record_id = keep(sqlite_url)
    with open_console(sqlite_url, content_keys=keys) as console:
        client = make_client(console)
        answer = get(client, record_id)
        page = client.get(f"/console/decisions/{record_id}").text
    assert answer.status_code == status
    assert ("pictures are sealed" in page) is (keys is None)


@pytest.mark.parametrize(("role", "status"), [("reviewer", 200), ("editor", 403), ("admin", 403)])
def test_pictures_are_for_reviewers(sqlite_url, book, role, status):
    record_id = keep(sqlite_url)
    secret = book.create(scopes=ROLES[role])
    with (
        closing(book.authenticator()) as keys,
        open_console(sqlite_url, keys=keys, content_keys=CONTENT_KEYS) as console,
    ):
        client = make_client(console)
        for rest in ("1", "1/spread"):
            assert get(client, record_id, rest).status_code == 303  # to sign in
        sign_in(client, secret)
        for rest in ("1", "1/spread"):
            assert get(client, record_id, rest).status_code == status


def test_a_look_is_logged_without_the_picture(shown, caplog):
    address, _, client = shown
    record_id = keep(address)
    caplog.set_level("DEBUG")
    get(client, record_id)
    assert f"picture 1 of record {record_id} was shown" in caplog.text
