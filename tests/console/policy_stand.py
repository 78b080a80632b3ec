"""A server's policies in a folder, with a console beside them that may write there."""

import asyncio
from contextlib import contextmanager

import yaml

from guardrail.api.building import open_deployment
from guardrail.api.deployment import Plan
from guardrail.api.settings import ServerSettings
from guardrail.console.console import open_console
from guardrail.images.keys import NoiseKey
from guardrail.policy.load import load_policy
from guardrail.policy.policy_list import ListedPolicy, load_policies
from guardrail.policy.upstreams import UpstreamEntry

KEY = NoiseKey(bytes(32))
USUAL = """# What most requests get.
name: usual
oracle: {kind: lexicon, file: words.yaml, miss_rate_upper: 0.01, delta: 0.001}
smoothing: {radius: 0.25}
block: {text: Blocked.}
"""
KIDS = """name: kids
oracle: {kind: lexicon, file: words.yaml, miss_rate_upper: 0.01, delta: 0.001}
smoothing: {radius: 0.3}
block: {text: Not for kids.}
"""
WORDS = """version: 1
entries:
  - phrase: forbidden
    category: dangerous
"""
MATCH = {"models": ["small-*"]}


def write_policies(folder, usual=USUAL):
    (folder / "words.yaml").write_text(WORDS)
    (folder / "usual.yaml").write_bytes(usual.encode())
    (folder / "kids.yaml").write_text(KIDS)
    listed = [{"policy": "kids.yaml", "match": MATCH}, {"policy": "usual.yaml"}]
    (folder / "policies.yaml").write_text(yaml.safe_dump({"policies": listed}))


def open_files(folder):
    """The deployment of the files of a folder."""
    entry = UpstreamEntry(upstream="builtin")

    def read():
        return Plan(load_policies(folder / "policies.yaml"), (entry,))

    return open_deployment(read, KEY, ServerSettings())


def open_shipped():
    def read():
        return Plan((ListedPolicy(load_policy("default")),), (UpstreamEntry(upstream="builtin"),))

    return open_deployment(read, KEY, ServerSettings())


@contextmanager
def open_beside(deployment, address, **options):
    """A console beside a deployment; closes both."""
    try:
        with open_console(address, deployment=deployment, **options) as console:
            yield console
    finally:
        asyncio.run(deployment.aclose())
