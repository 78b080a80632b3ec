"""`guardrail serve` as several processes that count together in Redis."""

import base64
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from guardrail.stats import spent_alpha

SPENDING = "spending: {mode: principal}\n"


@pytest.fixture
def spending(policy):
    policy.write_text(policy.read_text() + SPENDING)
    return policy


@contextmanager
def ending(process):
    """Leaves no server behind a test that fails."""
    try:
        yield
    except BaseException:
        process.terminate()
        process.communicate(timeout=60)
        raise


def start(kit, model, policy, *options):
    """The process, and a client for it; the first line says where it listens."""
    process = kit.start(
        "serve", "--upstream", f"openai_compatible:{model.base_url}", "--policy", policy,
        "--port", 0, *options,
    )  # fmt: skip
    for line in process.stderr:  # another worker may log before the first one says where it is
        if found := re.search(r" at (http://127\.0\.0\.1:[1-9]\d*)/v1$", line):
            break
    else:
        raise AssertionError(f"it ended with status {process.wait(30)}")
    transport = httpx.HTTPTransport(retries=10)
    return process, httpx.Client(base_url=found[1], timeout=60, transport=transport,
                                 trust_env=False)  # fmt: skip


def ask(client, pictures, number=0):
    data = base64.b64encode((pictures / "a.png").read_bytes()).decode()
    parts = [
        {"type": "text", "text": f"question {number}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    body = {"model": "scripted", "messages": [{"role": "user", "content": parts}]}
    return client.post("/v1/chat/completions", json=body, headers={"connection": "close"})


@pytest.mark.nightly
def test_workers_spend_one_alpha_and_nothing_without_redis(
    kit, spending, pictures, redis_server, tmp_path
):
    with kit.model_server([kit.HARM]) as model:
        process, client = start(
            kit, model, spending, "--workers", 2, "--redis", redis_server.url,
            "--key-file", tmp_path / "key", "--drain-notice", 60,
        )  # fmt: skip
        with client, ThreadPoolExecutor(8) as threads, ending(process):
            found = list(threads.map(lambda number: ask(client, pictures, number), range(8)))
            assert [answer.status_code for answer in found] == [200] * 8, found[0].text
            alphas = {float(answer.headers["x-guardrail-alpha"]) for answer in found}
            assert alphas == {spent_alpha(0.001, number) for number in range(1, 9)}
            assert client.get("/readyz").json()["redis"] == "ok"
            redis_server.kill()
            refused = ask(client, pictures, 8)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                503, "ledger_unavailable",
            )  # fmt: skip
            process.send_signal(signal.SIGTERM)
            while client.get("/readyz").json() != {"status": "draining"}:
                time.sleep(0.05)
            assert client.get("/healthz").status_code == 200
            process.send_signal(signal.SIGTERM)  # the second one ends the notice
        _, _, told = kit.finish(process)
    assert process.returncode == 0
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "options",
    [
        ["--workers", 2],
        pytest.param(["--redis", "redis://127.0.0.1:1/0"], marks=pytest.mark.nightly),
        pytest.param(["--redis", "http://x", "--key-file", "key"], marks=pytest.mark.nightly),
    ],
)
def test_what_would_count_apart_is_refused(kit, spending, tmp_path, options):
    code, _, told = kit.finish(
        kit.start("serve", "--policy", spending, "--port", 0, *options, cwd=tmp_path)
    )
    assert code == 2
    assert "Traceback" not in told
    assert "redis" in told


@pytest.mark.nightly
def test_the_playground_needs_no_second_request_of_the_same_worker(kit, policy, tmp_path):
    with kit.model_server(["a cat"]) as model:
        records = tmp_path / "records.db"
        process, client = start(kit, model, policy, "--workers", 2, "--records", records)
        with client, ending(process):
            for number in range(8):  # each request on a connection of its own
                page = client.get("/console/playground", headers={"connection": "close"}).text
                sent = {
                    "csrf": re.search(r'name="form-token" content="([^"]+)"', page)[1],
                    "prompt": f"question {number}",
                    "model": "scripted",
                    "policy": re.search(r"<option selected>([^<]+)</option>", page)[1],
                }
                headers = {"hx-request": "true", "connection": "close"}
                answer = client.post("/console/playground", data=sent, headers=headers)
                assert answer.status_code == 200, answer.text
                assert "data-done" in json.loads(answer.text.splitlines()[-1])
                assert "let through" in json.loads(answer.text.splitlines()[-1])
            process.send_signal(signal.SIGTERM)
            kit.finish(process)
    assert process.returncode == 0
