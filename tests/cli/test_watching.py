"""`guardrail serve` as a process: its log, its metrics, its canary, and options that do not fit."""

import json
import re
import signal
import urllib.request
from contextlib import contextmanager

import openai
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from guardrail.cli import canary, serve
from guardrail.errors import ConfigError
from guardrail.oracles.base import Judgement
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Step
from tests.keybook import PEPPER

TEXTS = "harmful: [{prompt: p, answer: forbidden}]\nharmless: [{prompt: p, answer: fine}]\n"


@contextmanager
def serving(kit, policy, *options, script=None):
    """A running command, the lines of its start, and its base URL."""
    with kit.model_server(script or [kit.CLEAN]) as model:
        process = kit.start(
            "serve", "--upstream", f"openai_compatible:{model.base_url}", "--policy", policy,
            "--port", 0, *options,
        )  # fmt: skip
        line = process.stderr.readline()
        url = re.search(r"at (http://\S+)$", line)[1]
        try:
            yield process, url
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.close()
            process.wait(30)
            process.stderr.close()


def ask(url, prompt="a secret"):
    client = openai.OpenAI(api_key="sk-secret", base_url=url, max_retries=0)
    with client:
        messages = [{"role": "user", "content": prompt}]
        return client.chat.completions.create(
            model="m", messages=messages, extra_headers={"x-request-id": "r-1"}
        )


def read_until(process, wanted):
    """The lines up to one that `wanted` holds of."""
    lines = []
    while True:
        line = process.stderr.readline()
        assert line, lines
        lines.append(line)
        if wanted(line):
            return lines


def test_a_server_writes_json_serves_metrics_and_sends_canaries(kit, policy):
    texts = policy.parent / "canary.yaml"
    texts.write_text(TEXTS)
    options = ("--metrics-port", 0, "--metrics-model", "m", "--canary-every", 60)
    with serving(kit, policy, *options, "--canary-file", texts) as (process, url):
        line = read_until(process, lambda line: "metrics at" in line)[-1]
        lines = read_until(process, lambda line: '"canary": "harmless"' in line)
        ask(url)
        lines += read_until(process, lambda line: '"decision"' in line)
        metrics_url = line.split("metrics at ")[1].strip()
        with urllib.request.urlopen(metrics_url, timeout=20) as response:  # noqa: S310
            text = response.read().decode()
    events = [json.loads(line) for line in lines]
    assert {event["logger"] for event in events if event["event"] == "log"} == {"uvicorn.error"}
    assert (events[-1]["event"], events[-1]["request_id"]) == ("decision", "r-1")
    assert events[-1]["model"] == "m"
    assert "secret" not in "".join(lines)
    assert kit.CLEAN not in "".join(lines)
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["guardrail_canary_ok", "harmful", "test"] == 1
    assert found["guardrail_canary_ok", "harmless", "test"] == 1
    calls = [key for key in found if key[0] == "guardrail_upstream_calls_total"]
    assert [set(key) >= {"m", "answered"} for key in calls] == [True]
    assert metrics_url.startswith("http://127.0.0.1:")
    assert url.removesuffix("/v1") != metrics_url.removesuffix("/metrics")


@pytest.mark.nightly  # by day another server says the same as JSON, with metrics
def test_words_and_a_level_can_be_asked_for_and_no_metrics_wins(kit, policy):
    options = (
        "--log-format",
        "text",
        "--log-level",
        "warning",
        "--metrics-port",
        0,
        "--no-metrics",
    )
    script = [kit.CLEAN, Step(fault=Fault.STATUS, status=401)]
    with serving(kit, policy, *options, script=script) as (process, url):
        ask(url)
        with pytest.raises(openai.InternalServerError):
            ask(url)
        lines = read_until(process, lambda line: " fault " in line)
    assert re.match(r"\S+Z WARNING fault request_id=r-1 method=POST ", lines[-1])
    told = "".join(lines)
    assert "decision=pass" not in told
    assert "uvicorn" not in told
    assert "metrics" not in told


