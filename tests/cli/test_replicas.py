"""Two real servers on one Redis and one PostgreSQL: what they promise to share, they share."""

import asyncio
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from guardrail.keys.database_store import DatabaseKeyStore
from guardrail.keys.pepper import create_pepper
from guardrail.keys.secret import digest_secret, new_secret
from guardrail.upstreams.scripted import Fault, Step
from tests.cli.conftest import POLICY, finish, model_server, start
from tests.keybook import make_key
from tests.postgres import MISSING, find_binaries, running_postgres
from tests.redis_server import MISSING as REDIS_MISSING
from tests.redis_server import find_redis, running_redis

PAUSED = "paused"
"""A model of its own: the pause that it asks for keeps nobody from another one."""


class Answers:
    """The model: waits for its gate, or asks for a pause, where the question says so."""

    def __init__(self):
        self.gate = asyncio.Event()

    def __call__(self, call):
        text = str(call.body["messages"])
        if "pause" in text:
            return Step(fault=Fault.STATUS, status=429, retry_after="50")
        return Step("a private answer", gate=self.gate if "slow" in text else None)


@dataclass
class Replica:
    process: Any
    client: httpx.Client
    metrics: str = ""
    said: list = field(default_factory=list)

    def ask(self, secret, words="Hello?", timeout=60.0, model="scripted"):
        body = {"model": model, "messages": [{"role": "user", "content": words}]}
        headers = {"authorization": f"Bearer {secret}", "connection": "close"}
        return self.client.post("/v1/chat/completions", json=body, headers=headers, timeout=timeout)

    def admin(self, secret, method, path, **body):
        headers = {"authorization": f"Bearer {secret}", "connection": "close"}
        return self.client.request(method, path, headers=headers, json=body or None)

    def series(self):
        """(name, labels) and value of every series."""
        from prometheus_client.parser import text_string_to_metric_families

        text = httpx.get(f"{self.metrics}/metrics", trust_env=False, timeout=20).text
        return [
            (one.name, one.labels, one.value)
            for family in text_string_to_metric_families(text)
            for one in family.samples
        ]


@dataclass
class Place:
    """A folder with a policy and secrets, and the store of keys."""

    folder: Any
    keys: Any
    address: str
    pepper: bytes

    def key(self, **fields):
        secret = new_secret()
        digest = digest_secret(secret, self.pepper)
        self.keys.add(make_key(secret, **{"digest": digest, **fields}))
        return secret

    def write_policy(self, name="test"):
        text = POLICY.replace("name: test", f"name: {name}")
        prices = '  prices: {"*": {input_usd_per_million: 1.0e+4, output_usd_per_million: 0.0}}\n'
        memory = "  memory: {pass: redraw, block: redraw}\n"
        text = text.replace("limits: {", "limits: {max_cost_usd_per_request: 0.25, ")
        (self.folder / "policy.yaml").write_text(text + prices + memory)


def wait_until(condition, seconds=60.0):
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to this")


@contextmanager
def serving(place, model, *options, count=1):
    """So many servers, killed at the end if they still run."""
    running = [_start(place, model, *options) for _ in range(count)]
    try:
        yield [_connect(process) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _start(place, model, *options):
    return start(
        "serve", "--upstream", f"openai_compatible:{model.base_url}",
        "--policy", place.folder / "policy.yaml", "--port", 0, "--reload-every", 0,
        "--keys", place.address, "--pepper", place.folder / "pepper",
        "--key-file", place.folder / "noise.key", *options,
    )  # fmt: skip


def _connect(process):
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r" at (http://127\.0\.0\.1:[1-9]\d*)/v1$", line):
            break
    else:
        raise AssertionError(f"it ended with status {process.wait(30)}: {said}")
    transport = httpx.HTTPTransport(retries=10)
    client = httpx.Client(base_url=found[1], timeout=60, transport=transport, trust_env=False)
    wait_until(lambda: client.get("/healthz").status_code == 200)
    return Replica(process, client, said=said)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if find_binaries() is None:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("replicas")
    pepper = create_pepper(folder / "pepper")
    with running_postgres() as url:
        address = f"{url}/postgres"
        made = Place(folder, DatabaseKeyStore(address), address, pepper)
        made.write_policy()
        yield made
        made.keys.close()


