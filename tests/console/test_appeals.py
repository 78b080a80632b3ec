"""Appeals in the console: who may ask, who decides, and what stands on the pages."""

import pytest

from guardrail.console.console import open_console
from guardrail.records.overrides import OverrideState, list_overrides
from tests.console.test_decision import HOSTILE, keep, shown  # noqa: F401 (a fixture)
from tests.records.conftest import CLEAN, HARM


def the_entry(console):
    ((*_, entry),) = list_overrides(console.database)
    return entry


def test_a_block_is_overridden_and_the_entry_removed(shown, steps):  # noqa: F811
    address, console, client = shown
    (record_id,) = keep(address, (HARM,))
    page = client.get(f"/console/decisions/{record_id}").text
    assert "Let it through" in page
    assert "Stop it always" in page
    path = f"/decisions/{record_id}/override"
    made = steps.post(client, path, action="pass", note="seen", days="7")
    assert (made.status_code, made.headers["location"]) == (303, "/console/appeals")
    entry = the_entry(console)
    assert (entry.state, entry.by, entry.note) == (OverrideState.ACTIVE, "local", "seen")
    assert entry.override_id in client.get("/console/appeals").text
    assert entry.override_id in client.get(f"/console/decisions/{record_id}").text
    end = f"/appeals/{entry.override_id}/end"
    assert steps.post(client, end, note="").status_code == 400  # says why
    assert steps.post(client, end, note="no more").status_code == 303
    assert the_entry(console).state is OverrideState.REMOVED
    assert steps.post(client, end, note="again").status_code == 409
    assert "no more" in client.get("/console/appeals").text


def test_what_passed_can_only_be_stopped(shown, steps):  # noqa: F811
    address, console, client = shown
    (record_id,) = keep(address, (CLEAN,))
    page = client.get(f"/console/decisions/{record_id}").text
    assert "Let it through" not in page
    path = f"/decisions/{record_id}/override"
    assert steps.post(client, path, action="pass", note="seen").status_code == 400
    assert steps.post(client, path, action="burn", note="seen").status_code == 400
    assert steps.post(client, path, action="block", note="seen", days="soon").status_code == 400
    assert steps.post(client, path, action="block", note="seen").status_code == 303
    assert the_entry(console).expires is None


def test_a_hostile_note_is_text(shown, steps):  # noqa: F811
    address, _, client = shown
    (record_id,) = keep(address, (HARM,))
    steps.post(client, f"/decisions/{record_id}/override", action="pass", note=HOSTILE)
    for path in ("/console/appeals", f"/console/decisions/{record_id}"):
        page = client.get(path).text
        assert "<img src=x" not in page
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("role", ["reviewer", "editor", "admin", "client"])
def test_a_reviewer_asks_and_an_editor_or_admin_decides(sqlite_url, book, steps, role):
    (record_id,) = keep(sqlite_url, (HARM,))
    secrets = {name: book.create(scopes=steps.ROLES[name]) for name in ("reviewer", role)}
    keys = book.authenticator()
    try:
        with open_console(sqlite_url, keys=keys) as console:
            asks = steps.make_client(console)
            assert steps.sign_in(asks, secrets["reviewer"]).status_code == 303
            page = asks.get(f"/console/decisions/{record_id}").text
            assert "Ask to let it through" in page
            path = f"/decisions/{record_id}/override"
            assert steps.post(asks, path, action="pass", note="mine").status_code == 403
            assert steps.post(asks, f"{path}/ask", action="pass", note="mine").status_code == 303
            entry = the_entry(console)
            assert entry.state is OverrideState.ASKED
            approve = f"/appeals/{entry.override_id}/approve"
            assert steps.post(asks, approve, note="myself").status_code == 403
            decides = steps.make_client(console)
            steps.sign_in(decides, secrets[role])
            answer = steps.post(decides, approve, note="agreed")
            if role == "client":
                assert answer.headers["location"] == "/console/sign-in"
            else:
                assert answer.status_code == (403 if role == "reviewer" else 303)
            decided = role in ("editor", "admin")
            assert the_entry(console).state is (
                OverrideState.ACTIVE if decided else OverrideState.ASKED
            )
            if decided:
                assert the_entry(console).by != entry.by
    finally:
        keys.close()
