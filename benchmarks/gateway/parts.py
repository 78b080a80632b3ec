"""What each part of the proxy adds to a text request: keys, policies, records, metrics, traces.

    python benchmarks/gateway/parts.py [--rounds N] [--seconds S] [--rows NAME ...]

One server for each row, all of them up at the same time, each asked in its turn and the turns
repeated; beside every other row stands the plain server of the same round, which is asked again
directly before. Processor time is the server's own, children included (not PostgreSQL's, which is
a row of its own anyway). Writes parts.json beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import load as load_module
import psutil
import yaml
from processes import Process, Processes, free_port
from quick import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TEXT = HERE / "text.json"
BARE = "bare"
_DISK = "/var/tmp"  # noqa: S108 (a disk, as /tmp often is not)
_KEY_LIMITS = (
    *("--requests-per-minute", "100000"),
    *("--calls-per-minute", "1000000"),
    *("--max-concurrency", "1000"),
)


@dataclass(frozen=True)
class Row:
    """One server.

    Attributes:
        options: of `guardrail serve`, beside those of all rows.
        has_keys: whether it takes keys.
        environment: of the process.
        policy: its policy, if not the plain one.
    """

    options: tuple[str, ...] = ()
    has_keys: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    policy: tuple[str, ...] = ()
    logs: bool = False


@dataclass(frozen=True)
class Places:
    """Where the parts keep what they keep."""

    folder: Path
    policy: Path
    counted: Path
    listed: Path
    postgres: str | None
    collector: str

    def rows(self) -> dict[str, Row]:
        """By name, the plain server first. Databases are one for each row."""
        metrics = ("--metrics-port", "0")
        remembered = ("--policy", str(self.counted))
        by_tenant = ("--policies", str(self.listed))
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector}
        rows = {
            BARE: Row(),
            "keys": Row(has_keys=True),
            "policies by tenant": Row(has_keys=True, policy=by_tenant),
            "records, SQLite": Row(self._records("alone.db")),
            "records, PostgreSQL": Row(self._records("alone", server=True)),
            "log lines": Row(logs=True),
            "metrics and log lines": Row(metrics, logs=True),
            "memory and counted tries": Row(policy=remembered),
            "traces": Row(environment=traced),
            "all, SQLite": self._all("all.db"),
            "all, PostgreSQL": self._all("all", server=True),
            "all and traces, SQLite": self._all("traced.db", environment=traced),
        }
        if self.postgres is None:
            rows = {name: row for name, row in rows.items() if "PostgreSQL" not in name}
        return rows

    def _records(self, name: str, *, server: bool = False) -> tuple[str, ...]:
        place = f"{self.postgres}/{name}" if server else str(self.folder / name)
        return ("--records", place)

    def _all(
        self, name: str, *, server: bool = False, environment: Mapping[str, str] | None = None
    ) -> Row:
        return Row(
            (*self._records(name, server=server), "--metrics-port", "0"),
            has_keys=True,
            environment=environment or {},
            policy=("--policies", str(self.listed)),
            logs=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--rows", nargs="*", help="only these, and the plain server")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=_DISK) as folder:
        found = measure(Path(folder), options.rounds, options.seconds, options.rows)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if options.out or not options.rows:
        (options.out or HERE / "parts.json").write_text(text)


def measure(
    folder: Path, rounds: int, seconds: float, names: list[str] | None = None
) -> dict[str, Any]:
    """Every row, in turns; medians over the rounds of itself and of its quotients to the plain."""
    with Processes(folder) as processes, postgres_server() as postgres:
        provider = processes.printing(sys.executable, str(HERE / "provider.py"))
        places = make_places(folder, processes, postgres)
        rows = places.rows()
        if names:
            rows = {name: row for name, row in rows.items() if name == BARE or name in names}
        secret = make_key(folder)
        if postgres is not None:
            make_databases(postgres)
        servers = {
            name: start(processes, folder, name, row, provider, places.policy)
            for name, row in rows.items()
        }
        for server in servers.values():
            load(server, secret, 1.0)
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
        for _ in range(rounds):
            for name, server in servers.items():
                plain = load(servers[BARE], secret, seconds)
                seen = plain if name == BARE else load(server, secret, seconds)
                turns[name].append(seen | quotients(seen, plain))
    for name, each in turns.items():
        print(f"{name}: {summary(each)}", flush=True)
    return {
        "setting": {
            "cores": os.cpu_count(),
            "rounds": rounds,
            "seconds": seconds,
            "connections": 16,
            "load_average": round(psutil.getloadavg()[0], 2),
        },
        "rows": {name: summary(each) for name, each in turns.items()},
    }


def quotients(seen: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    return {
        "rps_of_bare": seen["rps"] / plain["rps"],
        "cpu_of_bare": seen["cpu_us"] / plain["cpu_us"],
    }


def summary(turns: list[dict[str, float]]) -> dict[str, Any]:
    names = ("rps", "cpu_us", "p99_ms", "rps_of_bare", "cpu_of_bare")
    found: dict[str, Any] = {
        name: round(statistics.median(turn[name] for turn in turns), 3) for name in names
    }
    found["errors"] = sum(turn["errors"] for turn in turns)
    found["cpu_of_bare_by_round"] = [round(turn["cpu_of_bare"], 3) for turn in turns]
    found["rps_of_bare_by_round"] = [round(turn["rps_of_bare"], 3) for turn in turns]
    return found


def load(server: Process, secret: str, seconds: float) -> dict[str, float]:
    """What comes of questions on sixteen connections, and the processor time of each."""
    asked = argparse.Namespace(
        url=server.base_url, key=secret, body=[TEXT], connections=16, seconds=seconds, requests=0,
        fresh=False,
    )  # fmt: skip
    before = server.cpu_now_s()
    found = run(load_module.measure(asked))
    spent_us = 1e6 * (server.cpu_now_s() - before)
    passed = found["decisions"].get("pass", 0)
    return {
        "rps": found["rps"],
        "cpu_us": spent_us / max(found["requests"], 1),
        "p99_ms": found["p99_ms"],
        "errors": found["errors"] + found["requests"] - passed,
    }


def make_places(folder: Path, processes: Processes, postgres: str | None) -> Places:
    """The files that the rows need, and a collector of traces."""
    plain = yaml.safe_load((HERE / "policy.yaml").read_text())
    policy, counted, listed = (folder / f"{name}.yaml" for name in ("plain", "counted", "listed"))
    policy.write_text(yaml.safe_dump(plain))
    most = plain["sampling"] | {"max_samples": 100}
    counting = plain | {"spending": {"mode": "principal"}, "sampling": most}
    counted.write_text(yaml.safe_dump(counting))
    entries = [
        {"policy": "strict", "match": {"tenants": ["other-*"]}},
        {"policy": "default", "match": {"tenants": ["another-*"]}},
        {"policy": policy.name},
    ]
    listed.write_text(yaml.safe_dump({"policies": entries}))
    collector = processes.printing(sys.executable, str(HERE / "provider.py"))
    return Places(folder, policy, counted, listed, postgres, collector.base_url[:-3])


def make_key(folder: Path) -> str:
    """A key of a tenant, limited in every way, far above what is asked; its secret."""
    command = [sys.executable, "-m", "guardrail", "keys", "create", "--keys"]
    command += [str(folder / "keys.yaml"), "--name", "benchmark", "--tenant", "acme", *_KEY_LIMITS]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment({}))
    return done.stdout.strip()


def start(
    processes: Processes, folder: Path, name: str, row: Row, provider: Process, policy: Path
) -> Process:
    port = free_port()
    command = [sys.executable, "-m", "guardrail", "serve", "--port", str(port)]
    command += ["--upstream", f"openai_compatible:{provider.base_url}"]
    command += [*(row.policy or ("--policy", str(policy))), *row.options]
    command += ["--log-level", "info" if row.logs else "error"]
    if row.has_keys:
        command += ["--keys", str(folder / "keys.yaml")]
    return processes.serving(
        name.replace(" ", "-"), command, port, health="/healthz", env=environment(row.environment)
    )


def environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@contextlib.contextmanager
def postgres_server() -> Iterator[str | None]:
    """The URL of a PostgreSQL server of the system's package that syncs; None without one."""
    sys.path.insert(0, str(ROOT))
    from tests.postgres import find_binaries, running_postgres

    if find_binaries() is None:
        print("no PostgreSQL is installed; its rows are left out", flush=True)
        yield None
        return
    with running_postgres(fsync=True) as url:
        yield url


def make_databases(url: str) -> None:
    import psycopg

    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        for name in ("alone", "all"):
            connection.execute(f'CREATE DATABASE "{name}"')


if __name__ == "__main__":
    main()