@pytest.fixture(scope="module")
def parts(place):
    """(Redis, the model, two replicas, secrets by name); keys are known before the start."""
    if find_redis() is None:
        pytest.skip(REDIS_MISSING)
    limits = {
        "free": {}, "ten a minute": {"requests_per_minute": 10}, "two": {"max_concurrency": 2},
        "a dollar": {"usd_per_day": 1.0}, "calls": {"calls_per_minute": 5},
    }  # fmt: skip
    secrets = {name: place.key(limits=given) for name, given in limits.items()}
    secrets["admin"] = place.key(scopes=frozenset({"admin"}))
    with running_redis() as redis, model_server(Answers()) as model:
        options = ("--redis", redis.url, "--records", place.address)
        with serving(place, model, *options, count=2) as replicas:
            yield redis, model, replicas, secrets


def ask_both(replicas, secret, count, words="Hello?"):
    with ThreadPoolExecutor(8) as threads:
        return list(
            threads.map(lambda n: replicas[n % 2].ask(secret, f"{words} {n}"), range(count))
        )


def codes(answers):
    return sorted({one.json()["error"]["code"] for one in answers if one.status_code != 200})


def test_ten_requests_a_minute_are_ten_over_both(parts):
    _, _, replicas, secrets = parts
    answers = ask_both(replicas, secrets["ten a minute"], 24)
    assert sum(one.status_code == 200 for one in answers) == 10
    assert codes(answers) == ["rate_limit_exceeded"]
    left = {int(one.headers["x-ratelimit-remaining-requests"]) for one in answers}
    assert left == set(range(10))


def test_calls_a_minute_are_those_of_both(parts):
    _, _, replicas, secrets = parts
    answers = ask_both(replicas, secrets["calls"], 12)
    served = sum(one.status_code == 200 for one in answers)
    assert 1 <= served <= 5
    assert codes(answers) == ["rate_limit_exceeded"]
    # What side by side was set aside and not used was given back: the rest can be had.
    for number in range(served, 5):
        assert replicas[number % 2].ask(secrets["calls"]).status_code == 200
    assert replicas[0].ask(secrets["calls"]).status_code == 429


def test_requests_at_a_time_are_those_of_both(parts):
    _, model, replicas, secrets = parts
    before = len(model.calls)
    with ThreadPoolExecutor(2) as threads:
        slow = [threads.submit(one.ask, secrets["two"], "slow") for one in replicas]
        wait_until(lambda: len(model.calls) == before + 2)
        refused = [one.ask(secrets["two"]) for one in replicas]
        model.open_gate(model.log.script.gate)
        assert [one.result().status_code for one in slow] == [200, 200]
    assert [one.status_code for one in refused] == [429, 429]
    assert [one.ask(secrets["two"]).status_code for one in replicas] == [200, 200]


def test_dollars_of_a_day_are_those_of_both(parts):
    _, _, replicas, secrets = parts
    answers = []
    while not answers or answers[-1].status_code == 200:
        answers.append(replicas[len(answers) % 2].ask(secrets["a dollar"]))
        assert len(answers) < 200
    cost = answers[0].json()["usage"]["prompt_tokens"] * 0.01
    spent, served = 0.0, 0
    while spent + 0.25 <= 1.0 + 1e-9:
        spent, served = spent + cost, served + 1
    assert len(answers) - 1 == served >= 3
    assert codes(answers) == ["insufficient_quota"]
    assert [one.ask(secrets["a dollar"]).status_code for one in replicas] == [429, 429]


def test_a_reload_and_a_rollback_reach_both(parts, place):
    _, _, (one, other), secrets = parts
    before = one.admin(secrets["admin"], "GET", "/admin/policies").json()
    assert (before["agree"], len(before["processes"])) == (True, 2)
    first = before["data"][0]["digest"]
    place.write_policy("changed")
    after = one.admin(secrets["admin"], "POST", "/admin/reload").json()
    second = after["data"][0]["digest"]
    assert {state["digest"] for state in after["processes"]} == {second} != {first}
    assert after["agree"] is True
    assert other.ask(secrets["free"]).headers["x-guardrail-policy"] == "changed"
    back = other.admin(secrets["admin"], "POST", "/admin/rollback", digest=first).json()
    assert {state["digest"] for state in back["processes"]} == {first}
    assert one.ask(secrets["free"]).headers["x-guardrail-policy"] == "test"
    place.write_policy("broken: [")
    refused = one.admin(secrets["admin"], "POST", "/admin/reload")
    assert refused.status_code == 422
    place.write_policy()
    assert one.admin(secrets["admin"], "GET", "/admin/policies").json()["agree"] is True


