"""Policies as two editors meet them: written, mended, tried, put in force, and rolled back."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from guardrail.console.app import console_routes
from guardrail.console.console import open_console
from guardrail.server.app import create_deployed_app
from guardrail.server.serve import running_app
from tests.console.browser import (
    MISSING,
    find_chromium,
    find_violations,
    is_scrolled_sideways,
    running_browser,
)
from tests.console.conftest import ROLES
from tests.console.policy_stand import USUAL, open_files, write_policies
from tests.console.test_browser import DESK, PHONE, is_fault, sign_in
from tests.keybook import KeyBook


@pytest.fixture
def place(tmp_path):
    if find_chromium() is None:
        pytest.skip(MISSING)
    folder = tmp_path / "policies"
    folder.mkdir()
    write_policies(folder)
    book = KeyBook(tmp_path / "keys.yaml")
    secrets = {name: book.create(name=name, scopes=ROLES["editor"]) for name in ("Dana", "Kim")}
    with running(open_files(folder), str(tmp_path / "records.db"), book) as url:
        yield url, folder, secrets


@contextmanager
def running(deployment, address, book):
    """The address of a server of a deployment, with a console that wants a second person."""
    keys, started, ended = book.authenticator(), threading.Event(), threading.Event()
    found = []

    async def go(console):
        app = create_deployed_app(deployment, keys=keys, beside=console_routes(console))
        async with running_app(app) as server:
            found.append(server.url)
            started.set()
            await asyncio.to_thread(ended.wait)

    options = {"keys": keys, "deployment": deployment, "needs_second_person": True}
    with open_console(address, **options) as console:
        thread = threading.Thread(target=lambda: asyncio.run(go(console)))
        thread.start()
        try:
            assert started.wait(60)
            yield found[0]
        finally:
            ended.set()
            thread.join(60)


def look(page):
    """Nothing that axe finds, and nothing wider than a telephone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert find_violations(page) == [], page.url
    page.emulate_media(color_scheme="light")
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        assert not is_scrolled_sideways(page), page.url


@pytest.mark.nightly
def test_an_edit_its_mistake_its_tests_a_second_person_and_back(place):
    url, folder, secrets = place
    with running_browser() as browser:
        faults = []

        def open_page(name):
            # Without motion: else axe meets colours on their way from one scheme to the other.
            context = browser.new_context(base_url=url, viewport=DESK, reduced_motion="reduce")
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("dialog", lambda dialog: faults.append(dialog.message))
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
            sign_in(page, secrets[name])
            return page

        dana = open_page("Dana")
        dana.get_by_role("link", name="Policies").click()
        look(dana)
        dana.get_by_role("link", name="usual").click()
        look(dana)
        dana.get_by_role("link", name="Write a new version").click()
        field = dana.get_by_label("Text of the policy")
        assert field.input_value() == USUAL
        field.fill(USUAL.replace("radius: 0.25", "radus: 0.2"))
        dana.get_by_role("button", name="Check").click()
        dana.get_by_role("button", name="line 4").focus()
        look(dana)
        dana.keyboard.press("Enter")
        chosen = field.evaluate("e => e.value.slice(e.selectionStart, e.selectionEnd)")
        assert chosen == "smoothing: {radus: 0.2}"
        field.fill(USUAL.replace("radius: 0.25", "radius: 0.2"))
        dana.get_by_role("button", name="Check").click()
        dana.get_by_text("It can be used").wait_for()
        dana.get_by_label("What you changed").fill("a smaller promise")
        dana.get_by_role("button", name="Keep as a draft").click()
        dana.get_by_text("a second person puts it in force").wait_for()
        dana.get_by_role("button", name="Run the tests").click()
        dana.get_by_text("of 100 cases as expected").wait_for()
        look(dana)

        kim = open_page("Kim")
        kim.goto(dana.url.partition("#")[0])
        kim.get_by_role("button", name="Put in force").click()
        kim.wait_for_url("**/policies/usual")
        assert "radius: 0.2}" in (folder / "usual.yaml").read_text()
        row = kim.get_by_role("row").filter(has_text="found in the file")
        row.get_by_role("link").click()
        kim.get_by_role("button", name="Roll back to this version").click()
        kim.wait_for_url("**/policies/usual")
        kim.get_by_text("back to").wait_for()
        assert (folder / "usual.yaml").read_bytes() == USUAL.encode()
        look(kim)
    assert faults == []
