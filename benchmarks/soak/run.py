"""Two replicas under mixed traffic while their parts are killed: do all laws hold?

    python benchmarks/soak/run.py [--minutes 20] [--at-once 64] [--out FOLDER]

Needs PostgreSQL and Redis (their packages; both are started here, in folders of their own). Writes
results.json, latency.svg and memory.svg into FOLDER, by default beside this file, and ends with
status 1 where a law was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]

import aiohttp  # noqa: E402 (after the path)
import psutil  # noqa: E402
import psycopg  # noqa: E402
import redis  # noqa: E402
from charts import draw_chart  # noqa: E402
from checks import check_answers, check_memory, check_spending, read_records  # noqa: E402
from parts import Collector, Replica, start_model  # noqa: E402
from planted import Planted, Search  # noqa: E402
from traffic import Clients, count  # noqa: E402

from tests.postgres import PostgresServer  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from traffic import Seen

ALPHA = 0.001
POLICY = """
version: 1
name: soak
extends: quick
oracle: {{kind: builtin}}
smoothing: {{alpha: 0.001}}
spending: {{mode: principal}}
block: {{text: "This is not answered, {word}."}}
advanced:
  sampling: {{plan: fixed}}  # the least work for the machine; every replica finds its plans anew
  limits: {{max_concurrent_requests: 64, call_timeout_s: 20.0, deadline_s: 60.0, retries: 0}}
"""
UPSTREAMS = """
upstreams:
  - upstream: openai_compatible:{url}
    api_key_env: SOAK_MODEL_KEY
    headers_env: {{X-Organisation: SOAK_MODEL_ORGANISATION}}
    direct: true
