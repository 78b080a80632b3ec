"""Jobs on Ray: a node that is killed, money and records that all workers share, equal rows."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from guardrail.bulk.on_ray import import_ray
from guardrail.bulk.rows import BulkRow
from guardrail.errors import ConfigError
from guardrail.records.query import RecordFilter, open_source
from guardrail.upstreams.scripted import Step
from tests.bulk.conftest import USD_A_CALL, save_picture
from tests.cli.conftest import model_server

PICTURES, BEFORE_THE_KILL = 64, 30
POLICY = """
name: test
smoothing: {sigma: 0.5, radius: 0.25, alpha: 0.05}
oracle: {kind: lexicon, file: words.yaml}
advanced:
  sampling: {plan: fixed, expected_harmless_rate: 0.99}
  limits: {retries: 0, call_timeout_s: 300.0, deadline_s: 600.0}
  prices: {'*': {input_usd_per_million: 1.0e+5, output_usd_per_million: 0.0}}
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

# The same job twice on a cluster of this machine's own, with more money the second time.
TWICE = """
import sys
import ray

ray.init("local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False,
         log_to_driver=False)
from guardrail.cli.moderate import command
for most_usd in sys.argv[1:3]:
    code = command.main([*sys.argv[3:], "--max-usd", most_usd], standalone_mode=False)
    print("CODE", code, flush=True)
ray.shutdown()
"""


def read_log(path):
    lines = path.read_text().splitlines()[1:]
    return [json.loads(line) for line in lines if line.endswith("}")]


def count_calls(server):
    """How often the model was asked, by question."""
    asked = (re.search(r"Q \d+[?]", str(call.body["messages"])) for call in server.calls)
    return Counter(found[0] for found in asked)


def write_table(tmp_path, pictures):
    """Every picture with a question of its own, in two rows of different batches."""
    (tmp_path / "words.yaml").write_text(WORDS)
    (tmp_path / "policy.yaml").write_text(POLICY)
    lines = [f"{seed}.png,Q {seed}?" for seed in range(pictures)]
    for seed in range(pictures):
        save_picture(tmp_path / f"{seed}.png", seed)
    table = tmp_path / "table.csv"
    halves = [lines[start : start + 32] for start in range(0, pictures, 32)]
    table.write_text("\n".join(["image,prompt", *(one for half in halves for one in half * 2)]))
    return table


@pytest.mark.nightly
def test_a_node_that_dies_costs_only_the_rows_under_way_there(tmp_path):
    pytest.importorskip("ray")
    table, out, kept = write_table(tmp_path, PICTURES), tmp_path / "out", tmp_path / "records.db"
    with model_server(lambda _: Step("a cat", delay_s=0.05)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, out / "log.jsonl", str(BEFORE_THE_KILL),
             table, "--out", out, "--policy", tmp_path / "policy.yaml", "--engine", "ray",
             "--workers", "2", "--worker-cpus", "0.5", "--jobs", "2", "--max-usd", "5000",
             "--records", kept, "--upstream", f"openai_compatible:{server.base_url}", "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert wait_for(process, "KILL"), process.stderr.read()
            before = read_log(out / "log.jsonl")
            printed, err = process.communicate("go\n", timeout=900)
        finally:
            process.kill()
        calls = count_calls(server)
    assert process.returncode == 0, err
    assert "THERE 1" in printed  # one of the two workers
    assert "GONE" in printed
    assert "ALIVE 1" in printed
    facts = next(json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    assert (facts["passed"], facts["not_decided"]) == (2 * PICTURES, 0)
    assert BEFORE_THE_KILL <= len(before) < 2 * PICTURES
    rows = read_log(out / "log.jsonl")
    assert len(rows) == len({row["identity"] for row in rows}) == 2 * PICTURES
    decisions = [row for row in rows if not row["same_as"]]
    assert len(decisions) == PICTURES
    a_decision = {row["calls"] for row in decisions}.pop()
    # At most two rows were under way where the node was lost.
    again = [question for question, count in calls.items() if count != a_decision]
    assert len(calls) == PICTURES
    assert len(again) <= 2
    assert all(calls[question] <= 2 * a_decision for question in again)
    known = {f"Q {(row['row'] - 2) % 32 + (row['row'] - 2) // 64 * 32}?" for row in before}
    assert not known & set(again)
    with open_source(str(kept)) as source:
        records = source.newest(RecordFilter(), 2 * PICTURES)
    assert [record.action for record in records] == ["pass"] * PICTURES


@pytest.mark.nightly
def test_all_workers_together_keep_to_the_money_and_more_of_it_goes_on(tmp_path):
    pytest.importorskip("ray")
    table, out = write_table(tmp_path, 16), tmp_path / "out"
    with model_server(lambda _: Step("a cat")) as server:
        done = subprocess.run(
            [sys.executable, "-c", TWICE, "200", "5000", table, "--out", out,
             "--policy", tmp_path / "policy.yaml", "--engine", "ray", "--workers", "2",
             "--worker-cpus", "0.5", "--jobs", "4",
             "--upstream", f"openai_compatible:{server.base_url}", "--json"],
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        calls = count_calls(server)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("CODE")] == ["CODE 2", "CODE 0"], done.stderr
    first, second = (json.loads(line) for line in lines if line.startswith("{"))
    limit = "the job's limit of US$ 200 is reached; give more with --max-usd"
    assert first["stopped"].startswith(limit)
    assert 0 < first["passed"] < 32
    assert first["cost_usd"] == pytest.approx(USD_A_CALL * first["calls"])
    assert first["cost_usd"] <= 200
    assert (second["passed"], second["not_decided"]) == (32, 0)
    # What was under way when the money ended is in the log: nothing is paid for twice. Each
    # decision may leave a few calls under way that it needed no more.
    assert second["calls"] <= calls.total() < 1.5 * second["calls"]
    assert len(calls) == 16
    assert max(calls.values()) < 2 * min(calls.values())


def wait_for(process, word):
    return any(line.strip() == word for line in process.stdout)


def test_ray_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[ray\]'"):
        import_ray()


def test_pictures_that_stand_in_the_table_are_refused():
    from guardrail.bulk.on_ray import _make_tables

    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError, match="write them to files first"):
        list(_make_tables([BulkRow("a", "What?", b"data")]))
    tables = list(_make_tables(BulkRow(f"{i}", "What?", f"{i}.png", i) for i in range(70)))
    rows = [BulkRow(**row) for table in tables for row in table.to_pylist()]
    assert [row.number for row in rows] == list(range(70))
    assert len(tables) == 3
