"""Fills in the table of results for a model of your own: recall, clean passed, usefulness, seconds.

    python benchmarks/local_model/run.py --upstream transformers:ORG/MODEL \\
        --forbidden forbidden.jsonl --clean clean.jsonl

Any spec of an upstream will do, also `openai_compatible:URL` for a vLLM server beside it. Rows of
--clean: {"id": …, "image": "a.png", "prompt": …, "expected": ["dog", "red"]}, one a line; without
the option scenes of the built-in kinds are drawn, whose things are expected. --forbidden takes what
`guardrail recall` does; only for the built-in model are there scenes to draw instead, as no other
one answers them harmfully. What is done is kept in --work: a stopped run goes on from there.
The page is results/NAME.md, from results/template.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.assembly import build_engine, read_policy
from guardrail.demo.scenes import PROMPT
from guardrail.engine.verdict import Action
from guardrail.images.codec import decode_image
from guardrail.policy.compile import image_limits
from guardrail.types import picture_chat
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Verdict
    from guardrail.images.limits import ImageLimits

HERE = Path(__file__).parent
NOT_MEASURED = "not measured: give --forbidden"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upstream", default="builtin")
    parser.add_argument("--policy", default="default")
    parser.add_argument("--forbidden", type=Path, help="requests that should be stopped")
    parser.add_argument("--clean", type=Path, help="requests that should pass, JSON lines")
    parser.add_argument("--draws", type=int, default=100, help="of each forbidden request")
    parser.add_argument("--scenes", type=int, default=40, help="drawn where no requests are given")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--name", help="of the page; from the model's name by default")
    parser.add_argument("--work", type=Path, default=Path("local_model_work"))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args(arguments)
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    recall = measure_recall(args)  # in a process of its own: one copy of the model at a time
    rows, facts = decide_clean(args)
    name = args.name or re.sub(r"[^\w.-]+", "_", args.upstream.partition(":")[2] or args.upstream)
    (args.out / f"{name}.md").write_text(fill_template(args, facts, rows, recall))
    print(args.out / f"{name}.md")


def measure_recall(args: argparse.Namespace) -> dict[str, Any] | None:
    """What `guardrail recall` prints; None where there is nothing to measure it on."""
    forbidden = args.forbidden
    if forbidden is None and args.upstream == "builtin":
        forbidden = draw_requests(args.work / "forbidden", args.scenes, is_forbidden=True)
    if forbidden is None:
        return None
    command = [
        sys.executable, "-m", "guardrail", "recall", "--json", "--forbidden", str(forbidden),
        "--upstream", args.upstream, "--policy", args.policy, "--draws", str(args.draws),
        "--max-tokens", str(args.max_tokens), "--out", str(args.work / "recall.json"),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decide_clean(args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each clean request, and what decided them."""
    file = args.clean or draw_requests(args.work / "clean", args.scenes, is_forbidden=False)
    requests = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    policy = read_policy(args.policy)
    engine = build_engine(policy, args.upstream)
    facts = {
        "model": engine.upstream.name, "revision": engine.upstream.revision,
        "oracle": engine.oracle.revision, "policy_digest": engine.rules.digest,
        "requests": str(file), "max_tokens": args.max_tokens,
    }  # fmt: skip
    log = args.work / "clean.log.jsonl"
    done = _read_log(log, facts)
    limits = image_limits(policy)
    asyncio.run(_decide_all(engine, requests, file.parent, limits, done, log, args.max_tokens))
    return list(done.values()), facts


async def _decide_all(
    engine: Engine, requests: list[dict[str, Any]], folder: Path, limits: ImageLimits,
    done: dict[str, dict[str, Any]], log: Path, max_tokens: int,
) -> None:  # fmt: skip
    """Decides what is not done yet, one request after the other, and keeps each."""
    model = (await engine.upstream.models())[0]
    try:
        for number, request in enumerate(requests):
            name = str(request.get("id", number))
            if name in done:
                continue
            data = (folder / request["image"]).read_bytes()
            picture = decode_image(data, declared_media_type=None, limits=limits, param=name)
            prompt = request.get("prompt") or PROMPT
            chat = picture_chat(model, prompt, {"max_tokens": max_tokens})
            # Without noise and guard; the first of all loads the model, outside of any time.
            bare = await engine.upstream.complete(chat, [picture.pixels], seed=number)
            start = time.monotonic()
            verdict = await engine.decide(chat, [picture])
            seconds = time.monotonic() - start
            done[name] = {"id": name, "seconds": seconds,
                          **_row(verdict, bare.text, request.get("expected"))}  # fmt: skip
            with log.open("a") as lines:
                lines.write(json.dumps(done[name]) + "\n")
    finally:
        await engine.aclose()


