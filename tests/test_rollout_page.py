"""docs/rollout.md: the guide runs as it is written, from the first command to the last."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "rollout.md").read_text()
LAST_S = 1500


def files():
    """The files that the guide has its reader write."""
    return re.findall(r"<!-- file: ([\w.]+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)


def commands():
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def test_the_guide_is_read_whole():
    assert [name for name, _ in files()] == ["watch.yaml", "traffic.py", "enforce.yaml"]
    assert all(line.startswith("$ ") for line in re.findall(r"^\$.*$", PAGE, re.MULTILINE))
    assert len(commands()) == 17


@pytest.mark.nightly
def test_the_guide_runs_as_it_is_written(tmp_path):
    """With the built-in model; only the port is a free one, so that nothing else is in its way."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, text in files():
        (tmp_path / name).write_text(text.replace("8080", port))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, call in (("guardrail", f"{sys.executable} -m guardrail"), ("python", sys.executable)):
        (tools / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        (tools / name).chmod(0o755)
    # With -e a command that fails ends the guide, and the servers that it started as well.
    trap = "trap 'kill $(jobs -p) || true' EXIT"
    script = "\n".join(["set -e -m", trap, *commands()]).replace("8080", port)
    (tmp_path / "guide.sh").write_text(script.replace("wait\n", "wait || true\n") + " || true\n")
    ran = subprocess.run(
        ["bash", "guide.sh"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LAST_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    ends = re.findall(r"(?:clean|forbidden)-[12] 200 (\w+)", ran.stdout)
    watched, enforced = ends[:4], ends[4:]
    assert watched == ["stop"] * 4
    assert enforced == ["stop", "stop", "content_filter", "content_filter"]
    assert "mine: too noisy" in ran.stdout
    assert ran.stdout.count("1 of 1 case as expected") == 2
    assert (tmp_path / "results.xml").exists()
