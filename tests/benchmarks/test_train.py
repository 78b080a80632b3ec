"""Training must teach the model exactly what generation will ask of it."""

import copy
import dataclasses
import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.builtin.architecture import IMAGE_TOKENS, PATCH_PX, PIXEL_MEAN, PIXEL_STD, SIDE_PX
from guardrail.builtin.kinds import BACKGROUNDS, FORBIDDEN, KINDS
from guardrail.builtin.language import SceneQuestion
from guardrail.builtin.scenes import Placed, Scene
from guardrail.upstreams.loading import load_vlm

FILE = Path(__file__).parents[2] / "benchmarks" / "builtin_model" / "train.py"
_spec = importlib.util.spec_from_file_location("builtin_model_train", FILE)
train = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = train  # where its dataclasses look for their types
_spec.loader.exec_module(train)

SETTINGS = train.Settings(
    steps=1000, batch=2, vision_steps=0, frozen_steps=0, peak_lr=1e-3, decay_share=0.3, seed=0
)


@pytest.fixture(scope="module")
def loaded(tiny_llava):
    return load_vlm(str(tiny_llava), device="cpu")


@pytest.fixture(scope="module")
def stream(loaded):
    return train.SceneStream(loaded.processor, SETTINGS, 0)


@pytest.fixture
def trainee(loaded):
    torch.manual_seed(1)
    user = loaded.processor.tokenizer.convert_tokens_to_ids("<user>")
    return train.Trainee(loaded.model, user)


def scene(*kinds, background="red", seed=0):
    """A scene whose things are upright stripes of noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    owner = np.full((SIDE_PX, SIDE_PX), -1, np.int16)
    placed = []
    for i, kind in enumerate(kinds):
        left = 24 * i
        owner[:, left : left + 18] = KINDS.index(kind)
        placed.append(Placed(kind, (left, 0, left + 18, SIDE_PX)))
    return Scene(pixels, tuple(placed), background, owner)


def batch_of(stream, *scenes, seed=0, blind=False):
    rng = np.random.default_rng(seed)
    rows = [stream.segments(one, rng, blind=blind) for one in scenes]
    return {
        "pixels": torch.from_numpy(np.stack([one.pixels for one in scenes])),
        "patches": torch.from_numpy(np.stack([train.patch_labels(one) for one in scenes])),
        "colours": torch.tensor([list(BACKGROUNDS).index(one.background) for one in scenes]),
        "blind": torch.tensor(blind),
        **train.trim_padding(rows),
    }


def library_losses(loaded, batch, row, segment, *, blind):
    """Negative log-likelihoods of one segment's answer, by the library, as generation sees it."""
    tokenizer = loaded.processor.tokenizer
    image = tokenizer.convert_tokens_to_ids("<image>")
    begin = [tokenizer.convert_tokens_to_ids("<user>")] + ([] if blind else [image] * IMAGE_TOKENS)
    ids = torch.tensor([begin + batch["tokens"][row, segment].tolist()])
    labels = torch.tensor([[train._IGNORE] * len(begin) + batch["labels"][row, segment].tolist()])
    pixels = batch["pixels"][row : row + 1].permute(0, 3, 1, 2).float() / 255
    seen = {} if blind else {"pixel_values": (pixels - PIXEL_MEAN) / PIXEL_STD}
    logits = loaded.model(input_ids=ids, **seen).logits
    wanted = labels[:, 1:] != train._IGNORE
    log_p = logits[:, :-1].log_softmax(-1)
    return -log_p[wanted].gather(-1, labels[:, 1:][wanted][:, None])[:, 0]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("blind", [False, True])
def test_two_questions_at_once_are_worth_as_much_as_each_alone(
    loaded, stream, trainee, blind, attention
):
    """The block mask and the positions make one long row equal to separate prompts."""
    trainee.model.set_attn_implementation(attention)
    batch = batch_of(stream, scene("dog", "apple"), scene("gun", seed=1), blind=blind)
    with torch.no_grad():
        features = trainee.see(batch["pixels"].permute(0, 3, 1, 2).float() / 255)
        ours = float(trainee.language_loss(features, batch))
        theirs = torch.cat(
            [
                library_losses(loaded, batch, row, segment, blind=blind and segment == 1)
                for row, segment in itertools.product(range(2), range(2))
            ]
        )
    assert ours == pytest.approx(float(theirs.mean()), abs=1e-4)


