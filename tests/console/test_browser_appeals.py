"""An appeal in a browser: from a record id to an answer outside of every claim, and back."""

from contextlib import closing

import httpx
import pytest

from guardrail.api.overrides import OverrideList
from guardrail.console.app import console_routes
from guardrail.console.console import open_console
from guardrail.database.migrate import open_database
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Scripted
from tests.console.browser import MISSING, find_chromium, running_browser
from tests.console.conftest import ROLES
from tests.console.test_browser import DESK, PATIENT, answer, is_fault, sign_in
from tests.keybook import KeyBook
from tests.records.conftest import CONTENT_KEYS
from tests.server.conftest import Words, image_part, make_policy


@pytest.fixture
def place(tmp_path):
    """The server's address and the secrets of a reviewer, an editor and a client."""
    if find_chromium() is None:
        pytest.skip(MISSING)
    address, book = str(tmp_path / "records.db"), KeyBook(tmp_path / "keys.yaml")
    secrets = {role: book.create(name=role, scopes=ROLES[role]) for role in ROLES}
    policy = make_policy(limits=PATIENT, overrides="on")
    engine = Engine(compile_policy(policy), Scripted(answer), Words(), NoiseKey(bytes(32)))
    with (
        closing(book.authenticator()) as keys,
        closing(open_journal(address)) as journal,
        closing(RecordWriter(journal)) as writer,
        closing(open_database(address)) as database,
        closing(OverrideList(database)) as overrides,
        open_console(address, keys=keys, content_keys=CONTENT_KEYS) as console,
        running_server(
            policy, engine, record=Recorder(writer, engine, content_keys=CONTENT_KEYS), keys=keys,
            overrides=overrides, beside=console_routes(console),
        ) as server,
    ):  # fmt: skip
        yield server, secrets


def ask(server, secret):
    content = [{"type": "text", "text": "harm"}, image_part()]
    return httpx.post(
        f"{server.base_url}/chat/completions",
        json={"model": "scripted", "messages": [{"role": "user", "content": content}]},
        headers={"authorization": f"Bearer {secret}"},
        timeout=600,
        trust_env=False,
    )


def test_an_appeal_from_a_record_id_to_an_answer_and_back(place):
    server, secrets = place
    stopped = ask(server, secrets["client"])
    record_id = stopped.headers["x-guardrail-record-id"]
    assert stopped.headers["x-guardrail-decision"] == "block"
    with running_browser() as browser:
        faults = []

        def open_page(role):
            context = browser.new_context(base_url=server.url, viewport=DESK)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
            sign_in(page, secrets[role])
            page.get_by_role("link", name="Appeals", exact=True).click()
            return page

        reviewer = open_page("reviewer")
        reviewer.get_by_label("Record id that the client names").fill(record_id)
        reviewer.get_by_role("button", name="Open its decision").click()
        reviewer.get_by_label("Why", exact=True).fill("our own poster")
        reviewer.get_by_role("button", name="Ask to let it through").click()
        reviewer.get_by_text("asked").first.wait_for()
        assert ask(server, secrets["client"]).headers["x-guardrail-decision"] == "block"

        editor = open_page("editor")
        editor.get_by_label("Why", exact=True).fill("agreed")
        editor.get_by_role("button", name="Approve").click()
        editor.get_by_role("button", name="Remove").wait_for()
        passed = ask(server, secrets["client"])
        about = passed.json()["guardrail"]
        assert (about["decision"], about["reason"]) == ("pass", "override")
        assert about["outside_claim"] is True
        assert about["certificate"] is None

        editor.get_by_label("Why", exact=True).fill("the poster changed")
        editor.get_by_role("button", name="Remove").click()
        editor.get_by_text("the poster changed").wait_for()
        again = ask(server, secrets["client"]).headers
        assert (again["x-guardrail-decision"], again["x-guardrail-reason"]) != ("pass", "override")
        assert again["x-guardrail-decision"] == "block"
        assert not faults
