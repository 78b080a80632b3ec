"""Known pictures are found as files and as near copies; others, and empty ones, are not."""

import io
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

import guardrail.demo
from guardrail.images.codec import ImageLimits, decode_image
from guardrail.images.known_pictures import KnownPicture, KnownPictures, says_little
from guardrail.images.perceptual import perceptual_hash

FOLDER = Path(guardrail.demo.__file__).parent / "pictures"
FILES = sorted(FOLDER.glob("clean-*.png")) + sorted(FOLDER.glob("forbidden-*.png"))


def decode(data):
    return decode_image(data, declared_media_type=None, limits=ImageLimits(), param="picture")


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def listed(files, distance=6):
    pictures = {file.name: decode(file.read_bytes()) for file in files}
    return KnownPictures(
        {},
        [(perceptual_hash(one.pixels), (name, 1)) for name, one in pictures.items()],
        distance,
    )


COPIES = {
    "the same pixels in another file": lambda image: encode(image, compress_level=1),
    "compressed": lambda image: encode(image, "JPEG", quality=60),
    "half the size": lambda image: encode(image.resize((image.width // 2, image.height // 2))),
    "twice the size": lambda image: encode(image.resize((image.width * 2, image.height * 2))),
    "darker": lambda image: encode(ImageEnhance.Brightness(image).enhance(0.9)),
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_near_copies_are_found_at_their_own_entry_and_the_nearest(file):
    known = listed(FILES)
    image = Image.open(file)
    for make in COPIES.values():
        found = known.find([decode(make(image))])
        assert found is not None
        assert (found.file, found.line) == (file.name, 1)
        assert 0 <= found.distance <= 6


def test_other_pictures_are_not_found():
    known = listed(FILES[: len(FILES) // 2])
    others = [decode(file.read_bytes()) for file in FILES[len(FILES) // 2 :]]
    assert known.find(others) is None


def test_the_same_file_is_found_by_its_digest_alone():
    data = FILES[0].read_bytes()
    picture = decode(data)
    known = KnownPictures({picture.sha256: ("list", 1)}, [], 6)
    found = known.find([decode(FILES[1].read_bytes()), picture])
    assert str(found) == "list:1 (the same file)"
    assert known.find([decode(encode(Image.open(FILES[0]), compress_level=1))]) is None
    assert len(known) == 1


def test_distance_zero_finds_equal_hashes_only():
    file = FILES[0]
    picture = decode(file.read_bytes())
    value = perceptual_hash(picture.pixels)
    assert KnownPictures({}, [(value, ("a", 1))], 0).find([picture]).distance == 0
    assert KnownPictures({}, [(value ^ 1, ("a", 1))], 0).find([picture]) is None
    assert (
        str(KnownPictures({}, [(value ^ 1, ("a", 1))], 1).find([picture])) == "a:1 (1 bits apart)"
    )
    # Of several the nearest, wherever it stands.
    three = [(value ^ 0b111, ("a", 1)), (value ^ 1, ("a", 2)), (value ^ 0b11, ("b", 1))]
    assert KnownPictures({}, three, 6).find([picture]) == KnownPicture("a", 2, 1)


def fake_hash(value):
    """Of the request, in place of that of its pixels."""
    return patch("guardrail.images.known_pictures.perceptual_hash", lambda _: value)


BITS = st.sets(st.integers(0, 63), max_size=24)


@given(bits=BITS, flips=st.lists(BITS, min_size=1, max_size=3), distance=st.integers(0, 15))
@example(bits=set(range(7)), flips=[set()], distance=6)  # 7 bits: a limit of the distance hid it
def test_what_one_distance_finds_a_larger_one_finds(bits, flips, distance):
    value = sum(1 << bit for bit in bits)
    entries = [(value ^ sum(1 << b for b in one), ("list", i)) for i, one in enumerate(flips)]
    picture = SimpleNamespace(sha256="", pixels=None)
    with fake_hash(value):
        one, larger = (KnownPictures({}, entries, d).find([picture])
                       for d in (distance, distance + 1))  # fmt: skip
    assert one is None or one == larger


@given(bits=BITS, distance=st.integers(0, 16))
@example(bits={1, 2, 3}, distance=0)
@example(bits=set(range(6)), distance=0)
def test_every_entry_that_a_list_may_hold_is_found_by_its_own_hash(bits, distance):
    value = sum(1 << bit for bit in bits)
    picture = SimpleNamespace(sha256="", pixels=None)
    with fake_hash(value):
        found = KnownPictures({}, [(value, ("list", 1))], distance).find([picture])
    assert found is not None or says_little(value)


def draw(ground, *boxes, shape="rectangle"):
    image = Image.new("RGB", (512, 384), ground)
    for box, colour in boxes:
        getattr(ImageDraw.Draw(image), shape)(box, fill=colour)
    return image


def ramp(first, last, axis):
    line = np.linspace(first, last, (384, 512)[axis]).astype(np.uint8)
    grey = np.broadcast_to(line[:, None] if axis == 0 else line, (384, 512))
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2))


SAYING_LITTLE = {
    "flat": draw("#c8c8c8"),
    "gradient down": ramp(20, 230, 0),
    "gradient to the left": ramp(230, 20, 1),
    "banner": draw("white", ((0, 0, 511, 50), "navy")),
    "disc": draw("white", ((156, 92, 355, 291), "black"), shape="ellipse"),
    "cross": draw("red", ((241, 92, 270, 291), "white"), ((156, 177, 355, 206), "white")),
}


@pytest.mark.parametrize("kind", SAYING_LITTLE)
def test_pictures_with_little_in_them_are_near_to_none(kind):
    picture = decode(encode(SAYING_LITTLE[kind]))
    value = perceptual_hash(picture.pixels)
    assert says_little(value)
    others = [(value | 0b1111111111111 << 40, ("a", 1)), (value, ("a", 2))]
    assert KnownPictures({}, others, 16).find([picture]) is None
    assert KnownPictures({picture.sha256: ("a", 3)}, others, 16).find([picture]).line == 3


def test_other_pictures_say_enough():
    word = draw("white")
    ImageDraw.Draw(word).text((60, 300), "a few words", fill="black")
    for picture in (word, *map(Image.open, FILES)):
        value = perceptual_hash(decode(encode(picture)).pixels)
        assert not says_little(value)
        assert value.bit_count() > 24


def test_the_digest_is_of_what_is_listed_not_of_where():
    one = KnownPictures({"a" * 64: ("x", 1), "b" * 64: ("x", 2)}, [(5, ("x", 3)), (9, ("x", 4))], 6)
    same = KnownPictures(
        {"b" * 64: ("y", 9), "a" * 64: ("y", 8)}, [(9, ("y", 1)), (5, ("y", 2))], 6
    )
    assert one.digest == same.digest
    others = [
        KnownPictures({"a" * 64: ("x", 1)}, [(5, ("x", 3)), (9, ("x", 4))], 6),
        KnownPictures({"a" * 64: ("x", 1), "b" * 64: ("x", 2)}, [(5, ("x", 3))], 6),
        KnownPictures({"a" * 64: ("x", 1), "b" * 64: ("x", 2)}, [(5, ("x", 3)), (9, ("x", 4))], 7),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 4
