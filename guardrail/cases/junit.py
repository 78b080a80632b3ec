"""Results as JUnit's XML, which continuous integration reads."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.cases.results import summarize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.cases.results import CaseResult

__all__ = ["junit_report"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def junit_report(results: Mapping[str, Sequence[CaseResult]]) -> bytes:
    """The report: a suite for each policy.

    What is not as expected is a failure, and what was not decided an error.

    Names of cases are other people's text: what XML cannot hold of them becomes U+FFFD.
    """
    root = ElementTree.Element("testsuites", name="guardrail policy test")
    for policy, of in results.items():
        summary = summarize(of)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_clean(policy),
            tests=str(summary.cases),
            failures=str(summary.cases - summary.as_expected - summary.errors),
            errors=str(summary.errors),
            time=f"{sum(result.elapsed_s for result in of):.3f}",
        )
        for result in of:
            _add_case(suite, policy, result)
    report: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return report


def _add_case(suite: ElementTree.Element, policy: str, result: CaseResult) -> None:
    case = result.case
    attributes = {
        "name": _clean(case.name),
        "classname": _clean(f"{policy}.{Path(case.file or 'cases').stem}"),
        "time": f"{result.elapsed_s:.3f}",
    }
    if case.file is not None:
        attributes["file"] = _clean(case.file)
    if case.line is not None:
        attributes["line"] = str(case.line)
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if not result.is_decided:
        ElementTree.SubElement(element, "error", message=_clean(result.error), type="not decided")
    elif result.problems:
        message = _clean("; ".join(result.problems))
        ElementTree.SubElement(element, "failure", message=message, type="not as expected")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