def _row(verdict: Verdict, bare: str, expected: list[str] | None) -> dict[str, Any]:
    answer = verdict.answer.text if verdict.answer is not None else ""
    return {
        "passed": verdict.action is Action.PASS, "reason": verdict.reason.value,
        "calls": verdict.usage.calls,
        "useful": holds(answer, expected) if expected else None,
        "useful_bare": holds(bare, expected) if expected else None,
    }  # fmt: skip


def holds(text: str, expected: Sequence[str]) -> bool:
    """Whether each of the words stands in the text, as a whole word in any case."""
    return all(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in expected)


def fill_template(
    args: argparse.Namespace,
    facts: dict[str, Any],
    rows: list[dict[str, Any]],
    recall: dict[str, Any] | None,
) -> str:
    """The page."""
    smoothing = read_policy(args.policy).smoothing
    certified = [row for row in rows if row["reason"] == "certified"]
    return (HERE / "results" / "template.md").read_text().format(
        model=facts["model"], revision=facts["revision"], oracle=facts["oracle"],
        policy=args.policy, sigma=f"{smoothing.sigma:g}", radius=f"{smoothing.radius:g}",
        alpha=f"{smoothing.alpha:g}", code_version=__version__, machine=_machine(),
        command=_command(args), recall=_recall_text(recall),
        clean_passed=f"{sum(row['passed'] for row in rows)} of {len(rows)}",
        useful_delivered=_share(rows, "useful"), useful_bare=_share(rows, "useful_bare"),
        calls=_median(certified, "calls", 0), seconds=_median(certified, "seconds", 2, most=True),
    )  # fmt: skip


def _recall_text(recall: dict[str, Any] | None) -> str:
    if recall is None:
        return NOT_MEASURED
    reaches = (
        f"{one['recall']:g} " + ("not shown" if one["radius"] is None else
                                 f"within {int(1e4 * one['radius']) / 1e4:.4f}")
        for one in recall["reaches"]
    )  # fmt: skip
    return f"{'; '.join(reaches)} ({recall['requests']} requests, {recall['draws']} draws each)"


def _share(rows: list[dict[str, Any]], name: str) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{sum(known)} of {len(known)}" if known else "not measured: no row has 'expected'"


def _median(rows: list[dict[str, Any]], name: str, digits: int, most: bool = False) -> str:
    values = [row[name] for row in rows]
    if not values:
        return "no certificate"
    slowest = f" ({max(values):.{digits}f})" if most else ""
    return f"{statistics.median(values):.{digits}f}{slowest}"


def _command(args: argparse.Namespace) -> str:
    words = ["python benchmarks/local_model/run.py", f"--upstream {args.upstream}"]
    words += [f"--policy {args.policy}", f"--draws {args.draws}", f"--max-tokens {args.max_tokens}"]
    words += [f"--forbidden {args.forbidden.name}"] if args.forbidden else []
    words += [f"--clean {args.clean.name}"] if args.clean else [f"--scenes {args.scenes}"]
    return " ".join(words)


def _machine() -> str:
    try:
        import torch
    except ImportError:
        return platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return gpu or f"{platform.machine()}, {torch.get_num_threads()} threads"


def _read_log(log: Path, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows that are done. Ends the program where they are of another run."""
    if not log.exists():
        log.write_text(json.dumps(facts) + "\n")
        return {}
    head, *rows = map(json.loads, log.read_text().splitlines())
    if head != facts:
        changed = ", ".join(name for name in facts if head.get(name) != facts[name])
        raise SystemExit(f"{log} is of another run ({changed}); give another --work")
    return {row["id"]: row for row in rows}


def draw_requests(folder: Path, count: int, *, is_forbidden: bool) -> Path:
    """Draws scenes with one to three things, and writes them with the table of their requests."""
    from guardrail.builtin.kinds import FORBIDDEN, HARMLESS
    from guardrail.builtin.scenes import SpriteBank, draw_scene
    from guardrail.demo.scenes import SIDE_PX
    from guardrail.images.encode import encode_image

    table = folder / "requests.jsonl"
    if table.exists():
        return table
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((2028, is_forbidden))
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=rng)
    rows = []
    for number in range(count):
        kinds = [str(kind) for kind in rng.choice(list(HARMLESS), 1 + number % 3, replace=False)]
        if is_forbidden:
            kinds[0] = list(FORBIDDEN)[number % len(FORBIDDEN)]
        pixels = draw_scene(bank, rng, tuple(kinds)).pixels
        (folder / f"{number:03d}.png").write_bytes(encode_image(pixels, "png"))
        rows.append({"id": f"{number:03d}", "image": f"{number:03d}.png", "prompt": PROMPT,
                     "expected": kinds})  # fmt: skip
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


if __name__ == "__main__":
    main()
