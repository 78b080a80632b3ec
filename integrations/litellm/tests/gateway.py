"""A real LiteLLM proxy in a process of its own, in front of a scripted model on loopback."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from guardrail.records.record import Record
from guardrail.testing.journal import comparable
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.setting import KEY
from guardrail.testing.stage import proxy_record, running_model

MASTER_KEY = f"sk-{secrets.token_hex(16)}"
START_S = 300.0
# LiteLLM's own command, in a process whose noise the scenarios' models know.
PROXY = """
from importlib.metadata import entry_points

from guardrail.testing.attempts import same_attempt

(command,) = entry_points(group="console_scripts", name="litellm")
with same_attempt():
    command.load()()
"""


class Switched:
    """A model that plays one scenario after another."""

    def __init__(self):
        self.now = SCENARIOS[0]

    def script(self, call):
        return self.now.script(call)


class Gateway:
    """A running proxy, the model behind it, and the files that its guards write."""

    def __init__(self, url, model, switched, folder):
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=120.0, trust_env=False)
        self.url, self.model, self.folder = url, model, folder
        self._switched = switched

    def play(self, scenario, **more):
        """Asks for a scenario, and says what came and which records it left."""
        self._switched.now = scenario
        asked, kept = len(self.model.calls), len(self.records())
        response = self.client.post("/v1/chat/completions", json={**scenario.request, **more})
        return Played(response, self.model.calls[asked:], self.records()[kept:])

    def records(self):
        path = self.folder / "records.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Record.from_dict(json.loads(line)) for line in lines]


class Played:
    """What came of one request."""

    def __init__(self, response, calls, records):
        self.response, self.calls, self.records = response, calls, records

    def check(self, scenario):
        """Asserts that the proxy decides the same, down to each variant."""
        (record,) = self.records
        assert (record.action, record.reason) == (scenario.action, scenario.reason)
        assert comparable(record) == proxy_record(scenario)

    @property
    def choice(self):
        """The only choice of the answer; a stream's pieces added up."""
        assert self.response.status_code == 200, self.response.text
        if not self.response.headers["content-type"].startswith("text/event-stream"):
            (choice,) = self.response.json()["choices"]
            return {**choice["message"], "finish_reason": choice["finish_reason"]}
        return added(self.chunks)

    @property
    def chunks(self):
        lines = [line[6:] for line in self.response.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return [json.loads(line) for line in lines[:-1]]


def added(chunks):
    """The message whose pieces these are."""
    message = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for name in ("content", "refusal"):
                if (piece := choice["delta"].get(name)) is not None:
                    message[name] = message.get(name, "") + piece
            if choice.get("finish_reason"):
                message["finish_reason"] = choice["finish_reason"]
    return message


@contextmanager
def gateway(folder, write):
    """Starts LiteLLM in a folder whose files `write` makes, given the model's address."""
    (folder / "noise.key").touch(mode=0o600)
    (folder / "noise.key").write_text(KEY.secret.hex() + "\n")
    switched = Switched()
    with running_model(switched) as model:
        write(folder, model.base_url)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with (folder / "log").open("w") as log, _process(folder, port, log) as process:
            running = Gateway(f"http://127.0.0.1:{port}", model, switched, folder)
            with running.client:
                _wait(running.client, process, folder)
                yield running


@contextmanager
def _process(folder, port, log):
    command = [sys.executable, "-c", PROXY, "--config", "config.yaml"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "HOME": str(folder), "LITELLM_MASTER_KEY": MASTER_KEY}
    # The list of prices would be fetched.
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(client, process, folder):
    last = time.monotonic() + START_S
    while time.monotonic() < last and process.poll() is None:
        try:
            if client.get("/health/liveliness").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail("LiteLLM's proxy did not start:\n" + (folder / "log").read_text()[-3000:])
