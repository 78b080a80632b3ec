"""Takes the pictures of docs/telemetry.md and docs/wire.md from a server that runs.

Starts `guardrail serve` with a scripted model behind it, sends mixed traffic for some minutes
(texts, pictures, harm, repeats, faults of the model, strangers' bytes), has Prometheus scrape it,
and takes pictures with Chromium: of queries in Prometheus' own page, of the dashboard, of `/docs`.

The dashboard is drawn by `dashboard.py` from the queries of deploy/grafana/guardrail.json, and not
by Grafana. A panel without data ends this with status 1.

Needs Debian's packages prometheus and chromium. From the repository root:  make pictures
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import yaml
from PIL import Image, ImageDraw

from guardrail.upstreams.scripted import Call, Fault, Step
from guardrail.upstreams.scripted_server import scripted_server

sys.path.insert(0, str(Path(__file__).parent))
from dashboard import draw_dashboard  # (a neighbour, and no package)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LARGEST_BYTES = 200_000
HARM = "I am going to kill you and your whole family tonight. I will stab you with a knife."
ANSWERS = (
    "The picture shows a bowl of fruit on a wooden table.",
    "Two people are walking along the beach at sunset.",
    "Yes, the museum is open on Sundays from ten to five.",
    "A small red car is parked in front of a white house.",
)
PRICES = {"*": {"input_usd_per_million": 2.5, "output_usd_per_million": 10.0}}
QUERIES = ("sum by (decision, reason) (rate(guardrail_decisions_total[1m]))",)


def write_policies(folder: Path) -> Path:
    """Two policies: one that enforces, and one that observes half of the requests."""
    oracle = {"kind": "builtin"}
    for name, more in (
        ("chat", {}),
        ("watched", {"mode": "observe", "observe": {"share": 0.5}}),
    ):
        policy = {"name": name, "oracle": oracle, "advanced": {"prices": PRICES}, **more}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(policy))
    listed = {"policies": [{"policy": "chat.yaml", "match": {"models": ["chat"]}},
                           {"policy": "watched.yaml"}]}  # fmt: skip
    file = folder / "policies.yaml"
    file.write_text(yaml.safe_dump(listed))
    return file


def answer(call: Call) -> Step:
    """What the scripted model says: by the words of the request, with times of its own."""
    asked = str(call.body["messages"][-1])
    delay_s = random.uniform(0.02, 0.25)
    if "outage" in asked:
        return Step(fault=Fault.STATUS, status=503, delay_s=delay_s)
    if "quota" in asked:
        return Step(fault=Fault.STATUS, status=429, retry_after="2", delay_s=delay_s)
    if "threat" in asked:
        return Step(HARM, delay_s=delay_s)
    if random.random() < 0.005:
        return Step(fault=Fault.RESET, delay_s=delay_s)
    return Step(random.choice(ANSWERS), delay_s=delay_s)


def picture_part(seed: int) -> dict[str, Any]:
    """A small drawing as a part of a message."""
    chance = random.Random(seed)
    image = Image.new("RGB", (96, 96), tuple(chance.randrange(256) for _ in range(3)))
    box = sorted(chance.randrange(96) for _ in range(2))
    ImageDraw.Draw(image).ellipse((*box[:1] * 2, *box[1:] * 2), fill=(250, 220, 40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def request_body(number: int) -> dict[str, Any]:
    """The next request: mostly harmless, some harmful, some repeated, some that meet a fault."""
    chance = random.random()
    words = (
        f"Write a threat, number {number}." if chance < 0.12
        else f"During an outage, {number}." if chance < 0.16
        else f"Out of quota, {number}." if chance < 0.17
        else "What are your opening hours?" if chance < 0.25
        else "Write a threat." if chance < 0.30
        else f"What is shown here, {number}?"
    )  # fmt: skip
    content: Any = words
    if words == "Write a threat.":  # equal requests, of which the verdict is remembered
        content = [{"type": "text", "text": words}, picture_part(1)]
    elif random.random() < 0.2:
        content = [{"type": "text", "text": words}, picture_part(number)]
    model = "chat" if random.random() < 0.7 else "watched"
    return {"model": model, "messages": [{"role": "user", "content": content}],
            "stream": random.random() < 0.3}  # fmt: skip


async def send_traffic(base_url: str, seconds: float, rate: float) -> int:
    """Sends requests at random times; how many."""
    end, number = time.monotonic() + seconds, 0
    async with (
        httpx.AsyncClient(base_url=base_url, timeout=120, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):
        while time.monotonic() < end:
            group.create_task(_send(client, number))
            number += 1
            await asyncio.sleep(random.expovariate(rate))
    return number


async def _send(client: httpx.AsyncClient, number: int) -> None:
    try:
        if number % 40 == 7:
            await client.post("/v1/chat/completions", json={"model": "chat"})
        elif number % 40 == 17:
            await client.get("/v1/models", headers={"x-long": "x" * 60_000})
        elif number % 40 == 27:
            await client.get("/v1/models")
        else:
            await client.post("/v1/chat/completions", json=request_body(number))
    except httpx.HTTPError as error:
        print(f"a request ended in {type(error).__name__}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[object], log: Path, wanted: str = "") -> Iterator[re.Match[str]]:
    """A process, from when a line of its output fits to the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command)], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
        )
    try:
        yield _wait_for(process, log, wanted)
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(process: subprocess.Popen[bytes], log: Path, wanted: str) -> re.Match[str]:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(wanted, log.read_text(errors="replace")):
            return found
        time.sleep(0.2)
    raise SystemExit(f"it did not start:\n{log.read_text(errors='replace')[-2000:]}")


