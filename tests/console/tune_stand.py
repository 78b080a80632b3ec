"""A policy with a quick test, decisions that it made, and what the page Tune knows of them."""

import asyncio

from guardrail.api.building import open_deployment
from guardrail.api.deployment import Plan
from guardrail.api.settings import ServerSettings
from guardrail.console.tune_work import TuneTask
from guardrail.console.windows import DecisionWindow
from guardrail.policy.compile import policy_digest
from guardrail.policy.load import load_policy
from guardrail.policy.policy_list import ListedPolicy
from guardrail.policy.upstreams import UpstreamEntry
from guardrail.records.open import open_journal
from guardrail.records.origin import Origin
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from tests.records.conftest import CONTENT_KEYS
from tests.replay.conftest import KEY, World, make_chat, make_engine, make_picture

TUNED = """# What most requests get.
name: tuned
oracle: {kind: builtin, threshold: 0.5}
smoothing:
  radius: 0.25
  alpha: 0.05   # a quick test
goals: {false_alarms: "<= 5%"}
sampling: {max_samples: 100}
advanced:
  smoothing: {canvas_max_side_px: 8, canvas_min_side_px: 1}
  limits: {retries: 0, deadline_s: 1000.0, call_timeout_s: 900.0}
  sampling: {plan: fixed, power: 0.9}
"""


def write_policy(folder, text=TUNED):
    file = folder / "tuned.yaml"
    file.write_text(text)
    return file


def open_file(file):
    """The deployment of one policy's file."""

    def read():
        return Plan((ListedPolicy(load_policy(file)),), (UpstreamEntry(upstream="builtin"),))

    return open_deployment(read, KEY, ServerSettings())


def record_decisions(address, policy, count=24):
    """The ids of decisions of a real engine: one in four mostly harmful, pictures and texts."""

    async def go():
        ids = []
        for number in range(count):
            harm = 0.9 if number % 4 == 0 else 0.05
            engine = make_engine(policy, World(salt=number, harm=harm))
            pictures = 0 if number % 6 == 5 else 1
            chat = make_chat(pictures, f"question {number}")
            decoded = [make_picture(number)] * pictures
            verdict = await engine.decide(chat, decoded)
            recorder = Recorder(writer, engine, content_keys=CONTENT_KEYS)
            ids.append(await recorder.keep(verdict, chat, Origin()))
        return ids

    journal = open_journal(address)
    writer = RecordWriter(journal)
    try:
        return asyncio.run(go())
    finally:
        writer.close()
        journal.close()


def find_work(console, most=5_000):
    """What the page knows of the policy."""
    policy = console.deployment.current.policies[0].listed.policy
    return console.tuning.open(
        TuneTask(policy.name, policy_digest(policy), DecisionWindow(str(most), most)), policy
    )