"""
SAMPLE_EVERY_S = 2.0
DOWN_S = 3.0
WHOLE = ((0.08, "PostgreSQL"), (0.18, "Redis"), (0.28, "SIGTERM"), (0.38, "SIGKILL"))
SHORT = ((0.3, "Redis"), (0.7, "SIGKILL for good"))


@dataclass
class Soak:
    """One run.

    Attributes:
        minutes: how long clients ask.
        at_once: how many they are.
        folder: what is given to the replicas, and what they write.
        delay_ms: of a model's call, on average.
        plan: what is killed, and after which share of the time.
    """

    minutes: float
    at_once: int
    folder: Path
    delay_ms: float
    plan: tuple[tuple[float, str], ...]
    planted: Planted = field(default_factory=Planted)
    events: list[tuple[float, str]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    metrics_pages: int = 0
    reloads: int = 0
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def written(self) -> Path:
        return self.folder / "written"

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs"

    # Parts

    def open(self, stack: ExitStack) -> None:
        """Starts everything."""
        self.inputs.mkdir()
        self.written.mkdir()
        self.collector = Collector(self.written / "collector")
        stack.callback(self.collector.close)
        self.postgres = PostgresServer()
        stack.callback(self.postgres.close)
        self.postgres.start()
        password = self.planted.secret("password of Redis")
        self.redis = RedisServer(
            "--appendonly", "yes", "--appendfsync", "always", "--requirepass", password
        )
        stack.callback(self.redis.close)
        self.redis.start()
        self.redis_url = self.redis.url.replace("redis://", f"redis://:{password}@")
        model, url = start_model(self.delay_ms)
        stack.callback(model.stdout.close)
        stack.callback(model.wait)
        stack.callback(model.terminate)
        self.write_policy("please")
        (self.inputs / "upstreams.yaml").write_text(UPSTREAMS.format(url=url))
        self.database = f"{self.postgres.url}/postgres"
        self.environment = self._environment()
        self.secrets = self._create_keys()
        self.replicas = [self._replica(name) for name in ("a", "b")]
        for replica in self.replicas:
            stack.callback(replica.close)
            replica.start()
        for replica in self.replicas:
            replica.wait_until_it_listens()

    def write_policy(self, word: str) -> None:
        whole = self.inputs / "policy.new"
        whole.write_text(POLICY.format(word=word))
        whole.rename(self.inputs / "policy.yaml")

    def _environment(self) -> dict[str, str]:
        secret = self.planted.secret
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PGPASSWORD": secret("password of PostgreSQL"),
            "SOAK_MODEL_KEY": secret("key of the model"),
            "SOAK_MODEL_ORGANISATION": secret("header to the model"),
            "GUARDRAIL_REDIS": self.redis_url,
            "GUARDRAIL_WEBHOOK": f"{self.collector.url}/hook/{secret('URL of the webhook')}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={secret('header to the collector')}",
        }

    def _create_keys(self) -> list[str]:
        """One for each client, as `guardrail keys create` makes them, without a process each."""
        from guardrail.keys.api_key import ApiKey, KeyScope, new_key_id, utc_now
        from guardrail.keys.opening import open_key_store
        from guardrail.keys.pepper import create_pepper
        from guardrail.keys.secret import digest_secret, new_secret

        pepper = create_pepper(self.inputs / "pepper")
        secrets = [self.planted.secret("API key", new_secret()) for _ in range(self.at_once)]
        with contextlib.closing(open_key_store(self.database)) as store:
            for number, secret in enumerate(secrets):
                store.add(
                    ApiKey(
                        id=new_key_id(), digest=digest_secret(secret, pepper), policy=None,
                        name=f"client {number}", tenant=f"tenant {number % 8}", expires=None,
                        scopes=frozenset({KeyScope.CLIENT}), created=utc_now(),
                    )
                )  # fmt: skip
        return secrets

    def _guardrail(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "guardrail", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )

    def _replica(self, name: str) -> Replica:
        port, metrics_port = _free_port(), _free_port()
        command = [
            sys.executable, "-m", "guardrail", "serve", "--port", str(port),
            "--policy", str(self.inputs / "policy.yaml"),
            "--upstreams", str(self.inputs / "upstreams.yaml"),
            "--key-file", str(self.inputs / "noise.key"),
            "--sign-key", str(self.inputs / "sign.key"),
            "--records", self.database, "--keys", self.database,
            "--pepper", str(self.inputs / "pepper"), "--metrics-port", str(metrics_port),
            "--canary-every", "20", "--reload-every", "1", "--drain-notice", "2",
            "--drain-seconds", "10", "--log-level", "debug",
        ]  # fmt: skip
        return Replica(name, port, metrics_port, command, self.environment, self.written)

    # The run

    async def run(self) -> None:
        """Asks for as long as it is to last, while parts are killed and memory is looked at."""
        self.clients = Clients(
            self.replicas, self.secrets, self.planted, leaving=0.1, seed=20261203
        )
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._every(0.5, self._probe)),
                group.create_task(self._every(SAMPLE_EVERY_S, self._sample)),
                group.create_task(self._every(15.0, self._scrape)),
                group.create_task(self._reload()),
            ]
            asking = group.create_task(self.clients.run())
            acting = group.create_task(self._act())
            await asyncio.sleep(60.0 * self.minutes)
            await acting
            self.clients.running = False
            await asking
            for helper in helpers:
                helper.cancel()
        await asyncio.to_thread(self._scrape_now)

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await act()
            await asyncio.sleep(seconds)

    def _note(self, words: str) -> None:
        self.events.append((round(self.clients.now_s(), 2), words))
        print(f"{self.clients.now_s():7.1f} s  {words}", flush=True)

    async def _act(self) -> None:
        """Kills one part after another."""
        acts = {
            "PostgreSQL": self._restart_postgres,
            "Redis": self._restart_redis,
            "SIGTERM": self._terminate_one,
            "SIGKILL": self._kill_one,
            "SIGKILL for good": self._kill_for_good,
        }
        for share, name in self.plan:
            await asyncio.sleep(max(0.0, share * 60.0 * self.minutes - self.clients.now_s()))
            await acts[name]()

    async def _restart_postgres(self) -> None:
        self._note("PostgreSQL killed")
        await asyncio.to_thread(self.postgres.kill)
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(self.postgres.start)
        self._note("PostgreSQL is back")

    async def _restart_redis(self) -> None:
        self._note("Redis killed")
        await asyncio.to_thread(self.redis.kill)
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(self.redis.start)
        self._note("Redis is back")

    async def _terminate_one(self) -> None:
        await self._end(self.replicas[0], signal.SIGTERM)

    async def _kill_one(self) -> None:
        await self._end(self.replicas[1], signal.SIGKILL)

    async def _kill_for_good(self) -> None:
        self._note("SIGKILL to b")
        self.replicas[1].send(signal.SIGKILL)
        await asyncio.to_thread(self.replicas[1].wait)

    async def _end(self, replica: Replica, kind: signal.Signals) -> None:
        async with self.starting:
            self._note(f"{kind.name} to {replica.name}")
            replica.send(kind)
            await asyncio.to_thread(replica.wait)
            await asyncio.to_thread(replica.start)
            await asyncio.to_thread(replica.wait_until_it_listens)
            self._note(f"{replica.name} is back")

    async def _reload(self) -> None:
        """Every minute by turns: another file, a signal, a file with a mistake, soon mended."""
        number = 0
        while True:
            await asyncio.sleep(min(60.0, 20.0 * self.minutes))
            number += 1
            if number % 3 == 1:
                self.write_policy(f"word {number}")
            elif number % 3 == 2:
                for replica in self.replicas:
                    if replica.listens:  # before, it may not even be this program yet
                        replica.send(signal.SIGHUP)
            else:
                async with self.starting:  # one that starts meanwhile would end, as it should
                    (self.inputs / "policy.yaml").write_text("name: [")
                    await asyncio.sleep(3.0)
                    self.write_policy(f"word {number}")
            self.reloads = number
            self._note(f"reload {number}")

    async def _probe(self) -> None:
        timeout = aiohttp.ClientTimeout(total=10.0)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def ready(replica: Replica) -> bool:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with session.get(f"{replica.url}/readyz") as answer:
                        return answer.status == 200
                return False

            found = await asyncio.gather(*map(ready, self.replicas))
        self.clients.ready = [
            one for one, is_ready in zip(self.replicas, found, strict=True) if is_ready
        ]

    async def _sample(self) -> None:
        for replica in self.replicas:
            measured = replica.measure()
            if measured is not None:
                self.samples.append(
                    {"at_s": self.clients.now_s(), "replica": replica.name, **measured}
                )

    async def _scrape(self) -> None:
        await asyncio.to_thread(self._scrape_now)

    def _scrape_now(self) -> None:
        for replica in self.replicas:
            url = f"http://127.0.0.1:{replica.metrics_port}/metrics"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as page:
                self.metrics_pages += 1
                with (self.written / "metrics").open("ab") as file:
                    file.write(page.read())

    # Afterwards

    def finish(self) -> dict[str, Any]:
        """Ends the replicas and looks at all that was kept and written."""
        visible = b"".join(
            replica.command_lines() for replica in self.replicas if replica.process.poll() is None
        )
        running = [replica for replica in self.replicas if replica.process.poll() is None]
        for replica in running:
            replica.send(signal.SIGTERM)
        for replica in running:
            replica.wait()
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("SELECT request_id, document FROM records").fetchall()
        verified = self._guardrail(
            "records", "verify", "--records", self.database, "--public-key",
            str(self.inputs / "sign.key.pub"),
        )  # fmt: skip
        if verified.returncode:  # to be looked at, with --keep
            (self.folder / "rows").write_bytes(_dump_postgres(self.database))
        seen, records = self.clients.seen, read_records(rows)
        results = {
            "answers": check_answers(seen, records),
            "spending": check_spending(seen, records, ALPHA),
            "memory": check_memory(self.samples, self.minutes),
            "records": {
                "kept": len(rows),
                "verify": (verified.stdout + verified.stderr).strip().splitlines()[-3:],
                "broken": {"chains that do not verify": int(verified.returncode != 0)},
            },
            "written": self._search(visible),
            "ends": {replica.name: replica.exits for replica in self.replicas},
        }
        return {**results, "broken": _sum_broken(results)}

    def _search(self, visible: bytes) -> dict[str, Any]:
        """Looks for what was planted in everything that was written."""
        given = self.inputs
        for name in ("pepper", "noise.key"):
            for line in (given / name).read_text().split():
                self.planted.secret(name, line)
        for line in (given / "sign.key").read_text().splitlines():
            if "-" not in line and len(line) > 20:
                self.planted.secret("sign.key", line)
        search = Search(self.planted, self.folder)
        search.folder("logs, temporary and working folders, core files", self.written / "a")
        search.folder("logs, temporary and working folders, core files", self.written / "b")
        search.folder("traces and webhook", self.written / "collector")
        search.bytes("metrics", (self.written / "metrics").read_bytes())
        search.bytes("command lines", visible)
        search.folder("files of PostgreSQL", self.postgres.folder)
        search.bytes("rows of PostgreSQL", _dump_postgres(self.database))
        search.folder("files of Redis", Path(self.redis.folder))
        search.bytes("values of Redis", _dump_redis(self.redis_url))
        logs = b"".join(file.read_bytes() for file in self.written.glob("?/log-*"))
        return {
            "searched_mb": {where: round(n / 1e6, 2) for where, n in search.read_bytes.items()},
            "planted_secrets": len(self.planted.secrets),
            "planted_kinds_of_user_text": list(self.planted.kinds),
            "found": search.counts(),
            "requests_in_the_logs": logs.count(b'"request_id": "soak-'),
            "tracebacks_in_the_logs": logs.count(b"Traceback"),
            "messages_to_the_collector": self.collector.counts,
            "pages_of_metrics": self.metrics_pages,
            "broken": {
                "planted strings that were written": sum(search.found.values()),
                # A search that reads nothing finds nothing: these must be there.
                "places that were not searched": sum(
                    search.read_bytes[where] == 0
                    for where in ("metrics", "traces and webhook", "rows of PostgreSQL",
                                  "values of Redis", "files of Redis", "command lines")
                ) + (logs.count(b'"request_id": "soak-') == 0),
                "tracebacks in the logs": logs.count(b"Traceback"),
            },
        }  # fmt: skip


def _sum_broken(results: dict[str, Any]) -> int:
    return sum(sum(part["broken"].values()) for part in results.values() if "broken" in part)


def _dump_postgres(url: str) -> bytes:
    """Every row of every table, as text."""
    pieces = []
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f'COPY "{table}" TO STDOUT') as rows:
                pieces.extend(bytes(row) for row in rows)
    return b"".join(pieces)


def _dump_redis(url: str) -> bytes:
    """Every key and value, whatever its type."""
    client = redis.Redis.from_url(url)
    pieces = []
    for key in client.scan_iter(count=1000):
        match client.type(key):
            case b"hash":
                value: object = client.hgetall(key)
            case b"zset":
                value = client.zrange(key, 0, -1, withscores=True)
            case b"string":
                value = client.get(key)
            case other:
                value = client.dump(key)
                assert other in (b"list", b"set", b"stream"), other
        pieces += [key, *_flat(value)]
    client.close()
    return b"\n".join(pieces)


def _flat(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        return [piece for pair in value.items() for one in pair for piece in _flat(one)]
    if isinstance(value, (list, tuple)):
        return [piece for one in value for piece in _flat(one)]
    return [repr(value).encode()]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def describe_traffic(seen: list[Seen], minutes: float) -> dict[str, Any]:
    whole = sorted(one.took_s for one in seen if one.outcome in ("pass", "block"))
    codes: dict[str, int] = {}
    for one in seen:
        if one.outcome in ("fault", "refused"):
            codes[f"{one.status} {one.code}"] = codes.get(f"{one.status} {one.code}", 0) + 1
    return {
        "requests": len(seen),
        "a_second": round(len(seen) / (60.0 * minutes), 1),
        "median_s": round(statistics.median(whole), 3) if whole else None,
        "p99_s": round(whole[int(0.99 * (len(whole) - 1))], 3) if whole else None,
        "streamed": sum(one.asked.stream for one in seen),
        "outcomes": count(seen),
        "faults": dict(sorted(codes.items())),
    }


def course(seen: list[Seen], minutes: float, step_s: float) -> list[dict[str, float]]:
    """What happened in each step of time."""
    rows = []
    for index in range(int(60.0 * minutes / step_s)):
        here = [one for one in seen if index * step_s <= one.at_s < (index + 1) * step_s]
        took = sorted(one.took_s for one in here if one.outcome in ("pass", "block"))
        rows.append(
            {
                "at_s": index * step_s,
                "requests": len(here),
                "faults": sum(one.outcome == "fault" for one in here),
                "lost": sum(one.outcome == "lost" for one in here),
                "median_s": round(took[len(took) // 2], 3) if took else None,
                "p95_s": round(took[int(0.95 * (len(took) - 1))], 3) if took else None,
            }
        )
    return rows


def write_charts(out: Path, soak: Soak, rows: list[dict[str, float]]) -> None:
    quiet = ("is back", *"0123456789")  # of reloads there are too many to name
    events = [(at_s, words) for at_s, words in soak.events if not words.endswith(quiet)]
    latency = {
        name: [[(row["at_s"], row[field]) for row in rows if row[field] is not None]]
        for name, field in (("median", "median_s"), ("95th percentile", "p95_s"))
    }
    title = f"Answers and blocks, {soak.at_once} clients at once"
    (out / "latency.svg").write_text(draw_chart(title, "s", latency, events, soak.minutes))
    memory: dict[str, list[list[tuple[float, float]]]] = {}
    for replica in soak.replicas:
        starts = sorted({one["start"] for one in soak.samples if one["replica"] == replica.name})
        memory[f"replica {replica.name}"] = [
            [
                (one["at_s"], one["rss_mb"])
                for one in soak.samples
                if (one["replica"], one["start"]) == (replica.name, start)
            ]
            for start in starts
        ]
    title = "Memory of the two replicas (resident)"
    (out / "memory.svg").write_text(draw_chart(title, "MB", memory, events, soak.minutes))


def soak(
    minutes: float,
    at_once: int,
    folder: Path,
    delay_ms: float = 30.0,
    plan: tuple[tuple[float, str], ...] = WHOLE,
) -> tuple[Soak, dict[str, Any]]:
    """One whole run in a folder that is there, and what was found."""
    run = Soak(minutes, at_once, folder, delay_ms, plan)
    load, began = psutil.getloadavg()[0], time.monotonic()
    with ExitStack() as stack:
        run.open(stack)
        asyncio.run(run.run())
        found = run.finish()
    rows = course(run.clients.seen, minutes, max(1.0, minutes / 2.0))
    results = {
        "setting": {
            "minutes": minutes, "at_once": at_once, "model_delay_ms": delay_ms,
            "cores": os.cpu_count(), "python": platform.python_version(),
            "load_average_before": round(load, 2),
            "load_average_after": round(psutil.getloadavg()[0], 2),
            "took_s": round(time.monotonic() - began),
        },
        "traffic": describe_traffic(run.clients.seen, minutes),
        **found,
        "events": run.events,
        "course": rows,
        "samples": [
            {name: round(v, 1) if isinstance(v, float) else v for name, v in one.items()}
            for one in run.samples[:: max(1, len(run.samples) // 600)]
        ],
    }  # fmt: skip
    return run, results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument(
        "--delay-ms", type=float, default=30.0, help="of a model's call, on average"
    )
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument(
        "--keep", type=Path, help="folder for all that is written; it must not be there"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended, too
    folder = options.keep or Path(tempfile.mkdtemp(prefix="guardrail-soak-"))
    folder.mkdir(exist_ok=options.keep is None)
    try:
        run, results = soak(options.minutes, options.at_once, folder, options.delay_ms)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write_charts(options.out, run, results["course"])
    shown = {name: part for name, part in results.items() if name not in ("course", "samples")}
    print(json.dumps(shown, indent=1))
    return 1 if results["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
