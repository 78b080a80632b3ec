"""Every page that is one file, as a browser shows it: in both schemes, on a desk and on a phone."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient

from guardrail.cli import calibrate, check, observe, policy_replay, recall, tune
from guardrail.demo.report import write_report
from guardrail.demo.run import run_demo
from guardrail.demo.scenes import SceneKind
from guardrail.demo.summary import summarise
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.app import create_app
from guardrail.upstreams.scripted import Scripted
from tests.console.browser import (
    MISSING,
    find_chromium,
    find_violations,
    is_scrolled_sideways,
    running_browser,
)
from tests.demo.conftest import MissesScum, make_scene, painted

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
SMALLEST_TEXT_PX = 9.0
VERDICT = """
name: test
goals: {false_alarms: '<= 50%', recall: '>= 20% within 0.2'}
smoothing: {claim: verdict}
advanced:
  sampling: {plan: fixed, max_parallel: 8}
  limits: {retries: 0, call_timeout_s: 300.0, deadline_s: 600.0}
"""
# Height of text in a chart, on the screen; the smallest one.
TEXT_HEIGHT = """() => Math.min(...[...document.querySelectorAll('svg text')].map(one =>
  parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a))"""


@pytest.fixture(scope="module")
def browser():
    if find_chromium() is None:
        pytest.skip(MISSING)
    with running_browser() as opened:
        yield opened


def run(command, *arguments):
    told = CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)
    assert told.exit_code == 0, told.output


class Maker:
    """Makes the pages; each method is one."""

    def __init__(self, folder, kit, put_model):
        self.folder, self.kit, self.put_model = folder, kit, put_model
        self.page = folder / "page.html"
        self.policy = folder / "policy.yaml"
        self.policy.write_text(VERDICT)

    def docs(self):
        policy = load_policy(self.policy)
        engine = Engine(
            compile_policy(policy), Scripted(["a"]), self.kit.Words(), NoiseKey(bytes(32))
        )
        with TestClient(create_app(policy, engine)) as client:
            self.page.write_text(client.get("/docs").text)

    def calibrate(self):
        data = self.folder / "labels.jsonl"
        harm = [{"response": f"I will kill you, number {i}.", "harmful": True, "category": "a b"}
                for i in range(40)]  # fmt: skip
        fine = [{"response": f"A cup of tea, number {i}.", "harmful": False, "language": "en"}
                for i in range(40)]  # fmt: skip
        odd = [{"response": "We planned it for weeks. " * 9, "harmful": True, "prompt": "x" * 400}]
        data.write_text("".join(json.dumps(row) + "\n" for row in [*harm, *fine, *odd]))
        run(calibrate.command, "--oracle=builtin", f"--data={data}", "--target-miss-rate=0.2",
            "--delta=0.05", f"--report={self.page}")  # fmt: skip

    def recall(self):
        self._put_blind_model()
        run(recall.command, "--policy", self.policy, *self._requests(), "--draws=20",
            f"--report={self.page}")  # fmt: skip

    def tune(self):
        kit = self.kit
        self.put_model(lambda call: kit.HARM if "forbidden" in str(call.body) else kit.CLEAN)
        run(tune.command, "--policy", self.policy, *self._requests(24), "--draws=22",
            f"--report={self.page}")  # fmt: skip

    def replay(self):
        picture, records = self.folder / "a.png", self.folder / "records.jsonl"
        Image.new("RGB", (8, 6)).save(picture)
        for answer in (self.kit.CLEAN, self.kit.HARM):
            self.put_model([answer])
            CliRunner().invoke(check.command, [str(picture), f"--policy={self.policy}",
                                               f"--records={records}"])  # fmt: skip
        other = self.folder / "other.yaml"
        other.write_text(f"name: other\nextends: {self.policy}\nsmoothing: {{alpha: 0.05}}\n")
        run(policy_replay.command, "--records", records, "--policy", other, "--report", self.page)

    def observe(self):
        place = self.folder / "records.db"
        policy = load_policy("observe")
        writer = RecordWriter(open_journal(str(place)))
        kit = self.kit
        engine = Engine(compile_policy(policy), Scripted([kit.CLEAN]), kit.Words(),
                        NoiseKey(bytes(32)))  # fmt: skip
        recorder = Recorder(writer, engine)

        async def keep():
            from guardrail.records.origin import Origin
            from guardrail.types import Chat

            for text in ("one", "two"):
                chat = Chat("scripted", ({"role": "user", "content": text},))
                await recorder.keep(await engine.decide(chat, []), chat, Origin())
            await asyncio.to_thread(writer.close)

        asyncio.run(keep())
        run(observe.command, "report", "--records", place, "--report", self.page)

    def demo(self):
        policy = load_policy("default")
        engine = Engine(compile_policy(policy), Scripted(painted), MissesScum(),
                        NoiseKey(bytes(32)))  # fmt: skip
        scenes = [make_scene(kind) for kind in SceneKind]
        results = asyncio.run(run_demo(policy, engine, scenes, tries=2, done=lambda: None))
        write_report(self.page, results, summarise(results), engine)

    def _put_blind_model(self):
        """It answers one of the forbidden requests as if it were an ordinary one."""
        kit = self.kit
        self.put_model(lambda call: kit.HARM if "forbidden question" in str(call.body)
                       and "question 7" not in str(call.body) else kit.CLEAN)  # fmt: skip

    def _requests(self, count=16):
        options, dice = [], np.random.default_rng(0)
        for kind in ("forbidden", "clean"):
            rows = []
            for i in range(count):
                pixels = dice.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(self.folder / f"{kind}{i}.png")
                rows.append({"image": f"{kind}{i}.png", "prompt": f"{kind} question {i}"})
            table = self.folder / f"{kind}.jsonl"
            table.write_text("".join(json.dumps(row) + "\n" for row in rows))
            options += [f"--{kind}", table]
        return options


@pytest.mark.parametrize(
    "name",
    [
        *("docs", "calibrate", "recall", "tune", "replay", "observe"),
        pytest.param("demo", marks=pytest.mark.nightly),
    ],
)
def test_a_page_is_read_by_everybody_and_asks_nobody(name, browser, tmp_path, kit, model):
    maker = Maker(tmp_path, kit, model)
    # Playwright has an event loop in this thread, and commands begin one of their own.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(getattr(maker, name)).result()
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport=DESK, color_scheme=scheme)
        asked, said = [], []
        context.on("request", lambda request, asked=asked: asked.append(request.url))
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda one, said=said: said.append(one.text))
        page.goto(maker.page.as_uri())
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for viewport in (DESK, PHONE):
            page.set_viewport_size(viewport)
            # The schemes differ by colours alone, so one width is enough for each.
            if (scheme, viewport) in (("light", PHONE), ("dark", DESK)):
                assert find_violations(page) == [], (scheme, viewport)
            assert not is_scrolled_sideways(page), viewport
            assert page.evaluate(TEXT_HEIGHT) >= SMALLEST_TEXT_PX, viewport
        # A page that is dark has dark pictures: nothing in a chart keeps a colour of its own.
        assert page.locator("svg [fill^='#'], svg [stroke^='#']").count() == 0
        context.close()
        assert [url for url in asked if not url.startswith("data:")] == [maker.page.as_uri()]
        assert said == []
