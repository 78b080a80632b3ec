"""What the attack looks through is the guard itself: its variants, bit for bit, with gradients."""

import dataclasses

import numpy as np
import pytest
import torch

from guardrail.attack.guard_view import GuardView, _areas, on_canvas
from guardrail.attack.objectives import PictureLoss
from guardrail.attack.tensors import to_pixels, to_tensor
from guardrail.engine.prepared_request import PreparedRequest
from guardrail.images.canvas import canvas_for
from guardrail.images.grid import STEPS_PER_UNIT
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy


@pytest.fixture(scope="module")
def rules():
    shipped = compile_policy(load_policy("default"))
    return dataclasses.replace(shipped, canvas_max_side_px=32, canvas_min_side_px=28)


@pytest.fixture
def made(monkeypatch):
    """Every variant that the guard's own code makes."""
    variants = []
    make = PreparedRequest.make_variant

    def watched(self, *args):
        found = make(self, *args)
        variants.extend(found)
        return found

    monkeypatch.setattr(PreparedRequest, "make_variant", watched)
    return variants


@pytest.mark.parametrize("size", [(32, 32), (40, 60), (8, 20)])
def test_the_variants_are_the_guards_own(rules, made, noise_picture, size):
    picture = noise_picture(*size)
    drawn = GuardView(rules, 3).draw(to_tensor(picture, "cpu"), 4)
    assert len(made) == 4
    assert [to_pixels(one).tolist() for one in drawn] == [one.tolist() for one in made]
    assert torch.equal(drawn, torch.stack([to_tensor(one, "cpu") for one in made]))


def test_noise_is_fresh_for_every_draw_and_follows_the_seed(rules, noise_picture):
    x = to_tensor(noise_picture(32, 32), "cpu")
    view = GuardView(rules, 3)
    first, second = view.draw(x, 2), view.draw(x, 2)
    four = torch.cat([first, second])
    pairs = [(i, j) for i in range(4) for j in range(i)]
    assert not any(torch.equal(four[i], four[j]) for i, j in pairs)
    assert torch.equal(GuardView(rules, 3).draw(x, 4), four)
    assert not torch.equal(GuardView(rules, 4).draw(x, 4), four)


def test_its_spread_is_the_policys(rules):
    x = torch.full((3, 32, 32), 0.5)
    narrow = dataclasses.replace(rules, sigma=0.1)
    drawn = GuardView(narrow).draw(x, 8)
    assert float(drawn.std()) == pytest.approx(0.1, rel=0.05)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.01)


def test_the_gradient_is_that_of_the_canvas_where_nothing_is_clipped(rules, noise_picture):
    x = to_tensor(noise_picture(64, 64), "cpu").requires_grad_()
    drawn = GuardView(rules).draw(x, 2)
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=drawn.shape)).float()
    (gradient,) = torch.autograd.grad((weights * drawn).sum(), x)
    inside = (drawn > 0) & (drawn < 1)
    assert 0.2 < float(inside.float().mean()) < 0.95
    expected = (weights * inside).sum(0) @ _areas(64, 32).float()
    expected = _areas(64, 32).float().T @ expected
    assert torch.allclose(gradient, expected, atol=1e-5)


def test_between_the_levels_of_8_bits_a_variant_moves_with_the_picture(rules):
    x = torch.full((3, 32, 32), 100 / 255)
    still, moved = (GuardView(rules, 1).draw(x + change, 1) for change in (0.0, 0.3 / 255))
    inside = (still > 0) & (still < 1)
    assert torch.allclose((moved - still)[inside], torch.tensor(0.3 / 255), atol=1e-6)


def test_a_loss_through_the_guard_is_the_mean_over_its_variants(rules, made, noise_picture):
    class Redness:
        device = "cpu"

        def __call__(self, pictures):
            return pictures[:, 0].mean((1, 2))

    x = to_tensor(noise_picture(32, 32), "cpu")
    loss = PictureLoss(Redness(), GuardView(rules, 2))
    value = float(loss(x, 3))
    assert value == pytest.approx(np.mean([one[..., 0] for one in made]) / 255, abs=1e-6)
    made.clear()
    bare = PictureLoss(Redness())
    assert float(bare(x, 3)) == pytest.approx(float(x[0].mean()), abs=1e-6)
    assert not made


@pytest.mark.parametrize("size", [(40, 60), (33, 80), (224, 224), (8, 500), (5, 9)])
def test_the_canvas_is_the_defences_own(noise_picture, size):
    pixels = noise_picture(*size)
    canvas = canvas_for(*size, max_side_px=32, min_side_px=28)
    ours = on_canvas(to_tensor(pixels, "cpu").double(), canvas).permute(1, 2, 0).numpy()
    assert ours.shape == (*canvas.size, 3)
    assert np.abs(ours - canvas.apply(pixels) / STEPS_PER_UNIT).max() <= 0.6 / STEPS_PER_UNIT + 1e-7


@pytest.mark.parametrize(("inputs", "outputs"), [(10, 3), (7, 7), (224, 96), (5, 1)])
def test_areas_share_out_every_pixel(inputs, outputs):
    areas = _areas(inputs, outputs)
    assert torch.allclose(areas.sum(1), torch.ones(outputs, dtype=torch.float64))
    column = torch.full((inputs,), outputs / inputs, dtype=torch.float64)
    assert torch.allclose(areas.sum(0), column)
