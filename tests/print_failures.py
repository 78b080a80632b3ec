"""Writes every failure that the reports of pytest in a folder tell of, to stand at the end.

    python tests/print_failures.py FOLDER [LINES]

Each with its last LINES lines (40). A report that cannot be read is named: its process was ended.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree


def find_failures(folder: Path, lines: int = 40) -> Iterator[str]:
    """One text a failure: the test, and the last lines of what pytest said of it."""
    for report in sorted(folder.glob("*.xml")):
        try:
            cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 (pytest's own)
        except ElementTree.ParseError as error:
            yield f"== {report.stem}: its report cannot be read ({error}): was it ended?"
            continue
        for case in cases:
            for found in (*case.findall("failure"), *case.findall("error")):
                said = (found.text or found.get("message") or "").splitlines()
                name = f"{case.get('classname')}::{case.get('name')}"
                yield "\n".join([f"== {report.stem}: {name}", *said[-lines:]])


if __name__ == "__main__":
    folder, *lines = sys.argv[1:]
    sys.stdout.writelines(f"{text}\n\n" for text in find_failures(Path(folder), *map(int, lines)))
