"""Policies in the console: written, tried, put in force by whoever may, and back; or nothing."""

import asyncio
import dataclasses
import re
import time

import pytest
import sqlalchemy as sa

from guardrail.cases.reviewers import keep_case
from guardrail.console import policy_versions
from guardrail.console.console import open_console
from guardrail.console.policy_changes import put_in_force
from guardrail.console.policy_text import digest_text, find_served, read_policy_text
from guardrail.console.policy_trials import run_tests
from guardrail.console.policy_versions import add_draft, find_version
from guardrail.console.tables import POLICY_RUNS, POLICY_VERSIONS
from guardrail.console.visitor import LOCAL
from guardrail.errors import ConfigError, OracleError, StorageError
from guardrail.policy.load import parse_policy
from guardrail.sharing.process_board import Processes, ProcessState
from tests.console.conftest import ROLES, form_token, make_client, post, sign_in
from tests.console.policy_stand import (
    USUAL,
    WORDS,
    open_beside,
    open_files,
    open_shipped,
    write_policies,
)
from tests.console.test_access import post_signed
from tests.console.test_decision import CLEAN, CONTENT_KEYS, HARM, keep
from tests.records.conftest import make_record

HOSTILE = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>"
TIGHTER = USUAL.replace("0.25", "0.28")
LOOSER = USUAL.replace("0.25", "0.2")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "policies"
    made.mkdir()
    write_policies(made)
    return made


@pytest.fixture
def stand(folder, sqlite_url):
    """A console without keys, and a client of it."""
    with open_beside(open_files(folder), sqlite_url) as console:
        yield console, make_client(console)


def keep_draft(client, text, send=post, **fields):
    """The path of a draft within the console."""
    answer = send(client, "/policies/usual/drafts", text=text, **fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].removeprefix("/console")


def promote(client, path, seen, send=post):
    return send(client, f"{path}/promote", seen=digest_text(seen))


def states(console):
    query = sa.select(POLICY_VERSIONS).order_by(POLICY_VERSIONS.c.created)
    with console.database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [(row["state"], row["text"]) for row in rows if row["name"] == "usual"]


def radius(console):
    return console.deployment.current.policies[1].listed.policy.smoothing.radius


def test_the_pages_say_what_decides_since_when_and_by_whom(stand):
    _, client = stand
    page = client.get("/console/policies").text
    for words in ("kids", "models small-*", "every request that is left", "the file",
                  digest_text(USUAL)[:12]):  # fmt: skip
        assert words in page
    page = client.get("/console/policies/usual").text
    assert "# What most requests get." in page
    assert "in force" in page
    assert client.get("/console/policies/usual/text").content == USUAL.encode()
    assert client.get("/console/policies/none").status_code == 404


def test_every_mistake_is_told_with_its_line(stand):
    _, client = stand
    text = USUAL.replace("{radius: 0.25}", "\n  radius: -1\n  flor: 0.4")
    page = post(client, "/policies/usual/check", text=text.replace("\n", "\r\n")).text
    lines = re.findall(r'data-line="(\d+)"', page)
    assert lines == ["5", "6"]
    assert "did you mean" in page
    renamed = post(client, "/policies/usual/check", text=USUAL.replace("usual", "other")).text
    assert 'data-line="2"' in renamed
    assert "must stay" in renamed
    fine = post(client, "/policies/usual/check", text=TIGHTER).text
    assert "It can be used" in fine
    assert "Stricter" in fine


def test_a_version_is_put_in_force_and_back_to_the_byte(stand, folder):
    console, client = stand
    client.get("/console/policies/usual")
    for text in (TIGHTER, LOOSER + "# über 'alles'\n\n"):
        path = keep_draft(client, text.replace("\n", "\r\n"))
        seen = (folder / "usual.yaml").read_bytes().decode()
        assert promote(client, path, seen).status_code == 303
        assert (folder / "usual.yaml").read_bytes() == text.encode()
    assert radius(console) == 0.2
    assert [state for state, _ in states(console)] == ["retired", "retired", "live"]
    page = client.get("/console/policies/usual").text
    first = re.findall(r'data-row="([0-9a-f]{32})"', page)[-1]
    former = client.get(f"/console/policies/usual/versions/{first}").text
    assert "Roll back to this version" in former
    now = (folder / "usual.yaml").read_bytes().decode()
    assert promote(client, f"/policies/usual/versions/{first}", now).status_code == 303
    assert (folder / "usual.yaml").read_bytes() == USUAL.encode()
    assert radius(console) == 0.25
    assert states(console)[-1] == ("live", USUAL)
    assert "back to" in client.get("/console/policies/usual").text


