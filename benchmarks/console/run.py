"""How long the console's pages take where a database holds very many decisions.

    python benchmarks/console/run.py                 # fills SQLite with a million, about 6 GB
    python benchmarks/console/run.py --rows 10000    # to try it
    python benchmarks/console/run.py --keep FILE.db  # a file that is used again the next time

Each row is made up; its columns are spread as those of a busy server are. Times are of the page's
own query, in this process, by the median and the worst of some runs; the first run is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from starlette.applications import Starlette
from starlette.testclient import TestClient

from guardrail.console.app import console_routes
from guardrail.console.console import open_console
from guardrail.console.statistics import read_key_use, read_overview
from guardrail.database.migrate import open_database
from guardrail.records.query import DatabaseSource, Place, RecordFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2030, 1, 31, tzinfo=UTC)
DAYS = 30
PAGE = 50
DEEP = 1000
RUNS = 7
DOCUMENT = json.dumps({"filler": "x" * 2000})
CATEGORIES = ["violence", "hate", "sexual", "self_harm", "crime", "insult"]
INSERT_AT_ONCE = 20_000
COLUMNS = (
    "record_id", "created", "writer", "sequence", "previous", "digest", "signer", "signature",
    "action", "reason", "category", "field", "would_block", "remembered", "mode", "observation",
    "policy", "policy_digest", "model", "upstream", "principal", "api_key_id", "route",
    "request_id", "request_digest", "score", "radius", "calls", "cost_usd", "elapsed_s", "document",
)  # fmt: skip


def make_rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Rows of the table, the oldest first."""
    rng = random.Random(1)
    step = timedelta(days=DAYS) / count
    for number in range(count):
        created = NOW - timedelta(days=DAYS) + number * step
        action = rng.choices(["pass", "block", "fault"], [90, 9, 1])[0]
        reason = {"pass": "certified", "block": "harmful", "fault": "upstream failed"}[action]
        observes = rng.random() < 0.1
        would = observes and rng.random() < 0.05
        category = rng.choice(CATEGORIES) if action == "block" or would else ""
        yield (
            f"{rng.getrandbits(128):032x}",
            created.replace(tzinfo=None).isoformat(" ", "microseconds"),
            f"writer-{number % 4}", number, f"{number - 1:064x}", f"{number:064x}", "", "",
            action, reason, category, "content" if category else "", int(would), 0,
            "observe" if observes else "enforce", "",
            "shadow" if observes else rng.choice(["default", "default", "strict"]),
            "0" * 64, rng.choice(["model-a", "model-b"]), "upstream", f"{rng.getrandbits(64):016x}",
            f"key_{rng.randrange(200):016x}", "/v1/chat/completions", f"request-{number}",
            f"{rng.getrandbits(256):064x}", rng.random() ** 4,
            rng.random() if action == "pass" else 0.0,
            rng.choice([21, 21, 24, 31]), rng.random() / 100, rng.expovariate(1.0), DOCUMENT,
        )  # fmt: skip


def fill(file: Path, count: int) -> float:
    """Seconds that filling took; nothing is waited for on the disk."""
    open_database(str(file)).close()
    started = time.perf_counter()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
    insert = f"INSERT INTO records ({names}) VALUES ({marks})"  # noqa: S608 (names alone)
    batch = []
    for row in make_rows(count):
        batch.append(row)
        if len(batch) == INSERT_AT_ONCE:
            with connection:
                connection.executemany(insert, batch)
            batch.clear()
    with connection:
        connection.executemany(insert, batch)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return time.perf_counter() - started


def measure(name: str, ask: Callable[[], object], told: dict) -> None:
    walls, works = [], []
    for _ in range(RUNS):
        wall, work = time.perf_counter(), time.process_time()
        ask()
        walls.append(1000 * (time.perf_counter() - wall))
        works.append(1000 * (time.process_time() - work))
    told[name] = {
        "first_ms": round(walls[0], 1),
        "median_ms": round(statistics.median(walls[1:]), 1),
        "worst_ms": round(max(walls[1:]), 1),
        "processor_ms": round(statistics.median(works[1:]), 1),
    }
    print(f"{name:44}" + "".join(f"{key[:-3]:>11} {ms:8.1f} ms" for key, ms in told[name].items()),
          flush=True)  # fmt: skip


def place_of_page(source: DatabaseSource, number: int) -> Place:
    """Where a page begins, as a reader gets there: from page to page."""
    place = None
    for _ in range(number):
        page = source.page(RecordFilter(), PAGE, older_than=place)
        place = (page.rows[-1].created, page.rows[-1].record_id)
    return place


def run(file: Path) -> dict:
    told: dict = {}
    database = open_database(str(file))
    source = DatabaseSource(database)
    filters = {
        "all": {},
        "stopped": {"action": "block"},
        "one kind of harm": {"category": "hate"},
        "one kind of harm, stopped, one policy": {
            "action": "block", "category": "hate", "policy": "strict",
        },
        "would be stopped": {"would_block": True},
        "one key": {"api_key_id": f"key_{7:016x}"},
        "score from 0.99": {"score_from": 0.99},
        "score in a range that no record has": {"score_from": 0.5, "score_to": 0.500000001},
        "radius from 0.9 to 0.91, stopped: none": {
            "action": "block", "radius_from": 0.9, "radius_to": 0.91,
        },
        "the last day": {"since": NOW - timedelta(days=1)},
        "one request id": {"request_id": "request-77"},
        "a reason that is rare": {"reason": "upstream failed"},
        "a reason that never was": {"reason": "guard failed"},
    }  # fmt: skip
    for name, fields in filters.items():
        measure(f"first page: {name}", lambda f=fields: source.page(RecordFilter(**f), PAGE), told)
    place = place_of_page(source, DEEP)
    measure(f"page {DEEP}", lambda: source.page(RecordFilter(), PAGE, older_than=place), told)
    measure("choices of four filters", lambda: [
        source.values(one) for one in ("category", "policy", "api_key_id", "model")
    ], told)  # fmt: skip
    for period in ("hour", "day", "week", "month"):
        measure(f"overview: {period}", lambda p=period: read_overview(database, p, NOW), told)
    measure("keys of a day", lambda: read_key_use(database, NOW - timedelta(days=1)), told)
    database.close()
    with open_console(file) as console:
        client = TestClient(Starlette(routes=console_routes(console)), base_url="http://127.0.0.1")
        measure("whole answer: list", lambda: client.get("/console/decisions"), told)
        hate = "/console/decisions?verdict=block&category=hate"
        measure("whole answer: list, stopped for hate", lambda: client.get(hate), told)
        with patch("guardrail.console.pages.overview.datetime") as clock:
            clock.now.return_value = NOW
            measure("whole answer: overview (counted, then kept)", lambda: client.get("/console/"),
                    told)  # fmt: skip
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.keep or Path(folder) / "records.db"
        fill_s = None if file.exists() else round(fill(file, options.rows), 1)
        print(f"{options.rows:,} rows, {file.stat().st_size / 1e9:.2f} GB, filled in {fill_s} s")
        times = run(file)
        size = file.stat().st_size
    facts = {
        "rows": options.rows,
        "bytes": size,
        "document_bytes": len(DOCUMENT),
        "fill_s": fill_s,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": [round(one, 1) for one in os.getloadavg()],
        "times": times,
    }
    options.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
