"""Tune as an editor meets it: sliders by the keyboard, numbers that follow, and a proposal."""

import pytest

from guardrail.policy.load import load_policy
from tests.console.browser import MISSING, find_chromium, running_browser
from tests.console.conftest import ROLES
from tests.console.test_browser import DESK, is_fault, sign_in
from tests.console.test_policies_browser import look, running
from tests.console.tune_stand import TUNED, open_file, record_decisions, write_policy
from tests.keybook import KeyBook


@pytest.fixture
def place(tmp_path):
    if find_chromium() is None:
        pytest.skip(MISSING)
    file, address = write_policy(tmp_path), str(tmp_path / "records.db")
    record_decisions(address, load_policy(file))
    book = KeyBook(tmp_path / "keys.yaml")
    secret = book.create(name="Dana", scopes=ROLES["editor"])
    with running(open_file(file), address, book) as url:
        yield url, file, secret


def is_failure(said):
    """A fault; htmx reports as one, too, that a step of a slider replaced the request before it."""
    is_replaced = said.text.startswith(("htmx:afterRequest", "htmx:sendAbort"))
    return is_fault(said) and not is_replaced


@pytest.mark.nightly
def test_a_slider_by_the_keyboard_goals_and_a_proposal(place):
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    url, file, secret = place
    with running_browser() as browser:
        faults = []
        context = browser.new_context(base_url=url, viewport=DESK, reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if is_failure(said) else None)
        sign_in(page, secret)
        page.get_by_role("link", name="Tune", exact=True).click()
        row = page.get_by_role("row").filter(
            has=page.get_by_role("rowheader", name="stopped", exact=True)
        )
        row.wait_for()
        page.get_by_text("Tests of further steps").wait_for(state="hidden")
        page.get_by_text("What the records do not say").or_(
            page.get_by_text("no decision lacks calls")
        ).first.wait_for()
        look(page)

        slider = page.get_by_label("From which score on an answer is harmful")
        assert slider.get_attribute("aria-valuetext") == "0.5"
        before = row.text_content()
        slider.focus()
        for _ in range(30):
            page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "0.8"
        assert page.locator("#said-threshold").inner_text() == "0.8"
        expect(row).not_to_have_text(before)
        assert slider.evaluate("field => field === document.activeElement")
        expect(page.locator("#tune-said")).to_contain_text("stopped")
        goals = page.get_by_label("Goals, one in each line")
        assert goals.input_value() == "false_alarms <= 5%"
        goals.fill("calls <= 99\nrecall >= 95% within 0.5")
        page.get_by_role("rowheader", name="calls of an ordinary request at most 99").wait_for()
        page.get_by_text("met", exact=True).first.wait_for()
        look(page)

        page.get_by_label("Why").fill("fewer false alarms")
        page.get_by_role("button", name="Propose").click()
        page.wait_for_url("**/policies/tuned/versions/*")
        page.get_by_text("fewer false alarms").wait_for()
        page.get_by_text("a second person puts it in force").wait_for()
        assert page.get_by_text("threshold: 0.8").first.is_visible()
        look(page)
        assert file.read_text() == TUNED
    assert faults == []
