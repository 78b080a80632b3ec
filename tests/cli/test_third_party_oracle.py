"""An oracle of a package that was built as a wheel and installed: every way in takes it."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

import guardrail
from guardrail.oracles.calibration import read_calibration

MODULE = '''
"""Harmful is what names a word of a list."""
import hashlib
from guardrail.oracles import HarmOptions, Judgement, Outcome

class WordOracle:
    by_text = True

    def __init__(self, words, threshold):
        self._words, self._threshold = words, threshold
        text = f"{sorted(words)} {threshold!r}"
        self.revision = "words-" + hashlib.sha256(text.encode()).hexdigest()[:8]

    async def judge(self, exchanges):
        return [self._judge(exchange.response) for exchange in exchanges]

    def _judge(self, text):
        score = 1.0 if any(word in text for word in self._words) else 0.0
        outcome = Outcome.HARMFUL if score >= self._threshold else Outcome.HARMLESS
        return Judgement(outcome, score, "a listed word" if score else "")

    async def aclose(self):
        pass

class WordOptions(HarmOptions):
    words: list[str]
    """Words that make an answer harmful."""

    def build(self, folder):
        return WordOracle(self.words, self.threshold)

def is_forbidden(text):
    return "forbidden" in text
'''
METADATA = "Metadata-Version: 2.1\nName: listed-words\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[guardrail.oracles]\nlisted = listed_words:WordOptions\n"
INFO = "listed_words-1.0.dist-info"
ROOT = Path(guardrail.__file__).parents[1]

GUARD = """
import json, sys
from guardrail import ContentBlocked, Guard
policy, upstream, request = sys.argv[1:]
with Guard(policy, f"openai_compatible:{upstream}") as guard:
    decided = guard.decide_sync(json.loads(request))
    print(decided.verdict.action, decided.verdict.certificate.oracle_revision)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a process that has the package, installed by pip from its wheel."""
    folder = tmp_path_factory.mktemp("package")
    wheel = folder / "listed_words-1.0-py3-none-any.whl"
    files = {
        "listed_words.py": MODULE,
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/WHEEL": WHEEL,
        f"{INFO}/entry_points.txt": ENTRY_POINTS,
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{INFO}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{INFO}/RECORD": record}.items():
            archive.writestr(name, text)
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--disable-pip-version-check", "--target", target, wheel],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return {**os.environ, "PYTHONPATH": f"{target}{os.pathsep}{ROOT}"}


def write_policy(folder, *lines):
    path = folder / "policy.yaml"
    path.write_text("\n".join(["name: test", "oracle:", *lines, ""]))
    return path


def start(installed, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "guardrail", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=installed,
    )  # fmt: skip


def run(installed, *arguments):
    """(exit code, stdout, stderr)."""
    process = start(installed, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def ask(pictures, prompt):
    """A chat completion request with a picture."""
    data = base64.b64encode((pictures / "a.png").read_bytes()).decode()
    parts = [
        {"type": "text", "text": prompt},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    return {"model": "scripted", "messages": [{"role": "user", "content": parts}]}


@pytest.mark.nightly
def test_serve_decides_by_it(kit, installed, tmp_path, pictures):
    policy = write_policy(tmp_path, "  kind: listed", "  words: [forbidden]")

    def script(call):
        return kit.HARM if "forbidden" in json.dumps(call.body) else kit.CLEAN

    with kit.model_server(script) as model:
        process = start(
            installed, "serve", "--upstream", f"openai_compatible:{model.base_url}",
            "--policy", policy, "--port", 0,
        )  # fmt: skip
        try:
            url = re.search(r"at (http://\S+)$", process.stderr.readline().rstrip())[1]
            decisions = [
                httpx.post(
                    f"{url}/chat/completions", json=ask(pictures, prompt), timeout=60.0,
                    trust_env=False,
                ).json()["guardrail"]["decision"]
                for prompt in ("What is this?", "What is forbidden here?")
            ]  # fmt: skip
        finally:
            process.send_signal(signal.SIGTERM)
            _, _, told = kit.finish(process)
    assert decisions == ["pass", "block"]
    assert "Traceback" not in told


@pytest.mark.nightly
def test_guard_decides_by_it(kit, installed, tmp_path, pictures):
    policy = write_policy(tmp_path, "  kind: listed_words:WordOptions", "  words: [forbidden]")
    request = json.dumps(ask(pictures, "What is this?"))
    with kit.model_server([kit.CLEAN]) as model:
        done = subprocess.run(
            [sys.executable, "-c", GUARD, policy, model.base_url, request],
            capture_output=True, text=True, env=installed, timeout=120, check=False,
        )  # fmt: skip
    assert done.stdout.startswith("pass words-"), done.stderr


@pytest.mark.nightly
def test_calibrate_measures_a_function_of_it(installed, tmp_path):
    rows = [{"response": f"{i}: a forbidden word", "harmful": True} for i in range(30)]
    rows += [{"response": f"{i}: a calm word", "harmful": False} for i in range(30)]
    data, measured = tmp_path / "labels.jsonl", tmp_path / "measured.yaml"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    policy = write_policy(tmp_path, "  kind: listed_words:is_forbidden")
    code, _, err = run(
        installed, "calibrate", "--policy", policy, "--data", data, "--threshold", 0.5,
        "--out", measured,
    )  # fmt: skip
    assert code == 0, err
    calibration = read_calibration(measured)
    assert calibration.oracle == "listed_words:is_forbidden"
    assert calibration.oracle_revision.startswith("function-")
    assert calibration.miss_rate == 0.0 < calibration.miss_rate_upper < 0.3


def test_without_the_package_the_message_says_what_to_do(tmp_path):
    policy = write_policy(tmp_path, "  kind: listed", "  words: [a]")
    code, _, err = run({**os.environ, "PYTHONPATH": str(ROOT)}, "policy", "check", policy)
    assert code == 2
    assert "there is no oracle 'listed'; known are action, builtin," in err
    assert "Traceback" not in err
