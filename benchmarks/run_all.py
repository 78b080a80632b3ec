"""Runs every benchmark in this folder, one after the other, each as its own command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    scripts = sorted(HERE.glob("*/run.py"))
    for script in scripts:
        print(f"== {script.parent.name}", flush=True)
        subprocess.run([sys.executable, str(script)], cwd=HERE.parent, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
