"""What each turn of a chat costs whose picture comes again every turn.

A chat of ten turns in two forms: the user attaches the same picture to every message (`attached
anew`), or to the first one only, which the client sends again with the history (`first message`).
Each is played with `images.history: all` and `last 1`, by the default policy, against a scripted
model in a process of its own that answers at once. Per turn are noted: the calls to the model, the
pictures in each of them, the bytes of all request bodies, and the processor time of this process:
decoding, noise, encoding, HTTP, the built-in oracle. Then every turn is asked once more, as a
client does that lost the answer, which the decision memory serves. Every chat is played three times
by a guard that remembers nothing of the others; table.md has the medians and results.json all of
it. Two minutes.

Run from the repository root:  python benchmarks/recurring_pictures/run.py
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import multiprocessing
import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from guardrail import Guard
from guardrail.policy.load import load_policy
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted_server import scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from guardrail.policy.schema import Policy
    from guardrail.upstreams.scripted import Call

HERE = Path(__file__).parent
TURNS = 10
ROUNDS = 3
SHOWN = (1, 2, 5, 10)
WIDTH, HEIGHT = 320, 240
ANSWER = "A picture of two people in a park."
FORMS = ("attached anew", "first message")
HISTORIES = ("all", "last 1")


def serve_model(pipe: Connection) -> None:
    """Serves the model until the pipe closes; tells calls, pictures and bytes when asked."""

    async def serve() -> None:
        seen = {"calls": 0, "pictures": 0, "bytes": 0}

        def script(call: Call) -> str:
            seen["calls"] += 1
            seen["pictures"] += len(call.pictures)
            seen["bytes"] += int(call.headers["content-length"])
            return ANSWER

        async with scripted_server(script) as server:
            pipe.send(server.base_url)
            while await asyncio.to_thread(pipe.recv):
                pipe.send(dict(seen))
                seen.update(dict.fromkeys(seen, 0))
                server.log.calls.clear()

    asyncio.run(serve())


def picture_url() -> str:
    """A smooth picture with some texture, as photographs have it."""
    across, down = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    texture = np.random.default_rng(0).normal(0, 6, (HEIGHT, WIDTH, 3))
    pixels = 255 * np.stack([across, down, (across + down) / 2], -1) + texture
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def policy_with(history: str) -> Policy:
    """The default policy, with room for a picture in each turn."""
    policy = load_policy("default")
    images = policy.images.model_copy(update={"history": history})
    limits = policy.advanced.limits.model_copy(update={"max_images": TURNS})
    advanced = policy.advanced.model_copy(update={"limits": limits})
    return policy.model_copy(update={"images": images, "advanced": advanced})


def requests(form: str, url: str) -> Iterator[dict[str, Any]]:
    """The body of each turn's request."""
    messages: list[dict[str, Any]] = []
    for turn in range(1, TURNS + 1):
        content: list[dict[str, Any]] = [{"type": "text", "text": f"Question {turn}?"}]
        if turn == 1 or form == "attached anew":
            content.append({"type": "image_url", "image_url": {"url": url}})
        messages = [*messages, {"role": "user", "content": content}]
        yield {"model": "scripted", "messages": messages}
        messages = [*messages, {"role": "assistant", "content": ANSWER}]


def measure(guard: Guard, body: dict[str, Any], pipe: Connection) -> dict[str, Any]:
    """One request: what it cost here, and what the model saw of it."""
    started_s = time.process_time()
    about = guard.complete_sync(body)["guardrail"]
    spent_s = time.process_time() - started_s
    pipe.send(True)
    seen = pipe.recv()
    assert about["decision"] == "pass"
    return {
        "calls": seen["calls"],
        "pictures_per_call": seen["pictures"] / seen["calls"] if seen["calls"] else 0,
        "bytes": seen["bytes"],
        "processor_ms": round(spent_s * 1e3, 1),
        "remembered": about["remembered"],
    }


def play(form: str, history: str, url: str, pipe: Connection, model: str) -> list[dict[str, Any]]:
    """All turns of one chat, each asked once and then once more."""
    rows = []
    with Guard(policy_with(history), OpenAICompatible(model), key=None) as guard:
        guard.complete_sync(next(requests(form, url)) | {"model": "warm-up"})
        pipe.send(True)
        pipe.recv()
        for turn, body in enumerate(requests(form, url), start=1):
            first, again = (measure(guard, body, pipe) for _ in range(2))
            rows.append({"form": form, "history": history, "turn": turn, **first, "again": again})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    columns = ("picture", "images.history", "turn", "calls", "pictures in each", "MB to the model")
    columns += ("processor ms", "again: calls", "again: processor ms")
    lines = [
        "# A picture that comes again every turn",
        "",
        f"Written by `run.py`: the default policy, a picture of {WIDTH}x{HEIGHT} pixels, medians",
        f"of {ROUNDS} rounds. `again` is the same turn asked a second time, which the decision",
        "memory serves.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for form in FORMS:
        for history in HISTORIES:
            for turn in SHOWN:
                told = " | ".join(medians(rows, form, history, turn))
                lines.append(f"| {form} | `{history}` | {turn} | {told} |")
    return "\n".join([*lines, ""])


def medians(rows: list[dict[str, Any]], form: str, history: str, turn: int) -> Iterator[str]:
    """The last six columns of one turn."""
    played = [r for r in rows if (r["form"], r["history"], r["turn"]) == (form, history, turn)]

    def median(name: str, rows: list[dict[str, Any]] = played) -> float:
        return statistics.median(row[name] for row in rows)

    again = [row["again"] for row in played]
    yield f"{median('calls'):.0f}"
    yield f"{median('pictures_per_call'):.0f}"
    yield f"{median('bytes') / 1e6:.1f}"
    yield f"{median('processor_ms'):.0f}"
    yield f"{median('calls', again):.0f}"
    yield f"{median('processor_ms', again):.0f}"


def main() -> None:
    here, there = multiprocessing.get_context("spawn").Pipe()
    model = multiprocessing.get_context("spawn").Process(target=serve_model, args=(there,))
    model.start()
    try:
        base_url, url = here.recv(), picture_url()
        rows = [
            {"round": number, **row}
            for number in range(ROUNDS)
            for form in FORMS
            for history in HISTORIES
            for row in play(form, history, url, here, base_url)
        ]
    finally:
        here.send(False)
        model.join()
    about = {"python": platform.python_version(), "cores": os.cpu_count()}
    about |= {"load": round(os.getloadavg()[0], 1), "width": WIDTH, "height": HEIGHT}
    results = json.dumps({"machine": about, "rows": rows}, indent=1)
    (HERE / "results.json").write_text(results + "\n")
    (HERE / "table.md").write_text(table(rows))


if __name__ == "__main__":
    main()
