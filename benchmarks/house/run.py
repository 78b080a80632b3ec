"""What a reader of the package meets: files, names, and what one request enters.

    python benchmarks/house/run.py [--json]

Counts modules and lines, functions named by a bare participle (`told`, `settled`), public class
names that stand twice, the modules that an in-process decision loads, and the files and functions
of the package that one warm request enters on its way through the proxy's application, the model
being scripted in the same process. Nothing is timed.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import base64
import collections
import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
from PIL import Image

import guardrail
from guardrail.assembly import build_engine, read_policy
from guardrail.server.app import create_app
from guardrail.upstreams.scripted import Scripted

if TYPE_CHECKING:
    from types import FrameType

PACKAGE = Path(guardrail.__file__).parent
IRREGULAR = frozenset(
    "begun bought broken brought built caught chosen done drawn felt found given gone got grown "
    "heard held hidden kept known laid lent lost made meant met paid said seen sent shown sold "
    "sought spent spoken stood struck stuck taken taught thought thrown told torn understood "
    "written".split()
)
NO_PARTICIPLES = frozenset({"embed", "feed", "found", "need", "red", "seed", "shed", "speed"})
PARTICLES = frozenset("again apart aside at by down from in of off on out to up with".split())
LOADED = "import sys; from guardrail import Guard; Guard('quick', {model}).close(); print(len(sys.modules), *sorted(m for m in ('fastapi', 'starlette', 'uvicorn') if m in sys.modules))"  # noqa: E501 (one program)


def modules() -> list[tuple[Path, ast.Module]]:
    return [(file, ast.parse(file.read_text())) for file in sorted(PACKAGE.rglob("*.py"))]


def is_bare_participle(name: str) -> bool:
    first, *more = name.strip("_").split("_")
    if first in NO_PARTICIPLES or (more and more[0] not in PARTICLES):
        return False
    return first.endswith("ed") or first in IRREGULAR


def count_names(trees: list[tuple[Path, ast.Module]]) -> dict[str, object]:
    functions: list[str] = []
    classes: collections.Counter[str] = collections.Counter()
    for _, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                attributes = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
                if not node.name.startswith("__") and not attributes & {"property", "setter"}:
                    functions.append(node.name)
        classes.update(
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        )
    bare = sum(map(is_bare_participle, functions))
    return {
        "functions": len(functions),
        "named by a bare participle": bare,
        "share": round(bare / len(functions), 4),
        "public class names that stand twice": sorted(n for n, c in classes.items() if c > 1),
    }


def loaded_by_guard() -> list[str]:
    program = LOADED.format(model="lambda body: body")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def picture() -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def body(*, pictures: int, number: int) -> dict[str, object]:
    """A request; no two numbers ask for the same, so that no verdict is remembered."""
    parts = [{"type": "image_url", "image_url": {"url": picture()}}] * pictures
    content = [{"type": "text", "text": f"What is this? ({number})"}, *parts]
    return {"model": "scripted", "messages": [{"role": "user", "content": content}]}


async def count_entered(*, pictures: int) -> tuple[int, int]:
    """Files and functions of the package that the fourth of four like requests enters."""
    policy = read_policy("default")
    app = create_app(policy, build_engine(policy, Scripted(["A tabby cat on a red mat."])))
    transport = httpx.ASGITransport(app=app)
    seen: set[tuple[str, str]] = set()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(PACKAGE)):
            seen.add((file, frame.f_code.co_qualname))

    async with httpx.AsyncClient(transport=transport, base_url="http://guard") as client:
        for number in range(4):
            if number == 3:
                threading.setprofile_all_threads(profile) if hasattr(
                    threading, "setprofile_all_threads"
                ) else threading.setprofile(profile)
                sys.setprofile(profile)
            response = await client.post(
                "/v1/chat/completions", json=body(pictures=pictures, number=number)
            )
            sys.setprofile(None)
            threading.setprofile(None)
            assert response.status_code == 200, response.text
    return len({file for file, _ in seen}), len(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    trees = modules()
    facts: dict[str, object] = {
        "modules": len(trees),
        "lines": sum(len(file.read_text().splitlines()) for file, _ in trees),
        **count_names(trees),
        "loaded by Guard": loaded_by_guard(),
    }
    for name, pictures in (("picture", 1), ("text", 0)):
        files, functions = asyncio.run(count_entered(pictures=pictures))
        facts[f"entered by a warm {name} request"] = {"files": files, "functions": functions}
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, fact in facts.items():
        print(f"{name}: {fact}")


if __name__ == "__main__":
    main()
