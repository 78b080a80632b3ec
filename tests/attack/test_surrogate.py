"""The differentiable path must be the model's own path: same pixels, same text, same odds."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from guardrail.attack.objectives import (
    AnswerLikelihood,
    AnswerMargin,
    FirstTokenMargin,
    PictureLoss,
)
from guardrail.attack.surrogate import Surrogate
from guardrail.errors import ConfigError
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
    likelihood = AnswerLikelihood(Surrogate(loaded, PROMPT, pixels), TARGETS)
    ours = likelihood(as_tensor(pixels)[None])
    assert ours.shape == (1,)
    assert float(ours) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("objective", [AnswerLikelihood, AnswerMargin, FirstTokenMargin])
def test_the_gradient_is_that_of_the_loss(loaded, noise_picture, monkeypatch, objective):
    monkeypatch.setattr(loaded.model.generation_config, "do_sample", True)
    pixels = noise_picture(96, 96)
    loss = PictureLoss(objective(Surrogate(loaded, PROMPT, pixels), TARGETS))
    x = as_tensor(pixels).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, 1), x)
    way = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (float(loss(x + s * way, 1)) for s in (0.5, -0.5))
    assert ahead - behind == pytest.approx(float(gradient.norm()), rel=0.05)
    assert gradient.norm() > 0


def first_token_law(loaded, pixels):
    """The law of an answer's first token, by the processor and the model's own temperature."""
    processor = loaded.processor
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    asked = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    batch = processor(text=[asked], images=[[Image.fromarray(pixels)]], return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        logits = loaded.model(**batch).logits[0, -1]
    return (logits / loaded.model.generation_config.temperature).softmax(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_margin_is_the_odds_of_the_first_token(loaded, noise_picture, monkeypatch, temperature):
    monkeypatch.setattr(loaded.model.generation_config, "temperature", temperature)
    monkeypatch.setattr(loaded.model.generation_config, "do_sample", True)
    pixels = noise_picture(96, 96)
    surrogate = Surrogate(loaded, PROMPT, pixels)
    wanted = list(surrogate.tokens(TARGETS).first)
    assert len(wanted) == 2
    share = float(first_token_law(loaded, pixels)[wanted].sum())
    margin = float(FirstTokenMargin(surrogate, TARGETS)(as_tensor(pixels)[None]))
    assert margin == pytest.approx(np.log((1 - share) / share), abs=1e-3)
    # Of answers of one token the two margins speak of the same event.
    whole = float(AnswerMargin(surrogate, ("you", "go"))(as_tensor(pixels)[None]))
    assert whole == pytest.approx(np.log(0.5 / share), abs=1e-3)


def test_an_answers_probability_is_the_product_over_its_tokens(loaded, noise_picture):
    pixels = noise_picture(96, 96)
    surrogate = Surrogate(loaded, PROMPT, pixels)
    x = as_tensor(pixels)[None]
    logs = AnswerMargin(surrogate, TARGETS).log_probabilities(x)[0]
    alone = [AnswerMargin(surrogate, [text]).log_probabilities(x)[0, 0] for text in TARGETS]
    assert logs.tolist() == pytest.approx([float(one) for one in alone], abs=1e-3)
    shorter = AnswerMargin(surrogate, ["go to hell, scum"]).log_probabilities(x)
    assert float(shorter) > float(logs[1])  # without the full stop


def test_a_processor_that_cuts_tiles_is_refused(tiny_idefics, noise_picture):
    with pytest.raises(ConfigError, match="tiles"):
        Surrogate(load_vlm(str(tiny_idefics), device="cpu"), PROMPT, noise_picture())


def test_a_processor_that_crops_is_refused_where_it_crops(
    loaded, tiny_llava, tmp_path, noise_picture
):
    cropping = with_pictures_prepared(
        loaded, tiny_llava, tmp_path,
        size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96}, do_center_crop=True,
    )  # fmt: skip
    Surrogate(cropping, PROMPT, noise_picture(96, 96))
    smooth = np.full((96, 160, 3), 90, np.uint8)  # on itself the crop would not show
    with pytest.raises(ConfigError, match="square"):
        Surrogate(cropping, PROMPT, smooth)


def test_a_processor_without_normalisation_is_refused(loaded, tiny_llava, tmp_path, noise_picture):
    bare = with_pictures_prepared(loaded, tiny_llava, tmp_path, image_mean=None)
    with pytest.raises(ConfigError, match="mean"):
        Surrogate(bare, PROMPT, noise_picture())


@pytest.mark.parametrize("targets", [(), ("",), ("stupid", "")])
def test_empty_targets_are_refused(loaded, noise_picture, targets):
    with pytest.raises(ConfigError, match="target"):
        Surrogate(loaded, PROMPT, noise_picture()).tokens(targets)
