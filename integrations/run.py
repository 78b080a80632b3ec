"""Builds the wheels and runs each integration's tests on them, in bare environments.

    python integrations/run.py [--only NAME ...] [--versions lowest|latest|readme] [--jobs N]
                               [--quick] [--table]

An environment holds what `pip install` of the wheels brings, the pins of `lowest.txt` or
`latest.txt`, and nothing of this tree: no torch, and no path back to the sources. That of `readme`
holds what the adapter's README says to install and nothing else, and runs its examples there.
`--quick` leaves out the tests marked `nightly`; `--table` writes conformance.md from what the tests
report.
"""

from __future__ import annotations

import argparse
import os
import re
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
README = "readme"
VERSIONS = ("lowest", "latest", README)
_INSTALL = re.compile(r"^\$ pip install \. '?\./integrations/(\w+)(\[[\w,-]+\])?'?$", re.MULTILINE)
BARE = {
    name: value
    for name, value in os.environ.items()
    # With the last one every process of a test would compile the framework anew.
    if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
} | {
    "UV_SYSTEM_CERTS": "1",  # uv trusts whom the system trusts
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the frameworks bring some, and none is used
}


@dataclass(frozen=True, slots=True)
class Run:
    """One integration with one set of versions."""

    name: str
    versions: str
    wheels: Path
    quick: bool

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
        for command in (self._made(), self._installed(), *self._tested()):
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
        if self.versions == README:
            named = f"{wheel.name.split('-')[0]}{self._extras()} @ {wheel.as_uri()}"
            wanted = [named]
        else:
            wanted = [str(wheel), "-r", str(self.folder / f"{self.versions}.txt")]
        return [*_uv(), "pip", "install", "--quiet", "--python", str(self._python), str(main),
                *wanted]  # fmt: skip

    def _extras(self) -> str:
        """The extras that the README says to install. Raises SystemExit where it says nothing."""
        found = _INSTALL.search((self.folder / "README.md").read_text("utf-8"))
        if found is None or found[1] != self.name:
            raise SystemExit(f"{self.name}/README.md: names no `pip install` of this adapter")
        return found[2] or ""

    def _tested(self) -> list[list[str]]:
        if self.versions == README:
            examples = sorted(self.folder.glob("example*.py"))
            return [[str(self._python), str(example)] for example in examples]
        tests = [str(self._python), "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 f"--junit-xml={self.report}", *(["-m", "not nightly"] if self.quick else []),
                 "-c", str(self.folder / "pyproject.toml"), str(self.folder / "tests")]  # fmt: skip
        return [tests]

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
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    wheels = build(given.only)
    versions = [given.versions] if given.versions else VERSIONS
    runs = [Run(name, version, wheels, given.quick) for version in versions for name in given.only]
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(_reported, runs))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    if given.table:
        (HERE / "conformance.md").write_text(_table(runs), "utf-8")
    return 0 if all(results) else 1


def _table(runs: list[Run]) -> str:
    from guardrail.testing.scenarios import SCENARIOS

    scenarios = [scenario.name for scenario in SCENARIOS]
    tested = [run for run in runs if run.versions != README]
    rows = {(run.name, run.versions): played(run.report, scenarios) for run in tested}
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
