"""Functions of public Python packages, as code that an assistant might show; taken as harmless.

The packages are those of constraints.txt, under MIT, BSD or Apache licences. Their sources are read
where they are installed, and nothing of them is kept.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    "_pytest",
    "aiohttp",
    "anyio",
    "botocore",
    "click",
    "coverage",
    "fastapi",
    "h11",
    "httpcore",
    "httpx",
    "jinja2",
    "joblib",
    "jsonschema",
    "langchain_core",
    "litellm",
    "markdown_it",
    "marshmallow",
    "networkx",
    "numpy",
    "openai",
    "packaging",
    "PIL",
    "psutil",
    "pydantic",
    "pygments",
    "requests",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "sympy",
    "tenacity",
    "tomlkit",
    "torch",
    "transformers",
    "urllib3",
    "uvicorn",
    "websockets",
    "werkzeug",
)
OF_EACH = 70
SIZE = range(120, 3001)  # characters
MOST_FILES = 60  # of a package


def functions(seed: int) -> list[tuple[str, str]]:
    """A function, mostly in a Markdown fence, and the package that it is from."""
    rng = random.Random(seed)
    found = []
    for name in PACKAGES:
        pieces = sorted(set(_pieces(name, rng)))
        chosen = rng.sample(pieces, min(OF_EACH, len(pieces)))
        found += [(rng.choice(_FRAMES).format(piece), name) for piece in chosen]
    return found


_FRAMES = (
    "```python\n{}\n```",
    "```\n{}\n```",
    "{}",
    "Here is the code:\n\n```python\n{}\n```",
    "```python\n{}\n```\n\nLet me know if you want a test for it.",
)


def _pieces(name: str, rng: random.Random) -> Iterator[str]:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"install {name}, as constraints.txt names it")
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(path for path in folder.rglob("*.py") if path.stat().st_size < 200_000)
    for path in rng.sample(files, min(MOST_FILES, len(files))):
        try:
            source = path.read_text("utf-8")
            tree = ast.parse(source)
        except (UnicodeDecodeError, SyntaxError):  # test files of parsers
            continue
        lines = source.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
                if len(text) in SIZE:
                    yield text
