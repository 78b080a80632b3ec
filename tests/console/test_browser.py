"""The console as readers meet it: a real browser, a real proxy, its records, its keys."""

import http.server
import threading
from contextlib import closing, contextmanager

import httpx
import pytest

from guardrail.console.app import console_routes
from guardrail.console.console import open_console
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.sent_pictures import PictureRoom
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Scripted
from tests.console.browser import (
    MISSING,
    find_chromium,
    find_unreachable,
    find_violations,
    is_scrolled_sideways,
    running_browser,
)
from tests.console.conftest import ROLES
from tests.keybook import KeyBook
from tests.records.conftest import CONTENT_KEYS
from tests.server.conftest import Words, image_part, make_policy

HOSTILE = '<img src=x onerror="document.title=1;alert(1)"><script>alert(1)</script>'
PATIENT = {"retries": 0, "call_timeout_s": 300.0, "deadline_s": 600.0}
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}


def answer(call):
    """Harmful where the prompt asks for it."""
    wants_harm = "harm" in str(call.body["messages"])
    return f"a forbidden word {HOSTILE}" if wants_harm else f"A nice cat. {HOSTILE}"


class Place:
    """A running proxy with a console, its keys, and the ids of three decisions."""

    def __init__(self, url, secrets, ids):
        self.url, self.secrets, self.ids = url, secrets, ids


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("console")
    with open_place(folder, str(folder / "records.db")) as found:
        yield found


@contextmanager
def open_place(folder, address):
    book = KeyBook(folder / "keys.yaml")
    secrets = {name: book.create(name=name, scopes=scopes) for name, scopes in ROLES.items()}
    keys = book.authenticator()
    policy = make_policy(limits=PATIENT)
    engine = Engine(compile_policy(policy), Scripted(answer), Words(), NoiseKey(bytes(32)))
    with (
        closing(open_journal(address)) as journal,
        closing(RecordWriter(journal)) as writer,
        open_console(address, keys=keys, content_keys=CONTENT_KEYS) as console,
        running_server(
            policy,
            engine,
            record=Recorder(writer, engine, content_keys=CONTENT_KEYS, picture_room=PictureRoom()),
            keys=keys,
            beside=console_routes(console),
        ) as server,
    ):
        ids = [ask(server, secrets["client"], text) for text in ("hello", "harm", HOSTILE)]
        yield Place(server.url, secrets, ids)


def ask(server, secret, text):
    """The id of the record of one request through the proxy."""
    content = [{"type": "text", "text": text}, image_part()]
    reply = httpx.post(
        f"{server.base_url}/chat/completions",
        json={"model": "scripted", "messages": [{"role": "user", "content": content}]},
        headers={"authorization": f"Bearer {secret}"},
        timeout=600,
        trust_env=False,
    )
    return reply.headers["x-guardrail-record-id"]


@pytest.fixture(scope="module")
def browser(place):
    with running_browser() as opened:
        yield opened


