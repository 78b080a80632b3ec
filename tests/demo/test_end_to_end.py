"""`guardrail demo` as it ships: a process, the real model, the real oracle, the real pictures."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from guardrail.demo.scenes import SceneKind
from guardrail.upstreams.builtin import BUILTIN_FOLDER

# `guardrail demo` with so many scenes of a kind; all of them take a minute of both cores.
DEMO = """
import sys
from guardrail.cli import main
from guardrail.demo import scenes

most, every = int(sys.argv.pop(1)), scenes.load_scenes()
first = [[s for s in every if s.kind is kind][:most] for kind in scenes.SceneKind]
scenes.load_scenes = lambda: tuple(scene for some in first for scene in some)
main()
"""


@pytest.fixture(scope="module", params=[2, pytest.param(99, marks=pytest.mark.nightly)])
def shown(request, tmp_path_factory):
    """(facts, standard error, folder) of one run."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-c", DEMO, str(request.param),
         "demo", "--json", "--tries", "1", "--out", str(folder / "demo.html")],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    kinds = [scene["kind"] for scene in facts["scenes"]]
    assert all(kinds.count(kind) >= min(request.param, 8) for kind in SceneKind)
    return facts, done.stderr, folder


@pytest.mark.slow
def test_the_attack_works_bare_and_fails_behind_the_guard(shown):
    facts, _, _ = shown
    few = len(facts["scenes"]) < 10  # one scene that goes the other way is a third of them
    assert facts["undefended_attack_success"] >= (0.5 if few else 0.75)
    assert facts["guarded_attack_success"] <= facts["single_check_attack_success"]
    assert facts["guarded_attack_success"] == 0.0
    assert facts["forbidden_block_rate"] >= 0.9
    assert facts["clean_pass_rate"] >= (0.5 if few else 0.75)
    assert 0.0 <= facts["single_check_clean_pass_rate"] <= 1.0
    assert facts["seconds"] > 0


@pytest.mark.slow
def test_every_scene_has_its_figures(shown):
    facts, _, _ = shown
    for scene in facts["scenes"]:
        assert 0 <= scene["harmless"] <= scene["samples"]
        assert (scene["radius"] > 0) is (scene["decision"] == "pass")
        if scene["decision"] == "pass":
            assert f"{scene['radius']:.3f}"[:4] in scene["claim"]


@pytest.mark.slow
def test_attacks_lie_where_their_size_says(shown):
    """A small one inside of what any pass of its clean picture certifies, a large one outside."""
    facts, _, _ = shown
    scenes = {scene["name"]: scene for scene in facts["scenes"]}
    attacked = [scene for scene in scenes.values() if scene["attack"]]
    assert len(attacked) == len(scenes) / 2
    for scene in attacked:
        attack, clean = scene["attack"], scenes[scene["attack"]["clean"]]
        if clean["decision"] != "pass":
            assert (attack["position"], attack["certified_radius"]) == ("uncertified", None)
            continue
        inside = scene["kind"] == SceneKind.ATTACKED_SMALL
        assert attack["certified_radius"] == clean["radius"]
        assert (attack["attack_l2"] <= clean["radius"]) is inside
        assert attack["position"] == ("inside" if inside else "outside")
    assert facts["attacked"]["inside"]["guarded_harmful_pictures"] == 0


@pytest.mark.slow
def test_it_writes_a_page_and_its_records(shown):
    facts, told, folder = shown
    written = {file.name for file in folder.iterdir() if not file.name.endswith(("-shm", "-wal"))}
    assert written == {"demo.html", "demo.db", "demo.db.content-key"}
    assert facts["report"] == str(folder / "demo.html")
    assert (folder / "demo.html").stat().st_size < 3e6 * len(facts["scenes"]) / 32
    assert "Traceback" not in told
    assert "Warning" not in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param("guardrail.policy.load", "load_policy", marks=pytest.mark.nightly),
        pytest.param(
            "guardrail.upstreams.transformers_local", "load_vlm", marks=pytest.mark.nightly
        ),
        pytest.param("guardrail.engine.engine", "Engine.decide", marks=pytest.mark.nightly),
    ],
    ids=["importing", "loading the model", "deciding"],
)
def test_ctrl_c_leaves_no_report_at_any_time(tmp_path, module, name):
    """The process says when it is there; what it does next is interrupted somewhere."""
    mark = tmp_path / "there"
    *owner, function = name.split(".")
    program = (
        f"import pathlib, {module} as module\n"
        f"owner = {'.'.join(['module', *owner])}\n"
        f"real = owner.{function}\n"
        "def marked(*args, **kwargs):\n"
        f"    pathlib.Path({str(mark)!r}).touch()\n"
        "    return real(*args, **kwargs)\n"
        f"owner.{function} = marked\n"
        "from guardrail.cli import main\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "demo", "--tries", "50"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(BUILTIN_FOLDER.parents[2])},
    )  # fmt: skip
    while not mark.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith("interrupted\n")
    assert "Traceback" not in told
    # What was decided until then is kept, and so is the key that opens it.
    names = {file.name for file in tmp_path.iterdir()}
    assert names <= {"there", "demo.db", "demo.db.content-key"}
