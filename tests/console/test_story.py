"""The whole story in a browser: a day of traffic, review, labels, tuning, shadow, approval, a stop.

A real `guardrail serve` with the built-in model and the shipped pictures, real keys and roles.
"""

import re
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from guardrail.demo.scenes import PROMPT, SceneKind, load_scenes
from guardrail.images.data_url import to_data_url
from tests.console.browser import (
    MISSING,
    find_chromium,
    find_violations,
    is_scrolled_sideways,
    running_browser,
)
from tests.console.conftest import ROLES
from tests.console.test_browser import DESK, PHONE, is_fault, sign_in
from tests.keybook import PEPPER, KeyBook

POLICY = """\
version: 1
name: mine
extends: quick
mode: observe
"""
PEOPLE = {"Rae": "reviewer", "Dana": "editor", "Kim": "editor", "app": "client"}
OF_EACH = 3

pytestmark = pytest.mark.nightly


class Server:
    """A running `guardrail serve`, and the client that asks it."""

    def __init__(self, url, secrets):
        self.url = url
        self.secrets = secrets
        self._client = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {secrets['app']}"},
            timeout=600,
            trust_env=False,
            transport=httpx.HTTPTransport(retries=10),
        )
        self._model = self._client.get("/v1/models").json()["data"][0]["id"]

    def ask(self, scene):
        """What a client gets for a picture."""
        picture = {
            "type": "image_url",
            "image_url": {"url": to_data_url(scene.png, "image/png")},
        }
        content = [{"type": "text", "text": PROMPT}, picture]
        body = {"model": self._model, "messages": [{"role": "user", "content": content}]}
        reply = self._client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def close(self):
        self._client.close()


def is_error(said):
    """A request of a page that is left is broken off, which htmx calls an error."""
    left = ("htmx:afterRequest", "htmx:sendAbort", "htmx:sendError")
    return is_fault(said) and not said.text.startswith(left)


def end_of(reply):
    return reply["choices"][0]["finish_reason"]


def scenes(kind):
    return [scene for scene in load_scenes() if scene.kind is kind][:OF_EACH]


@contextmanager
def serving(folder, records):
    """A server with a console that wants a second person, as its operator starts it."""
    (folder / "mine.yaml").write_text(POLICY)
    (folder / "pepper").write_text(f"{PEPPER.hex()}\n")
    (folder / "pepper").chmod(0o600)
    book = KeyBook(folder / "keys.yaml")
    secrets = {name: book.create(name=name, scopes=ROLES[role]) for name, role in PEOPLE.items()}
    command = [sys.executable, "-m", "guardrail", "serve", "--policy", folder / "mine.yaml"]
    command += ["--port", "0", "--records", records, "--reload-every", "0"]
    command += ["--keys", folder / "keys.yaml", "--pepper", folder / "pepper"]
    command += ["--keep-content", "--content-key", folder / "content.key"]
    command += ["--key-file", folder / "noise.key", "--console-second-person"]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, text=True)
        try:
            server = Server(find_address(process.stderr), secrets)
            yield server
            server.close()
        finally:
            process.kill()
            process.communicate()


def find_address(lines):
    for line in lines:
        if found := re.search(r" at (http://127\.0\.0\.1:[1-9]\d*)/v1$", line):
            return found[1]
    raise AssertionError("the server ended before it listened")


def look(page):
    """Nothing that axe finds, and nothing wider than a telephone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert find_violations(page) == [], page.url
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        assert not is_scrolled_sideways(page), page.url


@pytest.mark.skipif(find_chromium() is None, reason=MISSING)
def test_from_a_day_of_traffic_to_a_stop(database_url, tmp_path):
    clean, forbidden = scenes(SceneKind.CLEAN), scenes(SceneKind.FORBIDDEN)
    with serving(tmp_path, database_url) as server, running_browser() as browser:
        faults = []

        def enter(name):
            context = browser.new_context(
                base_url=server.url, viewport=DESK, reduced_motion="reduce"
            )
            page = context.new_page()
            page.set_default_timeout(180_000)
            page.on("dialog", lambda dialog: faults.append(dialog.message))
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda said: faults.append(said.text) if is_error(said) else None)
            sign_in(page, server.secrets[name])
            return page

        assert [end_of(server.ask(scene)) for scene in clean + forbidden] == ["stop"] * 6
        rae = enter("Rae")
        review(rae)
        label(rae)
        dana = enter("Dana")
        tune(dana)
        write_the_stop(dana)
        kim = enter("Kim")
        approve(kim, dana.url)
        ends = [end_of(server.ask(scene)) for scene in clean + forbidden]
        assert ends == ["stop"] * 3 + ["content_filter"] * 3
        see_the_stops(rae)
    assert faults == []


def review(page):
    """What would have been stopped, and why."""
    page.get_by_role("link", name="Decisions", exact=True).click()
    wait_for_rows(page, "?would_block=yes", OF_EACH)
    page.locator("[data-row] a").first.click()
    page.wait_for_url(re.compile(r"/decisions/[^/?]+"))
    assert "harmful" in page.locator("main").inner_text()
    look(page)


def wait_for_rows(page, query, count):
    """Decisions of a policy that observes are made behind the answers."""
    for _ in range(300):
        page.goto(f"/console/decisions{query}")
        if page.locator("[data-row]").count() >= count:
            return
        page.wait_for_timeout(1000)
    raise AssertionError(f"never {count} rows at {query}")


def label(page):
    """All that was drawn, by the keyboard; the built-in model's harm is a threat."""
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.get_by_role("heading", name="Begin a round").wait_for()
    page.get_by_role("button", name="Draw").press("Enter")
    for number in range(2 * OF_EACH):
        page.get_by_text(f"{number} of {2 * OF_EACH} requests labelled").wait_for()
        answered = page.locator("section[aria-labelledby=answered]").inner_text()
        page.keyboard.press("1" if "I" in answered.split() else "2")
    page.get_by_text("Nothing left for you").wait_for()
    look(page)


def tune(page):
    """A slider by the keyboard, a goal in words, and a version in shadow."""
    page.get_by_role("link", name="Tune").click()
    slider = page.locator("#tune-form input[type=range]").first
    slider.wait_for()
    look(page)
    page.get_by_label("Goals, one in each line").fill("calls <= 30")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.locator("#tune-numbers progress").wait_for(state="detached")
    page.get_by_label("Why").fill("found by the sliders")
    page.get_by_role("button", name="Propose: a version in shadow").click()
    page.wait_for_url("**/policies/mine/versions/**")
    chosen = page.get_by_label("What would it have done with")
    chosen.select_option(label="the last 1,000 decisions")
    page.get_by_role("button", name="Look").click()
    page.get_by_text("stay as they are").wait_for()


def write_the_stop(page):
    """The same version, but it stops; its tests are run."""
    page.get_by_role("link", name="Write on from here").click()
    field = page.get_by_label("Text of the policy")
    text = field.input_value()
    assert "mode: observe" in text
    field.fill(text.replace("mode: observe", "mode: enforce"))
    page.get_by_label("What you changed").fill("stops from now on")
    page.get_by_role("button", name="Keep as a draft").click()
    page.get_by_text("a second person puts it in force").wait_for()
    page.get_by_role("button", name="Run the tests").click()
    page.get_by_text("cases as expected").wait_for()
    look(page)


def approve(page, url):
    page.goto(url.partition("#")[0])
    page.get_by_role("button", name="Put in force").click()
    page.wait_for_url("**/policies/mine")


def see_the_stops(page):
    page.goto("/console/")
    look(page)
    wait_for_rows(page, "?verdict=block", OF_EACH)
