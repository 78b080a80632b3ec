"""`guardrail moderate` over a provider's batch API, end to end, through the real litellm."""

import json
import os
import signal
import time
from collections import Counter

import pytest
from click.testing import CliRunner

from guardrail.cli import check, serve
from guardrail.cli.moderate import command
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.errors import ConfigError
from tests.batch_server import batch_server_thread, cheap_clients

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
pytest.importorskip("litellm")

# litellm and the libraries it loads warn of their own affairs, and leave clients open.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True, scope="module")
def clients():
    with cheap_clients():
        yield


def answer(call):
    return "a forbidden answer" if "HARM" in str(call.body) else "a private answer"


@pytest.fixture
def table(tmp_path, pictures):
    file = tmp_path / "table.csv"
    rows = ["pictures/a.png,What?", "pictures/b.PNG,HARM", "pictures/c.png,"]
    file.write_text("\n".join(["image,prompt", *rows, ""]))
    return file


@pytest.fixture
def upstreams(tmp_path):
    def write(server, **batch):
        given = {"settle_s": 0.1, "poll_s": 0.01, "longest_poll_s": 0.05, **batch}
        lines = "".join(f"      {name}: {value}\n" for name, value in given.items())
        file = tmp_path / "upstreams.yaml"
        file.write_text(
            "upstreams:\n  - upstream: litellm_batch:openai/scripted\n    direct: true\n"
            f"    api_key_env: BATCH_KEY\n    batch:\n      api_base: {server.base_url}\n{lines}"
        )
        return file

    return write


@pytest.fixture(autouse=True)
def environment(monkeypatch, kit):
    monkeypatch.setenv("BATCH_KEY", "sk-very-secret-0123456789")
    monkeypatch.setattr("guardrail.assembly.compile_oracle", lambda _: kit.Words())


def moderate(source, out, policy, *arguments):
    given = [source, "--out", out, "--policy", policy, "--json", *arguments]
    done = CliRunner().invoke(command, [str(one) for one in given], catch_exceptions=False)
    return json.loads(done.stdout), done


def decisions(out):
    lines = (out / "decisions.jsonl").read_text().splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


OF_THE_WAY = {"upstream", "upstream_revision", "model", "request_digest", "attempt", "created",
              "digest"}  # fmt: skip


def test_a_job_in_batches_decides_as_one_by_calls(table, tmp_path, policy, upstreams):
    key = ["--key-file", tmp_path / "key"]
    with batch_server_thread(answer) as server:
        by_calls, _ = moderate(
            table, tmp_path / "calls", policy, *key,
            "--upstream", f"openai_compatible:{server.base_url}",
        )  # fmt: skip
        in_batches, done = moderate(
            table, tmp_path / "batches", policy, *key,
            "--upstreams", upstreams(server), "--jobs", 500,
        )  # fmt: skip
    assert done.exit_code == 0
    told = ("rows", "passed", "blocked", "not_decided", "calls", "tries")
    assert [in_batches[name] for name in told] == [by_calls[name] for name in told]
    assert in_batches["passed"] == 2
    one, other = decisions(tmp_path / "calls"), decisions(tmp_path / "batches")
    for name, row in one.items():
        for field in ("decision", "reason", "harmful", "radius", "picture_sha256", "calls"):
            assert other[name][field] == row[field]
        certificate = other[name]["certificate"]
        verify_certificate(decode_certificate(certificate), certificate)
        assert certificate["upstream"] == "litellm_batch:openai/scripted"
        differing = {k for k in certificate if certificate[k] != row["certificate"][k]}
        assert differing <= OF_THE_WAY
    assert len(server.chats) == by_calls["calls"]
    assert (tmp_path / "batches" / "batches.db").exists()


@pytest.mark.nightly
def test_a_killed_job_pays_for_nothing_twice(kit, pictures, tmp_path, policy, upstreams):
    out = tmp_path / "out"
    with batch_server_thread(answer) as server:
        server.held = True
        arguments = ("moderate", pictures, "--out", out, "--policy", policy, "--json",
                     "--upstreams", upstreams(server), "--jobs", 500)  # fmt: skip
        process = kit.start(*arguments)
        until = time.monotonic() + 300
        while not server.seen["retrieve"]:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        server.held = False
        code, printed, err = kit.finish(kit.start(*arguments), timeout_s=300)
        assert code == 0, err
    facts = json.loads(printed)
    assert (facts["passed"], facts["not_decided"]) == (3, 0)
    uploaded = Counter(one for ids in server.uploads for one in ids)
    assert set(uploaded.values()) == {1}
    assert sorted(uploaded) == sorted(server.asked)
    assert facts["calls"] == len(server.asked)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--engine", "ray"], "workers do not share batches"),
        (["--requests-per-minute", "60"], "--requests-per-minute is not for"),
    ],
)
def test_options_that_do_not_go_with_batches(table, tmp_path, policy, arguments, problem):
    given = [table, "--out", tmp_path / "out", "--policy", policy,
             "--upstream", "litellm_batch:openai/scripted", *arguments]  # fmt: skip
    done = CliRunner().invoke(command, [str(one) for one in given])
    assert done.exit_code == 2
    assert problem in done.stderr


def test_a_limit_of_money_needs_one_for_a_row(table, tmp_path, policy):
    with pytest.raises(ConfigError, match="the first row decided alone") as caught:
        moderate(
            table, tmp_path / "out", policy,
            "--upstream", "litellm_batch:openai/scripted", "--max-usd", "1",
        )  # fmt: skip
    assert caught.value.field == "advanced.limits.max_cost_usd_per_request"


@pytest.mark.parametrize("who", ["check", "serve"])
def test_where_somebody_waits_it_is_refused_at_the_start(who, pictures, policy):
    spec = ["--policy", policy, "--upstream", "litellm_batch:openai/scripted"]
    commands = {"check": (check.command, [pictures / "a.png"]), "serve": (serve.command, [])}
    called, arguments = commands[who]
    with pytest.raises(ConfigError, match="answers within hours"):
        CliRunner().invoke(called, [*map(str, [*arguments, *spec])], catch_exceptions=False)


def test_it_has_no_second_upstream(table, tmp_path, policy):
    with pytest.raises(ConfigError, match="as its only upstream"):
        moderate(
            table, tmp_path / "out", policy,
            "--upstream", "litellm_batch:openai/scripted", "--upstream", "builtin",
        )  # fmt: skip
