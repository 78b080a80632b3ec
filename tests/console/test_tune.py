"""The page Tune: what it shows is what replay says, and what it proposes waits in shadow."""

import dataclasses
import random
import re
import shutil
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from guardrail.console import tune_records
from guardrail.console.tables import POLICY_VERSIONS
from guardrail.console.tune_goals import hold_goals, read_goals
from guardrail.console.tune_look import count_decisions
from guardrail.console.tune_records import load_records
from guardrail.console.tune_settings import list_sliders, own_numbers, read_setting
from guardrail.console.windows import read_window
from guardrail.errors import ConfigError, RequestError
from guardrail.labelling.queue import judge
from guardrail.labelling.round_draw import RoundPlan, start_round
from guardrail.labelling.rounds import read_round
from guardrail.policy.compile import policy_digest
from guardrail.policy.load import load_policy, parse_policy
from guardrail.records.query import DatabaseSource
from guardrail.records.review import add_label
from guardrail.replay.endings import Ending, Need
from guardrail.replay.replay import replay_policy
from tests.console.conftest import ROLES, form_token, make_client, post, sign_in
from tests.console.policy_stand import open_beside
from tests.console.test_access import post_signed
from tests.console.tune_stand import TUNED, find_work, open_file, record_decisions, write_policy
from tests.engine.test_edited import RECALL
from tests.records.conftest import CONTENT_KEYS

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.fixture
def file(tmp_path):
    return write_policy(tmp_path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A database of decisions, and their ids."""
    folder = tmp_path_factory.mktemp("recorded")
    policy = load_policy(write_policy(folder))
    return folder / "kept.db", record_decisions(str(folder / "kept.db"), policy)


@pytest.fixture
def ids(recorded, tmp_path):
    """The same at `sqlite_url`."""
    kept, found = recorded
    shutil.copyfile(kept, tmp_path / "guardrail.db")
    return found


@pytest.fixture
def stand(file, ids, sqlite_url):
    """A console without keys over decisions, and a client of it."""
    with open_beside(open_file(file), sqlite_url) as console:
        yield console, make_client(console)


def wait_until(found, what):
    for _ in range(6000):
        if found():
            return
        time.sleep(0.01)
    raise AssertionError(f"{what} after a minute")


def test_a_time_that_holds_more_than_is_read_says_so(stand, ids, monkeypatch):
    console, client = stand
    found = read_window({"span": "week"}, datetime.now(UTC))
    window = dataclasses.replace(found, most=4)
    policy = console.deployment.current.policies[0].listed.policy
    records = load_records(console.database, policy.name, policy, window, lambda: None)
    assert (len(records.decisions), records.held) == (4, len(ids))
    everything = dataclasses.replace(found, most=len(ids) + 1)
    assert load_records(
        console.database, policy.name, policy, everything, lambda: None
    ).held is None  # fmt: skip
    page = client.get("/console/tune?span=yesterday").text
    assert '<option value="yesterday" selected>' in page
    assert "span=yesterday&amp;since=" in page
    assert client.get("/console/tune?span=17").status_code == 400


def open_page(console, client):
    """The page once records and all tests near the policy in force are there."""
    client.get("/console/tune")
    work = find_work(console)
    wait_until(lambda: work.records is not None or work.problem, "no records")
    client.get("/console/tune")
    wait_until(lambda: work.next_test() is None, "tests are not computed")
    return client.get("/console/tune").text, work


def query_of(records, **levels):
    """Fields of the form with sliders at these levels."""
    sliders = {one.name: one for one in list_sliders(records.own, records.sigmas)}
    places = {name: sliders[name].levels.index(level) for name, level in levels.items()}
    return {"policy": "tuned", "span": "5000", **places}


def cells(page, name):
    """What a row of the numbers says of the policy in force and of the setting."""
    row = page.partition(f'<th scope="row">{name}</th>')[2].partition("</tr>")[0]
    return [
        " ".join(re.sub(r"<[^>]*>", "", one).split())
        for one in re.findall("<td.*?</td>", row, re.DOTALL)
    ]


def do_nothing(tuning):
    """In place of the thread."""


def test_records_are_read_aside_and_the_numbers_follow(stand, monkeypatch):
    console, client = stand
    with monkeypatch.context() as waiting:
        waiting.setattr(type(console.tuning), "_go_on", do_nothing)
        for path in ("/tune", "/tune/body?policy=tuned"):
            assert "Reading decisions: 0 of" in client.get(f"/console{path}").text
        part = client.get("/console/tune/numbers?policy=tuned", headers={"hx-request": "true"})
        assert part.headers["hx-redirect"] == "/console/tune?policy=tuned&span=5000"
    page, work = open_page(console, client)
    decisions = work.records.decisions
    assert len(decisions) == 24
    stopped = int(np.sum(decisions.before == Ending.STOPPED))
    assert 0 < stopped < 24
    assert cells(page, "stopped")[0] == cells(page, "stopped")[1]
    assert cells(page, "stopped")[0].startswith(f"{stopped} (")
    assert "look better here than they will be" in page
    assert "No labels yet that were drawn at random" in page


def test_numbers_are_those_of_replay_at_any_setting(stand, file):
    console, client = stand
    _, work = open_page(console, client)
    records, dice = work.records, random.Random(3)
    sliders = list_sliders(records.own, records.sigmas)
    for _ in range(25):
        setting = read_setting(
            records.own, sliders, {s.name: str(dice.randrange(len(s.levels))) for s in sliders}
        )
        policy = setting.apply(load_policy(file))
        try:
            found = replay_policy(records.decisions, policy)
        except ConfigError:
            with pytest.raises(ConfigError):
                count_decisions(records, setting)
            continue
        mine = count_decisions(records, setting)
        assert np.array_equal(records.replay(setting).after, found.after)
        counts = (mine.stopped, mine.let_through, mine.no_answer, mine.unknown)
        kinds = (Ending.STOPPED, Ending.LET_THROUGH, Ending.FAULT, Ending.UNKNOWN)
        assert counts == tuple(int(np.sum(found.after == kind)) for kind in kinds)
        assert mine.by_calls == found.count_need(Need.CALLS) + found.count_need(Need.NEW_DRAWS)
        known = found.used[found.used > 0]
        assert mine.calls == (pytest.approx(known.mean()) if known.size else None)


def test_a_slider_changes_the_numbers_at_once(stand):
    console, client = stand
    _, work = open_page(console, client)
    part = client.get("/console/tune/numbers", params=query_of(work.records, threshold=0.9)).text
    found = count_decisions(work.records, dataclasses.replace(work.records.own, threshold=0.9))
    own = count_decisions(work.records, work.records.own)
    assert found.stopped < own.stopped
    assert [cell.split()[0] for cell in cells(part, "stopped")] == [
        str(own.stopped), str(found.stopped),
    ]  # fmt: skip
    assert "<html" not in part
    whole = client.get("/console/tune", params=query_of(work.records, threshold=0.9)).text
    assert cells(whole, "stopped") == cells(part, "stopped")


def test_a_step_that_is_not_computed_says_so_and_fills_in(stand, monkeypatch):
    console, client = stand
    page, work = open_page(console, client)
    radii = list_sliders(work.records.own, ())[1].levels
    assert page.count("<circle") == 1
    # A floor that nothing was asked about: its own step is computed, but not its curve.
    monkeypatch.setattr(type(console.tuning), "_go_on", do_nothing)
    query = query_of(work.records, floor=0.1)
    part = client.get("/console/tune/numbers", params=query).text
    assert "are being computed" in part
    assert part.count('<td colspan="2">being computed</td>') == len(radii) - 1
    monkeypatch.undo()
    client.get("/console/tune/numbers", params=query)
    wait_until(lambda: work.next_test() is None, "tests are not computed")
    part = client.get("/console/tune/numbers", params=query).text
    assert "being computed" not in part


def test_what_calls_would_settle_and_what_other_noise_would_take(stand):
    console, client = stand
    _, work = open_page(console, client)
    part = client.get("/console/tune/calls", params=query_of(work.records, alpha=0.01)).text
    assert "decisions can be settled by calls" in part
    assert part.count("was not drawn") == 2


def draw_round(database, count):
    now = datetime.now(UTC)
    plan = RoundPlan(policy="tuned", since=now - timedelta(hours=1), until=now, count=count)
    round_id = start_round(database, plan, reviewer="r", keys=CONTENT_KEYS, now=now)
    return read_round(database, round_id)


def test_no_label_is_no_share_and_those_of_the_newest_round_are_one(stand, ids):
    console, client = stand
    page, _ = open_page(console, client)
    assert cells(page, "false alarms") == ["no labels yet"] * 2
    draw_round(console.database, 3)  # an older round counts for nothing
    round_ = draw_round(console.database, 5)
    drawn = {name for item in round_.items for name, _ in item.records}
    assert len(drawn) == 10
    open_item, *labelled = round_.items
    for item in labelled:
        judge(console.database, round_, item.item_id, "r", "harmless", datetime.now(UTC))
    chosen = next(name for name in ids if name not in drawn)
    record = DatabaseSource(console.database).find(chosen)
    add_label(console.database, record, reviewer="r", verdict="harmless")
    post(client, "/tune/refresh", policy="tuned", span="5000")
    page, work = open_page(console, client)
    alarms = count_decisions(work.records, work.records.own).false_alarms
    assert (alarms.labelled, alarms.drawn) == (10, 10)
    assert 0.0 <= alarms.lower < alarms.upper < 1.0
    assert "of all decisions here" in cells(page, "false alarms")[0]
    assert "No labels yet" not in page
    judge(console.database, round_, open_item.item_id, "r", "harmless", datetime.now(UTC))
    post(client, "/tune/refresh", policy="tuned", span="5000")
    _, work = open_page(console, client)
    settled = count_decisions(work.records, work.records.own).false_alarms
    assert alarms.lower <= settled.lower <= settled.upper <= alarms.upper


def test_goals_are_met_missed_or_unknown(stand):
    console, client = stand
    page, work = open_page(console, client)
    assert cells(page, "false alarms at most 5%")[:2] == ["unknown", "unknown"]
    own = count_decisions(work.records, work.records.own)
    held = {
        one.sentence.partition(" at ")[0]: one.state
        for text in ("calls <= 99\nprice_usd <= 1", "recall >= 95% within 0.5")
        for one in hold_goals(read_goals(text), own)
    }
    assert held == {
        "calls of an ordinary request": "met", "recall": "unknown",
        "US dollars for an ordinary request": "unknown",
    }  # fmt: skip
    assert hold_goals(read_goals("calls <= 1"), own)[0].state == "not met"
    (unmeasured,) = hold_goals(read_goals("recall >= 95% within 0.5"), own)
    assert "guardrail recall --policy" in unmeasured.why
    (reach,) = [one for one in RECALL.reaches if one.recall == 0.9]
    for share, within, state in (
        (90, reach.radius, "met"), (50, reach.radius / 2, "met"), (90, 2 * reach.radius, "unknown")
    ):  # fmt: skip
        goals = read_goals(f"recall >= {share}% within {within:f}")
        assert hold_goals(goals, own, RECALL)[0].state == state
    query = {"policy": "tuned", "span": "5000", "goals": f"alarms <= 1\n{HOSTILE}"}
    part = client.get("/console/tune/numbers", params=query).text
    assert "is no goal" in part
    assert "<script>alert" not in part


def test_a_proposal_stands_in_shadow_with_a_comment_at_each_field(stand, file):
    console, client = stand
    _, work = open_page(console, client)
    query = query_of(work.records, threshold=0.7, radius=work.records.own.radius * 0.8)
    client.get("/console/tune/numbers", params=query)
    wait_until(lambda: work.next_test() is None, "tests are not computed")
    answer = post(client, "/tune/propose", **query, note="fewer false alarms")
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    with console.database.read() as connection:
        rows = connection.execute(sa.select(POLICY_VERSIONS)).mappings().all()
    (row,) = [one for one in rows if one["state"] == "shadow"]
    assert path.endswith(row["version_id"])
    text = row["text"]
    proposed = parse_policy(text.encode(), file=str(file))
    assert (proposed.oracle.threshold, proposed.smoothing.radius) == (0.7, 0.2)
    assert policy_digest(proposed) == row["policy_digest"]
    assert "# What most requests get.\n" in text
    assert "alpha: 0.05   # a quick test" in text
    assert "# oracle.threshold: was 0.5; answers count as harmful only from" in text
    assert "# smoothing.radius: was 0.25;" in text
    assert text.count("confirmed on no others") == 2
    assert file.read_text() == TUNED
    page = client.get(path).text
    assert "in shadow" in page
    assert "fewer false alarms" in page


def test_nothing_is_proposed_that_changes_nothing_or_is_not_known(stand, file):
    console, client = stand
    _, work = open_page(console, client)
    same = post(client, "/tune/propose", policy="tuned", span="5000")
    assert same.status_code == 409
    assert "where the policy in force has it" in same.text
    old = post(client, "/tune/propose", **query_of(work.records, threshold=0.7), base="0" * 64)
    assert old.status_code == 409
    file.write_text(TUNED + "# by hand\n")
    client.get("/console/tune")
    written = post(client, "/tune/propose", **query_of(work.records, threshold=0.7))
    assert written.status_code == 303  # a comment alone decides nothing
    file.write_text(TUNED.replace("0.05", "0.06"))
    differs = post(client, "/tune/propose", **query_of(work.records, threshold=0.7))
    assert differs.status_code == 409


@pytest.mark.parametrize(
    "query",
    [
        {"policy": "none"},
        {"policy": "tuned", "span": "7"},
        {"policy": "tuned", "span": "5000", "radius": "99"},
        {"policy": "tuned", "span": "5000", "radius": "-1"},
        {"policy": "tuned", "span": "5000", "radius": HOSTILE},
    ],
)
def test_what_is_no_setting_is_refused(stand, query):
    console, client = stand
    open_page(console, client)
    answer = client.get("/console/tune/numbers", params=query)
    assert answer.status_code in (400, 404)
    assert "<script>alert" not in answer.text


def test_each_role_looks_and_editors_propose(file, ids, sqlite_url, book):
    book.create(scopes=ROLES["client"])
    secrets = {name: book.create(name=name, scopes=ROLES[name])
               for name in ("reviewer", "editor", "admin")}  # fmt: skip
    keys = book.authenticator()
    with open_beside(open_file(file), sqlite_url, keys=keys) as console:
        assert make_client(console).get("/console/tune").status_code == 303
        for name, secret in secrets.items():
            client = make_client(console)
            sign_in(client, secret)
            page, work = open_page(console, client)
            assert "What it would have done" in page
            may = name != "reviewer"
            assert ("Propose: a version in shadow" in page) is may
            query = query_of(work.records, threshold=0.7)
            answer = post_signed(client, "/tune/propose", **query)
            assert answer.status_code == (303 if may else 403)
    keys.close()


def test_no_form_of_another_page_proposes(stand):
    console, client = stand
    _, work = open_page(console, client)
    query = query_of(work.records, threshold=0.7)
    assert client.post("/console/tune/propose", data={"csrf": "x" * 43, **query}).status_code == 403
    sent = {"csrf": form_token(client), **query}
    elsewhere = {"origin": "https://evil.example"}
    answer = client.post("/console/tune/propose", data=sent, headers=elsewhere)
    assert answer.status_code == 403
    assert client.get("/console/tune/propose").status_code == 405


def test_words_of_the_policy_and_the_note_are_no_markup(tmp_path, sqlite_url):
    text = TUNED.replace("# a quick test", f"# {HOSTILE}").replace(
        "sampling:", f"block: {{text: '{HOSTILE}'}}\nsampling:", 1
    )
    file = write_policy(tmp_path, text)
    record_decisions(sqlite_url, load_policy(file), count=4)
    with open_beside(open_file(file), sqlite_url) as console:
        client = make_client(console)
        page, work = open_page(console, client)
        query = query_of(work.records, threshold=0.7)
        answer = post(client, "/tune/propose", **query, note=HOSTILE)
        assert answer.status_code == 303
        for one in (page, client.get(answer.headers["location"]).text):
            assert "<script>alert" not in one
            assert "<img src=x" not in one


def test_without_decisions_or_without_a_policy_it_says_so(file, sqlite_url):
    with open_beside(open_file(file), sqlite_url) as console:
        client = make_client(console)
        client.get("/console/tune")
        work = find_work(console)
        wait_until(lambda: work.records is not None, "no records")
        assert "No decision of this policy yet" in client.get("/console/tune").text
        assert (
            "No server decides here"
            in make_client(dataclasses.replace(console, deployment=None)).get("/console/tune").text
        )


def test_more_answers_than_fit_are_refused_and_read_again_later(file, ids, sqlite_url, monkeypatch):
    with open_beside(open_file(file), sqlite_url) as console:
        client = make_client(console)
        with monkeypatch.context() as few:
            few.setattr(tune_records, "MOST_DRAWS", 10)
            client.get("/console/tune")
            work = find_work(console)
            wait_until(lambda: work.problem, "no problem")
            page = client.get("/console/tune").text
        assert "more than 10 answers" in page
        assert find_work(console) is not work


def test_few_tasks_are_kept(stand):
    console, client = stand
    for span in (1_000, 5_000, 20_000, 1_000):
        client.get("/console/tune", params={"policy": "tuned", "span": str(span)})
    assert len(console.tuning._tasks) == 2
    console.tuning.close()
    assert find_work(console, 20_000).records is None or console.tuning._thread is None


def test_a_threshold_that_was_measured_stays(tmp_path):
    policy = load_policy(write_policy(tmp_path))
    assert own_numbers(policy).threshold == 0.5
    measured = policy.model_copy(
        update={"smoothing": policy.smoothing.model_copy(update={"claim": "harmlessness"})}
    )
    assert own_numbers(measured).threshold is None
    names = [one.name for one in list_sliders(own_numbers(measured), ())]
    assert names == ["radius", "floor", "alpha"]
    assert list_sliders(own_numbers(policy), (0.25, 0.5))[-1].name == "sigma"


def test_a_slider_that_is_not_sent_stands_where_it_is_in_force(tmp_path):
    own = own_numbers(load_policy(write_policy(tmp_path)))
    sliders = list_sliders(own, ())
    assert read_setting(own, sliders, {}) == own
    for wrong in ("", "x", "1.5", "²", "9999"):
        with pytest.raises(RequestError):
            read_setting(own, sliders, {"radius": wrong})
