"""How many records a second the writer keeps, what one adds to a decision, and how fast lists are.

A record of a real decision with pictures is kept again and again, under ids of its own: by 64
tasks at once for some seconds, and then one at a time, each waiting for its commit as a decision
does. While 64 write, another task sleeps for a millisecond again and again; what a sleep takes
longer is time in which the event loop served nobody. The processor time of a record is that of
groups of 1, 8 and 32 that one transaction keeps, records made and sealed included. The canonical
form of the record's JSON is timed beside that of the package rfc8785. With `--rows` a database with
so many records is made, and lists of the newest 50 by several filters are timed.

Run from the repository root:  python benchmarks/records/run.py [--postgres URL] [--rows 1000000]
The database that the URL names must be empty and on a disk that keeps what it is told to; without
it a server of the system's package is started where one is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785

from guardrail.canonical import canonical_json
from guardrail.database.migrate import open_database
from guardrail.engine.engine import Engine
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.kept_pictures import NewRecord
from guardrail.records.open import open_journal
from guardrail.records.query import DatabaseSource, RecordFilter
from guardrail.records.recorder import build_record
from guardrail.records.writer import RecordWriter
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardrail.records.record import Record

HERE = Path(__file__).parent
_DISK = "/var/tmp"  # noqa: S108 (a disk, as /tmp often is not)
AT_ONCE = 64
SECONDS = 8.0
ALONE = 200
GROUPS = (1, 8, 32)
GROUP_TURNS = 60
FILTERS = {
    "all": RecordFilter(),
    "action=block": RecordFilter(action="block"),
    "reason=harmful": RecordFilter(reason="harmful"),
    "model=model-7": RecordFilter(model="model-7"),
    "would_block": RecordFilter(would_block=True),
    "request_id": RecordFilter(request_id="request-77"),
    "api key and block": RecordFilter(api_key_id="key-3", action="block"),
}


class Harmless:
    """Every answer is harmless."""

    revision = "harmless"

    async def judge(self, exchanges: Any) -> list[Judgement]:
        return [Judgement(Outcome.HARMLESS, 0.0)] * len(exchanges)

    async def aclose(self) -> None:
        pass


async def make_record() -> Record:
    policy = Policy.model_validate({"name": "bench", "oracle": {"miss_rate_upper": 0.01}})
    engine = Engine(compile_policy(policy), Scripted(["A cat."]), Harmless(), NoiseKey(bytes(32)))
    pixels = np.zeros((32, 32, 3), np.uint8)
    picture = decode_image(
        encode_image(pixels, "png"), declared_media_type=None, limits=ImageLimits(), param="p"
    )
    chat = picture_chat("scripted", "What is this?", pictures=1)
    verdict = await engine.decide(chat, [picture])
    return build_record(verdict, chat, engine)


def renew(record: Record) -> Record:
    return dataclasses.replace(record, record_id=os.urandom(16).hex())


def measure_form(record: Record) -> dict[str, float]:
    """Microseconds of processor time for the canonical JSON of the record, the best of many."""
    value = record.to_dict()
    assert canonical_json(value) == rfc8785.dumps(value)
    return {
        "canonical_json_us": best_us(lambda: canonical_json(value)),
        "rfc8785_us": best_us(lambda: rfc8785.dumps(value)),
    }


def best_us(act: Callable[[], object], times: int = 100) -> float:
    found = []
    for _ in range(20):
        start = time.process_time()
        for _ in range(times):
            act()
        found.append((time.process_time() - start) / times)
    return round(1e6 * min(found), 1)


def measure_groups(place: str, record: Record) -> dict[str, float]:
    """Processor time in ms for a record in groups of several sizes; this process alone."""
    found = {}
    with closing(open_journal(place)) as journal:
        for size in GROUPS:
            spent = []
            for _ in range(GROUP_TURNS):
                group = [renew(record) for _ in range(size)]
                start = time.process_time()
                journal.append_all(group)
                spent.append((time.process_time() - start) / size)
            found[f"cpu_ms_a_record_in_groups_of_{size}"] = round(1e3 * statistics.median(spent), 3)
    return found


async def measure(place: str, record: Record) -> dict[str, float]:
    journal = open_journal(place)
    with closing(journal), closing(RecordWriter(journal)) as writer:
        await writer.keep(lambda: NewRecord(renew(record)))
        rate, stalls = await measure_rate(writer, record)
        alone = []
        for _ in range(ALONE):
            start = time.perf_counter()
            await writer.keep(lambda: NewRecord(renew(record)))
            alone.append(1e3 * (time.perf_counter() - start))
    return {
        "records_per_s_at_64": round(rate, 1),
        "loop_stall_p99_ms": round(float(np.quantile(stalls, 0.99)), 2),
        "one_alone_median_ms": round(statistics.median(alone), 2),
        "one_alone_p99_ms": round(float(np.quantile(alone, 0.99)), 2),
    }


async def measure_rate(writer: RecordWriter, record: Record) -> tuple[float, list[float]]:
    """Records per second at 64 at once, and by how many ms sleeps of 1 ms were too long."""
    end, kept, stalls = time.perf_counter() + SECONDS, 0, []

    async def work() -> None:
        nonlocal kept
        while time.perf_counter() < end:
            await writer.keep(lambda: NewRecord(renew(record)))
            kept += 1

    async def watch() -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(1e3 * (time.perf_counter() - start) - 1)

    start = time.perf_counter()
    await asyncio.gather(watch(), *(work() for _ in range(AT_ONCE)))
    return kept / (time.perf_counter() - start), stalls


_FILL = """
INSERT INTO records SELECT
  'row-' || i, {created}, 'bench', i + 1, '', '', '', '',
  CASE WHEN i % 50 = 0 THEN 'block' ELSE 'pass' END,
  CASE WHEN i % 50 = 0 THEN 'harmful' ELSE 'certified' END,
  '', '', {would_block}, {no}, 'enforce', 'p', 'd', 'model-' || (i % 10), 'u', '',
  'key-' || (i % 20), '/v1/chat/completions', 'request-' || i, 'r' || i, 0.1, 0.5, 28, 0.01, 1.0,
  '{{}}' FROM {numbers}
