"""Processor time of `plain_words` on prose, Markdown and JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path

from guardrail.oracles.text.structure import plain_words

HERE = Path(__file__).parent
_SENTENCE = (
    "The picture shows a brown dog that lies on a green lawn beside a red ball, and a boy (about "
    'ten years old) who says "good dog". '
)
_ITEM = {"path": "notes/a.txt", "fileText": "Dear all,\nwe meet at ten.", "deleteAfter": True}
TEXTS = {
    "prose, 150 words": " ".join((_SENTENCE * 7).split()[:150]),
    "prose, 1 MB": _SENTENCE * (1_000_000 // len(_SENTENCE)),
    "Markdown list": "\n".join(
        f"{i}. **The dog**: it lies on `grass`, near it." for i in range(20)
    ),
    "JSON": json.dumps([_ITEM] * 15, indent=1),
    "JSON, 1 MB": json.dumps([_ITEM] * 12_000),
}


def main() -> None:
    rows = [_measure(name, text) for name, text in TEXTS.items()]
    (HERE / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        print(row)


def _measure(name: str, text: str) -> dict[str, str | int | float]:
    """The least of seven rounds, as other work on the machine only adds to it."""
    calls = max(1, 300_000 // len(text))
    best = min(_round_s(text, calls) for _ in range(7)) / calls
    per_kb = best * 1e6 / (len(text) / 1000)
    return {
        "text": name,
        "chars": len(text),
        "us": round(best * 1e6, 1),
        "us_per_1000_chars": round(per_kb, 1),
    }


def _round_s(text: str, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        plain_words(text)
    return time.process_time() - started


if __name__ == "__main__":
    main()
