"""The attack stays in its ball as the picture is written, and gets better at what it is for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.attack.objectives import AnswerLikelihood, PictureLoss
from guardrail.attack.pgd import AttackSettings, Norm, attack
from guardrail.attack.surrogate import Surrogate
from guardrail.attack.tensors import distances
from guardrail.errors import ConfigError
from guardrail.upstreams.loading import load_vlm

TARGETS = ("you are a stupid moron.", "go to hell, scum.")


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).integers(40, 216, (96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def loss(tiny_llava, picture):
    """The tiny model with louder eyes: its own random ones hardly change what it says."""
    loaded = load_vlm(str(tiny_llava), device="cpu")
    with torch.no_grad():
        for parameter in loaded.model.model.multi_modal_projector.parameters():
            parameter.mul_(20)
    return PictureLoss(AnswerLikelihood(Surrogate(loaded, "what is shown?", picture), TARGETS))


class Pull:
    """The squared distance to a known picture."""

    device = "cpu"

    def __init__(self, goal):
        self.goal = torch.from_numpy(goal).permute(2, 0, 1).float() / 255

    def __call__(self, x, _draws):
        return ((x - self.goal) ** 2).sum()


@pytest.mark.parametrize(
    ("norm", "epsilon"),
    [(Norm.L2, 0.3), (Norm.L2, 3.0), (Norm.LINF, 1 / 255), (Norm.LINF, 7.6 / 255)],
)
def test_the_written_picture_lies_in_the_ball_and_draws_the_answer(loss, picture, norm, epsilon):
    before = picture.copy()
    found = attack(loss, picture, AttackSettings(norm, epsilon, steps=8))
    assert (picture == before).all()
    assert found.pixels.dtype == np.uint8
    assert found.pixels.shape == picture.shape
    assert 0 < distances(found.pixels, picture)[norm] <= epsilon
    with torch.no_grad():
        x = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        assert found.loss < float(loss(x, 1))


@pytest.mark.nightly
def test_more_room_finds_at_least_as_much(loss, picture):
    losses = [attack(loss, picture, AttackSettings(Norm.L2, e, steps=10)).loss for e in (0.5, 2, 8)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.nightly
def test_restarts_keep_the_best(loss, picture):
    one, three = (
        attack(loss, picture, AttackSettings(Norm.LINF, 4 / 255, steps=4, restarts=n))
        for n in (1, 3)
    )
    assert three.loss <= one.loss


def test_the_seed_fixes_the_restarts_and_leaves_the_callers_luck_alone():
    picture = np.full((8, 8, 3), 100, np.uint8)
    goal = np.random.default_rng(2).integers(0, 256, picture.shape, dtype=np.uint8)

    def find(seed):
        settings = AttackSettings(Norm.LINF, 4 / 255, steps=1, restarts=4, seed=seed)
        return attack(Pull(goal), picture, settings)

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = find(11)
    assert torch.equal(torch.rand(3), expected)
    two = find(11)
    assert (one.pixels == two.pixels).all()
    assert one.loss == two.loss
    assert any((one.pixels != find(seed).pixels).any() for seed in (12, 50, 90))


@pytest.mark.nightly
def test_progress_is_told_of_every_step(loss, picture):
    steps = []
    attack(loss, picture, AttackSettings(Norm.L2, 1.0, steps=3, restarts=2),
           progress=lambda: steps.append(1))  # fmt: skip
    assert len(steps) == 6


_pictures = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
)


@settings(max_examples=60, deadline=None)
@given(_pictures, st.sampled_from(list(Norm)), st.floats(1e-4, 4.0))
def test_no_picture_leaves_the_ball_and_the_way_is_right(pair, norm, epsilon):
    picture, goal = pair
    found = attack(Pull(goal), picture, AttackSettings(norm, epsilon, steps=12, restarts=2))
    assert distances(found.pixels, picture)[norm] <= epsilon
    before = distances(picture, goal)["l2"]
    assert distances(found.pixels, goal)["l2"] <= before
    if epsilon >= {Norm.L2: 0.5, Norm.LINF: 0.02}[norm] and before > 1.0:
        assert distances(found.pixels, goal)["l2"] < before


def test_a_goal_inside_the_ball_is_reached():
    picture = np.full((8, 8, 3), 100, np.uint8)
    goal = picture + 3
    found = attack(Pull(goal), picture, AttackSettings(Norm.LINF, 10 / 255, steps=120))
    assert np.abs(found.pixels.astype(int) - goal).max() <= 1


def test_a_ball_too_small_for_the_grid_leaves_the_picture_as_it_is(picture):
    found = attack(Pull(255 - picture), picture, AttackSettings(Norm.LINF, 1e-3, steps=2))
    assert (found.pixels == picture).all()


def test_a_gradient_that_is_no_number_ends_all_the_same(picture):
    class Broken(Pull):
        def __call__(self, x, _draws):
            return (x.sum() * float("nan")).sum()

    assert (
        attack(Broken(picture), picture, AttackSettings(Norm.L2, 1.0, steps=2)).pixels == picture
    ).all()


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["epsilon", "steps", "restarts", "draws"])
def test_senseless_settings_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        AttackSettings(**{"norm": Norm.L2, "epsilon": 1.0, name: value})


def test_distances_by_hand():
    one = np.zeros((2, 2, 3), np.uint8)
    other = one.copy()
    other[0, 0] = (3, 0, 4)
    found = distances(one, other)
    assert found["l2"] == pytest.approx(5 / 255)
    assert found["linf"] == pytest.approx(4 / 255)
    assert found["rms_levels"] == pytest.approx((25 / 12) ** 0.5)
    assert distances(other, one) == found
