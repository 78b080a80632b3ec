"""What people decided about single requests, through the proxy: exactly those, and marked so."""

import asyncio
import json
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

import pytest

from guardrail.api.overrides import OverrideList
from guardrail.database.migrate import open_database
from guardrail.engine.engine import Engine
from guardrail.errors import ConfigError, RequestError
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records import overrides as entries
from guardrail.records.database_audit import audit_database
from guardrail.records.endings import HowEnded
from guardrail.records.open import open_journal
from guardrail.records.overrides import end_override, start_override
from guardrail.records.query import DatabaseSource, RecordFilter
from guardrail.records.recorder import Recorder
from guardrail.records.tally import tally_records
from guardrail.records.writer import RecordWriter
from guardrail.replay.loading import load_decisions
from guardrail.tuning.deliveries import DeliveryWindow, find_deliveries
from guardrail.upstreams.scripted import Fault, Scripted, Step
from tests.server.conftest import HARM, Words, data_url, png, request

ON = {"overrides": "on"}


class Stand:
    """A proxy whose model always answers harmfully, its records, and the list beside them."""

    def __init__(self, proxy, database):
        self.proxy, self.database = proxy, database

    def find(self, response):
        return DatabaseSource(self.database).find(response.headers["x-guardrail-record-id"])

    def override(self, response, action="pass", **options):
        about = {"by": "key-1", "note": "looked at it", **options}
        return start_override(self.database, self.find(response), action=action, **about)


@asynccontextmanager
async def stand(kit, url, *, script=(HARM,), policy=None, oracle=None, wait_s=2.0):
    policy = policy or kit.make_policy(**ON)
    upstream = script if hasattr(script, "complete") else Scripted(list(script))
    oracle = oracle or Words()
    engine = Engine(compile_policy(policy), upstream, oracle, NoiseKey(bytes(32)))
    with (
        closing(open_journal(url)) as journal,
        closing(RecordWriter(journal)) as writer,
        closing(open_database(url)) as database,
        closing(OverrideList(database, wait_s=wait_s)) as overrides,
    ):
        recorder = Recorder(writer, engine)
        async with kit.proxy(
            upstream, oracle=oracle, policy=policy, record=recorder, overrides=overrides
        ) as proxy:
            proxy.client.headers["anthropic-version"] = "2023-06-01"
            # The kit makes an engine of its own, with the same parts but for the key.
            yield Stand(proxy, database)


def answer_of(response):
    return response.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("images", [0, 1])
def test_a_block_is_answered_by_the_one_answer_of_the_model(run, kit, database_url, images):
    async def scenario():
        async with stand(kit, database_url) as here:
            blocked = await here.proxy.chat(images=images)
            entry = here.override(blocked)
            calls = len(here.proxy.calls)
            judged = len(here.proxy.oracle.seen)
            passed = await here.proxy.chat(images=images)
            assert len(here.proxy.calls) - calls == 1
            assert len(here.proxy.oracle.seen) == judged
            return blocked, entry, passed, here.find(passed), audit_database(here.database)

    blocked, entry, passed, record, audit = run(scenario())
    body = blocked.json()["guardrail"]
    assert body["record_id"] == blocked.headers["x-guardrail-record-id"] == entry.record_id
    assert (body["decision"], body["override"]) == ("block", None)
    assert answer_of(passed) == HARM
    about = passed.json()["guardrail"]
    assert (about["decision"], about["reason"]) == ("pass", "override")
    assert about["override"] == passed.headers["x-guardrail-override"] == entry.override_id
    assert about["certificate"] is None
    assert about["alpha"] is None
    assert about["would_block"] is None
    assert about["outside_claim"] is True
    assert about["unscanned"] == ["answer"]
    assert passed.headers["x-guardrail-would-block"] == "unknown"
    assert (record.reason.value, record.override) == ("override", entry.override_id)
    assert record.request_digest == entry.request_digest
    assert record.certificate is None
    assert (audit.records, audit.override_steps) == (2, 1)


