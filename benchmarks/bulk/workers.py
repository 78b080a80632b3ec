"""How much faster two workers on Ray are than one, each held to 40 % of a core.

    python benchmarks/bulk/workers.py

Needs the extra `ray` and, as root on Linux, the first version of control groups for the processor.
The model is on loopback and answers at once: what counts is the time of the workers themselves.
The pace is that of the log between the first and the last tenth of its rows. Writes workers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from run import make_pictures, serve

HERE = Path(__file__).parent
GROUPS = Path("/sys/fs/cgroup/cpu")
SHARE = 0.4
PERIOD_US = 100_000
CLUSTER = """
import sys
import ray
from ray.cluster_utils import Cluster
node = {"num_cpus": 2, "object_store_memory": 100 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
ray.init(address=cluster.address, log_to_driver=False)
from guardrail.cli.moderate import command
try:
    command.main(sys.argv[1:], standalone_mode=False)
finally:
    ray.shutdown()
    cluster.shutdown()
"""


class Brake:
    """Puts each worker of a cluster below a process into a group of its own, with a share."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.groups: dict[int, Path] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        import psutil

        while not self._over.wait(0.2):
            try:
                below = psutil.Process(self.pid).children(recursive=True)
            except psutil.Error:
                continue
            for process in below:
                try:
                    name = " ".join(process.cmdline())
                except psutil.Error:
                    continue
                if "MapWorker" in name and process.pid not in self.groups:
                    self._hold(process.pid)

    def _hold(self, pid: int) -> None:
        group = GROUPS / f"guardrail-bulk-{os.getpid()}-{pid}"
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(SHARE * PERIOD_US)))
        (group / "cgroup.procs").write_text(str(pid))
        self.groups[pid] = group

    def release(self) -> None:
        self._over.set()
        self._thread.join()
        for group in self.groups.values():
            group.rmdir()


def measure(workers: int, rows: int, url: str, place: Path) -> dict[str, float]:
    folder, out = place / "pictures", place / f"out-{workers}"
    log = out / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(folder), "--out", str(out), "--engine", "ray",
         "--workers", str(workers), "--worker-cpus", "1", "--jobs", "4", "--policy", "quick",
         "--upstream", f"openai_compatible:{url}", "--json"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    brake = Brake(process.pid)
    times: list[float] = []
    try:
        while process.poll() is None:
            count = len(log.read_bytes().splitlines()) - 1 if log.exists() else 0
            times += [time.monotonic()] * (count - len(times))
            time.sleep(0.05)
    finally:
        process.kill()
        brake.release()
    assert process.returncode == 0
    assert len(times) == rows
    assert len(brake.groups) == workers
    first, last = rows // 10, rows - rows // 10
    return {"workers": workers, "rows_per_s": (last - first) / (times[last] - times[first])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=900)
    options = parser.parse_args()
    ready = threading.Event()
    found: list[str] = []
    threading.Thread(target=serve, args=(ready, found), daemon=True).start()
    ready.wait(60)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "pictures").mkdir()
        make_pictures(place / "pictures", options.rows)
        paces = [measure(workers, options.rows, found[0], place) for workers in (1, 2)]
    ratio = paces[1]["rows_per_s"] / paces[0]["rows_per_s"]
    facts = {"rows": options.rows, "share_of_a_core": SHARE, "paces": paces, "ratio": ratio,
             "load": os.getloadavg()[0]}  # fmt: skip
    (HERE / "workers.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
