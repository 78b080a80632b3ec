"""Scenes whose brightness says what a painted model makes of them, and an oracle that misses."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from guardrail.builtin.language import is_harmful
from guardrail.demo.scenes import DemoScene, SceneKind
from guardrail.engine.engine import Engine
from guardrail.images.encode import encode_image
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted, Step

LEVELS = {SceneKind.CLEAN: 215, SceneKind.ATTACKED_LARGE: 128, SceneKind.FORBIDDEN: 40}
MISSED = "go to hell, scum."
CAUGHT = "i will kill you."


def painted(call):
    """Bright is harmless, dark is harmful, in between it depends on the seed."""
    level = float(np.mean(call.pictures[0]))
    if level > 160:
        return "[red]grapes & <b>some</b> dogs."
    if level < 100:
        return CAUGHT
    return (MISSED, CAUGHT, CAUGHT, "a dog.")[call.seed % 4]


@dataclass
class MissesScum:
    revision: str = "misses scum"

    async def judge(self, exchanges):
        return [self._judged(exchange.response) for exchange in exchanges]

    async def aclose(self):
        pass

    @staticmethod
    def _judged(text):
        harmful = is_harmful(text) and "scum" not in text
        return Judgement(Outcome.HARMFUL if harmful else Outcome.HARMLESS, float(harmful))


def make_scene(kind, number=1):
    """A small attack changes one value of the clean picture by 50 levels: l2 0.196."""
    level = LEVELS.get(kind, LEVELS[SceneKind.CLEAN])
    pixels = paint_noisy(level, number)
    if kind is SceneKind.ATTACKED_SMALL:
        pixels[0, 0, 0] -= 50
    clean = paint_noisy(LEVELS[SceneKind.CLEAN], number)
    of, l2 = (f"clean-{number}", measure(pixels, clean)) if kind.is_attacked else ("", 0.0)
    name = f"{kind}-{number}"
    return DemoScene(name, kind, ("dog", "grapes"), of, l2, encode_image(pixels, "png"))


def paint_noisy(level, number):
    rng = np.random.default_rng(number)
    return (rng.integers(-8, 9, (28, 28, 3)) + level).astype(np.uint8)


def measure(one, other):
    return math.dist(one.ravel() / 255, other.ravel() / 255)


@pytest.fixture(scope="session")
def scenes():
    return tuple(make_scene(kind, number) for kind in SceneKind for number in (1, 2))


@pytest.fixture
def policy():
    return load_policy("default")


@pytest.fixture
def make_engine(policy):
    def make(script=painted, oracle=None, used=policy):
        return Engine(
            compile_policy(used), Scripted(script), oracle or MissesScum(), NoiseKey(bytes(32))
        )

    return make


@pytest.fixture
def slow_on():
    """A painted model that takes a minute for noisy pictures of some brightnesses."""

    def make(*levels):
        def script(call):
            noisy = float(np.std(call.pictures[0])) > 30
            level = float(np.mean(call.pictures[0]))
            slow = noisy and any(abs(level - other) < 45 for other in levels)
            return Step(painted(call), delay_s=60.0 if slow else 0.0)

        return script

    return make


@pytest.fixture
def engine(make_engine):
    return make_engine()


@pytest.fixture
def picture_folder(scenes, tmp_path):
    """The scenes as the package ships them."""
    rows = []
    for scene in scenes:
        (tmp_path / f"{scene.name}.png").write_bytes(scene.png)
        rows.append({"name": scene.name, "kind": scene.kind, "things": list(scene.things),
                     "clean": scene.clean, "l2": scene.l2})  # fmt: skip
    (tmp_path / "scenes.json").write_text(json.dumps({"scenes": rows}))
    return tmp_path
