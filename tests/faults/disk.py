"""A small file system of its own, which can be full or read-only; only where root may mount."""

import contextlib
import errno
import functools
import os
import subprocess
import tempfile
from pathlib import Path

MISSING = "disks are NOT TESTED: no file system can be mounted here; run the tests as root"


class Disk:
    """A tmpfs of some megabytes.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, mib=8):
        self.folder = Path(tempfile.mkdtemp(prefix="guardrail-disk-"))
        _mount("-t", "tmpfs", "-o", f"size={mib}m", "guardrail", self.folder)

    def fill(self):
        """Until not a byte fits in."""
        with (self.folder / "full").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self):
        (self.folder / "full").unlink(missing_ok=True)

    def forbid(self):
        """Nobody may write any more, whoever has what open."""
        _mount("-o", "remount,ro", self.folder)

    def allow(self):
        _mount("-o", "remount,rw", self.folder)

    def close(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


@functools.cache
def can_mount():
    """Whether this user may mount, on this machine."""
    if os.name != "posix" or os.geteuid() != 0:
        return False
    try:
        Disk(1).close()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(errno.EPERM, done.stderr)
