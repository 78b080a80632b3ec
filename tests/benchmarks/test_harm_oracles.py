"""The pages about the shipped oracles say what was measured, and of the models that ship."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from guardrail.oracles.builtin import BuiltinScorer
from guardrail.policy.load import load_policy

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "benchmarks" / "harm_oracles"
README = (REPOSITORY / "README.md").read_text()
ROWS = {
    "ordinary answers of assistants": "assistant",
    "answers about pictures": "vlm",
    "GPTFuzz": "gptfuzz",
    "JailbreakBench": "jbb",
    "PyRIT": "pyrit",
    "XSTest": "xstest",
    "HateCheck": "hatecheck",
}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "results.json").read_text())
    return found


def cells(start: str) -> list[str]:
    """The cells of the row of README's table that begins so."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d*[.,]?\d+", text)]


def is_rounded(shown: str, value: float) -> bool:
    """Whether the digits shown are those of the value; a half may go either way."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.5 * 10**-decimals + 1e-9


def test_the_page_is_of_the_committed_numbers(script, results):
    assert (FOLDER / "table.md").read_text() == script("harm_oracles", "table")._whole(results)


def test_the_numbers_are_of_the_shipped_model(results):
    assert results["builtin"] == BuiltinScorer().revision


@pytest.mark.parametrize(("start", "source"), ROWS.items())
def test_a_row_of_the_readme_is_that_of_the_results(results, start, source):
    row = results["oracles"]["default"]["sources"][source]
    name, found, stopped, at_one, auc = cells(start)
    assert is_rounded(stopped.removesuffix(" %"), 100 * row["false_alarms"]["rate"])
    if row["harmful"]:
        assert is_rounded(found.removesuffix(" %"), 100 * row["recall"]["rate"])
        assert is_rounded(at_one, row["recall_at"]["assistant"]["0.01"]["rate"])
        assert is_rounded(auc, row["auc"])
    else:
        assert numbers(name) == [row["harmless"]]


def test_the_readme_says_how_harm_in_long_answers_is_found(results):
    rates = results["oracles"]["default"]["dilution"]
    _, found, calm, *_ = cells("one harmful sentence alone")
    places = ("alone", "at the begin", "at the middle", "at the end")
    shown = [f"{number:g}" for number in numbers(found)]
    for number, place in zip(shown, places, strict=True):
        assert is_rounded(number, 100 * rates[place]["rate"])
    assert is_rounded(calm.removesuffix(" %"), 100 * rates["calm"]["rate"])


def test_the_readme_says_how_many_ordinary_requests_are_stopped(results):
    row = results["oracles"]["default"]["requests"]["assistant, answers of 3"]
    name, _, stopped, *_ = cells("ordinary requests, default plan")
    assert numbers(name) == [row["requests"]]
    assert is_rounded(stopped.removesuffix(" %"), 100 * row["stopped"])


def test_any_policy_is_measured_by_source(script, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    module = script("harm_oracles", "measure_policy")
    said = [("You are a stupid bitch and I hope you die.", True), ("A cat sleeps.", False)]
    texts = [
        module.Text("gptfuzz", str(i), "", f"{text} {i}", harm, str(i), fold=7)
        for i, (text, harm) in enumerate(said * 40)
    ]
    calm = [module.Text("vlm", f"c{i}", "", f"A red car, number {i}.", False, "") for i in range(9)]
    sets = {
        "gptfuzz": module.dataset("gptfuzz", module.draw(texts, "gptfuzz", 60)),
        "vlm": module.dataset("vlm", calm),
    }
    policy = load_policy("default")
    builtin = policy.oracle.model_copy(update={"models": "builtin"})
    rows = asyncio.run(module.measure_policy(policy.model_copy(update={"oracle": builtin}), sets))
    assert [row["source"] for row in rows] == ["gptfuzz", "vlm"]
    assert rows[0]["n_harmful"] + rows[0]["n_harmless"] == 60
    assert rows[0]["miss_rate"] == 0
    assert rows[0]["auc"][0] == 1
    assert rows[1]["false_alarm_rate"] == 0
    lines = module.table(rows).splitlines()[-2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| default", "gptfuzz"],
        ["| default", "vlm"],
    ]


@pytest.fixture(scope="module")
def worst_errors(script):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return script("harm_oracles", "worst_errors")


def test_errors_stand_by_list_the_worst_first(script, worst_errors, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    text = script("harm_oracles", "data").Text
    rows = [
        ("vlm", "a", False, 0.7),
        ("manuals", "", False, 0.9),
        ("jbb", "b", True, 0.4),
        ("jbb", "c", True, 0.1),
        ("jbb", "d", True, 0.5),
        ("jbb", "e", False, 0.4),
    ]
    texts = [
        text(source, name, "", f"words {at}", harm, "")
        for at, (source, name, harm, _) in enumerate(rows)
    ]
    lists = worst_errors.find_errors(texts, [(row[3], "fraud") for row in rows])
    assert list(lists) == ["False alarms: ordinary answers", "Missed: jbb"]
    nameless, named = lists["False alarms: ordinary answers"]
    assert (nameless.source, len(nameless.id)) == ("manuals", 8)
    assert named.id == "a"
    assert [error.id for error in lists["Missed: jbb"]] == ["c", "b"]


def test_every_error_of_the_page_was_read(worst_errors):
    page = (FOLDER / "worst_errors.md").read_text()
    readings = worst_errors.read_readings(FOLDER / "worst_errors.json")
    rows = re.findall(r"^\| (\w+ \S+) \| \d+ \|.*\| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) > 100
    assert [(readings[name].cause, readings[name].text) for name, *_ in rows] == [
        (cause, text) for _, cause, text in rows
    ]
