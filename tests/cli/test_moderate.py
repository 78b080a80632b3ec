"""`guardrail moderate`: what it writes and tells, and that a kill costs no more than what runs."""

import json
import signal
import time

import pytest
from click.testing import CliRunner

from guardrail.cli.moderate import command
from guardrail.errors import ConfigError
from guardrail.upstreams.scripted import Step

ROWS = 12


@pytest.fixture
def table(tmp_path, pictures):
    """Three pictures, one of them asked about harm, and a row without one."""
    file = tmp_path / "table.csv"
    file.write_text(
        "image,prompt\npictures/a.png,What?\npictures/b.PNG,HARM <b>\npictures/c.png,\nlost.png,\n"
    )
    return file


@pytest.fixture
def moderate(policy, tmp_path):
    def run(source, *arguments):
        given = ["--policy", policy, "--out", tmp_path / "out", source, *arguments]
        return CliRunner().invoke(command, [str(one) for one in given], catch_exceptions=False)

    return run


def answer(call):
    return "a forbidden answer" if "HARM" in str(call.body) else "a private answer"


def test_decisions_page_and_summary_agree(moderate, model, table, tmp_path):
    upstream = model(answer)
    done = moderate(table, "--json", "--format", "jsonl", "--format", "parquet", "--answers")
    facts = json.loads(done.stdout)
    assert done.exit_code == 2  # a row is not decided
    counts = [facts[name] for name in ("rows", "passed", "blocked", "not_decided")]
    assert counts == [4, 2, 1, 1]
    assert facts["calls"] == facts["calls_of_this_run"] == len(upstream.calls)
    assert facts["tries"] == 3
    lines = (tmp_path / "out" / "decisions.jsonl").read_text().splitlines()
    rows = {row["name"]: row for row in map(json.loads, lines)}
    assert rows["line 2"]["decision"] == "pass"
    assert rows["line 2"]["answer"] == "a private answer"
    assert rows["line 2"]["certificate"]["statement"]
    assert rows["line 3"]["decision"] == "block"
    assert rows["line 3"]["answer"] is None
    assert rows["line 5"]["decision"] == "not decided"
    assert rows["line 5"]["reason"] == "unreadable picture"
    parquet = pytest.importorskip("pyarrow.parquet")
    kept = parquet.read_table(tmp_path / "out" / "decisions.parquet").to_pylist()
    assert [row["decision"] for row in kept] == [row["decision"] for row in rows.values()]
    (passed,) = (row for row in kept if row["name"] == "line 2")
    assert json.loads(passed["certificate"]) == rows["line 2"]["certificate"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "Not decided" in page
    assert "lost.png" in page
    assert "they are no blocks" in page


def test_the_same_command_goes_on_and_pays_for_nothing_twice(
    moderate, model, table, tmp_path, pictures
):
    upstream = model(answer)
    moderate(table)
    paid = len(upstream.calls)
    (tmp_path / "lost.png").write_bytes((pictures / "a.png").read_bytes())
    done = moderate(table)
    assert done.exit_code == 0
    assert "4 rows: 3 passed, 1 blocked, 0 not decided (3 were decided before)" in done.stdout
    assert len(upstream.calls) > paid  # the same picture under the usual question is new
    again = len(upstream.calls)
    assert "4 were decided before" in moderate(table).stdout
    assert len(upstream.calls) == again


def test_a_price_limit_needs_prices(moderate, model, table):
    model(answer)
    with pytest.raises(ConfigError, match="--max-usd needs the price of 'scripted'"):
        moderate(table, "--max-usd", "1")


def test_records_are_kept_where_they_are_asked_for(moderate, model, table, tmp_path):
    model(answer)
    file = tmp_path / "records.jsonl"
    moderate(table, "--records", file)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(record["action"] for record in records) == ["block", "pass", "pass"]


def wait_for_lines(process, log, lines):
    until = time.monotonic() + 300
    while not log.exists() or len(log.read_bytes().splitlines()) < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.nightly
def test_a_kill_loses_only_the_rows_under_way(kit, policy, tmp_path):
    import numpy as np
    from PIL import Image

    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(ROWS):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    out = tmp_path / "out"
    with kit.model_server(lambda _: Step(kit.CLEAN, delay_s=0.05)) as server:
        arguments = ("moderate", folder, "--out", out, "--policy", policy, "--jobs", 2,
                     "--upstream", f"openai_compatible:{server.base_url}", "--json",
                     "--prompt", "Q {name}")  # fmt: skip
        process = kit.start(*arguments)
        wait_for_lines(process, out / "log.jsonl", 1 + ROWS // 3)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        lines = (out / "log.jsonl").read_text().splitlines()[1:]
        decided = {json.loads(line)["name"] for line in lines if line.endswith("}")}
        before = len(server.calls)
        code, printed, err = kit.finish(kit.start(*arguments), timeout_s=300)
        assert code == 0, err
        asked = [str(call.body["messages"]) for call in server.calls[before:]]
    facts = json.loads(printed)
    assert facts["passed"] == ROWS
    assert facts["decided_before"] >= len(decided)
    assert asked
    for name in decided:  # none of them was asked about again
        assert not any(f"Q {name}'" in text for text in asked)
    # What was lost are the calls of the two rows under way, at most.
    a_row = facts["calls"] // ROWS
    assert len(server.calls) <= facts["calls"] + 2 * a_row


def test_a_folder_in_use_is_refused(moderate, model, table, tmp_path):
    """A second command on the same folder would pay for the same rows."""
    from guardrail.records.lines import LineFile

    model(answer)
    (tmp_path / "out").mkdir()
    held = LineFile(tmp_path / "out" / "log.jsonl", prefix=b'{"type":', alone=True)
    try:
        with pytest.raises(ConfigError, match="another process is writing to this file"):
            moderate(table)
    finally:
        held.close()
