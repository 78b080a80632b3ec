"""Reading pictures: in a thread, within limits, with the real models where they are installed."""

import asyncio
import threading

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardrail.errors import ConfigError, PictureTextError
from guardrail.picture_text import reader as module
from guardrail.picture_text.reader import OcrReader, ReadingLimits

pytest.importorskip("rapidocr")
pytest.importorskip("onnxruntime")


def drawn(text, size=(360, 120)):
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 20), text, fill="black", font=ImageFont.load_default(36))
    return np.asarray(image, dtype=np.uint8)


def textured(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class Found:
    """What RapidOCR returns."""

    def __init__(self, *lines):
        self.txts = tuple(text for text, _ in lines) or None
        self.scores = tuple(score for _, score in lines) or None


def read(pictures, engine=None, **limits):
    async def main():
        reader = OcrReader(ReadingLimits(**limits))
        reader._engine = engine
        try:
            return await reader.read(pictures)
        finally:
            await reader.aclose()

    return asyncio.run(main())


def test_the_real_models_read_plain_print_offline(monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("it wanted the network")

    monkeypatch.setattr("socket.socket.connect", no_network)
    (text,) = read([drawn("Steps to bake bread")])
    assert "bake bread" in text
    assert read([np.full((80, 80, 3), 255, np.uint8)]) == ()


def test_unsure_lines_and_blanks_are_left_out_and_thread_is_another():
    seen = []

    def engine(tile):
        seen.append((threading.current_thread().name, tile.shape))
        return Found(("sure", 0.9), ("unsure", 0.3), ("  ", 0.9))

    assert read([textured((20, 30, 3))], engine) == ("sure",)
    assert seen[0][0].startswith("guardrail-ocr")
    assert seen[0][1] == (20, 30, 3)


def test_a_text_for_each_resolution_that_shows_any():
    def engine(tile):
        return Found((f"{tile.shape[1]}", 0.9))

    assert read([textured((40, 2000, 3))], engine) == ("1280\n1280", "1000")


@pytest.mark.parametrize("picture", [textured((4, 100, 3)), np.full((50, 50, 3), 7, np.uint8)])
def test_what_can_hold_no_letter_is_not_read(picture):
    assert read([picture], lambda _: 1 / 0) == ()


LIMITS = {
    "too many tiles": (textured((10, 4000, 3)), {"max_tiles": 3}, "tiles"),
    "too many characters": (textured((10, 10, 3)), {"max_chars": 3}, "characters"),
}


@pytest.mark.parametrize(("picture", "limits", "words"), LIMITS.values(), ids=LIMITS)
def test_what_exceeds_a_limit_is_an_error_and_not_cut(picture, limits, words):
    with pytest.raises(PictureTextError, match=words):
        read([picture], lambda _: Found(("four", 0.9)), **limits)


def test_a_reading_that_takes_too_long_ends_at_the_next_tile():
    may_go_on, tiles = threading.Event(), []

    def engine(_):
        tiles.append(1)
        may_go_on.wait(5)
        return Found()

    async def main():
        reader = OcrReader(ReadingLimits(timeout_s=0.05))
        reader._engine = engine
        with pytest.raises(PictureTextError, match="not read within"):
            await reader.read([textured((10, 4000, 3))])
        may_go_on.set()
        reader._threads.shutdown(wait=True)

    asyncio.run(main())
    assert len(tiles) == 1


def test_a_crash_is_an_error_that_quotes_nothing():
    def engine(_):
        raise RuntimeError("it says: secret words")

    with pytest.raises(PictureTextError) as caught:
        read([textured((10, 10, 3))], engine)
    assert "secret" not in str(caught.value)
    assert "RuntimeError" in str(caught.value)


def test_missing_packages_name_the_remedy(monkeypatch):
    monkeypatch.setattr(module, "_is_installed", lambda name: name != "rapidocr")
    with pytest.raises(ConfigError, match=r"rapidocr.*certified-guardrail\[ocr\]"):
        OcrReader()


def test_missing_models_are_never_fetched(monkeypatch, tmp_path):
    import rapidocr

    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(PictureTextError, match="install rapidocr's wheel again"):
        read([textured((10, 10, 3))])