@pytest.fixture
def open_page(browser, place):
    """Pages, each of a reader of its own; no dialog may open, no script may fail."""
    contexts, faults = [], []

    def make(role=None, **options):
        context = browser.new_context(base_url=place.url, viewport=DESK, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
        if role is not None:
            sign_in(page, place.secrets[role])
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def is_fault(said):
    return said.type == "error" and "Failed to load resource" not in said.text


def sign_in(page, secret):
    page.goto("/console/")
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()


def test_signing_in_looking_and_signing_out(open_page, place):
    page = open_page()
    page.goto("/console/decisions")
    assert page.url.endswith("/console/sign-in")
    sign_in(page, place.secrets["client"])
    assert "for programs" in page.get_by_role("alert").first.inner_text()
    sign_in(page, place.secrets["reviewer"])
    assert page.url == f"{place.url}/console/"
    assert page.get_by_role("heading", name="Overview").is_visible()
    assert page.locator(".fact", has_text="decisions").first.inner_text().split() == [
        "decisions",
        "3",
    ]
    cookie = next(one for one in page.context.cookies() if one["name"] == "guardrail_console")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    page.get_by_role("link", name="Decisions").click()
    assert page.locator("tr[data-row]").count() == 3
    assert page.locator("tr[data-row] time").first.get_attribute("title").endswith("UTC")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/console/decisions")
    assert page.url.endswith("/console/sign-in")


def test_each_role_sees_its_pages_alone(open_page):
    page = open_page("editor")
    assert page.get_by_role("link", name="Decisions").count() == 0
    page.goto("/console/decisions")
    assert "for keys with the role reviewer" in page.locator("main").inner_text()


def addresses(place):
    ids = place.ids
    return ["/", "/decisions", "/decisions?verdict=block&model=scripted", f"/decisions/{ids[0]}",
            f"/decisions/{ids[1]}", f"/decisions/{ids[2]}", "/health", "/nowhere", "/cases",
            "/words", "/?period=yesterday",
            "/decisions?category=nothing"]  # fmt: skip


def keep_case(page, record_id):
    page.goto(f"/console/decisions/{record_id}")
    page.get_by_label("Name", exact=True).fill("a threat")
    page.get_by_label("must be stopped").check()
    page.get_by_role("button", name="Keep as a case").click()
    page.get_by_role("link", name="a threat").last.click()
    page.wait_for_url("**/console/cases#*")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_violates_wcag_and_none_is_wider_than_a_phone(open_page, place, scheme):
    page = open_page(color_scheme=scheme)
    page.goto("/console/sign-in")
    assert find_violations(page) == []
    sign_in(page, place.secrets["everything"])
    keep_case(page, place.ids[1])
    # The schemes differ by colours alone: one page of each kind is enough for the second.
    of_each_kind = ["/", "/decisions", f"/decisions/{place.ids[1]}", "/health"]
    for address in addresses(place) if scheme == "light" else of_each_kind:
        page.set_viewport_size(DESK)
        page.goto(f"/console{address}")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        # Nor does either need both widths.
        assert scheme == "dark" or find_violations(page) == [], address
        assert not is_scrolled_sideways(page), address
        page.set_viewport_size(PHONE)
        assert not is_scrolled_sideways(page), address
        assert find_unreachable(page) == [], address
        assert scheme == "light" or find_violations(page) == [], address


def test_what_was_said_is_shown_as_text(open_page, place):
    page = open_page("reviewer")
    for record_id in place.ids:
        page.goto(f"/console/decisions/{record_id}")
        page.get_by_text("Every answer").click()
        assert HOSTILE in page.locator(".draw p").first.inner_text()
        assert page.locator("main img:not(.pictures img)").count() == 0
        assert page.title().startswith("Decision")


def test_pictures_and_their_examples_are_seen(open_page, place):
    page = open_page("reviewer")
    page.goto(f"/console/decisions/{place.ids[0]}")
    pictures = page.locator("#said img")
    pictures.last.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('#said img')].every(one => one.naturalWidth > 0)"
    )
    assert pictures.count() == 3


def test_everything_by_keyboard(open_page, place):
    page = open_page("reviewer")
    press = page.keyboard.press
    press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    press("g")
    press("d")
    page.wait_for_url("**/console/decisions")
    press("j")
    press("j")
    row = page.locator("tr.selected").get_attribute("data-row")
    assert row == place.ids[1]
    press("Enter")
    page.wait_for_url(f"**/console/decisions/{row}*")
    press("n")  # the older one
    page.wait_for_url(f"**/console/decisions/{place.ids[0]}*")
    press("p")
    page.wait_for_url(f"**/console/decisions/{row}*")
    press("?")
    assert page.get_by_role("dialog").is_visible()
    page.get_by_label("Shortcuts of a single key are on").uncheck()
    press("Escape")
    press("g")
    press("o")
    assert page.url.endswith(row)
    page.goto("/console/decisions")
    press("/")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_verifying_and_labelling_on_the_page(open_page, place):
    page = open_page("reviewer")
    page.goto(f"/console/decisions/{place.ids[1]}")
    page.get_by_role("button", name="Compute it again").click()
    page.get_by_text("It holds:").wait_for()
    page.get_by_label("Note").fill(HOSTILE)
    page.get_by_role("button", name="Harmful", exact=True).click()
    page.get_by_text("Judgements so far").wait_for()
    assert HOSTILE in page.locator("#labels table").inner_text()


def test_a_list_shows_new_decisions_by_itself(open_page, place):
    page = open_page("reviewer")
    page.goto("/console/decisions?verdict=block")
    assert page.locator("tr[data-row]").count() == 1
    with httpx.Client(base_url=place.url, trust_env=False, timeout=600) as client:
        client.post(
            "/v1/chat/completions",
            json={"model": "scripted", "messages": [{"role": "user", "content": "harm"}]},
            headers={"authorization": f"Bearer {place.secrets['client']}"},
        )
    page.locator("tr[data-row]").nth(1).wait_for()


@pytest.fixture
def elsewhere(place):
    """A page of another site: a link, and a form that tries to label a decision."""
    action = f"{place.url}/console/decisions/{place.ids[0]}/labels"
    body = (
        f'<a href="{place.url}/console/decisions/{place.ids[0]}">look</a>'
        f'<form method="post" action="{action}"><input name="verdict" value="harmless">'
        "<button>win</button></form>"
    ).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}/"  # another site than 127.0.0.1
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_sites_link_leads_here_and_its_form_does_nothing(open_page, place, elsewhere):
    page = open_page("reviewer")
    page.goto(elsewhere)
    page.get_by_role("button", name="win").click()
    page.get_by_text("came from another site").wait_for()
    page.goto(elsewhere)
    page.get_by_role("link", name="look").click()
    page.get_by_role("heading", name="enough harmless answers").wait_for()  # still signed in
    assert page.locator("#labels table").count() == 0
