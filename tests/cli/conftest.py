"""Commands with a scripted model: in this process, or as a process against a loopback server."""

import asyncio
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.key_files import load_or_create_key
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.known_pictures import read_known_pictures
from guardrail.testing.half_space import HARMFUL_TEXT
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted
from guardrail.upstreams.scripted_server import scripted_server

CLEAN, HARM = "a private answer", "a forbidden answer"
POLICY = """
name: test
smoothing: {sigma: 0.5, radius: 0.25, alpha: 0.001}
oracle: {miss_rate_upper: 0.01, delta: 0.001}
advanced:
  sampling: {plan: fixed, max_parallel: 8}
  limits: {retries: 0, call_timeout_s: 10.0, deadline_s: 60.0}
"""
# The whole command, with an oracle whose truth is known.
PROGRAM = """
from guardrail.cli import main
from guardrail.oracles.base import Judgement
from guardrail.policy import oracle
from guardrail.types import Outcome

class Words:
    revision = "words"
    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]
    async def aclose(self):
        pass

oracle.compile_oracle = lambda policy: Words()
main()
"""


class Words:
    """An answer with the word `forbidden` is harmful, and `harmful` itself (the half-space's)."""

    revision = "words"

    async def judge(self, exchanges):
        texts = [exchange.response for exchange in exchanges]
        harms = ["forbidden" in text or text == HARMFUL_TEXT for text in texts]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


@contextmanager
def model_server(script):
    """A scripted model on a loopback port, in a thread of its own."""
    ready, found, loops = threading.Event(), [], []

    async def serve():
        stop = asyncio.Event()
        async with scripted_server(script) as server:
            found.append(server)
            loops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield found[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def start(*arguments, **options):
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def finish(process, timeout_s=180):
    """(exit code, stdout, stderr)."""
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def pictures(tmp_path):
    """A folder with three small pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.PNG", "c.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, "PNG")
    return folder


@pytest.fixture
def model(monkeypatch):
    """Puts a scripted model, or any upstream, behind the commands of this process."""

    def put(script):
        upstream = script if hasattr(script, "complete") else Scripted(script)

        def build(policy, _spec, key_file, **_):
            key = load_or_create_key(key_file) if key_file else NoiseKey(bytes(32))
            known = read_known_pictures(policy)
            return Engine(compile_policy(policy), upstream, Words(), key, known_pictures=known)

        monkeypatch.setattr("guardrail.assembly.build_engine", build)
        return upstream

    return put