def test_what_must_be_stopped_is_refused_without_a_call(run, kit, database_url):
    async def scenario():
        async with stand(kit, database_url, script=("A picture.",)) as here:
            passed = await here.proxy.chat(images=1)
            entry = here.override(passed, "block")
            calls = len(here.proxy.calls)
            stopped = await here.proxy.chat(images=1)
            return passed, entry, stopped, len(here.proxy.calls) - calls

    passed, entry, stopped, calls = run(scenario())
    assert answer_of(passed) == "A picture."
    assert calls == 0
    assert stopped.json()["choices"][0]["finish_reason"] == "content_filter"
    assert stopped.headers["x-guardrail-reason"] == "override"
    assert stopped.headers["x-guardrail-override"] == entry.override_id
    assert stopped.json()["guardrail"].get("certificate") is None


CHANGES = {
    "a word of the prompt": lambda: request(1, prompt="What is this!"),
    "one pixel's level": lambda: _with_picture(_nudged()),
    "another picture": lambda: _with_picture(png(seed=3)),
    "another model": lambda: {**request(1), "model": "other"},
    "a parameter": lambda: {**request(1), "temperature": 0.5},
    "no picture": lambda: request(0),
    "two pictures": lambda: request(2),
}


def _with_picture(data):
    body = request(1)
    body["messages"][0]["content"][1]["image_url"]["url"] = data_url(data)
    return body


def _nudged():
    from PIL import Image

    from tests.server.conftest import encoded, pixels

    changed = pixels()
    changed[4, 5, 1] ^= 1
    return encoded(Image.fromarray(changed))


def test_any_other_request_is_decided_anew(run, kit, sqlite_url):
    async def scenario():
        async with stand(kit, sqlite_url) as here:
            here.override(await here.proxy.chat(images=1))
            same = await here.proxy.chat(images=1)
            answers = {}
            for name, body in CHANGES.items():
                answers[name] = await here.proxy.client.post("/v1/chat/completions", json=body())
            return same, answers

    same, answers = run(scenario())
    assert same.headers["x-guardrail-decision"] == "pass"
    for name, response in answers.items():
        assert response.status_code == 200, name
        assert response.headers["x-guardrail-decision"] == "block", name
        assert response.headers["x-guardrail-reason"] == "harmful", name


@pytest.mark.parametrize("what", ["policy", "oracle", "upstream", "off", "observe"])
def test_an_entry_counts_only_under_what_it_was_made(run, kit, sqlite_url, what):
    policies = {
        "policy": kit.make_policy(**ON, smoothing={"alpha": 0.004}),
        "off": kit.make_policy(),
        "observe": kit.make_policy(**ON, mode="observe", observe={"wait": True}),
    }
    words = Words()
    if what == "oracle":
        words.revision = "other words"

    async def scenario():
        async with stand(kit, sqlite_url) as here:
            here.override(await here.proxy.chat(images=1))
        upstream = Scripted([HARM], model="changed" if what == "upstream" else "scripted")
        async with stand(
            kit,
            sqlite_url,
            script=upstream,
            policy=policies.get(what),
            oracle=words,
        ) as here:
            return await here.proxy.chat(images=1)

    response = run(scenario())
    assert response.headers["x-guardrail-reason"] == "harmful"
    assert "x-guardrail-override" not in response.headers


def test_what_stops_holds_under_any_policy(run, kit, sqlite_url):
    async def scenario():
        async with stand(kit, sqlite_url, script=("A picture.",)) as here:
            here.override(await here.proxy.chat(images=1), "block")
        other = kit.make_policy(**ON, name="other")
        async with stand(kit, sqlite_url, script=("A picture.",), policy=other) as here:
            return await here.proxy.chat(images=1)

    assert run(scenario()).headers["x-guardrail-reason"] == "override"


