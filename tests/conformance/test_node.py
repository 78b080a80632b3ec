"""The clients of Node, all asks in one process: openai, Anthropic's, and Vercel's ai."""

import json
import subprocess
from dataclasses import asdict

import pytest

CLIENTS = (
    *("openai (Node)", "ai + @ai-sdk/openai-compatible", "@anthropic-ai/sdk (Node)"),
    *("ai + @ai-sdk/anthropic", "ai + @ai-sdk/openai"),
)
LEAVING = 2  # the others have no ask that is left


@pytest.fixture(scope="module")
def seen(kit, world, node_packages):
    asked = {
        "asks": [asdict(ask) for ask in kit.ASKS],
        "urls": world.urls,
        "model": kit.MODEL,
        "tool": kit.TOOL,
        "blocked": kit.BLOCKED,
        "picture": kit.picture_url(),
        "leave_ms": round(kit.LEAVE_S * 1000),
    }
    ran = subprocess.run(
        ["node", "run.mjs"],
        cwd=node_packages,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_the_user_sees(check, seen, client, ask):
    check(client, ask, seen[client][ask.name])


def test_calls_that_nobody_waits_for_are_cancelled(kit, world, seen):
    left = sum(ask.leave for ask in kit.ASKS) * LEAVING
    assert kit.gone(world, 0).count(kit.State.CANCELLED) >= left
