"""Records of a day with the built-in model, and labels for them, as docs/calibration.md uses them.

    python benchmarks/calibration_units/day.py records day.jsonl
    python benchmarks/calibration_units/day.py label labels.csv

The first guards 24 requests about the demo's clean, attacked and forbidden pictures, in shadow
mode, so that harmful answers leave as well. The second stands for people: it writes the truth about
the built-in model's answers, which its vocabulary tells, into the labels. Noise and names of the
records are the same at every run.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import csv
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guardrail.assembly import build_engine
from guardrail.builtin.language import SceneQuestion, ask, is_harmful
from guardrail.demo.scenes import load_scenes
from guardrail.engine.rules import Mode
from guardrail.images.codec import decode_image
from guardrail.images.keys import SECRET_BYTES
from guardrail.images.limits import ImageLimits
from guardrail.policy.load import load_policy
from guardrail.records.content import digest_content, load_or_create_content_keys, open_content
from guardrail.records.journal import FileJournal
from guardrail.records.recorder import build_record
from guardrail.types import picture_chat

if TYPE_CHECKING:
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

REQUESTS = 24


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("records", "label"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.step == "label":
        label(options.file)
    else:
        asyncio.run(record(options.file))
    return 0


async def record(file: Path) -> None:
    """Guards the requests and keeps what was decided, with content."""
    rng, scenes = np.random.default_rng(12), load_scenes()
    key = file.with_suffix(".key")
    key.touch(mode=0o600)
    key.write_text("12" * SECRET_BYTES + "\n")
    policy = load_policy("quick")  # few calls, so that it takes minutes
    # So that a busy machine gives the same records.
    advanced = policy.advanced
    patient = advanced.limits.model_copy(update={"deadline_s": 3600.0, "call_timeout_s": 3600.0})
    changes = {"mode": Mode.OBSERVE, "advanced": advanced.model_copy(update={"limits": patient})}
    engine = build_engine(policy.model_copy(update=changes), "builtin", key)
    journal = FileJournal(file)
    content_keys = load_or_create_content_keys(file.with_suffix(".content.key"))
    model = (await engine.upstream.models())[0]
    for i in range(REQUESTS):
        scene = scenes[i % len(scenes)]
        picture = decode_image(
            scene.png, declared_media_type=None, limits=ImageLimits(), param=scene.name
        )
        chat = picture_chat(model, ask(SceneQuestion.SHOWN, rng), pictures=1)
        verdict = await engine.decide(chat, [picture])
        kept = build_record(verdict, chat, engine, content_keys=content_keys)
        journal.append(rename(kept, f"request-{i:02}", content_keys))
    journal.close()
    await engine.aclose()


def rename(kept: Record, record_id: str, keys: ContentKeys) -> Record:
    """The record under another name, to which its content is sealed anew."""
    sealed = keys.seal(open_content(kept, keys), record_id)
    return dataclasses.replace(
        kept,
        record_id=record_id,
        content=base64.b64encode(sealed).decode(),
        content_digest=digest_content(sealed),
    )


def label(file: Path) -> None:
    """Writes true or false into every row."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows({**row, "harmful": is_harmful(row["response"])} for row in rows)


if __name__ == "__main__":
    sys.exit(main())
