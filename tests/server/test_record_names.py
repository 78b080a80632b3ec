"""Names of answers and of their records: in bodies, events, headers, logs and the file itself."""

import json
from contextlib import closing

import httpx
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records.journal import FileJournal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server
from guardrail.telemetry.log_lines import LogLine
from guardrail.upstreams.scripted import Fault, Scripted, Step

PREFIX = {"/v1/chat/completions": "chatcmpl-", "/v1/responses": "resp_", "/v1/messages": "msg_"}
HARM = "sadly, a forbidden word"


@pytest.fixture
def ask(kit, tmp_path, caplog):
    """One request through a proxy that keeps records; (response, the record's name, the log's)."""

    def asked(path, *, stream, step, late=False, style="refusal"):
        caplog.clear()
        policy = kit.make_policy(block={"style": style})
        upstream = Scripted([step])
        engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
        beat_s = 0.01 if late else 60.0
        settings = ServerSettings(first_byte_s=beat_s, heartbeat_s=beat_s)
        file = tmp_path / "records.jsonl"
        with closing(FileJournal(file)) as journal:
            recorder = Recorder(RecordWriter(journal), engine)
            with running_server(policy, engine, settings=settings, record=recorder) as server:
                body = request_body(kit, path) | {"stream": stream}
                response = httpx.post(server.url + path, json=body, timeout=60, trust_env=False)
        (name,) = [json.loads(line)["record_id"] for line in file.read_text().splitlines()]
        (line,) = [record for record in caplog.records if record.name == "guardrail.access"]
        logged = LogLine(line).fields["record_id"]
        return response, name, logged

    return asked


def request_body(kit, path):
    asked = {"model": "scripted", "input": "What is this?"}
    if path == "/v1/messages":
        return kit.request(max_tokens=9)
    return asked if path == "/v1/responses" else kit.request()


def bodies(response):
    """Each object of an answer that has an id, and the `guardrail` objects, in order."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        made = [response.json()]
    else:
        lines = [line for line in response.text.splitlines() if line.startswith("data: {")]
        made = [json.loads(line[6:]) for line in lines]
    starts = [body["message"] for body in made if isinstance(body.get("message"), dict)]
    made = [*starts, *(body.get("response", body) for body in made)]
    named = [body["id"] for body in made if {body.get("object"), body.get("type")} & OBJECTS]
    return named, [body["guardrail"] for body in made if body.get("guardrail")]


OBJECTS = {"chat.completion", "chat.completion.chunk", "response", "message"}


@pytest.mark.parametrize("path", PREFIX)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["A picture.", HARM], ids=["pass", "block"])
def test_an_answer_is_named_by_its_record(ask, path, stream, text):
    response, name, logged = ask(path, stream=stream, step=Step(text))
    named, about = bodies(response)
    assert {*named} == {PREFIX[path] + name}
    assert {one["record_id"] for one in about} == {name}
    assert response.headers["x-guardrail-record-id"] == logged == name


@pytest.mark.parametrize("path", PREFIX)
@pytest.mark.parametrize("text", ["A picture.", HARM], ids=["pass", "block"])
def test_a_stream_that_began_early_has_one_name_and_its_end_says_the_records(ask, path, text):
    response, name, logged = ask(path, stream=True, step=Step(text, delay_s=0.1), late=True)
    named, about = bodies(response)
    assert response.headers["x-guardrail-decision"] == "pending"
    assert "x-guardrail-record-id" not in response.headers
    (one,) = {*named}
    assert one.startswith(PREFIX[path])
    assert name not in one
    assert [one["record_id"] for one in about] == [name]
    assert logged == name


@pytest.mark.parametrize("path", PREFIX)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("step", "style"),
    [(Step(HARM), "error"), (Step(fault=Fault.STATUS, status=400), "refusal")],
    ids=["block", "fault"],
)
def test_an_error_says_the_name_of_its_record(ask, path, late, step, style):
    delayed = Step(step.text, 0.1 if late else 0.0, step.fault, step.status)
    response, name, logged = ask(path, stream=True, step=delayed, late=late, style=style)
    named, about = bodies(response)
    assert {one["record_id"] for one in about} == {name}
    assert len({*named}) <= 1
    assert response.headers.get("x-guardrail-record-id") == (None if late else name)
    assert logged == name
