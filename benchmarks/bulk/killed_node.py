"""A job on a Ray cluster of two nodes, one of which is killed in the middle: what is done again.

    python benchmarks/bulk/killed_node.py            # some three minutes

Needs the extra `ray`. The model is on loopback; its own log says how often it was asked about each
picture. Writes killed_node.json, killed_node.svg and killed_node.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from run import make_pictures

from guardrail.html_page.figure import Curve, Panel, figure

HERE = Path(__file__).parent
ANSWER_S = 0.05
BATCH = 32
CLUSTER = """
import sys, threading
import ray
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
doomed = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
ray.init(address=cluster.address, log_to_driver=False)

def kill():
    if sys.stdin.readline():
        cluster.remove_node(doomed, allow_graceful=False)
        print("KILLED", flush=True)

threading.Thread(target=kill, daemon=True).start()
from guardrail.cli.moderate import command
try:
    command.main(sys.argv[1:], standalone_mode=False)
finally:
    print("NODES", sum(one["Alive"] for one in ray.nodes()), flush=True)
    ray.shutdown()
    cluster.shutdown()
"""


class Model:
    """A model on loopback that keeps which picture it was asked about, and when."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str]] = []
        self.url = ""
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait(60)

    async def _serve(self) -> None:
        from guardrail.upstreams.scripted import Call, Step
        from guardrail.upstreams.scripted_server import scripted_server

        def answer(call: Call) -> Step:
            found = re.search(r"picture (\d+)[?]", json.dumps(call.body["messages"]))
            self.asked.append((time.monotonic(), found[1] if found else ""))
            return Step("The picture shows a soft pattern of colours.", delay_s=ANSWER_S)

        async with scripted_server(answer) as server:
            self.url = server.base_url
            self._ready.set()
            await asyncio.Event().wait()


def measure(pictures: int, share: float) -> dict[str, Any]:
    model = Model()
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place), Path(place) / "out"
        make_pictures(folder, pictures)
        rows = "".join(f"{i}.jpg,What is on picture {i}?\n" for i in range(pictures))
        (folder / "table.csv").write_text("image,prompt\n" + rows)
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(folder / "table.csv"), "--out", str(out),
             "--engine", "ray", "--workers", "2", "--worker-cpus", "0.5", "--jobs", "4",
             "--upstream", f"openai_compatible:{model.url}", "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        grown, known, killed_s = _watch(process, out / "log.jsonl", share * pictures)
        assert process.stdout is not None
        printed = process.stdout.read().splitlines()
        if process.wait():
            raise SystemExit(f"the job ended with {process.returncode}")
        decided = _read(out / "log.jsonl")
    counts = Counter(number for _, number in model.asked)
    calls = {_number(row): row["calls"] for row in decided}
    again = sorted(number for number, count in counts.items() if count > calls[number])
    begin = model.asked[0][0]
    summary = next(json.loads(line) for line in printed if line.startswith("{"))
    return {
        "command": f"python benchmarks/bulk/killed_node.py --pictures {pictures} --share {share:g}",
        "pictures": pictures,
        "nodes_at_the_end": int(next(x.split()[1] for x in printed if x.startswith("NODES"))),
        "summary": {name: summary[name] for name in ("passed", "blocked", "not_decided")},
        "in_the_log_at_the_kill": len(known),
        "asked_again": again,
        "asked_again_though_known": sorted(known & set(again)),
        "answers": counts.total(),
        "answers_of_decisions": sum(calls.values()),
        "killed_s": killed_s - begin,
        "decided": [[at - begin, count] for at, count in grown if at >= begin],
        "longest_pause_s": max(b - a for (a, _), (b, _) in pairwise(model.asked)),
        "answered": [[at - begin, i + 1] for i, (at, _) in enumerate(model.asked)][::25],
    }


def _watch(
    process: subprocess.Popen[str], log: Path, until: float
) -> tuple[list[tuple[float, int]], set[str], float]:
    """How the log grew, what it held when the node was killed, and when that was."""
    grown: list[tuple[float, int]] = []
    known: set[str] = set()
    killed_s = 0.0
    while process.poll() is None:
        rows = _read(log)
        if not grown or grown[-1][1] != len(rows):
            grown.append((time.monotonic(), len(rows)))
        if not killed_s and len(rows) >= until:
            known, killed_s = {_number(row) for row in rows}, time.monotonic()
            assert process.stdin is not None
            process.stdin.write("now\n")
            process.stdin.flush()
        time.sleep(0.05)
    return grown, known, killed_s


def _read(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    lines = log.read_text().splitlines()[1:]
    return [json.loads(line) for line in lines if line.endswith("}")]


def _number(row: dict[str, Any]) -> str:
    """The picture of a row; the table's first row is its second line."""
    return str(row["row"] - 2)


def page_of(found: dict[str, Any]) -> str:
    again, known = found["asked_again"], found["asked_again_though_known"]
    summary = found["summary"]
    return f"""# A node killed in the middle of a job

{found["pictures"]} pictures, policy `default`, two nodes with one worker each, four rows at a time in each; the model on
loopback answers in {1000 * ANSWER_S:.0f} ms. One node is killed without a warning once {found["in_the_log_at_the_kill"]} rows are in the log.

    {found["command"]}

![Rows in the log and answers of the model](killed_node.svg)

| | |
| --- | ---: |
| nodes at the end | {found["nodes_at_the_end"]} |
| rows decided: pass, block, not decided | {summary["passed"]}, {summary["blocked"]}, {summary["not_decided"]} |
| rows in the log when the node was killed | {found["in_the_log_at_the_kill"]} |
| of these, asked about again | {len(known)} |
| pictures asked about again: under way where the node was lost | {len(again)} |
| longest time without a call: Ray's, until the lost batch began again | {found["longest_pause_s"]:.0f} s |
| answers that the model gave, by its own log | {found["answers"]:,} |
| answers that the decisions rest on | {found["answers_of_decisions"]:,} |

Ray runs the lost node's batches of {BATCH} rows again elsewhere; what is in the log is not asked again.
"""  # noqa: E501 (lines of the page, not of this file)


def figure_of(found: dict[str, Any]) -> str:
    mark = ((found["killed_s"], "a node is killed"),)
    rows = Curve("rows", tuple(map(tuple, found["decided"])))
    answers = Curve("answers", tuple(map(tuple, found["answered"])))
    seconds = "seconds since the first call"
    return figure(
        (
            Panel("Rows in the log", seconds, "rows", (rows,), marks=mark),
            Panel("Answers of the model", seconds, "answers", (answers,), marks=mark),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--share", type=float, default=0.3, help="decided before the kill")
    options = parser.parse_args()
    found = measure(options.pictures, options.share)
    (HERE / "killed_node.json").write_text(json.dumps(found) + "\n")
    (HERE / "killed_node.svg").write_text(figure_of(found))
    (HERE / "killed_node.md").write_text(page_of(found))


if __name__ == "__main__":
    main()