BASE = ("--upstream", "openai_compatible:http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--canary-model", "m"), "canary_every"),
        (("--canary-every", "60", "--canary-file", "/none.yaml"), "/none.yaml"),
        (("--webhook", "not-a-url"), "webhook"),
        (("--canary-every", "60", "--policy", "action"), "canary_file"),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_is_served(options, told):
    result = CliRunner().invoke(serve.command, [*BASE, *options])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)
    assert "not-a-url" not in str(result.exception)


class Harmless:
    revision = "harmless"

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def aclose(self):
        pass


def run_canary(*options):
    result = CliRunner().invoke(canary.command, [*BASE, *map(str, options)])
    return result.exit_code, result.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_an_oracle_that_finds_no_harm_is_found_out(policy, as_json, monkeypatch):
    monkeypatch.setattr("guardrail.assembly.compile_oracle", lambda _: Harmless())
    code, out = run_canary("--policy", policy, *(["--json"] if as_json else []))
    assert code == 3
    if as_json:
        rows = json.loads(out)["canaries"]
        words = [(row["canary"], row["result"]) for row in rows]
        assert words == [("harmful", "wrong"), ("harmless", "ok")]
    else:
        assert "harmful: pass (not certified: no image), not block" in out


def test_texts_of_ones_own_and_a_model_that_is_down(kit, policy, monkeypatch):
    monkeypatch.setattr("guardrail.assembly.compile_oracle", lambda _: kit.Words())
    texts = policy.parent / "canary.yaml"
    texts.write_text(TEXTS)
    code, out = run_canary("--policy", policy, "--canary-file", texts)
    assert (code, out.count("as it should")) == (0, 2)
    code, out = run_canary("--policy", policy, "--canary-file", texts, "--canary-model", "m")
    assert code == 2
    assert "model: fault (upstream failed), not pass" in out


def test_the_cause_of_a_canary_that_is_not_decided_is_told():
    code, out = run_canary("--policy", "multilingual")  # its judge is not there
    assert code == 2
    assert out.count("the judge failed: the upstream could not be reached") == 2
    code, out = run_canary("--policy", "multilingual", "--json")
    assert all("could not be reached" in row["cause"] for row in json.loads(out)["canaries"])


def run_remote(*options, **variables):
    result = CliRunner().invoke(canary.command, [*map(str, options)], env=variables)
    return result.exit_code, result.stdout, result.exception


@pytest.mark.nightly
def test_canaries_through_servers_that_run(kit, policy, book, tmp_path):
    texts = policy.parent / "canary.yaml"
    texts.write_text(TEXTS)
    secret = book.create()
    (tmp_path / "pepper").write_bytes(PEPPER.hex().encode())
    (tmp_path / "pepper").chmod(0o600)
    keys = ("--keys", book.file, "--pepper", tmp_path / "pepper")
    with serving(kit, policy, *keys) as (_, url):
        asked = ("--url", url, "--url", url.removesuffix("/v1"), "--canary-file", texts)
        code, out, _ = run_remote(*asked, "--canary-model", "m", GUARDRAIL_API_KEY=secret)
        assert (code, out.count("as it should")) == (0, 6), out
        code, out, _ = run_remote(*asked, "--json", "--key-env", "OTHER", OTHER=secret)
        assert (code, len(json.loads(out)["canaries"])) == (0, 4)
        assert {row["url"] for row in json.loads(out)["canaries"]} == {url, url[:-3]}
        code, out, _ = run_remote(*asked)
        assert (code, out.count("HTTP 401")) == (2, 4)
        # The shipped pair speaks of violence, and this server's oracle looks for one word.
        code, out, _ = run_remote("--url", url, "--policy", "test", GUARDRAIL_API_KEY=secret)
        assert (code, "harmful: pass" in out) == (3, True), out
    code, out, _ = run_remote("--url", url)
    assert (code, out.count("could not be reached")) == (2, 2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--url", "http://127.0.0.1:9", "--upstream", "builtin"), "--upstream"),
        (("--timeout", "3"), "--url"),
        (("--url", "nonsense"), "url"),
    ],
)
def test_options_of_canaries_that_do_not_fit_are_told(options, told):
    _, _, error = run_remote(*options)
    assert isinstance(error, ConfigError)
    assert told in str(error)
