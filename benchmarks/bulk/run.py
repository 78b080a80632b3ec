"""What a bulk job takes of this machine, and what a million pictures would take.

    python benchmarks/bulk/run.py

`guardrail moderate` decides pictures of 512 x 384 pixels by the policy `default`, whose oracle
judges in the process, against a model on loopback that answers at once; then the same command runs
again, with nothing left to decide. What is measured is processor time, which hardly depends on what
else the machine does, peak memory, and the bytes of the log. Writes results.json and table.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
MILLION = 1_000_000
COMMAND = "import sys; from guardrail.cli import main; main()"


def make_pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    for i in range(count):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((512, 384), Image.Resampling.BICUBIC)
        image.save(folder / f"{i}.jpg", quality=90)


def serve(ready: threading.Event, found: list[str]) -> None:
    from guardrail.upstreams.scripted_server import scripted_server

    async def run() -> None:
        async with scripted_server(["The picture shows a soft pattern of colours."]) as server:
            found.append(server.base_url)
            ready.set()
            await asyncio.Event().wait()

    asyncio.run(run())


def run_command(*arguments: str) -> dict[str, float]:
    """Time, processor time and peak memory of one run of the command."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the command ended with {status}")
    return {
        "wall_s": time.monotonic() - started,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        **{name: json.loads(printed)[name] for name in ("passed", "rows", "calls")},
    }


def measure(rows: int, jobs: int) -> dict[str, object]:
    ready, found = threading.Event(), []
    threading.Thread(target=serve, args=(ready, found), daemon=True).start()
    ready.wait(60)
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "pictures", Path(place) / "out"
        folder.mkdir()
        make_pictures(folder, rows)
        one = Path(place) / "one"
        one.mkdir()
        make_pictures(one, 1)
        given = ("--upstream", f"openai_compatible:{found[0]}", "--json", "--jobs", str(jobs))
        start = run_command("moderate", str(one), "--out", str(Path(place) / "first"), *given)
        first = run_command("moderate", str(folder), "--out", str(out), *given)
        again = run_command("moderate", str(folder), "--out", str(out), *given)
        log_bytes = (out / "log.jsonl").stat().st_size
    return {"rows": rows, "jobs": jobs, "start": start, "first": first, "again": again,
            "log_bytes": log_bytes}  # fmt: skip


def table_of(found: dict) -> str:
    rows, start, first, again = (found[name] for name in ("rows", "start", "first", "again"))
    # Without what a run takes however few its rows are.
    per_row = (first["cpu_s"] - start["cpu_s"]) / (rows - 1)
    calls = first["calls"] / rows
    log_bytes = found["log_bytes"] / rows
    cells = [
        ("", "measured", "a million"),
        ("---", "---:", "---:"),
        ("calls of the model a picture", f"{calls:.1f}", f"{calls * MILLION / 1e6:.1f} million"),
        ("processor time of the guard a picture", f"{per_row:.3f} s",
         f"{per_row * MILLION / 3600:,.0f} core hours"),
        (f"processor time of a run that finds all {rows} decided", f"{again['cpu_s']:.1f} s", ""),
        ("log a picture", f"{log_bytes / 1024:.1f} KiB", f"{log_bytes * MILLION / 2**30:.1f} GiB"),
        (f"peak memory of the two runs, {found['jobs']} pictures at a time",
         f"{max(first['peak_mb'], again['peak_mb']):.0f} MiB", ""),
    ]  # fmt: skip
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=8)
    options = parser.parse_args()
    found = measure(options.rows, options.jobs)
    (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    table = table_of(found)
    (HERE / "table.md").write_text(f"# A bulk job, by `python benchmarks/bulk/run.py`\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
