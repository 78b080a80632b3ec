"""How long one step of a slider of the console's page Tune takes over 20,000 decisions.

    python benchmarks/console/tune.py

Decisions of the shipped default policy are made as in `benchmarks/replay`: certificates, tests and
sizes of pictures are real, outcomes and scores are drawn. Timed is the processor's time of what the
page does for one step of the slider of the score: all numbers of the setting, the curve over every
step of the radius, and the part of the page with both; each step is a score that was not looked at
before. In the same run, as a measure of the machine: one pass of numpy over the same scores and
outcomes, which cuts them at the score and counts what is harmful of each decision. Tests are
computed beforehand; how long that takes stands beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "replay"))

from run import write_records  # noqa: E402 (of benchmarks/replay)

from guardrail.assembly import read_policy  # noqa: E402
from guardrail.console.templates import render_page  # noqa: E402
from guardrail.console.tune_look import expect_calls, list_neighbours  # noqa: E402
from guardrail.console.tune_records import make_records  # noqa: E402
from guardrail.console.tune_settings import list_sliders  # noqa: E402
from guardrail.console.tune_view import TuneSetting, look_at  # noqa: E402
from guardrail.console.tune_work import TuneTask, TuneWork  # noqa: E402
from guardrail.console.windows import DecisionWindow  # noqa: E402
from guardrail.records.documents import open_documents  # noqa: E402
from guardrail.replay.loading import load_decisions  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.console.tune_records import TuneRecords

STEPS = tuple(number / 100 for number in range(30, 70, 2))


def processor_ms(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return 1000.0 * (time.process_time() - started)


def prepare(work: TuneWork, records: TuneRecords) -> list[float]:
    """Seconds of the processor for the tests of each setting near the policy's."""
    sliders = list_sliders(records.own, records.sigmas)
    work.want([records.own, *list_neighbours(records.own, sliders)])
    took = []
    while work.next_test() is not None:
        took.append(processor_ms(work.compute_next) / 1000.0)
    return took


def cut_plainly(records: TuneRecords, score: float) -> None:
    """What any answer needs at least: every draw cut at the score, and counted by decision."""
    of = records.decisions
    harmful = np.where(np.isnan(of.score), of.outcome > 0, of.score >= score)
    totals = np.concatenate([[0], np.cumsum(harmful, dtype=np.int64)])
    _ = totals[of.starts[1:]] - totals[of.starts[:-1]]


def measure(records: TuneRecords) -> dict[str, Any]:
    work = TuneWork(records.policy)
    work.records = records
    tests = prepare(work, records)
    task = TuneTask(records.policy.name, "0" * 64, DecisionWindow("20000", len(records.decisions)))
    visit = SimpleNamespace(form_token="", may=lambda _: True)
    parts: list[dict[str, float]] = []
    sliders = list_sliders(records.own, records.sigmas)
    asked = SimpleNamespace(task=task)
    for score in STEPS:
        numbers = dataclasses.replace(records.own, threshold=score)
        setting = TuneSetting(records, sliders, numbers)
        values: dict[str, Any] = {"asked": asked, "setting": setting, "may_write": True}

        def look(setting: TuneSetting = setting, values: dict[str, Any] = values) -> None:
            values.update(look_at(work, setting, "false_alarms <= 1%"))

        def render(values: dict[str, Any] = values) -> None:
            render_page("tune_numbers.html", visit=visit, says=True, **values)

        looked, rendered = processor_ms(look), processor_ms(render)
        parts.append({
            "step_ms": looked + rendered,
            "rendering_ms": rendered,
            "calls_ms": processor_ms(partial(expect_calls, records, numbers)),
            "plain_pass_ms": processor_ms(partial(cut_plainly, records, score)),
        })  # fmt: skip
    medians = {name: round(statistics.median(one[name] for one in parts), 1) for name in parts[0]}
    return {
        **medians,
        "worst_step_ms": round(max(one["step_ms"] for one in parts), 1),
        "ratio_to_plain_pass": round(
            statistics.median(one["step_ms"] / one["plain_pass_ms"] for one in parts), 1
        ),
        "settings_prepared": len(tests),
        "tests_cpu_s_of_a_setting": [round(min(tests), 2), round(statistics.median(tests), 2),
                                     round(max(tests), 2)],
        "tests_cpu_s": round(sum(tests), 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    options = parser.parse_args()
    policy = read_policy("default")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        file = Path(folder) / "records.jsonl"
        write_records(file, options.records, policy)
        with open_documents(str(file)) as documents:
            decisions = load_decisions(documents)
    facts = {
        "records": len(decisions),
        "draws": len(decisions.outcome),
        "machine": platform.machine(),
        "load_at_start": round(os.getloadavg()[0], 1),
        **measure(make_records(policy, decisions, {})),
    }
    (HERE / "tune.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
