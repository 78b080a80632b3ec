"""An hour of labels: what each further minute of a reviewer does to the bounds, calls and dollars.

The built-in model and a shipped policy decide a day of requests through the real engine, without a
network. Two rounds are drawn from it as the console draws them: one of answers (what the oracle
misses) and one of decisions (harm that left, false alarms). The truth, which the built-in model's
vocabulary tells, stands for the reviewer, at a fixed number of labels a minute. What the console
shows is read after every sixty labels.

    python benchmarks/labels/run.py                # results.json, figure.svg, table.md
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.assembly import build_engine
from guardrail.builtin.language import SceneQuestion, ask, is_harmful
from guardrail.database.migrate import open_database
from guardrail.demo.scenes import load_scenes
from guardrail.engine.verdict import Action
from guardrail.html_page.figure import Curve, Panel, figure
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import SECRET_BYTES
from guardrail.images.limits import ImageLimits
from guardrail.labelling.answers import open_records, text_to_label
from guardrail.labelling.oracle_errors import find_oracle_errors
from guardrail.labelling.queue import judge, read_queue
from guardrail.labelling.round_draw import RoundPlan, start_round
from guardrail.labelling.rounds import RoundKind, read_round
from guardrail.labelling.sample_effect import find_price
from guardrail.labelling.standing import find_standing
from guardrail.policy.load import load_policy
from guardrail.records.content import load_or_create_content_keys
from guardrail.records.kept_pictures import NewRecord
from guardrail.records.open import open_journal
from guardrail.records.recorder import build_record
from guardrail.records.writer import RecordWriter
from guardrail.tuning.first_answer import first_answer_text
from guardrail.tuning.percent import percent_up
from guardrail.types import picture_chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.database.database import Database
    from guardrail.engine.engine import Engine
    from guardrail.labelling.rounds import Round
    from guardrail.policy.schema import Policy
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

HERE = Path(__file__).parent
FURTHEST_PX = 16
"""How far a scene is moved, so that requests differ."""
LIMITS = ImageLimits()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=480)
    parser.add_argument("--policy", default="default")
    parser.add_argument("--per-minute", type=int, default=10, help="labels of one reviewer")
    parser.add_argument("--every", type=int, default=60, help="labels between two rows")
    parser.add_argument("--usd", type=float, default=0.002, help="assumed price of a call")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, Path(folder))
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "table.md").write_text(write_table(results))
    (options.out / "figure.svg").write_text(draw_figure(results))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All results, from a fresh database."""
    began, began_cpu = time.monotonic(), time.process_time()
    address = f"sqlite:///{folder / 'day.db'}"
    keys = load_or_create_content_keys(folder / "content.key")
    key = folder / "noise.key"
    key.touch(mode=0o600)
    key.write_text("31" * SECRET_BYTES + "\n")
    policy = _patient(load_policy(options.policy))
    decided = asyncio.run(decide_day(options, policy, address, keys, key))
    database = open_database(address)
    try:
        rows = {
            kind.value: label_round(options, database, policy, keys, kind)
            for kind in (RoundKind.ANSWERS, RoundKind.DECISIONS)
        }
    finally:
        database.close()
    return {
        "command": f"python benchmarks/labels/run.py --requests {options.requests} "
        f"--policy {options.policy}",
        "policy": options.policy,
        "labels_per_minute": options.per_minute,
        "assumed_usd_per_call": options.usd,
        **decided,
        **rows,
        "wall_s": round(time.monotonic() - began, 1),
        "processor_s": round(time.process_time() - began_cpu, 1),
    }


def _patient(policy: Policy) -> Policy:
    """With time limits that a busy machine keeps; they are no part of what is measured."""
    limits = policy.advanced.limits.model_copy(
        update={"deadline_s": 3600.0, "call_timeout_s": 3600.0}
    )
    return policy.model_copy(
        update={"advanced": policy.advanced.model_copy(update={"limits": limits})}
    )


async def decide_day(
    options: argparse.Namespace, policy: Policy, address: str, keys: ContentKeys, key: Path
) -> dict[str, Any]:
    """Decides the requests of a day and keeps their records."""
    engine = build_engine(policy, "builtin", key)
    journal = open_journal(address)
    writer = RecordWriter(journal)
    counts = dict.fromkeys(("let_through", "stopped", "calls"), 0)
    try:
        model = (await engine.upstream.models())[0]
        rng, scenes = np.random.default_rng(options.seed), load_scenes()
        for number in range(options.requests):
            png = _move(scenes[number % len(scenes)].png, rng)
            record = await _decide(engine, model, png, ask(SceneQuestion.SHOWN, rng), keys)
            await writer.keep(partial(NewRecord, record))
            counts["calls"] += record.calls
            counts["let_through" if record.action is Action.PASS else "stopped"] += 1
    finally:
        writer.close()
        journal.close()
        await engine.aclose()
    return {"requests": options.requests, **counts}


async def _decide(
    engine: Engine, model: str, png: bytes, question: str, keys: ContentKeys
) -> Record:
    picture = decode_image(png, declared_media_type=None, limits=LIMITS, param="scene")
    chat = picture_chat(model, question, pictures=1)
    return build_record(await engine.decide(chat, [picture]), chat, engine, content_keys=keys)


