"""The gateway benchmark's own parts: a provider and a load that tell the truth, and its figures."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gateway"


def module(name):
    spec = importlib.util.spec_from_file_location(f"gateway_{name}", FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@contextlib.contextmanager
def printing(*command):
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def load(url, *options):
    command = [sys.executable, str(FOLDER / "load.py"), "--url", url]
    done = subprocess.run(
        [*command, "--body", str(FOLDER / "text.json"), *options],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def provider():
    with printing(str(FOLDER / "provider.py")) as url:
        yield url


@pytest.fixture(scope="module")
def passthrough(provider):
    with printing(str(FOLDER / "passthrough.py"), "--upstream", provider) as url:
        yield url


@pytest.mark.parametrize("connections", ["1", "5"])
@pytest.mark.parametrize("server", ["provider", "passthrough"])
def test_every_request_is_answered_and_counted(request, server, connections):
    url = request.getfixturevalue(server)
    measured = load(url, "--connections", connections, "--requests", "23")
    assert (measured["requests"], measured["errors"]) == (23, 0)
    assert measured["decisions"] == {"none": 23}
    assert 0 < measured["p50_ms"] <= measured["p99_ms"] <= measured["max_ms"]


def test_the_provider_waits_as_long_as_it_is_told():
    with printing(str(FOLDER / "provider.py"), "--delay-ms", "80") as url:
        measured = load(url, "--connections", "4", "--requests", "8")
    assert measured["p50_ms"] >= 79
    assert measured["errors"] == 0


def test_what_is_no_answer_is_an_error(provider):
    nowhere = load("http://127.0.0.1:1/v1", "--connections", "3", "--requests", "3")
    assert nowhere["errors"] == 3
    assert nowhere["requests"] == 0


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)]
)
def test_percentiles_are_values_that_came(monkeypatch, share, value):
    monkeypatch.syspath_prepend(str(FOLDER))
    assert module("load").percentile([1.0, 2.0, 3.0, 4.0], share) == value


def test_the_committed_figures_are_complete_and_make_the_committed_table():
    results = json.loads((FOLDER / "results.json").read_text())
    for path in (
        "text_passthrough.rps_ratio_vs_litellm",
        "fanout40.cpu_ratio_vs_litellm",
        "fanout40.times_the_bare_passthrough",
        "walls.wall_over_ideal",
        "variants.ratio_vs_pil_png",
        "sustained.errors",
        "sustained.p99_ms",
        "sustained.rss_mb",
    ):
        section, name = path.split(".")
        assert results[section][name] >= 0
    assert module("table").markdown(results) == (FOLDER / "table.md").read_text()
    assert results["fanout40"]["decisions"]["pass"] > 0
    rows = results["parts"]["rows"]
    assert {"bare", "keys", "all, SQLite", "all, PostgreSQL", "all and traces, SQLite"} <= set(rows)
    assert not any(row["errors"] for row in rows.values())


def test_the_front_page_quotes_the_committed_figures():
    results = json.loads((FOLDER / "results.json").read_text())
    page = " ".join((FOLDER.parents[1] / "README.md").read_text().split())
    texts, pictures = results["text_passthrough"], results["fanout40"]
    all_parts = results["parts"]["rows"]["all, SQLite"]
    for quoted in (
        f"{texts['rps_ratio_vs_litellm']} times the requests a second",
        f"{texts['rps_ratio_one_at_a_time']} times one at a time",
        f"{pictures['cpu_ms_per_decision']:.0f} ms of processor time",
        f"log lines together: {100 * (all_parts['rps_of_bare'] - 1):+.0f} % requests a second",
        f"{results['sustained']['errors']} errors in {results['sustained']['requests']:,} decisio",
    ):
        assert quoted in page
