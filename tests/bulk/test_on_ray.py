"""Two nodes, one of them killed in the middle: its rows are done again, and none is paid twice."""

import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from guardrail.bulk import on_ray
from guardrail.bulk.job import MOST_BARREN
from guardrail.bulk.on_ray import import_ray
from guardrail.bulk.rows import BulkRow
from guardrail.errors import ConfigError
from guardrail.upstreams.scripted import Step
from tests.bulk.conftest import save_picture
from tests.cli.conftest import model_server

ROWS, BEFORE_THE_KILL = 120, 30
POLICY = """
name: test
smoothing: {sigma: 0.5, radius: 0.25, alpha: 0.05}
oracle: {kind: lexicon, file: words.yaml}
advanced:
  sampling: {plan: fixed, expected_harmless_rate: 0.99}
  limits: {retries: 0}
"""
WORDS = "version: 1\nentries: [{phrase: forbidden, category: test}]\n"
# A cluster of this machine's own; the job itself is the command.
PROGRAM = """
import sys, threading
from pathlib import Path
import ray
from ray.cluster_utils import Cluster

log, until, arguments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
doomed = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
ray.init(address=cluster.address, log_to_driver=False)
over = threading.Event()

def kill():
    while not over.wait(0.05):
        if log.exists() and len(log.read_bytes().splitlines()) > until:
            print("KILL", flush=True)
            sys.stdin.readline()
            actors = ray._private.state.actors().values()
            there = [one for one in actors if one["State"] == "ALIVE"
                     and one["Address"]["NodeID"] == doomed.node_id]
            print("THERE", len(there), flush=True)
            cluster.remove_node(doomed, allow_graceful=False)
            print("GONE", flush=True)
            return

killer = threading.Thread(target=kill)
killer.start()
from guardrail.cli.moderate import command
try:
    command.main(arguments, standalone_mode=False)
finally:
    over.set()
    killer.join()
    alive = sum(one["Alive"] for one in ray.nodes())
    print("ALIVE", alive, flush=True)
    ray.shutdown()
    cluster.shutdown()
"""


def read_log(path):
    lines = path.read_text().splitlines()[1:]
    return [json.loads(line) for line in lines if line.endswith("}")]


@pytest.mark.nightly
def test_a_node_that_dies_costs_only_the_rows_under_way_there(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "words.yaml").write_text(WORDS)
    (tmp_path / "policy.yaml").write_text(POLICY)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(ROWS):
        save_picture(folder / f"{seed}.png", seed)
    out = tmp_path / "out"
    with model_server(lambda _: Step("a cat", delay_s=0.05)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, out / "log.jsonl", str(BEFORE_THE_KILL),
             folder, "--out", out, "--policy", tmp_path / "policy.yaml", "--engine", "ray",
             "--workers", "2", "--worker-cpus", "0.5", "--jobs", "2", "--prompt", "Q {name}?",
             "--upstream", f"openai_compatible:{server.base_url}", "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert wait_for(process, "KILL"), process.stderr.read()
            decided = {row["name"] for row in read_log(out / "log.jsonl")}
            before = len(server.calls)
            printed, err = process.communicate("go\n", timeout=900)
        finally:
            process.kill()
        asked = [str(call.body["messages"]) for call in server.calls[before:]]
    assert process.returncode == 0, err
    assert "THERE 1" in printed  # one of the two workers
    assert "GONE" in printed
    assert "ALIVE 1" in printed
    facts = next(json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    assert (facts["passed"], facts["not_decided"]) == (ROWS, 0)
    assert BEFORE_THE_KILL <= len(decided) < ROWS
    assert asked
    # What the log held when the node was killed was not asked about once more.
    assert not {name for name in decided if any(f"Q {name}?" in text for text in asked)}
    rows = read_log(out / "log.jsonl")
    assert len(rows) == len({row["identity"] for row in rows}) == ROWS


def wait_for(process, word):
    return any(line.strip() == word for line in process.stdout)


def test_ray_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[ray\]'"):
        import_ray()


@pytest.mark.parametrize("good_rows", [(), (20, 50)])
def test_rows_that_fail_are_counted_over_all_batches_of_a_worker(
    bench, pictures, monkeypatch, good_rows
):
    pyarrow = pytest.importorskip("pyarrow")
    model = bench()
    monkeypatch.setattr(on_ray, "build_engine", lambda *_: model.engine)
    monkeypatch.setattr(on_ray, "_wait", lambda found: found)
    plan = on_ray.RayPlan(model.policy, (), None, model.settings, 4, False, 1, 1.0)
    worker = on_ray._Worker(plan, _Nothing())
    rows = [
        BulkRow(f"row {i}", "What?" if i in good_rows else f"FAIL {i}", str(pictures[0]), i)
        for i in range(80)
    ]
    stopped_after = None
    for start in range(0, len(rows), 16):
        batch = pyarrow.Table.from_pylist([dataclasses.asdict(one) for one in rows[start:][:16]])
        if any(worker(batch)["stopped"].to_pylist()):
            stopped_after = start + 16
            break
    worker._runner.close()  # as its process ends
    assert stopped_after == (None if good_rows else MOST_BARREN)


class _Nothing:
    """A keeper whose log is empty and stays so."""

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *_: None)


def test_pictures_that_stand_in_the_table_are_refused():
    from guardrail.bulk.on_ray import _make_tables

    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError, match="write them to files first"):
        list(_make_tables([BulkRow("a", "What?", b"data")]))
    tables = list(_make_tables(BulkRow(f"{i}", "What?", f"{i}.png", i) for i in range(70)))
    rows = [BulkRow(**row) for table in tables for row in table.to_pylist()]
    assert [row.number for row in rows] == list(range(70))
    assert len(tables) == 3