def test_what_stops_comes_before_what_lets_through(run, kit, sqlite_url):
    async def scenario():
        async with stand(kit, sqlite_url) as here:
            blocked = await here.proxy.chat(images=1)
            here.override(blocked, "block")
            here.override(blocked, "pass")
            return await here.proxy.chat(images=1)

    response = run(scenario())
    assert response.headers["x-guardrail-decision"] == "block"
    assert response.headers["x-guardrail-reason"] == "override"


def test_a_removed_and_an_expired_entry_count_no_more(run, kit, database_url, monkeypatch):
    async def scenario():
        async with stand(kit, database_url) as here:
            blocked = await here.proxy.chat(images=1)
            entry = here.override(blocked)
            before = await here.proxy.chat(images=1)
            end_override(here.database, entry.override_id, by="key-2", note="a mistake")
            removed = await here.proxy.chat(images=1)
            later = datetime.now(UTC) - timedelta(days=40)
            with monkeypatch.context() as past:
                past.setattr(entries, "datetime", _Clock(later))
                here.override(blocked)
            expired = await here.proxy.chat(images=1)
            return before, removed, expired, audit_database(here.database)

    before, removed, expired, audit = run(scenario())
    assert before.headers["x-guardrail-decision"] == "pass"
    assert removed.headers["x-guardrail-reason"] == "harmful"
    assert expired.headers["x-guardrail-reason"] == "harmful"
    assert audit.override_steps == 3


class _Clock:
    """`datetime` with another present."""

    def __init__(self, now):
        self._now = now

    def now(self, _zone):
        return self._now

    def __getattr__(self, name):
        return getattr(datetime, name)


def _messages(**more):
    return {
        "model": "scripted",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "What is this?"}],
        **more,
    }


ROUTES = {
    "/v1/chat/completions": lambda **more: {**request(1), **more},
    "/v1/messages": _messages,
    "/v1/responses": lambda **more: {"model": "scripted", "input": "What is this?", **more},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ROUTES)
def test_every_route_says_so_plain_and_streamed(run, kit, sqlite_url, path, stream):
    async def scenario():
        async with stand(kit, sqlite_url) as here:
            blocked = await here.proxy.client.post(path, json=ROUTES[path]())
            entry = here.override(blocked)
            more = {"stream": True} if stream else {}
            return blocked, entry, await here.proxy.client.post(path, json=ROUTES[path](**more))

    blocked, entry, passed = run(scenario())
    assert entry.record_id in blocked.text  # the client can name it
    assert passed.status_code == 200
    assert passed.headers["x-guardrail-override"] == entry.override_id
    assert entry.override_id in passed.text
    said = "".join(_texts(passed.text)) if stream else passed.text
    assert HARM in said


def _texts(stream):
    """The pieces of text of a stream, whatever its form."""
    for line in stream.split("\n"):
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        delta = event.get("delta")
        for choice in event.get("choices", []):
            yield choice["delta"].get("content") or ""
        if isinstance(delta, str):
            yield delta
        elif isinstance(delta, dict):
            yield delta.get("text") or ""


def test_a_list_that_cannot_be_read_leaves_the_decision_to_the_guard(
    run, kit, sqlite_url, logs, monkeypatch
):
    asked = []

    def fail(database, *_, **__):
        asked.append(database)
        with database.read() as connection:
            connection.exec_driver_sql("SELECT nothing FROM no_table")

    async def scenario():
        async with stand(kit, sqlite_url) as here:
            here.override(await here.proxy.chat(images=1))
        monkeypatch.setattr(entries, "find_active", fail)
        async with stand(kit, sqlite_url) as here:
            return [await here.proxy.chat(images=1) for _ in range(3)]

    for response in run(scenario()):
        assert response.headers["x-guardrail-reason"] == "harmful"
    assert asked  # and not for every request while it fails
    assert "overrides cannot be looked up, and the guard decides" in logs.text


