"""How many requests a second one and two workers answer, each worker held to a share of a core.

`python benchmarks/workers/run.py [SECONDS]` as root on Linux with cgroup v1 (`cpu` mounted).
Questions without pictures, so that the guard and not the noise is measured; the model answers at
once. Writes `results.json` beside this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CPU = Path("/sys/fs/cgroup/cpu")
SHARE = 0.1  # of a core, for each worker; small, so that client and model are never short of it
CLIENTS = 16
POLICY = "name: workers\noracle: {miss_rate_upper: 0.01}\nadvanced: {sampling: {plan: fixed}}\n"
MODEL = """
import asyncio
from guardrail.upstreams.scripted_server import scripted_server
async def main() -> None:
    async with scripted_server(["A cat on a mat."]) as server:
        print(server.base_url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def hold_to_share(pids: list[int]) -> Iterator[None]:
    """Each process in a group of its own that gets `SHARE` of a core."""
    groups = []
    try:
        for pid in pids:
            group = CPU / f"guardrail-{pid}"
            group.mkdir()
            groups.append(group)
            (group / "cpu.cfs_quota_us").write_text(str(round(SHARE * 100_000)))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split():
                (CPU / "cgroup.procs").write_text(pid)
            group.rmdir()


async def ask_for(url: str, seconds: float) -> float:
    """Answers a second, over connections that are opened anew for each request."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": "What is this?"}]}
    end, answered = time.monotonic() + seconds, 0

    async def client() -> None:
        nonlocal answered
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits,
                                     trust_env=False) as http:  # fmt: skip
            while time.monotonic() < end:
                answer = await http.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                answered += 1

    started = time.monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answered / (time.monotonic() - started)


def measure(model: str, policy: str, workers: int, seconds: float) -> float:
    with running(
        sys.executable, "-m", "guardrail", "serve", "--upstream", f"openai_compatible:{model}",
        "--policy", policy, "--port", "0", "--workers", str(workers),
    ) as process:  # fmt: skip
        line = process.stderr.readline()
        found = re.search(r" at (http://\S+)/v1$", line)
        assert found, line + process.stderr.read()
        url = found[1]
        time.sleep(4)  # the other worker starts as well
        mine = psutil.Process(process.pid)
        pids = [one.pid for one in mine.children()] if workers > 1 else [process.pid]
        asyncio.run(ask_for(url, 1.0))
        with hold_to_share(pids):
            return asyncio.run(ask_for(url, seconds))


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder, running(sys.executable, "-c", MODEL) as model:
        base_url = model.stdout.readline().strip()
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY)
        rates = {n: round(measure(base_url, str(policy), n, seconds), 2) for n in (1, 2)}
    found = {
        "answers_per_second": rates,
        "ratio": round(rates[2] / rates[1], 2),
        "share_of_a_core": SHARE,
        "clients": CLIENTS,
        "seconds": seconds,
    }
    (HERE / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