@pytest.mark.parametrize("name", ["übung", "安全"])
def test_a_name_that_no_header_can_hold_leads_back_to_its_page(folder, sqlite_url, name):
    usual = USUAL.replace("name: usual", f"name: {name}")
    write_policies(folder, usual)
    with open_beside(open_files(folder), sqlite_url) as console:
        client = make_client(console)
        answer = post(client, f"/policies/{name}/drafts", text=usual.replace("0.25", "0.28"))
        assert answer.status_code == 303
        path = answer.headers["location"].removeprefix("/console")
        answer = promote(client, path, usual)
        assert answer.status_code == 303
        assert radius(console) == 0.28
        assert client.get(answer.headers["location"]).status_code == 200


def test_line_ends_of_the_file_are_kept(folder, sqlite_url):
    dos = USUAL.replace("\n", "\r\n")
    write_policies(folder, dos)
    with open_beside(open_files(folder), sqlite_url) as console:
        client = make_client(console)
        path = keep_draft(client, TIGHTER)
        assert promote(client, path, dos).status_code == 303
    assert (folder / "usual.yaml").read_bytes() == TIGHTER.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    "text",
    [
        "name: usual\nsmoothing: {radius: 0}\n",
        USUAL.replace("name: usual", "name: other"),
        "- nothing",
        "",
        USUAL.replace("0.25", "0.9"),  # stricter than the policy above it
    ],
)
def test_what_cannot_decide_is_never_put_in_force(stand, folder, text):
    console, client = stand
    path = keep_draft(client, text)
    answer = promote(client, path, USUAL)
    assert answer.status_code == 422
    assert "othing has changed" in answer.text
    assert (folder / "usual.yaml").read_bytes() == USUAL.encode()
    assert radius(console) == 0.25
    assert ("draft", text) in states(console)


def test_a_reload_that_fails_puts_the_file_back(stand, folder, monkeypatch):
    console, client = stand
    client.get("/console/policies/usual")
    path = keep_draft(client, TIGHTER)

    async def fail(cause):
        raise ConfigError("a model is gone")

    monkeypatch.setattr(console.deployment, "reload", fail)
    assert promote(client, path, USUAL).status_code == 422
    assert (folder / "usual.yaml").read_bytes() == USUAL.encode()
    assert ("live", USUAL) in states(console)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(OracleError("a model is gone"), 422), (OSError("no more files"), None),
     (asyncio.CancelledError(), None)],
    ids=repr,
)  # fmt: skip
def test_whatever_ends_a_reload_is_undone_unless_the_version_decides(
    folder, sqlite_url, monkeypatch, fault, status
):
    with open_beside(open_files(folder), sqlite_url) as console:
        reload, version = console.deployment.reload, make_version(console, TIGHTER)

        async def fail(cause):
            raise fault

        monkeypatch.setattr(console.deployment, "reload", fail)
        found = catch(put(console, version))
        assert getattr(found, "status", None) == status
        assert status is not None or type(found) is type(fault)
        assert (folder / "usual.yaml").read_bytes() == USUAL.encode()
        assert ("live", USUAL) in states(console)

        async def fail_late(cause):
            await reload(cause)
            raise fault

        monkeypatch.setattr(console.deployment, "reload", fail_late)
        version = make_version(console, LOOSER)
        assert catch(put(console, version)) is not None
        assert radius(console) == 0.2
        assert (folder / "usual.yaml").read_bytes() == LOOSER.encode()
        assert ("live", LOOSER) in states(console)


def make_version(console, text):
    made = add_draft(console.database, "usual", text, author="", policy_digest="", note="")
    return find_version(console.database, "usual", made)


async def put(console, version):
    target = read_policy_text(console.deployment, find_served(console.deployment, "usual"))
    await put_in_force(console, target, version, LOCAL, seen=target.digest)


def catch(work):
    with pytest.raises(BaseException) as found:  # noqa: PT011 (a cancellation is one as well)
        asyncio.run(work)
    return found.value


