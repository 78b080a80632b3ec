"""The package as it is installed: light to import, its names in order, complete as a wheel."""

import ast
import email
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import guardrail
from guardrail.distribution import DISTRIBUTION

PACKAGE = Path(guardrail.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "torch", "transformers", "tokenizers", "safetensors", "detoxify", "litellm", "openai", "numpy",
    "scipy", "PIL", "pydantic", "fastapi", "starlette", "uvicorn", "httpx", "aiohttp", "yaml",
}  # fmt: skip


def loaded_by(program, *arguments):
    """Top-level packages in memory after a program, as a fresh process tells."""
    told = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted({m.split('.')[0]"
        " for m in sys.modules})), file=sys.stderr))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", told + program, *arguments],
        capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    return set(json.loads(done.stderr.splitlines()[-1]))


MAIN = "from guardrail.cli import main; main()"


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("import guardrail", ()), (MAIN, ("--help",)), (MAIN, ("--version",))],
)
def test_the_front_door_is_light(program, arguments):
    assert not loaded_by(program, *arguments) & HEAVY


@pytest.mark.parametrize("command", ["attack", "check", "demo", "serve", "verify"])
def test_the_help_of_a_command_loads_no_model_library(command):
    loaded = loaded_by(MAIN, command, "--help")
    assert not loaded & {"torch", "transformers", "detoxify", "litellm", "openai", "fastapi"}


def test_a_proxy_for_a_remote_model_needs_no_torch():
    program = (
        "from guardrail.assembly import build_engine, read_policy\n"
        "from guardrail.server.app import create_app\n"
        "policy = read_policy('default')\n"
        "engine = build_engine(policy, 'openai_compatible:http://127.0.0.1:9/v1', None)\n"
        "create_app(policy, engine)\n"
    )
    assert not loaded_by(program) & {"torch", "transformers", "detoxify", "litellm", "openai"}


GUARDED = """
import base64, io, numpy
from PIL import Image
from guardrail import Guard
buffer = io.BytesIO()
Image.fromarray(numpy.zeros((32, 32, 3), numpy.uint8)).save(buffer, "PNG")
url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
choice = {"message": {"role": "assistant", "content": "A cat."}, "finish_reason": "stop"}
content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
with Guard("quick", lambda body: {"choices": [choice]}) as guard:
    guard.complete_sync({"model": "m", "messages": [{"role": "user", "content": content}]})
"""


def test_a_decision_in_process_loads_no_web_server():
    loaded = loaded_by(GUARDED)
    assert {"numpy", "pydantic"} <= loaded
    assert not loaded & {"fastapi", "starlette", "uvicorn"}


def names_of(file):
    """(what `__all__` lists, what the module itself defines or imports), from its text."""
    tree = ast.parse(file.read_text())
    listed, defined = None, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named = {target.id for target in targets if isinstance(target, ast.Name)}
            defined |= named
            if "__all__" in named:
                listed = [element.value for element in node.value.elts]
    return listed, defined


def in_order(names):
    """As the linter sorts: constants, then classes, then functions."""
    return sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))


@pytest.fixture(scope="module")
def modules():
    """Of each file, what `names_of` finds."""
    return {str(file.relative_to(PACKAGE)): names_of(file) for file in MODULES}


def test_what_modules_offer_is_there_and_sorted(modules):
    offered = {name: found for name, found in modules.items() if found[0] is not None}
    assert len(offered) > len(modules) / 2
    assert [name for name, (listed, _) in offered.items() if listed != in_order(set(listed))] == []
    assert [name for name, (listed, own) in offered.items() if not set(listed) <= own] == []
    private = [one for listed, _ in offered.values() for one in listed if one.startswith("_")]
    assert set(private) <= {"__version__"}


def test_modules_say_what_they_offer(modules):
    """All but scripts, entry points and package markers list their names."""
    silent = {
        name for name, (listed, _) in modules.items()
        if listed is None and not name.endswith("__init__.py")
        and "def main() -> None" not in (PACKAGE / name).read_text()
    }  # fmt: skip
    assert silent <= {"__main__.py"}


def test_no_file_can_carry_code_in_its_data():
    suspicious = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".h5"}
    found = [file for file in PACKAGE.rglob("*") if file.suffix in suspicious]
    assert found == []


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory, repository):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed, so no wheel can be built without the network")
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=repository, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def wheel(wheel_file):
    """Names and sizes of everything in the wheel."""
    with zipfile.ZipFile(wheel_file) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def test_the_wheel_has_the_name_of_the_distribution_and_of_its_extras(wheel_file):
    assert wheel_file.name == f"certified_guardrail-{guardrail.__version__}-py3-none-any.whl"
    (entry,) = [n for n in zipfile.ZipFile(wheel_file).namelist() if n.endswith("/METADATA")]
    metadata = email.message_from_bytes(zipfile.ZipFile(wheel_file).read(entry))
    assert metadata["Name"] == DISTRIBUTION
    needs = metadata.get_all("Requires-Dist")
    assert not [need for need in needs if need.startswith("guardrail")]
    # What one extra takes from another arrives.
    assert [need for need in needs if need.startswith("torch") and "extra == 'demo'" in need]
    assert {"demo", "local", "sign"} <= set(metadata.get_all("Provides-Extra"))


def test_the_wheel_holds_every_module_and_data_file(wheel):
    kept = {
        f"guardrail/{file.relative_to(PACKAGE)}" for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix in {
            ".css", ".html", ".js", ".npz", ".py", ".safetensors", ".svg", ".txt"
        }
        and "__pycache__" not in file.parts
    }  # fmt: skip
    assert kept - set(wheel) == set()


@pytest.mark.parametrize(
    "name",
    [
        "guardrail/py.typed",
        "guardrail/console/html/base.html",
        "guardrail/console/static/console.css",
        "guardrail/console/static/vendor/htmx.LICENSE.txt",
        "guardrail/console/static/vendor/htmx.min.js",
        "guardrail/demo/report.css",
        "guardrail/html_page/report.css",
        "guardrail/html_page/tokens.css",
        "guardrail/oracles/builtin_model/model.npz",
        "guardrail/policies/default.yaml",
        "guardrail/policies/observe.yaml",
        "guardrail/policies/packs/general.md",
        "guardrail/policies/strict.yaml",
    ],
)
def test_the_wheel_holds_what_runs_without_the_repository(wheel, name):
    assert wheel.get(name, 0) > 0 or name == "guardrail/py.typed" in wheel


def test_the_wheel_holds_the_model_and_the_pictures(wheel, shipped_weights):
    for file in shipped_weights.iterdir():
        assert wheel[f"guardrail/builtin/weights/{file.name}"] == file.stat().st_size
    pictures = (PACKAGE / "demo" / "pictures").glob("*")
    assert {f"guardrail/demo/pictures/{file.name}" for file in pictures} <= set(wheel)


def test_the_wheel_holds_nothing_else(wheel):
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"guardrail"}
    assert not [name for name in wheel if "__pycache__" in name or name.endswith(".pyc")]
    assert sum(wheel.values()) < 45e6


def test_the_wheel_carries_its_licence(wheel):
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
