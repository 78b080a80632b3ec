"""`guardrail observe report` on what a proxy in observe mode kept, in a file and a database."""

import asyncio
import json

import httpx
import pytest
from click.testing import CliRunner

from guardrail.api.observer import Observer
from guardrail.cli import observe
from guardrail.engine.engine import Engine
from guardrail.errors import CertificationError, ConfigError
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server_async
from guardrail.upstreams.scripted import Scripted


def report(*options):
    return CliRunner().invoke(observe.command, ["report", *map(str, options)])


def keep_traffic(kit, place, book, monkeypatch, **observed):
    """40 texts by two keys, every fifth of them harmful, through a proxy that observes."""
    observers, build = [], Observer.__init__

    def init(self, *args):
        observers.append(self)
        build(self, *args)

    monkeypatch.setattr(Observer, "__init__", init)
    secrets = [book.create(), book.create()]

    def script(call):
        return kit.HARM if int(call.body["messages"][0]["content"].split()[-1]) % 5 == 0 else "a"

    async def scene():
        policy = Policy.model_validate({"name": "watch", "mode": "observe", "observe": observed})
        key = NoiseKey(bytes(32))
        engine = Engine(compile_policy(policy), Scripted(script), kit.Words(), key)
        journal = open_journal(str(place))
        writer = RecordWriter(journal)
        try:
            async with (
                running_server_async(
                    policy, engine, record=Recorder(writer, engine), keys=book.authenticator()
                ) as server,
                httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
            ):
                for number in range(40):
                    body = {
                        "model": "m",
                        "messages": [{"role": "user", "content": f"Say {number}"}],
                    }
                    headers = {"authorization": f"Bearer {secrets[number % 2]}"}
                    reply = await client.post("/v1/chat/completions", json=body, headers=headers)
                    assert reply.status_code == 200
                await observers[0].wait()
        finally:
            await asyncio.to_thread(writer.close)
            await asyncio.to_thread(journal.close)

    asyncio.run(scene())
    return [book.id_of(secret) for secret in secrets]


@pytest.mark.parametrize(
    ("name", "observed"),
    [
        *((name, one) for name in ("records.jsonl", "records.db")
          for one in ({}, {"wait": True}, {"share": 0.5})),
        ("postgres", {"share": 0.5}),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_proxy_kept_is_counted(kit, tmp_path, book, monkeypatch, name, observed, request):
    on_server = name == "postgres"
    place = request.getfixturevalue("postgres_url") if on_server else tmp_path / name
    keys = keep_traffic(kit, place, book, monkeypatch, **observed)
    page = tmp_path / "report.html"
    result = report("--records", place, "--json", "--report", page, "--limit", "1%")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["policies"]
    total = found["total"]
    assert (found["policy"], total["requests"], total["skipped"]) == ("watch", 40, 0)
    assert total["undecided"] == 0
    (segment,) = found["segments"]
    assert segment["key_id"] == NoiseKey(bytes(32)).key_id
    assert total["always_decided"] == (40 if "wait" in observed else 0)
    assert total["stopped"] + total["let_through"] == total["chosen"]
    assert {one["name"] for one in found["keys"]} == set(keys)
    assert sum(one["stopped"] for one in found["keys"]) == total["stopped"]
    rate = total["distinct"]["stopped_rate"]
    assert rate["lower"] < 0.2 < rate["upper"]
    if "share" in observed:
        assert 5 < total["chosen"] < 35
        of_all = total["distinct"]["stopped_share_of_all"]
        assert of_all["lower"] <= 8 / 40 <= of_all["upper"]
    else:
        assert (total["chosen"], total["stopped"]) == (40, 8)
        assert found["advice"] == "too noisy"
        assert total["distinct"]["stopped_share_of_all"] is None
    assert "watch" in page.read_text()
    words = report("--records", place)
    assert words.exit_code == 0
    assert found["advice"] in words.stdout
    assert "let through" in words.stdout


def test_a_window_a_policy_and_a_limit(kit, tmp_path, book, monkeypatch):
    place = tmp_path / "records.jsonl"
    keep_traffic(kit, place, book, monkeypatch)
    assert (
        json.loads(report("--records", place, "--json", "--limit", "0.6").stdout)["policies"][0][
            "advice"
        ]
        == "ready"
    )
    for options in (("--policy", "other"), ("--until", "2000-01-01"), ("--since", "2999-01-01")):
        result = report("--records", place, *options)
        assert isinstance(result.exception, ConfigError)
        assert "no records of observe mode" in str(result.exception)
    assert report("--records", place, "--policy", "watch", "--since", "2000-01-01").exit_code == 0


@pytest.mark.parametrize("limit", ["0", "100%", "1", "x", "-1%", "nan", "", "inf%"])
def test_a_limit_that_is_none_is_refused(tmp_path, limit):
    result = report("--records", tmp_path / "r.jsonl", "--limit", limit)
    assert result.exit_code == 2
    assert "write 1% or 0.01" in result.output


@pytest.mark.parametrize(
    "text",
    ["x\n", "[]\n", "{}\n", '{"mode": "observe"}\n', '{"mode": "observe", "created": "x"}\n',
     "null\n", '"observe"\n', "[" * 100_000 + "\n"],
    ids=["word", "list", "empty", "few", "time", "null", "text", "deep"],
)  # fmt: skip
def test_a_file_of_something_else_is_named_with_its_line(tmp_path, text):
    file = tmp_path / "r.jsonl"
    file.write_text('{"mode": "enforce"}\n' + text)
    result = report("--records", file)
    assert isinstance(result.exception, CertificationError)
    assert "r.jsonl:2: this line is not a record" in str(result.exception)


@pytest.mark.parametrize("name", ["none.jsonl", "none.db"])
def test_a_place_that_is_not_there_is_told(tmp_path, name):
    result = report("--records", tmp_path / name)
    assert isinstance(result.exception, ConfigError)
    assert "there is no such" in str(result.exception)