def test_a_file_is_put_back_also_where_the_database_is_gone(folder, sqlite_url, monkeypatch):
    with open_beside(open_files(folder), sqlite_url) as console:
        version = make_version(console, TIGHTER)

        async def fail(cause):
            monkeypatch.setattr(
                console.database, "write", lambda: (_ for _ in ()).throw(StorageError("gone"))
            )
            raise ConfigError("a model is gone")

        monkeypatch.setattr(console.deployment, "reload", fail)
        assert catch(put(console, version)).status == 422
        assert (folder / "usual.yaml").read_bytes() == USUAL.encode()
        monkeypatch.undo()
        make_client(console).get("/console/policies/usual")
        assert ("live", USUAL) in states(console)  # noted again by what stands in the file


def test_a_text_that_somebody_wrote_meanwhile_is_not_undone(folder, sqlite_url, monkeypatch):
    with open_beside(open_files(folder), sqlite_url) as console:

        async def fail(cause):
            (folder / "usual.yaml").write_text(LOOSER)
            raise ConfigError("a model is gone")

        monkeypatch.setattr(console.deployment, "reload", fail)
        assert catch(put(console, make_version(console, TIGHTER))).status == 422
        assert (folder / "usual.yaml").read_text() == LOOSER


def test_a_file_that_cannot_be_put_back_is_told(folder, sqlite_url, monkeypatch):
    with open_beside(open_files(folder), sqlite_url) as console:

        async def fail(cause):
            monkeypatch.setattr(policy_versions, "write_policy_text", full)
            raise ConfigError("a model is gone")

        def full(file, text):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(console.deployment, "reload", fail)
        found = catch(put(console, make_version(console, TIGHTER)))
        assert (found.status, found.code) == (500, "not_put_back")
        assert "usual.yaml holds the new version" in str(found)
        assert radius(console) == 0.25


class Others:
    """Stands for what reaches the other processes, one of which cannot follow."""

    def __init__(self, deployment, *, are_known=True):
        self.deployment = deployment
        self.are_known = are_known

    async def reload(self, cause):
        await self.deployment.reload(cause)
        return await self.look()

    async def look(self):
        own = ProcessState("here", self.deployment.current.digest, "now")
        other = ProcessState("there", "b71d" * 16, "then", fault="usual.yaml: broken")
        return Processes((own, other) if self.are_known else (own,), self.are_known)


def test_processes_that_did_not_follow_are_named(stand, folder, caplog):
    console, client = stand
    console.deployment.sync = Others(console.deployment)
    path = keep_draft(client, TIGHTER)
    answer = promote(client, path, USUAL)
    assert answer.status_code == 303
    for page in (answer.headers["location"], "/console/policies"):
        text = client.get(page).text
        assert "there: b71db71db71d (usual.yaml: broken)" in text
        assert f"here: {console.deployment.current.digest[:12]}" in text
    assert [one for one in caplog.messages if "usual.yaml: broken" in one]
    console.deployment.sync = Others(console.deployment, are_known=False)
    assert "cannot be asked just now" in client.get(answer.headers["location"]).text
    console.deployment.sync = None
    assert '<p class="problem"' not in client.get(answer.headers["location"]).text


def test_of_two_editors_the_second_is_told(stand, folder):
    console, client = stand
    one, other = keep_draft(client, TIGHTER), keep_draft(client, LOOSER)
    assert promote(client, one, USUAL).status_code == 303
    late = promote(client, other, USUAL)
    assert late.status_code == 409
    assert "changed since you saw it" in late.text
    assert radius(console) == 0.28
    (folder / "usual.yaml").write_text(TIGHTER + "# by hand\n")
    assert promote(client, other, TIGHTER).status_code == 409
    assert promote(client, one, TIGHTER).status_code == 403  # is in force
    assert (folder / "usual.yaml").read_text() == TIGHTER + "# by hand\n"