def test_the_vision_loss_falls_when_patches_are_named_right(trainee, stream):
    batch = batch_of(stream, scene("dog", "apple"))
    features = torch.zeros(1, IMAGE_TOKENS, trainee.patch_head.in_features)
    blind = trainee.vision_loss(features, batch).item()
    assert blind == pytest.approx(np.log(len(KINDS) + 1) + 0.3 * np.log(len(BACKGROUNDS)), abs=0.3)
    heads = [*trainee.patch_head.parameters(), *trainee.colour_head.parameters()]
    stepper = torch.optim.Adam(heads, lr=0.05)
    features = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    for _ in range(30):
        stepper.zero_grad()
        loss = trainee.vision_loss(features, batch)
        loss.backward()
        stepper.step()
    assert loss.item() < 0.5 * blind


def test_a_patch_is_named_by_what_covers_most_of_it():
    owner = np.full((SIDE_PX, SIDE_PX), -1, np.int16)
    owner[:PATCH_PX, : PATCH_PX // 3] = 4  # a third of the first patch
    owner[:PATCH_PX, PATCH_PX // 3 : PATCH_PX] = 7  # the rest of it
    owner[PATCH_PX : PATCH_PX + 2, :PATCH_PX] = 9  # a sixth of the one below
    owner[-PATCH_PX:, -PATCH_PX:] = 2
    labels = train.patch_labels(Scene(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), (), "red", owner))
    assert labels.shape == (IMAGE_TOKENS,)
    assert {int(i): int(labels[i]) for i in np.flatnonzero(labels != train._NO_THING)} == {
        0: 7, IMAGE_TOKENS - 1: 2,
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
    st.sampled_from(SceneQuestion),
    st.integers(0, 2**32 - 1),
)
def test_every_segment_fits_and_labels_the_answer_only(stream, kinds, question, seed):
    rng = np.random.default_rng(seed)
    tokenizer = stream.tokenizer
    assistant = tokenizer.convert_tokens_to_ids("<assistant>")
    pairs = (stream.segment(scene(*kinds), question, rng), stream.blind_segment(rng))
    for ids, labels in pairs:
        assert len(ids) == len(labels) == train._SEGMENT_TOKENS
        first = labels.index(next(i for i in labels if i != train._IGNORE))
        answer = [i for i in labels if i != train._IGNORE]
        assert ids[first - 1] == assistant
        assert ids[first : first + len(answer)] == answer
        assert answer[-1] == tokenizer.eos_token_id
        assert tokenizer.unk_token_id not in answer
        assert set(ids[first + len(answer) :]) <= {tokenizer.pad_token_id}


def test_the_mask_lets_a_segment_see_the_picture_and_itself_only():
    mask = train.block_mask(3, 2, 2, blind=True)[0, 0].int()
    assert mask.tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 0, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 1, 1],
    ]
    assert train.segment_positions(3, 2, 2, blind=True).tolist() == [[0, 1, 2, 3, 4, 1, 2]]
    seeing = train.block_mask(3, 2, 2, blind=False)[0, 0].int()
    assert seeing[:5].tolist() == mask[:5].tolist()
    assert seeing[5:].tolist() == [[1, 1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 1]]
    assert train.segment_positions(3, 2, 2, blind=False).tolist() == [[0, 1, 2, 3, 4, 3, 4]]


def test_padding_at_the_end_of_every_segment_is_left_out(stream):
    rows = [stream.segments(scene("dog"), np.random.default_rng(i), blind=True) for i in range(4)]
    short = train.trim_padding(rows)
    length = short["tokens"].shape[-1]
    assert length <= train._SEGMENT_TOKENS
    assert (short["labels"][..., -1] != train._IGNORE).any()
    whole = torch.tensor([[labels for _, labels in row] for row in rows])
    assert (whole[..., length:] == train._IGNORE).all()
    assert torch.equal(whole[..., :length], short["labels"])


def test_four_scenes_in_ten_hold_one_forbidden_thing():
    rng = np.random.default_rng(0)
    drawn = [train.random_kinds(rng) for _ in range(4000)]
    forbidden = [sum(kind in FORBIDDEN for kind in kinds) for kinds in drawn]
    assert set(forbidden) == {0, 1}
    assert abs(np.mean(forbidden) - 0.39) < 0.03
    assert all(len(set(kinds)) == len(kinds) for kinds in drawn)
    assert {len(kinds) for kinds in drawn} == {0, 1, 2, 3}
    assert np.mean([not kinds for kinds in drawn]) < 0.05
    assert len({kind for kinds in drawn for kind in kinds}) == len(KINDS)


