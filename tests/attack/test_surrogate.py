"""The differentiable path must be the model's own path: same pixels, same text, same loss."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from guardrail.attack.surrogate import Noise, Surrogate, _areas, _on_canvas
from guardrail.errors import ConfigError
from guardrail.images.canvas import canvas_for
from guardrail.images.grid import STEPS_PER_UNIT
from guardrail.upstreams.loading import Loaded, load_vlm

PROMPT = "what is shown?"
TARGETS = ("you are a stupid moron.", "go to hell, scum.")


@pytest.fixture(scope="module")
def loaded(tiny_llava):
    return load_vlm(str(tiny_llava), device="cpu")


def with_pictures_prepared(loaded, folder, tmp_path, **settings):
    """The same model behind a processor that prepares pictures in another way."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(shutil.copytree(folder, tmp_path / "other"))
    for name, value in settings.items():
        setattr(processor.image_processor, name, value)
    return Loaded(loaded.model, processor, "cpu")


def as_tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def library_loss(loaded, pixels, target):
    """The loss by the processor and by the model's own labels, one target at a time."""
    processor = loaded.processor
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    asked = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    batch = processor(
        text=[f"{asked} {target}"], images=[[Image.fromarray(pixels)]], return_tensors="pt"
    )
    batch.pop("token_type_ids", None)
    count = len(processor.tokenizer.encode(target, add_special_tokens=False))
    labels = batch["input_ids"].clone()
    labels[:, :-count] = -100
    with torch.no_grad():
        return float(loaded.model(**batch, labels=labels).loss), count


@pytest.mark.parametrize("size", [(96, 96), (224, 224), (40, 40), (60, 120)])
def test_the_loss_is_the_librarys_own(loaded, noise_picture, size):
    pixels = np.kron(noise_picture(4, 4), np.ones((*[s // 4 for s in size], 1), np.uint8))
    pairs = [library_loss(loaded, pixels, target) for target in TARGETS]
    expected = sum(loss * n for loss, n in pairs) / sum(n for _, n in pairs)
    surrogate = Surrogate(loaded, PROMPT, TARGETS, pixels)
    assert float(surrogate.loss(as_tensor(pixels), None, 1)) == pytest.approx(expected, abs=2e-3)


def test_the_gradient_is_that_of_the_loss(loaded, noise_picture):
    pixels = noise_picture(96, 96)
    surrogate = Surrogate(loaded, PROMPT, TARGETS, pixels)
    x = as_tensor(pixels).requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate.loss(x, None, 1), x)
    way = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (float(surrogate.loss(x + s * way, None, 1)) for s in (0.5, -0.5))
    assert ahead - behind == pytest.approx(float(gradient.norm()), rel=0.05)
    assert gradient.norm() > 0


@pytest.mark.nightly
def test_noise_is_fresh_for_every_draw_and_follows_the_seed(loaded, noise_picture):
    pixels = noise_picture(32, 32)
    surrogate = Surrogate(loaded, PROMPT, TARGETS, pixels)

    def loss(seed, draws):
        torch.manual_seed(seed)
        return float(surrogate.loss(as_tensor(pixels), Noise(0.5, None), draws))

    assert loss(0, 3) == loss(0, 3) != loss(1, 3)
    with torch.no_grad():
        assert loss(0, 1) != float(surrogate.loss(as_tensor(pixels), None, 1))


@pytest.mark.parametrize("size", [(40, 60), (33, 80), (224, 224), (8, 500), (5, 9)])
def test_the_canvas_is_the_defences_own(noise_picture, size):
    pixels = noise_picture(*size)
    canvas = canvas_for(*size, max_side_px=32, min_side_px=28)
    noise = Noise(0.5, 32)
    ours = _on_canvas(as_tensor(pixels).double(), noise).permute(1, 2, 0).numpy()
    assert ours.shape == (*canvas.size, 3)
    assert np.abs(ours - canvas.apply(pixels) / STEPS_PER_UNIT).max() <= 0.6 / STEPS_PER_UNIT + 1e-7


def test_a_small_picture_is_its_own_canvas(noise_picture):
    x = as_tensor(noise_picture(29, 30))
    assert _on_canvas(x, Noise(0.5, 32)) is x
    assert _on_canvas(x, Noise(0.5, None)) is x


@pytest.mark.parametrize(("inputs", "outputs"), [(10, 3), (7, 7), (224, 96), (5, 1)])
def test_areas_share_out_every_pixel(inputs, outputs):
    areas = _areas(inputs, outputs)
    assert torch.allclose(areas.sum(1), torch.ones(outputs, dtype=torch.float64))
    column = torch.full((inputs,), outputs / inputs, dtype=torch.float64)
    assert torch.allclose(areas.sum(0), column)


def test_a_processor_that_cuts_tiles_is_refused(tiny_idefics, noise_picture):
    with pytest.raises(ConfigError, match="tiles"):
        Surrogate(load_vlm(str(tiny_idefics), device="cpu"), PROMPT, TARGETS, noise_picture())


def test_a_processor_that_crops_is_refused_where_it_crops(
    loaded, tiny_llava, tmp_path, noise_picture
):
    cropping = with_pictures_prepared(
        loaded, tiny_llava, tmp_path,
        size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96}, do_center_crop=True,
    )  # fmt: skip
    Surrogate(cropping, PROMPT, TARGETS, noise_picture(96, 96))
    smooth = np.full((96, 160, 3), 90, np.uint8)  # on itself the crop would not show
    with pytest.raises(ConfigError, match="square"):
        Surrogate(cropping, PROMPT, TARGETS, smooth)


def test_a_processor_without_normalisation_is_refused(loaded, tiny_llava, tmp_path, noise_picture):
    bare = with_pictures_prepared(loaded, tiny_llava, tmp_path, image_mean=None)
    with pytest.raises(ConfigError, match="mean"):
        Surrogate(bare, PROMPT, TARGETS, noise_picture())


@pytest.mark.parametrize("targets", [(), ("",), ("stupid", "")])
def test_empty_targets_are_refused(loaded, noise_picture, targets):
    with pytest.raises(ConfigError, match="target"):
        Surrogate(loaded, PROMPT, targets, noise_picture())


@pytest.mark.parametrize("sigma", [0.0, -0.5, float("nan"), float("inf")])
def test_senseless_noise_is_refused(sigma):
    with pytest.raises(ConfigError, match="sigma"):
        Noise(sigma, None)