def test_two_at_once_one_wins(folder, database_url):
    """Also between processes, which share nothing but file and database."""
    from concurrent.futures import ThreadPoolExecutor

    from guardrail.console.policy_versions import put_in_place
    from guardrail.errors import RequestError

    with (
        open_beside(open_files(folder), database_url) as console,
        open_console(database_url) as also,
    ):
        target = read_policy_text(console.deployment, find_served(console.deployment, "usual"))
        versions = []
        for text in (TIGHTER, LOOSER):
            made = add_draft(console.database, "usual", text, author="", policy_digest="", note="")
            versions.append(find_version(console.database, "usual", made))

        def go(database, version):
            try:
                put_in_place(database, target, version, seen=target.digest, approver="x")
            except RequestError as error:
                return error.status
            return 0

        with ThreadPoolExecutor(2) as pool:
            places = (console.database, also.database)
            results = list(pool.map(go, places, versions))
        assert sorted(results) == [0, 409]
        winner = (TIGHTER, LOOSER)[results.index(0)]
        assert (folder / "usual.yaml").read_text() == winner
        assert [text for state, text in states(console) if state == "live"] == [winner]


@pytest.fixture
def readers(folder, sqlite_url, book):
    """A client for each role, and for a second editor; a second person is wanted."""
    book.create(scopes=ROLES["client"])
    people = {**ROLES, "second": ROLES["editor"]}
    secrets = {name: book.create(name=name, scopes=of) for name, of in people.items()}
    keys = book.authenticator()
    with open_beside(
        open_files(folder), sqlite_url, keys=keys, needs_second_person=True
    ) as console:
        clients = {}
        for name in ("reviewer", "editor", "second", "admin"):
            clients[name] = make_client(console)
            sign_in(clients[name], secrets[name])
        yield clients
    keys.close()


def test_a_second_person_puts_in_force(readers, folder):
    path = keep_draft(readers["editor"], TIGHTER, post_signed)
    assert "a second person puts it in force" in readers["editor"].get(f"/console{path}").text
    own = promote(readers["editor"], path, USUAL, post_signed)
    assert own.status_code == 403
    assert (folder / "usual.yaml").read_text() == USUAL
    assert "you are the second person" in readers["second"].get(f"/console{path}").text
    assert promote(readers["second"], path, USUAL, post_signed).status_code == 303
    assert (folder / "usual.yaml").read_text() == TIGHTER
    page = readers["reviewer"].get("/console/policies/usual").text
    assert page.index("editor") < page.index("second")
    ours = keep_draft(readers["admin"], LOOSER, post_signed)
    assert promote(readers["admin"], ours, TIGHTER, post_signed).status_code == 403
    assert promote(readers["second"], ours, TIGHTER, post_signed).status_code == 303
    # Who wrote a former version rolls back to it alone: it was in force before.
    assert "needs no second person" in readers["editor"].get(f"/console{path}").text
    assert promote(readers["editor"], path, LOOSER, post_signed).status_code == 303
    assert (folder / "usual.yaml").read_text() == TIGHTER


def test_reviewers_look_and_change_nothing(readers, folder):
    path = keep_draft(readers["editor"], TIGHTER, post_signed)
    reader = readers["reviewer"]
    for page in ("/policies", "/policies/usual", path, f"{path}/runs", f"{path}/text"):
        assert reader.get(f"/console{page}").status_code == 200
    assert "Put in force</button>" not in reader.get(f"/console{path}").text
    assert reader.get("/console/policies/usual/edit").status_code == 403
    for action in ("/policies/usual/check", "/policies/usual/drafts", f"{path}/tests",
                   f"{path}/replay", f"{path}/shadow", f"{path}/promote"):  # fmt: skip
        assert post_signed(reader, action, text=TIGHTER, seen="").status_code == 403
    assert (folder / "usual.yaml").read_text() == USUAL


def test_no_form_of_another_page_does_anything(stand, folder):
    _, client = stand
    path = keep_draft(client, TIGHTER)
    for action in ("/policies/usual/drafts", f"{path}/promote", f"{path}/tests"):
        sent = {"csrf": "x" * 43, "text": TIGHTER, "seen": digest_text(USUAL)}
        assert client.post(f"/console{action}", data=sent).status_code == 403
        token = {"csrf": form_token(client)}
        elsewhere = {"origin": "https://evil.example"}
        answer = client.post(f"/console{action}", data={**sent, **token}, headers=elsewhere)
        assert answer.status_code == 403
    assert (folder / "usual.yaml").read_text() == USUAL


