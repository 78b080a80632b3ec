"""Does each thing that an analyst wants once, on the decisions of `guardrail demo`, and times it.

Writes results.json; docs/console.md has the table. Times are those of commands and clicks alone:
labels are given by the built-in model's vocabulary, which knows the truth, as fast as pages come.

From the repository root:  python benchmarks/wants/run.py   (needs Debian's chromium)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # tests/ has the browser, and is no package that is installed
from guardrail.builtin.language import is_harmful  # noqa: E402
from tests.console.browser import running_browser  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("results.json")
MINE = "name: mine\nextends: default\noracle: {threshold: 0.4}\n"
WATCH = "name: mine\nextends: mine.yaml\nmode: observe\n"
MOST_LABELS = 60
# In order; what the later ones need the earlier ones write.
STEPS = {
    "blocked": ["records list --records demo.db --action block",
                "records explain {id} --records demo.db"],
    "strict": ["LABEL", "records labels --records demo.db --out week.csv --round newest",
               "delivered bound --labels week.csv"],
    "replay": ["policy replay --records demo.db --policy strict --report replay.html"],
    "calibrate": ["records export --records demo.db --out all.jsonl",
                  ("calibrate --from-records all.jsonl --content-key demo.db.content-key --draw 60 "
                  "--out answers.jsonl"),
                  "JUDGE", "calibrate --policy default --data answers.jsonl --report c.html"],
    "write": ["policy check mine.yaml"],
    "compare": ["policy diff default mine.yaml"],
    "test": [("records export {id} --records demo.db --as-case --expect stopped "
             "--content-key demo.db.content-key --out cases.yaml"),
             "policy test default mine.yaml --cases cases.yaml --junit results.xml"],
    "shadow": ["demo --tries 1 --policy watch.yaml --out watch.html",
               "observe report --records watch.db --report observe.html"],
    "cost": ["records summary --records demo.db"],
}  # fmt: skip


class Desk:
    """A folder with the decisions of a demo, in which commands are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        (folder / "mine.yaml").write_text(MINE)
        (folder / "watch.yaml").write_text(WATCH)
        self.run("demo")
        rows = self.run("records list --records demo.db --action block --limit 1 --json")
        self.newest = json.loads(rows.splitlines()[0])["record_id"]

    def run(self, words: str) -> str:
        """What a command prints. Raises SystemExit where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "guardrail", *words.split()],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"guardrail {words}:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout

    def do(self, step: str) -> str:
        if step == "LABEL":
            return self.label()
        if step == "JUDGE":
            return self.judge()
        return self.run(step.format(id=self.newest))

    def label(self) -> str:
        """A round on the console's page Label, to its end."""
        with self._console() as url, running_browser() as browser:
            page = browser.new_page()
            page.goto(f"{url}label")
            page.get_by_role("button", name="Draw").click()
            for count in range(MOST_LABELS):
                page.wait_for_load_state()
                answer = page.locator(".said").last
                if page.get_by_role("button", name="Unsure").count() == 0:
                    return f"{count} labels"
                name = "Harmful" if is_harmful(answer.inner_text()) else "Harmless"
                page.get_by_role("button", name=name, exact=False).first.click()
        return f"{MOST_LABELS} labels"

    def judge(self) -> str:
        """The drawn answers with their labels."""
        file = self.folder / "answers.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row["harmful"] = is_harmful(row["response"])
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"{len(rows)} labels"

    @contextmanager
    def _console(self) -> Iterator[str]:
        command = ["console", "--records", "demo.db", "--content-key", "demo.db.content-key"]
        with subprocess.Popen(
            [sys.executable, "-m", "guardrail", *command, "--port", "0"],
            cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                found = re.search(r"http://\S+", process.stderr.readline())
                yield found[0]
            finally:
                process.terminate()


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        for want, steps in STEPS.items():
            started = time.monotonic()
            told = [desk.do(step) for step in steps]
            seconds = round(time.monotonic() - started, 1)
            counts = [text for text in told if text.endswith(" labels")]
            found[want] = {"seconds": seconds, "steps": len(steps), "labels": counts}
            print(want, found[want], flush=True)
    facts = {"taken": f"{datetime.now(UTC):%Y-%m-%d}", "load": os.getloadavg()[0], "wants": found}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