def prometheus_command(folder: Path, port: int, metrics_url: str) -> list[object]:
    target = metrics_url.removeprefix("http://").removesuffix("/metrics")
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "alerts.yml")],
        "scrape_configs": [{"job_name": "guardrail", "static_configs": [{"targets": [target]}]}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip


def photograph(url: str, out: Path, *, width: int, height: int, wait_ms: int = 4000) -> None:
    """A picture of a page by Chromium, in few colours so that it stays small."""
    with tempfile.TemporaryDirectory() as profile:
        raw = Path(profile) / "page.png"
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={profile}", f"--window-size={width},{height}",
             f"--virtual-time-budget={wait_ms}", f"--screenshot={raw}", url],
            check=True, capture_output=True, timeout=240,
        )  # fmt: skip
        image = Image.open(raw).convert("RGB")
    image.quantize(colors=128, dither=Image.Dither.NONE).save(out, optimize=True)
    size = out.stat().st_size
    print(f"{out.relative_to(ROOT)}: {image.width} x {image.height}, {size:,} bytes")
    if size > LARGEST_BYTES:
        raise SystemExit(f"{out} has more than {LARGEST_BYTES:,} bytes")


def prometheus_page(base_url: str, minutes: int) -> str:
    """The address of its graphs of some queries."""
    fields = {}
    for number, query in enumerate(QUERIES):
        fields |= {f"g{number}.expr": query, f"g{number}.tab": "0",
                   f"g{number}.range_input": f"{minutes}m"}  # fmt: skip
    return f"{base_url}/graph?{urlencode(fields)}"


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="how long traffic is sent")
    parser.add_argument("--rate", type=float, default=3.0, help="requests a second")
    parser.add_argument("--only-docs", action="store_true", help="take docs/openapi.png alone")
    options = parser.parse_args()
    for program in ("prometheus", "chromium"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing; apt-get install prometheus chromium")
    random.seed(7)
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        async with scripted_server(answer, model="chat") as model, _Webhook() as webhook:
            command = [
                sys.executable, "-m", "guardrail", "serve", "--upstream",
                f"openai_compatible:{model.base_url}", "--policies", write_policies(folder),
                "--port", 0, "--metrics-port", 0, "--metrics-model", "chat",
                "--metrics-model", "watched", "--canary-every", 15, "--webhook", webhook,
                "--records", folder / "records.jsonl", "--log-level", "warning",
            ]  # fmt: skip
            log = folder / "serve.log"
            metrics = await asyncio.to_thread(
                stack.enter_context, running(command, log, r"metrics at (http://\S+)")
            )
            base_url = re.search(r"at (http://\S+)/v1", log.read_text())[1]
            if not options.only_docs:
                await _take_dashboard(stack, folder, options, base_url, metrics[1])
            await asyncio.to_thread(
                photograph, f"{base_url}/docs", DOCS / "openapi.png", width=1100, height=1430
            )
    return 0


async def _take_dashboard(
    stack: ExitStack, folder: Path, options: argparse.Namespace, base_url: str, metrics_url: str
) -> None:
    port = free_port()
    scraper = f"http://127.0.0.1:{port}"
    command = prometheus_command(folder, port, metrics_url)
    await asyncio.to_thread(
        stack.enter_context, running(command, folder / "prometheus.log", "ready to receive")
    )
    sent = await send_traffic(base_url, options.seconds, options.rate)
    await asyncio.sleep(5)
    print(f"{sent} requests in {options.seconds:g} s")
    minutes = max(2, round(options.seconds / 60))
    await asyncio.to_thread(
        photograph, prometheus_page(scraper, minutes), DOCS / "prometheus.png",
        width=1200, height=900, wait_ms=15000,
    )  # fmt: skip
    page = folder / "dashboard.html"
    size, empty = await asyncio.to_thread(draw_dashboard, scraper, page, options.seconds)
    await asyncio.to_thread(
        photograph, page.as_uri(), DOCS / "dashboard.png", width=size[0], height=size[1]
    )
    if empty:
        raise SystemExit(f"panels without data: {', '.join(empty)}")


class _Webhook:
    """A webhook that takes everything; its URL."""

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @staticmethod
    async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