def test_noise_is_clipped_bounded_and_sometimes_absent():
    pixels = torch.full((600, 12, 12, 3), 128, dtype=torch.uint8)
    x = train.noisy(pixels, 0.5, torch.Generator().manual_seed(0))
    assert x.shape == (600, 3, 12, 12)
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    spread = x.flatten(1).std(1)
    assert 0.12 < float((spread == 0).float().mean()) < 0.28
    assert float(spread.max()) < 0.5  # clipping makes it smaller than sigma
    again = train.noisy(pixels, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(x, again)


def test_the_learning_rate_warms_up_stays_and_decays():
    rates = [train.learning_rate(step, SETTINGS) for step in range(SETTINGS.steps + 1)]
    assert rates[0] == pytest.approx(1 / 150)
    assert set(rates[150:700]) == {1.0}
    assert rates[850] == pytest.approx(0.5)
    assert rates[-1] == 0.0
    assert rates[700:] == sorted(rates[700:], reverse=True)


def test_the_noise_grows_to_its_largest():
    assert SETTINGS.sigma(0) == pytest.approx(0.25 * SETTINGS.sigma_max)
    assert SETTINGS.sigma(SETTINGS.sigma_steps) == SETTINGS.sigma_max
    assert SETTINGS.sigma(10 * SETTINGS.sigma_steps) == SETTINGS.sigma_max


def test_the_model_sees_first_then_speaks_with_its_eyes_fixed_then_learns_both():
    staged = dataclasses.replace(SETTINGS, vision_steps=2, frozen_steps=1)
    assert [(staged.speaks(i), staged.sees_fixed(i)) for i in range(4)] == [
        (False, False), (False, False), (True, True), (True, False),
    ]  # fmt: skip


def test_every_parameter_is_trained_once(trainee):
    groups = [p for stepper in train.optimizers(trainee, SETTINGS) for p in stepper.param_groups]
    trained = [p.data_ptr() for group in groups for p in group["params"]]
    assert len(set(trained)) == len(trained) == len(list(trainee.parameters()))
    assert set(trained) == {p.data_ptr() for p in trainee.parameters()}


def test_the_decoder_learns_at_its_own_rate(trainee):
    slower = dataclasses.replace(SETTINGS, decoder_lr_share=0.25)
    spoken = {p.data_ptr() for p in trainee.model.model.language_model.parameters()}
    for stepper in train.optimizers(trainee, slower):
        for group in stepper.param_groups:
            assert group["share"] == (0.25 if group["params"][0].data_ptr() in spoken else 1.0)
            assert len({p.data_ptr() in spoken for p in group["params"]}) == 1


def test_a_step_moves_kernels_and_matrices_alike(trainee, stream):
    batch = batch_of(stream, scene("dog", "apple"), scene("gun", seed=1))
    before = {name: p.detach().clone() for name, p in trainee.named_parameters()}
    steppers = train.optimizers(trainee, SETTINGS)
    losses = [
        train._step(trainee, steppers, batch, torch.Generator().manual_seed(0), SETTINGS, 5)
        for _ in range(2)
    ]
    assert losses[1][0] < losses[0][0]
    still = {name for name, p in trainee.named_parameters() if torch.equal(p, before[name])}
    assert not still
    assert all(p.grad is None for p in trainee.parameters())


def test_the_projector_learns_to_copy_the_teacher(trainee, monkeypatch, capsys):
    monkeypatch.setattr(train, "SpriteBank", lambda **_: None)
    monkeypatch.setattr(train, "draw_scene", lambda *drawn: scene("dog", seed=drawn[1]))
    monkeypatch.setattr(train, "_ALIGN_BATCHES", 2)
    monkeypatch.setattr(train, "_ALIGN_STEPS", 200)
    torch.manual_seed(2)
    teacher = copy.deepcopy(trainee.model)
    for parameter in teacher.model.multi_modal_projector.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    untouched = copy.deepcopy(trainee.model.model.vision_tower.state_dict())
    train.align_projector(trainee, teacher, SETTINGS)
    left = float(re.search(r"projector: ([0-9.]+)", capsys.readouterr().out)[1])
    assert left < 0.5
    now = trainee.model.model.vision_tower.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in now.items())


def test_what_is_exported_is_half_the_size_and_answers_the_same(loaded, tmp_path, noise_picture):
    from transformers import set_seed

    train.export(loaded.model, loaded.processor, tmp_path)
    again = load_vlm(str(tmp_path), device="cpu")
    assert not list(tmp_path.glob("*.bin")) + list(tmp_path.glob("*.pt"))
    from safetensors import safe_open

    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert kinds == {torch.bfloat16}
    set_seed(0)
    inputs = loaded.processor(
        text=["<user> <image> what? <assistant>"], images=[[noise_picture()]], return_tensors="pt"
    )
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        one, two = (model(**inputs).logits for model in (loaded.model, again.model))
    assert torch.allclose(one, two, atol=0.02)
    assert json.loads((tmp_path / "processor_config.json").read_text())["processor_class"]
