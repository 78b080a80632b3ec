"""LiteLLM's proxy as its users install it: an environment of its own, one model, one worker.

The environment is made once, outside this repository, with the version that constraints.txt pins.
No database, no cache, no callbacks, telemetry off; the price list is the package's own file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["KEY", "PINNED", "command", "environment", "write_config"]

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-benchmark-0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PINNED = re.search(r"^litellm==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]

CONFIG = """\
model_list:
  - model_name: mock
    litellm_params:
      model: openai/mock
      api_base: {upstream}
      api_key: sk-mock
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
"""


def environment() -> Path:
    """The folder of its virtual environment; made, which takes a minute, where it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "guardrail-benchmark" / f"litellm-{PINNED}"
    stamp = folder / ".complete"
    if not stamp.exists():
        print(f"installing litellm[proxy]=={PINNED} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run(
            [*pip, "--disable-pip-version-check", f"litellm[proxy]=={PINNED}"], check=True
        )
        stamp.touch()
    return folder


def write_config(folder: Path, name: str, upstream: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(CONFIG.format(upstream=upstream, key=KEY))
    return file


def command(config: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """What starts it, and what to set in its environment."""
    settings = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    program = str(environment() / "bin" / "litellm")
    where = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return [program, "--config", str(config), *where], settings
