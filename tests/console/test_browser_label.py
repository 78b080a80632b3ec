"""Labelling and trying in a real browser: by the keyboard, on a phone, and read by axe."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.console.browser import (
    MISSING,
    find_chromium,
    find_violations,
    is_scrolled_sideways,
    running_browser,
)
from tests.console.conftest import ROLES
from tests.console.test_playground import serve_playground
from tests.labelling import conftest as lab
from tests.server.conftest import png

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(1)</script>'
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}


def look(page):
    """What axe finds, on a desk and on a phone."""
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        assert not is_scrolled_sideways(page)
        assert find_violations(page) == []


@pytest.mark.nightly
@pytest.mark.skipif(find_chromium() is None, reason=MISSING)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_by_keyboard_and_two_policies_side_by_side(
    sqlite_url, book, monkeypatch, tmp_path, scheme
):
    monkeypatch.setattr(lab, "NOW", datetime.now(UTC) - timedelta(minutes=1))
    lab.keep_all(sqlite_url, [*lab.some(2, 1), lab.Decision("pass", HOSTILE, HOSTILE)])
    secret = book.create(scopes=ROLES["everything"])
    keys = book.authenticator()
    keys.start()
    faults = []
    with (
        closing(keys),
        serve_playground(sqlite_url, keys) as (url, _),
        running_browser() as browser,
    ):
        page = browser.new_context(
            base_url=url, viewport=DESK, color_scheme=scheme, reduced_motion="reduce"
        ).new_page()
        page.set_default_timeout(120_000)
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto("/console/")
        page.get_by_label("API key").fill(secret)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Overview").wait_for()
        label_by_keyboard(page)
        try_two_policies(page, tmp_path)
    assert faults == []


def label_by_keyboard(page):
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.get_by_role("heading", name="Begin a round").wait_for()
    look(page)
    page.get_by_role("button", name="Draw").press("Enter")
    for number in range(4):
        page.get_by_text(f"{number} of 4 requests labelled").wait_for()
        if number == 1:
            look(page)
        page.keyboard.press("1" if "a bad answer" in page.locator("main").inner_text() else "2")
    page.get_by_text("Nothing left for you").wait_for()
    look(page)
    page.keyboard.press("u")
    page.get_by_text("You said").wait_for()
    page.keyboard.press("3")
    page.get_by_text("wait for another reviewer").wait_for()


def try_two_policies(page, folder):
    page.keyboard.press("g")
    page.keyboard.press("y")
    page.get_by_role("heading", name="Playground").wait_for()
    look(page)
    picture = folder / "dropped.png"
    picture.write_bytes(png())
    page.get_by_label("Prompt").fill(HOSTILE)
    page.get_by_label("Picture", exact=True).set_input_files(str(picture))
    page.get_by_text("dropped.png").wait_for()
    page.get_by_role("button", name="Decide").press("Enter")
    page.get_by_text("Decided.", exact=True).wait_for()
    for name in ("strict", "lax"):
        side = page.get_by_role("region", name=name)
        assert side.get_by_text("let through", exact=True).is_visible()
        assert side.locator(".draw").count() == side.locator(".tiles a").count() > 0
    assert page.locator("#result img").count() == 0
    look(page)