def _move(png: bytes, rng: np.random.Generator) -> bytes:
    """The scene moved by some pixels; what leaves on one side comes in on the other."""
    picture = decode_image(png, declared_media_type=None, limits=LIMITS, param="scene")
    down, right = (int(rng.integers(-FURTHEST_PX, FURTHEST_PX + 1)) for _ in range(2))
    return encode_image(np.roll(picture.pixels, (down, right), axis=(0, 1)), "png")


def label_round(
    options: argparse.Namespace,
    database: Database,
    policy: Policy,
    keys: ContentKeys,
    kind: RoundKind,
) -> list[dict[str, Any]]:
    """One row after every so many labels of a round over the whole day."""
    now = datetime.now(UTC)
    plan = RoundPlan(
        kind=kind, policy=policy.name, since=now - timedelta(days=1), until=now,
        count=options.requests,
    )  # fmt: skip
    round_id = start_round(database, plan, reviewer="truth", keys=keys, now=now)
    round_ = read_round(database, round_id)
    assert round_ is not None
    read = first_answer_text if kind is RoundKind.ANSWERS else text_to_label
    names = [item.records[0][0] for item in round_.items]
    records = open_records(database, names, keys)
    rows = [_describe(options, database, round_, policy, 0)]
    for number, item in enumerate(round_.items, 1):
        verdict = "harmful" if is_harmful(read(records[item.records[0][0]])) else "harmless"
        judge(database, round_, item.item_id, "truth", verdict, now + timedelta(seconds=number))
        if number % options.every == 0 or number == len(round_.items):
            rows.append(_describe(options, database, round_, policy, number))
    return rows


def _describe(
    options: argparse.Namespace, database: Database, round_: Round, policy: Policy, labels: int
) -> dict[str, Any]:
    verdicts = read_queue(database, round_, datetime.now(UTC)).verdicts()
    row: dict[str, Any] = {"labels": labels, "minutes": labels / options.per_minute}
    if round_.kind is RoundKind.DECISIONS:
        standing = find_standing(round_, verdicts)
        for name in ("let_through", "stopped"):
            one = getattr(standing, name)
            row[name] = None if one is None else dataclasses.asdict(one)
        return row
    errors = find_oracle_errors(round_, verdicts, labels)
    cost = find_price(policy, errors, options.usd)
    return {**row, **dataclasses.asdict(errors), **dataclasses.asdict(cost)}


def write_table(results: Mapping[str, Any]) -> str:
    """Both rounds as tables."""
    answers = "".join(
        f"| {row['labels']} | {row['minutes']:g} | {row['harmful']} | {row['misses']} "
        f"| {percent_up(row['miss_rate_upper'])} | {percent_up(row['false_alarm_rate_upper'])} "
        f"| {_calls(row)} | {_usd(row['usd'])} |\n"
        for row in results["answers"]
    )
    decisions = "".join(
        f"| {row['labels']} | {row['minutes']:g} | {_share(row['let_through'])} "
        f"| {_share(row['stopped'])} |\n"
        for row in results["decisions"]
    )
    return (
        f"# What labels show, minute by minute\n\n"
        f"{results['requests']} requests under the policy '{results['policy']}': "
        f"{results['let_through']} let through, {results['stopped']} stopped, "
        f"{results['calls']:,} calls. {results['labels_per_minute']} labels a minute.\n\n"
        "## A round of answers\n\n"
        "| labels | minutes | harmful | missed | misses at most | false alarms at most "
        "| calls of a usual request, claim harmlessness | US$ |\n"
        "|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        f"{answers}\n## A round of decisions\n\n"
        "| labels | minutes | harm among what was let through, at most "
        "| false alarms among what was stopped, at most |\n|--:|--:|--:|--:|\n"
        f"{decisions}"
    )


def draw_figure(results: Mapping[str, Any]) -> str:
    """The bounds over the minutes."""
    answers, decisions = results["answers"], results["decisions"]
    misses = tuple((row["minutes"], row["miss_rate_upper"]) for row in answers)
    alarms = tuple((row["minutes"], row["false_alarm_rate_upper"]) for row in answers)
    lists = [
        Curve(words, tuple((row["minutes"], row[name]["share"]) for row in decisions if row[name]))
        for name, words in (("let_through", "harm let through"), ("stopped", "false alarms"))
    ]
    return figure(
        (
            Panel("A round of answers: the oracle's errors, at most", "minutes", "share",
                  (Curve("missed", misses), Curve("false alarms", alarms))),
            Panel("A round of decisions, at most", "minutes", "share", tuple(lists)),
        )
    )  # fmt: skip


def _usd(usd: float | None) -> str:
    return "-" if usd is None else f"{usd:.4f}"


def _share(one: Mapping[str, Any] | None) -> str:
    return "-" if one is None else percent_up(one["share"])


def _calls(row: Mapping[str, Any]) -> str:
    if row["calls"] is not None:
        return f"{row['calls']:.1f}"
    required = row["q_required"]
    reachable = required is not None and required < row["harmless_rate"]
    return f"over {row['max_samples']:,}" if reachable else "cannot pass"


if __name__ == "__main__":
    main()
