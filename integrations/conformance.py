"""The table of scenarios that each adapter was seen to decide as the proxy does.

Made from what the runs' own tests report; `python integrations/run.py --table` writes it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["played", "table"]

_HEAD = """# Adapters and scenarios

How many tests of each scenario passed, of how many: through every way that the adapter has, each
compared with the verdict, and where the request is the same with the record, of the proxy for the
same key. `python integrations/run.py --table` plays them all and writes this page.
"""


def played(report: Path, scenarios: Sequence[str]) -> Counter[tuple[str, bool]]:
    """Tests by scenario and by whether they passed, from a report in JUnit's form."""
    found: Counter[tuple[str, bool]] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (written by pytest a moment ago)
        passed = not any(case.find(fault) is not None for fault in ("failure", "error", "skipped"))
        for name in _scenarios_of(case.get("name", ""), scenarios):
            found[name, passed] += 1
    return found


def _scenarios_of(test: str, scenarios: Sequence[str]) -> Iterator[str]:
    """The scenario that a test is a case of: `test_x[sync-two images]` is one of `two images`."""
    parts = test.rpartition("]")[0].partition("[")[2].split("-")
    yield from (name for name in scenarios if name in parts)


def table(
    rows: Mapping[tuple[str, str], Counter[tuple[str, bool]]], scenarios: Sequence[str]
) -> str:
    """The page, one row for each adapter and set of versions."""
    lines = [
        f"| adapter | versions | {' | '.join(scenarios)} |",
        f"| --- | --- |{' --- |' * len(scenarios)}",
    ]
    for (name, versions), counts in rows.items():
        cells = " | ".join(_cell(counts, scenario) for scenario in scenarios)
        lines.append(f"| {name} | {versions} | {cells} |")
    return _HEAD + "\n" + "\n".join(lines) + "\n"


def _cell(counts: Counter[tuple[str, bool]], scenario: str) -> str:
    passed, failed = counts[scenario, True], counts[scenario, False]
    return f"{passed} of {passed + failed}" if passed + failed else "–"
