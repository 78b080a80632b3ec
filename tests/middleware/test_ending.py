"""A process that ends: nothing is left open, and compiled code is not torn down in its work."""

import subprocess
import sys

import pytest

SESSION = """
import sys
from guardrail import Guard, UpstreamError
guard = Guard("quick", "openai_compatible:http://127.0.0.1:9/v1", oracle=lambda text: False)
try:
    guard.complete_sync({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
except UpstreamError:
    print("asked")
"""
COMPUTING = """
import threading, time
from guardrail.batching import ThreadBatcher
begun = threading.Event()

def work(batch):
    begun.set()
    time.sleep(0.3)
    print("came back", flush=True)
    return batch.items

batcher = ThreadBatcher(work, max_batch=1, max_queue=9, name="n", closed=OSError, failed=OSError)

def ask():
    import asyncio
    asyncio.run(batcher.run(1))

threading.Thread(target=ask, daemon=True).start()
assert begun.wait(30)
print("ends", flush=True)
"""


@pytest.mark.parametrize(
    ("script", "said"), [(SESSION, "asked\n"), (COMPUTING, "ends\ncame back\n")]
)
def test_it_ends_cleanly(script, said):
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, said), ended.stderr
    assert "nclosed" not in ended.stderr
    assert "terminate" not in ended.stderr
