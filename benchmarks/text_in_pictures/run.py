"""What `text_in_pictures: ocr` finds, and what it costs.

    python benchmarks/text_in_pictures/run.py
    python benchmarks/text_in_pictures/run.py --texts    only the texts of screens, unread

Recall on FigStep's pictures (20 of SafeBench-Tiny, MIT), as they are and disguised; false alarms
on screens and scenes that are made here (`screens.py`); processor time of reading and judging,
by one thread, and wall time, which counts for little on a machine with other work. Adds
to results.jsonl what it lacks, and writes table.md: delete the file to begin anew. Some ten
minutes on a free machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageEnhance
from screens import draw_screens, make_photos, shoot_pages, write_screens

from guardrail.oracles.base import Exchange, Judgement
from guardrail.picture_text.check import PictureTextJudge
from guardrail.picture_text.reader import OcrReader, ReadingLimits
from guardrail.picture_text.request_head import RequestScorer
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
FIGSTEP = HERE.parents[2] / "shared" / "data" / "images" / "figstep"
SEED = 11
MEDICAL = "10"  # topic 10 asks for medical advice, which no kind of harm of ours covers


def pictures() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name of a group, and a picture of it."""
    files = sorted(FIGSTEP.glob("*.png"))
    if not files:
        print(f"FigStep's pictures are not at {FIGSTEP}; its rows are left out")
    for file in files:
        medical = file.stem.split("_")[2] == MEDICAL
        group = "FigStep, medical advice" if medical else "FigStep"
        yield group, np.asarray(Image.open(file).convert("RGB"))
    yield from make_photos(SEED, count=6)
    yield from draw_screens(SEED, each=2)
    yield from shoot_pages(SEED, count=3)
    for file in files[5::5]:  # the first of each topic, disguised
        image = Image.open(file).convert("RGB")
        for name, changed in _disguised(image, large=file == files[5]):
            yield f"FigStep, {name}", np.asarray(changed)


def _disguised(image: Image.Image, *, large: bool) -> Iterator[tuple[str, Image.Image]]:
    width, height = image.size
    yield "upside down", image.rotate(180)
    yield "turned by 90°", image.rotate(90, expand=True)
    yield "tilted by 20°", image.rotate(20, expand=True, fillcolor="white")
    yield "a tenth of the contrast", ImageEnhance.Contrast(image).enhance(0.1)
    yield "scaled down to 224", image.resize((224, 224 * height // width))
    if not large:
        return
    big = Image.new("RGB", (2600, 1800), (200, 210, 220))
    big.paste(image.resize((240, 240)), (2100, 1400))
    yield "small in a large picture", big
    yield "letters as large as a tile", image.resize((width * 4, height * 4))


async def measure() -> list[dict[str, Any]]:
    reader, head = OcrReader(ReadingLimits(timeout_s=3600.0)), RequestScorer()
    oracle = compile_oracle(load_policy("default"))
    judge = PictureTextJudge(reader, head)
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    known = Counter(row["group"] for row in rows)
    for group, pixels in pictures():
        known[group] -= 1
        if known[group] >= 0:
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        texts = await reader.read([pixels])
        reading_s = time.process_time() - cpu
        found = await judge_texts(judge, texts, oracle)
        rows.append(
            {
                "group": group,
                "size": list(pixels.shape[1::-1]),
                "chars": sum(map(len, texts)),
                "blocked": found.outcome is Outcome.HARMFUL,
                "by": "head"
                if found.reason == "asks for harm"
                else "oracle"
                if found.reason
                else "",
                "score": round(found.score, 4),
                "reading_cpu_ms": round(1000 * reading_s),
                "wall_ms": round(1000 * (time.perf_counter() - wall)),
            }
        )
        with RESULTS.open("a") as stream:
            stream.write(json.dumps(rows[-1]) + "\n")
        print(rows[-1], flush=True)
    await judge.aclose()
    await oracle.aclose()
    return rows


async def judge_screens(each: int) -> list[dict[str, Any]]:
    """False alarms on the texts of many more screens, which are not drawn and not read."""
    judge = PictureTextJudge(OcrReader(), RequestScorer())
    oracle = compile_oracle(load_policy("default"))
    found: dict[str, dict[str, Any]] = {}
    for kind, text in write_screens(SEED, each):
        row = found.setdefault(kind, {"kind": kind, "texts": 0, "head": 0, "oracle": 0})
        row["texts"] += 1
        row["head"] += (await judge_texts(judge, (text,), _Calm())).outcome is Outcome.HARMFUL
        (said,) = await oracle.judge([Exchange("", text)])
        row["oracle"] += said.outcome is Outcome.HARMFUL
    await oracle.aclose()
    return list(found.values())


class _Calm:
    """An oracle that finds nothing, so that the head alone decides."""

    async def judge(self, exchanges: list[Exchange]) -> list[Judgement]:
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]


async def judge_texts(judge: PictureTextJudge, texts: tuple[str, ...], oracle: Any) -> Any:
    """What the check says of texts that were read already."""

    class Known:
        async def read(self, _: object) -> tuple[str, ...]:
            return texts

        async def aclose(self) -> None:
            pass

    return await PictureTextJudge(Known(), judge.requests).judge([], oracle)


def table(rows: list[dict[str, Any]]) -> str:
    head = (
        "| pictures | number | blocked | by the head | by the oracle | characters (median) "
        "| processor ms (median, largest) |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        found = [row for row in rows if row["group"] == group]
        ms = [row["reading_cpu_ms"] for row in found]
        lines.append(
            f"| {group} | {len(found)} | {sum(row['blocked'] for row in found)} "
            f"| {sum(row['by'] == 'head' for row in found)} "
            f"| {sum(row['by'] == 'oracle' for row in found)} "
            f"| {int(np.median([row['chars'] for row in found]))} "
            f"| {int(np.median(ms))}, {max(ms)} |\n"
        )
    return head + "".join(lines)


def main() -> None:
    screens = asyncio.run(judge_screens(each=50))
    (HERE / "screens.json").write_text(json.dumps(screens, indent=1) + "\n")
    print(screens, flush=True)
    if "--texts" in sys.argv:
        return
    RESULTS.touch()
    rows = asyncio.run(measure())
    (HERE / "table.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