def test_a_pause_that_one_is_asked_for_is_kept_by_the_other(parts):
    _, model, (one, other), secrets = parts
    assert one.ask(secrets["free"], "pause", model=PAUSED).status_code == 429
    time.sleep(1.5)
    before = len(model.calls)
    with pytest.raises(httpx.ReadTimeout):
        other.ask(secrets["free"], timeout=2.0, model=PAUSED)  # it waits, as its deadline is later
    assert len(model.calls) == before


def test_without_redis_keys_with_limits_are_refused_and_others_served(parts):
    redis, _, replicas, secrets = parts
    redis.kill()
    assert replicas[0].ask(secrets["free"]).status_code == 200
    for name in ("ten a minute", "two", "a dollar", "calls"):
        for answer in [one.ask(secrets[name]) for one in replicas]:
            assert (answer.status_code, codes([answer])) == (503, ["limits_unavailable"])
    assert replicas[1].ask(secrets["free"]).status_code == 200
    assert replicas[0].client.get("/readyz").status_code == 503
    known = replicas[0].admin(secrets["admin"], "GET", "/admin/policies").json()
    assert (known["agree"], len(known["processes"])) == (None, 1)
    told = replicas[0].admin(secrets["admin"], "POST", "/admin/reload")
    assert (told.status_code, codes([told])) == (503, ["processes_unreachable"])


@pytest.mark.nightly
def test_the_places_of_a_killed_replica_are_free_after_its_leases(place):
    secret = place.key(limits={"max_concurrency": 1})
    with (
        running_redis() as redis,
        model_server(Answers()) as model,
        serving(place, model, "--redis", redis.url, count=2) as (one, other),
    ):
        with ThreadPoolExecutor(1) as threads:
            dies = threads.submit(one.ask, secret, "slow")
            wait_until(lambda: model.calls)
            one.process.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.HTTPError):
                dies.result()
        assert other.ask(secret).status_code == 429
        wait_until(lambda: other.ask(secret).status_code == 200, 30)


@pytest.mark.nightly
def test_workers_without_redis_change_together_and_show_all_metrics(place):
    limited, admin = place.key(limits={"requests_per_minute": 500}), place.key(
        scopes=frozenset({"admin"})
    )  # fmt: skip
    place.write_policy()
    with model_server(Answers()) as model, serving(
        place, model, "--workers", 2, "--metrics-port", 0, "--log-level", "error"
    ) as (group,):  # fmt: skip
        for line in group.process.stderr:
            group.said.append(line)
            if found := re.search(r"^metrics at (http://\S+)/metrics$", line):
                group.metrics = found[1]
                break
        assert any("2 workers count the limits" in line for line in group.said), group.said

        def processes():
            return group.admin(admin, "GET", "/admin/policies").json()

        wait_until(lambda: len(processes()["processes"]) == 2)
        place.write_policy("changed")
        changed = group.admin(admin, "POST", "/admin/reload").json()
        assert (changed["agree"], len(changed["processes"])) == (True, 2)
        first = changed["data"][1]["digest"]
        answers = [group.ask(limited) for _ in range(20)]
        assert {one.headers["x-guardrail-policy"] for one in answers} == {"changed"}
        assert group.admin(admin, "POST", "/admin/rollback", digest=first).json()["agree"] is True

        def counted():
            return {
                labels["worker"]: value
                for name, labels, value in group.series()
                if name == "guardrail_requests_total" and labels["route"] == "/v1/chat/completions"
            }

        assert sum(counted().values()) == 20
        workers = {
            labels["worker"]: value
            for name, labels, value in group.series()
            if name == "process_start_time_seconds"
        }
        assert len(workers) == 2
        up = {(labels["worker"], value) for name, labels, value in group.series()
              if name == "guardrail_worker_up"}  # fmt: skip
        assert up == {("0", 1.0), ("1", 1.0)}
        group.process.send_signal(signal.SIGTERM)
        _, _, told = finish(group.process)
        assert "Traceback" not in told
        assert group.process.returncode == 0