def test_a_list_that_hangs_is_waited_for_no_longer_than_it_may(run, kit, sqlite_url, monkeypatch):
    import threading

    ends = threading.Event()

    async def scenario():
        monkeypatch.setattr(entries, "find_active", lambda *_, **__: ends.wait(50) and [])
        async with stand(kit, sqlite_url, wait_s=0.2) as here:
            try:
                return await here.proxy.chat()
            finally:
                ends.set()

    assert run(scenario()).headers["x-guardrail-reason"] == "harmful"


def test_a_step_that_was_changed_gives_no_override(run, kit, sqlite_url, logs):
    async def scenario():
        async with stand(kit, sqlite_url, script=("A picture.",)) as here:
            entry = here.override(await here.proxy.chat(images=1), "block")
            with here.database.write() as connection:
                connection.exec_driver_sql(
                    "UPDATE override_events SET document = replace(document, ?, ?)",
                    ('"action":"block"', '"action":"pass"'),
                )
            with pytest.raises(Exception, match="was changed"):
                audit_database(here.database)
            return entry, await here.proxy.chat(images=1)

    entry, response = run(scenario())
    assert response.headers["x-guardrail-reason"] == "certified"
    assert entry.override_id in logs.text


def test_a_fault_of_the_model_is_one_and_no_override(run, kit, sqlite_url):
    async def scenario():
        said = [HARM]
        async with stand(kit, sqlite_url, script=Scripted(lambda _: said[0])) as here:
            here.override(await here.proxy.chat())
            said[0] = Step(fault=Fault.STATUS)
            failed = await here.proxy.chat()
            return failed, here.find(failed)

    failed, record = run(scenario())
    assert failed.status_code == 500
    assert (record.reason.value, record.override) == ("upstream failed", "")


def test_the_policy_needs_a_list(kit):
    policy = kit.make_policy(**ON)
    engine = Engine(compile_policy(policy), Scripted(["x"]), Words(), NoiseKey(bytes(32)))
    from guardrail.api.service import Service

    with pytest.raises(ConfigError, match="entries are made of records"):
        Service(policy, engine)


def test_only_a_judged_block_can_be_let_through(run, kit, sqlite_url):
    async def scenario():
        async with stand(kit, sqlite_url, script=("A picture.",)) as here:
            passed = await here.proxy.chat(images=1)
            with pytest.raises(RequestError, match="only what the guard stopped"):
                here.override(passed)
            with pytest.raises(RequestError, match="say why"):
                here.override(passed, "block", note="  ")
            with pytest.raises(RequestError, match="days"):
                here.override(passed, "block", days=float("nan"))

    run(scenario())


def test_steps_that_many_make_at_once_are_one_chain(run, kit, database_url):
    async def scenario():
        async with stand(kit, database_url) as here:
            blocked = await here.proxy.chat(images=1)
            many = [asyncio.to_thread(here.override, blocked, note=f"n{i}") for i in range(8)]
            await asyncio.gather(*many)
            return audit_database(here.database)

    assert run(scenario()).override_steps == 8


def test_replays_summaries_and_lists_of_what_left_do_not_count_it(run, kit, sqlite_url, tmp_path):
    async def scenario():
        async with stand(kit, sqlite_url) as here:
            here.override(await here.proxy.chat(images=1))
            await here.proxy.chat(images=1)
            return [
                record.to_dict() for record in DatabaseSource(here.database).scan(RecordFilter())
            ]

    documents = run(scenario())
    assert [document["reason"] for document in documents] == ["harmful", "override"]
    assert len(load_decisions(documents)) == 1
    summary = tally_records(documents).total.endings
    assert (summary[HowEnded.OVERRIDDEN], summary[HowEnded.LET_THROUGH]) == (1, 0)
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(document) + "\n" for document in documents))
    with pytest.raises(ConfigError, match="no answer left"):
        find_deliveries([file], DeliveryWindow())
