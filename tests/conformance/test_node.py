"""The clients of Node, all asks in one process: openai, and Vercel's ai."""

import json
import shutil
import subprocess
from dataclasses import asdict

import pytest

CLIENTS = ("openai (Node)", "ai + @ai-sdk/openai-compatible", "ai + @ai-sdk/openai")
LEAVING = 2  # the last one has no ask that is left

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None,  # comes with Node; what it installs is in the committed lock
    reason="Node is not installed, so its clients are not tested; install node and npm",
)


@pytest.fixture(scope="module")
def packages(kit):
    """The folder with what the committed lock names; installed where that was not done yet."""
    folder = kit.HERE / "node"
    installed, lock = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, timeout=300)
        installed.touch()
    return folder


@pytest.fixture(scope="module")
def seen(kit, world, packages):
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
        cwd=packages,
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