def test_texts_notes_and_mistakes_are_no_markup(stand):
    _, client = stand
    text = f"{USUAL}# {HOSTILE}\n"
    path = keep_draft(client, text, note=HOSTILE)
    broken = keep_draft(client, f'{USUAL}"{HOSTILE}": 1\n')
    pages = [client.get(f"/console{one}").text for one in (
        path, broken, f"{path}/runs", "/policies/usual",
        f"/policies/usual/edit?from={path.rpartition('/')[2]}")]  # fmt: skip
    pages += [post(client, "/policies/usual/check", text=f'"{HOSTILE}": 1', note=HOSTILE).text]
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert sum("&lt;script&gt;alert" in page for page in pages) == 5


def test_what_reaches_outside_is_not_changed_here(stand):
    _, client = stand
    text = "name: usual\noracle:\n  kind: moderation\n"
    page = post(client, "/policies/usual/check", text=text).text
    assert "in the file on the server only" in page
    assert 'data-line="3"' in page
    path = keep_draft(client, text)
    assert promote(client, path, USUAL).status_code == 422


def wait_for(client, path, words):
    for _ in range(600):
        page = client.get(f"/console{path}/runs").text
        if words in page:
            return page
        assert "could not be done" not in page, page
        time.sleep(0.1)
    raise AssertionError(page)


def test_tests_and_a_replay_are_tried_aside(folder, sqlite_url):
    ids = keep(sqlite_url, (CLEAN,), count=2)
    with open_beside(open_files(folder), sqlite_url, content_keys=CONTENT_KEYS) as console:
        client = make_client(console)
        post(client, f"/decisions/{ids[0]}/case", name=HOSTILE, expected="stopped")
        with console.database.write() as connection:  # as if the policy had decided them
            connection.exec_driver_sql("UPDATE records SET policy = 'usual'")
        path = keep_draft(client, USUAL.replace("0.25", "0.2"))
        assert post(client, f"{path}/tests").status_code == 303
        assert post(client, f"{path}/replay", span="1000").status_code in (303, 409)
        page = wait_for(client, path, "of 101 cases as expected")
        assert 'and 1 <a href="/console/cases">case of reviewers</a>' in page
        assert "under the policy in force: 0 better, 0 worse" in page
        assert "<img src=x" not in page
        assert post(client, f"{path}/replay", span="17").status_code == 400
        for _ in range(100):
            if post(client, f"{path}/replay", span="1000").status_code == 303:
                break
            time.sleep(0.1)
        page = wait_for(client, path, "Of 2 decisions")
        assert "not known" in page
        with console.database.read() as connection:
            rows = connection.execute(sa.select(POLICY_RUNS)).mappings().all()
        assert {row["state"] for row in rows} == {"done"}


def test_tests_stand_beside_those_of_the_policy_in_force(folder, sqlite_url):
    (folder / "none.yaml").write_text(WORDS.replace("forbidden", "nothing of it"))
    draft = USUAL.replace("words.yaml", "none.yaml")
    in_force, policy = (
        parse_policy(text.encode(), file=str(folder / "usual.yaml")) for text in (USUAL, draft)
    )
    record = make_record((HARM,), pictures=0, keep_content=True)
    with open_console(sqlite_url) as console:
        for name, expected in (("threat", "stopped"), ("quote", "let through")):
            keep_case(
                console.database, record, reviewer="me", name=name, expected=expected,
                keys=CONTENT_KEYS,
            )  # fmt: skip
        found = run_tests(console.database, policy, CONTENT_KEYS, Untold(), in_force=in_force)
    beside = found["in_force"]
    assert [(name[:5], change) for name, _, _, change in beside["rows"]] == [
        ("quote", "better"), ("threa", "worse")
    ]  # fmt: skip
    assert (beside["better"], beside["worse"], beside["more"]) == (1, 1, 0)
    assert beside["missed_harm"] + 1 == found["missed_harm"]
    assert beside["false_alarms"] - 1 == found["false_alarms"]


class Untold:
    def expect(self, total):
        pass

    def step(self):
        pass


