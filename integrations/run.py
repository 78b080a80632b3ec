"""Builds the wheels and runs each integration's tests on them, in bare environments.

    python integrations/run.py [--only NAME ...] [--versions lowest|latest] [--jobs N] [--table]

An environment holds what `pip install` of the wheels brings, the pins of `lowest.txt` or
`latest.txt`, and nothing of this tree: no torch, and no path back to the sources. `--table` writes
conformance.md from what the tests report.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from conformance import played, table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = HERE / ".environments"
VERSIONS = ("lowest", "latest")
BARE = {
    name: value
    for name, value in os.environ.items()
    # With the last one every process of a test would compile the framework anew.
    if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
} | {"UV_SYSTEM_CERTS": "1"}  # uv trusts whom the system trusts


@dataclass(frozen=True, slots=True)
class Run:
    """One integration with one set of versions."""

    name: str
    versions: str
    wheels: Path

    @property
    def environment(self) -> Path:
        return WORK / f"{self.name}-{self.versions}"

    @property
    def folder(self) -> Path:
        return HERE / self.name

    @property
    def report(self) -> Path:
        return WORK / f"{self.name}-{self.versions}.xml"

    def played(self) -> tuple[bool, str]:
        """Whether the tests passed, and what was printed."""
        told = []
        for command in (self._made(), self._installed(), self._tested()):
            done = subprocess.run(
                command,
                cwd=self.wheels,  # away from the tree, whose packages must not be found
                env=BARE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            told.append(done.stdout)
            if done.returncode:
                return False, "".join(told)
        return True, "".join(told)

    def _made(self) -> list[str]:
        return [*_uv(), "venv", "--quiet", "--clear", "--python", sys.executable,
                str(self.environment)]  # fmt: skip

    def _installed(self) -> list[str]:
        wheel = next(self.wheels.glob(f"certified_guardrail_{self.name.replace('-', '_')}-*.whl"))
        main = next(self.wheels.glob("certified_guardrail-*.whl"))
        return [*_uv(), "pip", "install", "--quiet", "--python", str(self._python), str(main),
                str(wheel), "-r", str(self.folder / f"{self.versions}.txt")]  # fmt: skip

    def _tested(self) -> list[str]:
        return [str(self._python), "-m", "pytest", "-q", "-p", "no:cacheprovider",
                f"--junit-xml={self.report}",
                "-c", str(self.folder / "pyproject.toml"), str(self.folder / "tests")]  # fmt: skip

    @property
    def _python(self) -> Path:
        return self.environment / "bin" / "python"


def _uv() -> list[str]:
    return [sys.executable, "-m", "uv"]


def names() -> list[str]:
    """The integrations there are."""
    return sorted(file.parent.name for file in HERE.glob("*/pyproject.toml"))


def build(chosen: list[str]) -> Path:
    """The main wheel and those of the chosen integrations, in one fresh folder."""
    wheels = WORK / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    for folder in (ROOT, *(HERE / name for name in chosen)):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return wheels


def main() -> int:
    """The exit status: 0 if everything passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names(), default=names(), metavar="NAME")
    parser.add_argument("--versions", choices=VERSIONS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    wheels = build(given.only)
    versions = [given.versions] if given.versions else VERSIONS
    runs = [Run(name, version, wheels) for name in given.only for version in versions]
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(_reported, runs))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    if given.table:
        (HERE / "conformance.md").write_text(_table(runs), "utf-8")
    return 0 if all(results) else 1


def _table(runs: list[Run]) -> str:
    from guardrail.testing.scenarios import SCENARIOS

    scenarios = [scenario.name for scenario in SCENARIOS]
    rows = {(run.name, run.versions): played(run.report, scenarios) for run in runs}
    return table(rows, scenarios)


def _reported(run: Run) -> bool:
    started = time.monotonic()
    passed, told = run.played()
    took = f"{time.monotonic() - started:.0f} s"
    last = told.strip().splitlines()[-1:] or ["nothing was printed"]
    print(f"{run.name} ({run.versions}): {last[0] if passed else told} [{took}]", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
