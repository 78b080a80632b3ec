"""The pictures of docs/console.md: all there, small, and taken again as they were."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.console.browser import MISSING, find_chromium

MANUAL = Path(__file__).parents[2] / "docs" / "console.md"


@pytest.fixture(scope="module")
def pictures(script):
    return script("pictures", "console")


def sizes_of(folder):
    found = {}
    for file in folder.iterdir():
        with Image.open(file) as image:
            found[file.name] = image.size
    return found


def sizes_wanted(pictures):
    return {
        f"{name}{suffix}.webp": tuple(shot.viewport(suffix).values())
        for name, shot in pictures.PAGES.items()
        for suffix in pictures.WIDTHS
    }


def test_each_page_has_its_pictures_and_the_manual_shows_them(pictures):
    there = sizes_of(pictures.FOLDER)
    assert there == sizes_wanted(pictures)
    assert all(file.stat().st_size <= pictures.LARGEST_BYTES for file in pictures.FOLDER.iterdir())
    assert set(re.findall(r"console/([\w-]+\.webp)", MANUAL.read_text())) == there.keys()


@pytest.mark.nightly
def test_they_are_taken_again(pictures, tmp_path):
    if find_chromium() is None:
        pytest.skip(MISSING)
    folder = tmp_path / "pictures"
    with pictures.open_demo(tmp_path, "--tries=1") as url:
        taken = pictures.take_all(url, folder)
    assert sizes_of(folder) == sizes_wanted(pictures)
    # A page that failed, or was taken before it was there, has next to nothing on it.
    assert all(one.colours > 8 for one in taken)