"""


def measure_lists(place: str, rows: int) -> dict[str, float]:
    """Milliseconds for the newest 50 of so many records, by filter; the best of five."""
    found = {}
    with closing(open_database(place)) as database:
        with database.write() as connection:
            connection.exec_driver_sql(_fill(database.is_sqlite, rows))
        if not database.is_sqlite:
            with database.write() as connection:
                connection.exec_driver_sql("ANALYZE records")
        source = DatabaseSource(database)
        for name, which in FILTERS.items():
            times = []
            for _ in range(5):
                start = time.perf_counter()
                source.newest(which, 50)
                times.append(1e3 * (time.perf_counter() - start))
            found[name] = round(min(times), 2)
    return found


def _fill(is_sqlite: bool, rows: int) -> str:
    if is_sqlite:
        counting = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i <"
        numbers = f"({counting} {rows - 1}) SELECT i FROM n)"  # noqa: S608
        created = "datetime('2026-01-01', '+' || i || ' seconds') || '.000000'"
        return _FILL.format(numbers=numbers, created=created, no=0, would_block="i % 1000 = 0")
    created = "TIMESTAMPTZ '2026-01-01' + i * INTERVAL '1 second'"
    numbers = f"generate_series(0, {rows - 1}) AS i"
    filling = _FILL.format(numbers=numbers, created=created, no="false", would_block="i % 1000 = 0")
    return filling.replace("%", "%%")  # the driver's sign for a value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", help="URL of an empty database.")
    parser.add_argument("--rows", type=int, help="Measure lists in a database of so many, too.")
    options = parser.parse_args()
    record = asyncio.run(make_record())
    found: dict[str, Any] = {"machine": platform.machine(), "cpus": os.cpu_count(),
                             "load_at_start": round(os.getloadavg()[0], 1),
                             "record_bytes": len(json.dumps(record.to_dict())),
                             **measure_form(record)}  # fmt: skip
    with (
        tempfile.TemporaryDirectory(dir=_DISK) as folder,
        contextlib.nullcontext(options.postgres) if options.postgres else started_postgres() as url,
    ):
        places = {"file": f"{folder}/r.jsonl", "sqlite": f"{folder}/r.db"}
        if url is not None:
            places["postgresql"] = url
        for name, place in places.items():
            found[name] = asyncio.run(measure(place, record)) | measure_groups(place, record)
            tell(name, found)
        for name, place in places.items() if options.rows else ():
            if name == "file":
                continue
            fresh = f"{folder}/many.db" if name == "sqlite" else place
            found[name][f"list_ms_of_{options.rows}"] = measure_lists(fresh, options.rows)
            tell(name, found)


@contextlib.contextmanager
def started_postgres() -> Iterator[str | None]:
    """URL of an empty database of a server that syncs; None where none is installed."""
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.postgres import find_binaries, running_postgres

    if find_binaries() is None:
        yield None
        return
    with running_postgres(fsync=True) as url:
        import psycopg

        with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE records")
        yield f"{url}/records"


def tell(name: str, found: dict[str, Any]) -> None:
    print(name, found[name], flush=True)
    (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
