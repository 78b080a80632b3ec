"""Hostile input, many times over: the tests' own fuzzers with thousands of cases instead of dozens.

`tests/server/test_schemathesis.py` draws requests from the OpenAPI document, valid and not, and
`tests/server/test_hostile_pictures.py` changes the bytes of pictures; both ask a running proxy,
and the second one the decoder as well. Every reply is checked for a crash, an error without a
reason and an answer that left without a verdict. What was sent and what came back is counted in
`results.json`; a case that fails ends up there by name. With `--atheris SECONDS` the decoder is
also searched by atheris, guided by coverage (pip install atheris; Linux and macOS).

Run from the repository root:  python benchmarks/fuzz/run.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SUITES = ("tests/server/test_schemathesis.py", "tests/server/test_hostile_pictures.py")


def suite(path: str, examples: int) -> dict[str, object]:
    """The counts of one file of tests, and what failed in it."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts")
        told = {"GUARDRAIL_FUZZ_EXAMPLES": str(examples), "GUARDRAIL_FUZZ_COUNTS": str(counts)}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
            cwd=ROOT,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = counts.read_text().splitlines() if counts.exists() else []
    found: Counter[str] = Counter()
    for line in lines:
        found.update({name: n for name, n in json.loads(line).items() if isinstance(n, int)})
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode and not failed:
        failed = [done.stdout[-400:]]
    seconds = round(time.monotonic() - started)
    return {"counts": dict(sorted(found.items())), "failed": failed, "seconds": seconds}


def guided(seconds: int) -> dict[str, object]:
    """What atheris saw of the decoder; a crash stops it and is told by its exit status."""
    done = subprocess.run(
        [sys.executable, str(HERE / "decoder.py"), f"-max_total_time={seconds}", "-max_len=4096"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    runs = re.findall(r"Done (\d+) runs in (\d+) second", done.stderr)
    if done.returncode or not runs:
        return {"exit_status": done.returncode, "told": done.stderr[-800:]}
    return {"exit_status": 0, "runs": int(runs[-1][0]), "seconds": int(runs[-1][1])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=700, help="for each route and mode")
    parser.add_argument("--atheris", type=int, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    results: dict[str, object] = {
        "setting": {
            "examples": options.examples,
            "python": platform.python_version(),
            **{name: version(name) for name in ("hypothesis", "pillow", "schemathesis")},
        }
    }
    for path in SUITES:
        results[Path(path).stem] = found = suite(path, options.examples)
        print(path, json.dumps(found), flush=True)
    if options.atheris:
        results["atheris"] = guided(options.atheris)
        print("atheris", json.dumps(results["atheris"]), flush=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    return int(any(found.get("failed") for found in results.values() if isinstance(found, dict)))


if __name__ == "__main__":
    sys.exit(main())