def test_in_shadow_a_draft_decides_nothing(stand, folder):
    console, client = stand
    path = keep_draft(client, TIGHTER)
    assert post(client, f"{path}/shadow").status_code == 303
    page = client.get(f"/console{path}").text
    assert "In shadow since" in page
    assert "all since the shadow began" in page
    assert post(client, f"{path}/shadow").status_code == 409
    assert radius(console) == 0.25
    assert promote(client, path, USUAL).status_code == 303
    assert radius(console) == 0.28
    broken = keep_draft(client, "nothing")
    assert post(client, f"{broken}/shadow").status_code == 422


def test_the_list_says_what_waits(stand):
    _, client = stand
    assert "draft" not in client.get("/console/policies").text
    paths = [keep_draft(client, text) for text in (TIGHTER, LOOSER)]
    assert ">2 drafts</a>" in client.get("/console/policies").text
    assert post(client, f"{paths[0]}/shadow").status_code == 303
    assert ">1 in shadow, 1 draft</a>" in client.get("/console/policies").text
    assert promote(client, paths[0], USUAL).status_code == 303
    assert ">1 draft</a>" in client.get("/console/policies").text


def test_two_versions_are_compared_in_lines_and_in_words(stand):
    _, client = stand
    ids = [keep_draft(client, text).rpartition("/")[2] for text in (TIGHTER, LOOSER)]
    page = client.get(f"/console/policies/usual?old={ids[0]}&new={ids[1]}").text
    assert "Looser: it promises less" in page
    assert 'class="line removed"' in page
    assert 'class="line added"' in page
    assert "smoothing.radius" in page


def test_a_shipped_policy_has_no_file_to_write(sqlite_url):
    with open_beside(open_shipped(), sqlite_url) as console:
        client = make_client(console)
        page = client.get("/console/policies/default").text
        assert "there is no file to write" in page
        assert "Download the text" in page
        text = client.get("/console/policies/default/text").text
        answer = post(client, "/policies/default/drafts", text=text)
        path = answer.headers["location"].removeprefix("/console")
        assert promote(client, path, text).status_code == 403


def test_without_a_server_there_is_nothing_to_show(local):
    assert "No server decides here" in local.get("/console/policies").text
    assert local.get("/console/policies/usual").status_code == 404


def test_one_decision_under_another_policy(folder, sqlite_url):
    (record_id,) = keep(sqlite_url, (CLEAN,))
    with open_beside(open_files(folder), sqlite_url, content_keys=CONTENT_KEYS) as console:
        client = make_client(console)
        page = client.get(f"/console/decisions/{record_id}").text
        assert f"/console/decisions/{record_id}/replay" in page
        address = f"/console/decisions/{record_id}/replay"
        path = keep_draft(client, TIGHTER, note=HOSTILE)
        version = path.rpartition("/")[2]
        page = client.get(address).text
        assert "usual, in force" in page
        assert "<script>alert" not in page
        for chosen in ("usual", f"usual/{version}"):
            page = client.get(address, params={"policy": chosen}).text
            # Another oracle, and a console that replays without what was said.
            assert "<b>Not known.</b> It needs the answers: they must be judged again" in page
        assert client.get(address, params={"policy": "none"}).status_code == 404
        assert client.get(address, params={"policy": "usual/none"}).status_code == 404


def test_the_policy_that_decided_decides_alike(folder, sqlite_url):
    from guardrail.console.policy_trials import replay_one
    from tests.records.conftest import make_policy

    (record_id,) = keep(sqlite_url, (CLEAN,))
    with open_console(sqlite_url) as console:
        found = replay_one(console.database, record_id, make_policy(limits={"retries": 0}))
    assert dataclasses.asdict(found) | {"reason": ""} == {
        "before": "let through", "after": "let through", "reason": "", "need": "", "used": 32,
    }  # fmt: skip


def test_a_case_is_downloaded_as_a_file_that_can_be_read(folder, sqlite_url):
    from guardrail.cases.reading import parse_cases

    (record_id,) = keep(sqlite_url, (CLEAN,))
    with open_console(sqlite_url, content_keys=CONTENT_KEYS) as console:
        client = make_client(console)
        answer = client.get(f"/console/decisions/{record_id}/case.yaml?expected=stopped")
        assert answer.headers["content-disposition"].endswith('.yaml"')
        (case,) = parse_cases(answer.content, file="case.yaml")
        assert case.expect.decision == "stopped"
        odd = client.get(f"/console/decisions/{record_id}/case.yaml?expected=x")
        assert odd.status_code == 400
