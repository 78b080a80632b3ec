"""How many requests a second one and two workers answer, each worker held to a share of a core.

`python benchmarks/workers/run.py [--share 0.4] [--rounds N]` as root on Linux with cgroup v1 (`cpu`
mounted). Questions without pictures and a model that answers at once; load generator and model are
those of `benchmarks/gateway`, which take a small part of a core. Kept connections, and a new one
for each request. Counts what each worker got. Writes `results.json` beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GATEWAY = HERE.parent / "gateway"
sys.path.insert(0, str(GATEWAY))

import load  # noqa: E402 (beside the other benchmark)
from processes import Process, Processes, free_port  # noqa: E402
from quick import run  # noqa: E402

CPU = Path("/sys/fs/cgroup/cpu")
CLIENTS = 16
MOST_SHARES = "262144"  # of what is there, a worker gets its share however busy others are


@contextlib.contextmanager
def hold_to_share(pids: list[int], share: float) -> Iterator[None]:
    """Each process in a group of its own that gets so much of a core."""
    groups = []
    try:
        for pid in pids:
            group = CPU / f"guardrail-{pid}"
            group.mkdir()
            groups.append(group)
            (group / "cpu.cfs_quota_us").write_text(str(round(share * 100_000)))
            (group / "cpu.shares").write_text(MOST_SHARES)
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split():
                (CPU / "cgroup.procs").write_text(pid)
            group.rmdir()


def start(processes: Processes, provider: Process, folder: Path, workers: int) -> Process:
    port = free_port()
    command = [sys.executable, "-m", "guardrail", "serve", "--port", str(port)]
    command += ["--upstream", f"openai_compatible:{provider.base_url}", "--log-level", "error"]
    command += ["--policy", str(GATEWAY / "policy.yaml"), "--workers", str(workers)]
    if workers > 1:
        command += ["--key-file", str(folder / "noise.key")]
    return processes.serving(
        f"workers-{workers}", command, port, health="/healthz",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def workers_of(server: Process, count: int) -> list[psutil.Process]:
    """The processes that serve, once all of them do."""
    first = psutil.Process(server.pid)
    if count == 1:
        return [first]
    end = time.monotonic() + 60
    while len(first.children()) < count and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(8)  # they import and build for themselves
    return first.children()


def ask(server: Process, seconds: float, *, fresh: bool) -> dict[str, Any]:
    asked = argparse.Namespace(
        url=server.base_url, key="sk-benchmark", body=[GATEWAY / "text.json"],
        connections=CLIENTS, seconds=seconds, requests=0, fresh=fresh,
    )  # fmt: skip
    return run(load.measure(asked))


def measure(
    server: Process, workers: list[psutil.Process], seconds: float, *, fresh: bool
) -> dict[str, Any]:
    before = [sum(worker.cpu_times()[:2]) for worker in workers]
    found = ask(server, seconds, fresh=fresh)
    spent = [sum(worker.cpu_times()[:2]) - was for worker, was in zip(workers, before, strict=True)]
    return {
        "rps": round(found["rps"], 1),
        "p99_ms": round(found["p99_ms"], 1),
        "errors": found["errors"],
        "cores_by_worker": [round(one / found["wall_s"], 3) for one in spent],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    turns: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        provider = processes.printing(sys.executable, str(GATEWAY / "provider.py"))
        servers = {n: start(processes, provider, Path(folder), n) for n in (1, 2)}
        workers = {n: workers_of(server, n) for n, server in servers.items()}
        for server in servers.values():
            ask(server, 2.0, fresh=True)
        pids = [worker.pid for each in workers.values() for worker in each]
        with hold_to_share(pids, options.share):
            for turn in range(options.rounds):
                for kind, fresh in (("kept connections", False), ("a connection each", True)):
                    for n, server in servers.items():
                        found = measure(server, workers[n], options.seconds, fresh=fresh)
                        turns.setdefault(kind, {}).setdefault(str(n), []).append(found)
                        print(turn + 1, kind, n, found, flush=True)
    results = {
        "share_of_a_core": options.share,
        "clients": CLIENTS,
        "seconds": options.seconds,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        **{kind: summary(by_number) for kind, by_number in turns.items()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({kind: results[kind]["ratio"] for kind in turns}))


def summary(by_number: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    pairs = zip(by_number["1"], by_number["2"], strict=True)
    ratios = [round(two["rps"] / one["rps"], 2) for one, two in pairs]
    rates = {n: statistics.median(each["rps"] for each in by_number[n]) for n in by_number}
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratios_by_round": ratios,
        "requests_per_second": rates,
        "rounds": by_number,
    }


if __name__ == "__main__":
    main()
