"""malloc is told to keep large blocks: what is freed is found again without page faults."""

import ctypes
import gc
import subprocess
import sys

import pytest

from guardrail.server import memory

FAULTS = """
import resource
from guardrail.server.memory import keep_large_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [bytearray(1 << 20) for _ in range(4)]
        for block in blocks:
            block[:] = b"x" * len(block)
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual, told = faults(), keep_large_blocks()
faults()  # once more, for the blocks to be there
print(int(told), usual, faults())
"""


def _is_glibc():
    try:
        return sys.platform == "linux" and bool(ctypes.CDLL("libc.so.6").gnu_get_libc_version)
    except (OSError, AttributeError):
        return False


@pytest.mark.skipif(not _is_glibc(), reason="needs glibc's malloc")
def test_freed_blocks_are_found_again():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    told, usual, kept = map(int, done.stdout.split())
    assert told == 1
    assert kept < usual / 10


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert not memory.keep_large_blocks()


def test_another_c_library_is_left_alone(monkeypatch):
    def missing(_name):
        raise OSError("no such file")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not memory.keep_large_blocks()


def test_old_objects_are_searched_no_more_and_new_garbage_still_is_found():
    class Knot:
        pass

    usual = gc.get_threshold()  # a server that ran in this process may have changed it
    gc.set_threshold(700, 10, 10)
    memory.leave_old_objects()
    try:
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == (10_000, 10, 10)
        knot = Knot()
        knot.itself = knot
        del knot
        assert gc.collect() >= 1
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
