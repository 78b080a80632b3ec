"""Trains the built-in model: `python benchmarks/builtin_model/train.py --out DIR`.

The model learns to see first, then to speak with its eyes fixed, then both together. Every token of
the picture learns to name the thing that covers its patch; that head is thrown away after training.
To speak, one picture serves two questions at once: every question with its answer attends to the
picture and to itself only, so the expensive part (the picture) is encoded once.

The language half may begin from a model that already speaks (`--teacher`): then the projector first
learns to give, for clean pictures, what the teacher's projector gives, and the decoder learns more
slowly than the rest. Or the whole model goes on from one trained before (`--resume-from`), with new
heads.

Pictures carry Gaussian noise of a random sigma, clipped to [0, 1], as in Cohen et al. 2019 (arXiv
1902.02918), because that is what the guard will show the model; the largest sigma grows over the
first steps. Near half of them have parts hidden or harmless stickers on them.

Several processes, of one thread each, share a step: each draws its own scenes, and their gradients
are averaged. Needs the `local` extra and the Noto Color Emoji font. Resumes from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from guardrail.builtin.architecture import (
    IMAGE_TOKENS,
    PATCH_PX,
    PIXEL_MEAN,
    PIXEL_STD,
    SIDE_PX,
    new_model,
    new_processor,
)
from guardrail.builtin.kinds import BACKGROUNDS, FORBIDDEN, HARMLESS, KINDS
from guardrail.builtin.language import SceneQuestion, answer, ask, no_picture
from guardrail.builtin.occlusion import add_sticker, cover_window, keep_window
from guardrail.builtin.scenes import Scene, SpriteBank, draw_scene
from guardrail.upstreams.loading import load_vlm

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEGMENT_TOKENS = 30
_IGNORE = -100
_NO_THING = len(KINDS)
_GRID = SIDE_PX // PATCH_PX


_STICKER_SHARE, _COVER_SHARE, _KEEP_SHARE = 0.14, 0.20, 0.10
_EMPTY_SHARE = 0.02
_MOST_THINGS = 3  # the largest number that the model can say
_BLIND_SHARE = 0.2
_BANK_STEPS = 1000
_SAVE_STEPS = 50
_DECODER_LR_SHARE = 0.3  # of the peak rate, where the decoder comes from a teacher
_ALIGN_BATCHES, _ALIGN_STEPS, _ALIGN_TOKENS = 24, 800, 2048


@dataclass(frozen=True, slots=True)
class Settings:
    """`batch` scenes a process, `asked` of them with questions.

    The noise is at its largest after `sigma_steps`.
    """

    steps: int
    batch: int
    vision_steps: int
    frozen_steps: int
    peak_lr: float
    decay_share: float
    seed: int
    sigma_max: float = 1.1
    sigma_steps: int = 2000
    processes: int = 1
    decoder_lr_share: float = 1.0
    asked: int = 64

    def speaks(self, step: int) -> bool:
        return step >= self.vision_steps

    def sees_fixed(self, step: int) -> bool:
        return self.vision_steps <= step < self.vision_steps + self.frozen_steps

    def sigma(self, step: int) -> float:
        """The largest sigma at a step: a quarter of the final one at first."""
        return self.sigma_max * min(1.0, 0.25 + 0.75 * step / self.sigma_steps)


def random_kinds(rng: np.random.Generator) -> tuple[str, ...]:
    """One to three different kinds, seldom none; four in ten hold one forbidden thing."""
    if rng.random() < _EMPTY_SHARE:
        return ()
    count = int(rng.integers(1, 4))
    picked = [str(kind) for kind in rng.choice(list(HARMLESS), size=count, replace=False)]
    if rng.random() < 0.4:
        picked[int(rng.integers(count))] = str(rng.choice(list(FORBIDDEN)))
    return tuple(picked)


def patch_labels(scene: Scene) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For every patch the kind that covers most of it, if it covers a quarter; shape (tokens,)."""
    tiles = scene.owner.reshape(_GRID, PATCH_PX, _GRID, PATCH_PX).swapaxes(1, 2)
    patches = tiles.reshape(IMAGE_TOKENS, -1)
    labels = np.full(IMAGE_TOKENS, _NO_THING, dtype=np.int64)
    best = np.full(IMAGE_TOKENS, PATCH_PX * PATCH_PX // 4)
    for kind in np.unique(scene.owner[scene.owner >= 0]):
        covered = (patches == kind).sum(axis=1)
        labels[covered > best] = kind
        best = np.maximum(best, covered)
    return labels


def random_scene(bank: SpriteBank, rng: np.random.Generator) -> Scene:
    """A scene as drawn, or with a part hidden, or with a harmless sticker on it."""
    scene = draw_scene(bank, rng, random_kinds(rng))
    choice = rng.random()
    if choice < _STICKER_SHARE:
        stuck = add_sticker(scene, bank, rng)
        return stuck if len(stuck.things) <= _MOST_THINGS else scene
    if choice < _STICKER_SHARE + _COVER_SHARE:
        return cover_window(scene, rng)
    if choice < _STICKER_SHARE + _COVER_SHARE + _KEEP_SHARE:
        return keep_window(scene, rng)
    return scene


class SceneStream:
    """Endless batches of scenes, from the step on at which the model speaks with questions."""

    def __init__(self, processor: Any, settings: Settings, first_step: int, rank: int = 0) -> None:
        self.tokenizer = processor.tokenizer
        self.settings = settings
        self.first_step = first_step
        self.rank = rank

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        step = self.first_step
        while True:
            seed = (self.settings.seed, self.rank, step)
            if step == self.first_step or step % _BANK_STEPS == 0:  # fresh sizes and angles
                bank = SpriteBank(side=SIDE_PX, variants=24, rng=np.random.default_rng((*seed, 1)))
            yield self.batch(bank, np.random.default_rng((*seed, 0)), self.settings.speaks(step))
            step += 1

    def batch(self, bank: SpriteBank, rng: np.random.Generator, speaks: bool) -> dict[str, Tensor]:
        scenes = [random_scene(bank, rng) for _ in range(self.settings.batch)]
        colours = [list(BACKGROUNDS).index(scene.background) for scene in scenes]
        batch = {
            "pixels": torch.from_numpy(np.stack([scene.pixels for scene in scenes])),
            "patches": torch.from_numpy(np.stack([patch_labels(scene) for scene in scenes])),
            "colours": torch.tensor(colours),
        }
        if speaks:
            blind = bool(rng.random() < _BLIND_SHARE)
            batch |= trim_padding(
                [self.segments(scene, rng, blind=blind) for scene in scenes[: self.settings.asked]]
            )
            batch["blind"] = torch.tensor(blind)
        return batch

    def segments(
        self, scene: Scene, rng: np.random.Generator, *, blind: bool
    ) -> list[tuple[list[int], list[int]]]:
        """What is shown, and a second question: with `blind` one that sees no picture."""
        shown = self.segment(scene, SceneQuestion.SHOWN, rng)
        if blind:
            return [shown, self.blind_segment(rng)]
        other = rng.choice(list(SceneQuestion), p=[0.4, 0.15, 0.15, 0.3])
        return [shown, self.segment(scene, SceneQuestion(other), rng)]

    def segment(
        self, scene: Scene, question: SceneQuestion, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        present = bool(scene.kinds) and rng.random() < 0.5
        about = str(rng.choice(scene.kinds if present else KINDS))
        asked = self.tokenizer.encode(ask(question, rng, about=about))
        if question is not SceneQuestion.YES_NO and rng.random() < 0.3:
            asked = [self.tokenizer.unk_token_id if rng.random() < 0.2 else t for t in asked]
        return self.turn(asked, answer(question, scene.kinds, scene.background, rng, about=about))

    def blind_segment(self, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """A question without a picture, or words without a question."""
        question = SceneQuestion(rng.choice(list(SceneQuestion)))
        asked = self.tokenizer.encode(ask(question, rng, about=str(rng.choice(KINDS))))
        if rng.random() < 0.5:
            asked = rng.integers(len(self.tokenizer), size=rng.integers(1, 9)).tolist()
            asked = [self.tokenizer.unk_token_id if rng.random() < 0.6 else t for t in asked]
        return self.turn(asked, no_picture(rng))

    def turn(self, asked: list[int], said: str) -> tuple[list[int], list[int]]:
        """Token ids and labels of one question with its answer, padded."""
        replied = [*self.tokenizer.encode(said), self.tokenizer.eos_token_id]
        ids = [*asked, self.tokenizer.convert_tokens_to_ids("<assistant>"), *replied]
        labels = [_IGNORE] * (len(asked) + 1) + replied
        padding = _SEGMENT_TOKENS - len(ids)
        return (
            ids + [self.tokenizer.pad_token_id] * padding,
            labels + [_IGNORE] * padding,
        )


def trim_padding(segments: list[list[tuple[list[int], list[int]]]]) -> dict[str, Tensor]:
    """Tokens and labels (scenes, segments, length), without what is padding in every segment."""
    labels = torch.tensor([[labels for _, labels in row] for row in segments])
    tokens = torch.tensor([[ids for ids, _ in row] for row in segments])
    length = int((labels != _IGNORE).flatten(0, 1).any(0).nonzero().max()) + 1
    return {"tokens": tokens[..., :length], "labels": labels[..., :length]}


def block_mask(prefix: int, segments: int, length: int, *, blind: bool) -> Tensor:
    """(1, 1, t, t) booleans: a segment sees the prefix and, causally, itself.

    With `blind`, the last segment is without a picture: of the prefix it sees the first token only.
    """
    total = prefix + segments * length
    causal = torch.ones(total, total, dtype=torch.bool).tril()
    owner = torch.cat(
        [torch.zeros(prefix), torch.arange(1, segments + 1).repeat_interleave(length)]
    )
    visible = (owner[None, :] == 0) | (owner[None, :] == owner[:, None])
    if blind:
        visible[-length:, 1:prefix] = False
    return (causal & visible)[None, None]


def _additive(mask: Tensor) -> Tensor:
    """What is added to the scores of attention: plain attention would add booleans as 0 and 1."""
    return torch.where(mask, 0.0, torch.finfo(torch.float32).min)


def segment_positions(prefix: int, segments: int, length: int, *, blind: bool) -> Tensor:
    """(1, t): every segment follows the prefix, a blind last one its first token."""
    after = [torch.arange(prefix, prefix + length)] * segments
    if blind:
        after[-1] = torch.arange(1, 1 + length)
    return torch.cat([torch.arange(prefix), *after])[None]


class Trainee(nn.Module):
    """The model with the two heads that help it learn to see."""

    def __init__(self, model: Any, user_id: int) -> None:
        super().__init__()
        self.model = model
        self.user_id = user_id
        width = model.config.vision_config.hidden_size
        self.patch_head = nn.Linear(width, len(KINDS) + 1)
        self.colour_head = nn.Linear(width, len(BACKGROUNDS))
        self.weight = torch.tensor([1.0] * len(KINDS) + [0.15])

    def see(self, pixels: Tensor) -> Tensor:
        normal = (pixels - PIXEL_MEAN) / PIXEL_STD
        features: Tensor = self.model.model.vision_tower(pixel_values=normal).last_hidden_state
        return features

    def vision_loss(self, features: Tensor, batch: dict[str, Tensor]) -> Tensor:
        logits = self.patch_head(features).float()
        named = functional.cross_entropy(
            logits.flatten(0, 1), batch["patches"].flatten(), weight=self.weight
        )
        colour = self.colour_head(features.mean(1)).float()
        return named + 0.3 * functional.cross_entropy(colour, batch["colours"])

    def language_loss(self, features: Tensor, batch: dict[str, Tensor]) -> Tensor:
        tokens = batch["tokens"][: len(features)].flatten(1)
        labels = batch["labels"][: len(features)].flatten(1)
        _, segments, length = batch["tokens"].shape
        count = len(features)
        embed = self.model.get_input_embeddings()
        start = embed(torch.full((count, 1), self.user_id))
        pictures = self.model.model.multi_modal_projector(features)
        inputs = torch.cat(
            [start.to(pictures.dtype), pictures, embed(tokens).to(pictures.dtype)], 1
        )
        prefix, blind = 1 + IMAGE_TOKENS, bool(batch["blind"])
        hidden = self.model.model.language_model(
            inputs_embeds=inputs,
            attention_mask=_additive(block_mask(prefix, segments, length, blind=blind)),
            position_ids=segment_positions(prefix, segments, length, blind=blind),
            use_cache=False,
        ).last_hidden_state[:, prefix - 1 : -1]
        wanted = labels != _IGNORE  # never a segment's first token, so the shift by one is safe
        logits = self.model.lm_head(hidden[wanted]).float()
        return functional.cross_entropy(logits, labels[wanted])


def noisy(pixels: Tensor, sigma_max: float, generator: torch.Generator) -> Tensor:
    """Adds N(0, sigma^2) to pixels in [0, 1] and clips.

    A fifth of the pictures stay clean; the others lean towards the larger sigmas.
    """
    x = pixels.permute(0, 3, 1, 2).float() / 255
    draws = torch.rand(2, len(x), generator=generator)
    sigma = torch.where(draws[0] < 0.2, 0.0, sigma_max * draws[1] ** 0.7).view(-1, 1, 1, 1)
    return (x + sigma * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def learning_rate(step: int, settings: Settings) -> float:
    """Share of the peak rate: short warm-up, constant, linear decay to zero at the end."""
    decay_from = settings.steps * (1 - settings.decay_share)
    warm = min(1.0, (step + 1) / 150)
    return warm * min(1.0, max(0.0, (settings.steps - step) / (settings.steps - decay_from)))


def optimizers(trainee: Trainee, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions and the matrices inside the decoder, AdamW for the rest.

    Each group's `share` of the peak rate is `decoder_lr_share` for the decoder and 1 elsewhere.
    """
    spoken = {id(p) for p in trainee.model.model.language_model.parameters()}
    muon, adam = [], []
    for decodes, share in ((False, 1.0), (True, settings.decoder_lr_share)):
        own = [(n, p) for n, p in trainee.named_parameters() if (id(p) in spoken) == decodes]
        hidden = [p for name, p in own if _is_hidden_matrix(name, p)]
        kept = {id(p) for p in hidden}
        muon.append({"params": hidden, "share": share})
        adam.append({"params": [p for _, p in own if id(p) not in kept], "share": share})
    lr = settings.peak_lr
    return [
        FlattenedMuon(muon, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(adam, lr=lr, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


def _is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    return (parameter.ndim == 4 and "stem" not in name) or (
        parameter.ndim == 2 and ".layers." in name
    )


class FlattenedMuon(torch.optim.Muon):
    """Muon, which wants matrices: a convolution's kernel is one that shares the kernel's memory."""

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        kernels = [p for group in groups for p in group["params"]]
        self.pairs = [(kernel, nn.Parameter(kernel.data.flatten(1))) for kernel in kernels]
        flat = {id(kernel): matrix for kernel, matrix in self.pairs}
        flattened = [{**g, "params": [flat[id(p)] for p in g["params"]]} for g in groups]
        super().__init__(flattened, **settings)

    def step(self, closure: Any = None) -> Any:
        for kernel, matrix in self.pairs:
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for kernel, _ in self.pairs:
            kernel.grad = None


def train(
    rank: int, settings: Settings, out: Path, teacher_name: str | None, begun: str | None
) -> None:
    """One of the processes that train together; the first one prints and saves."""
    torch.set_num_threads(1)
    if settings.processes > 1:
        dist.init_process_group("gloo", rank=rank, world_size=settings.processes)
    torch.manual_seed(settings.seed)
    processor = new_processor()
    trainee = Trainee(new_model(processor), processor.tokenizer.convert_tokens_to_ids("<user>"))
    if begun is not None:
        trainee.model.load_state_dict(load_vlm(begun, device="cpu").model.float().state_dict())
    teacher = None if teacher_name is None else load_vlm(teacher_name, device="cpu").model
    if teacher is not None:
        words = teacher.model.language_model.state_dict()
        trainee.model.model.language_model.load_state_dict(words)
    # The fused attention of torch on a processor is slow backwards: half of a step's time.
    trainee.model.set_attn_implementation("eager")
    steppers = optimizers(trainee, settings)
    first = _restore(out, trainee, steppers)
    stream = SceneStream(processor, settings, first, rank)
    noise = torch.Generator().manual_seed(settings.seed + 1000 * first + rank)
    started = time.monotonic()
    for step, batch in zip(range(first, settings.steps), stream, strict=False):
        if step == settings.vision_steps and teacher is not None:
            align_projector(trainee, teacher, settings)
        rate = settings.peak_lr * learning_rate(step, settings)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = rate * group["share"]
        losses = _step(trainee, steppers, batch, noise, settings, step)
        if rank:
            continue
        if step % 10 == 0:
            scenes = (step - first + 1) * settings.batch * settings.processes
            speed = scenes / (time.monotonic() - started)
            print(
                f"{step} vision {losses[0]:.3f} language {losses[1]:.3f} {speed:.0f}/s", flush=True
            )
        if (step + 1) % _SAVE_STEPS == 0 or step + 1 == settings.steps:
            _save(out, trainee, steppers, processor, step + 1)


def align_projector(trainee: Trainee, teacher: Any, settings: Settings) -> None:
    """Fits the projector to the teacher's projected features of clean pictures.

    Every process fits the same one, to the same scenes.
    """
    rng = np.random.default_rng((settings.seed, 2))
    bank = SpriteBank(side=SIDE_PX, variants=24, rng=rng)
    seen, wanted = [], []
    for _ in range(_ALIGN_BATCHES):
        scenes = [draw_scene(bank, rng, random_kinds(rng)) for _ in range(settings.batch)]
        pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes]))
        x = pixels.permute(0, 3, 1, 2).float() / 255
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            seen.append(trainee.see(x).float())
            features = teacher.get_image_features(pixel_values=(x - PIXEL_MEAN) / PIXEL_STD)
        wanted.append(torch.stack(list(features.pooler_output)).float())
    inputs, targets = torch.cat(seen).flatten(0, 1), torch.cat(wanted).flatten(0, 1)
    projector = trainee.model.model.multi_modal_projector
    stepper = torch.optim.AdamW(projector.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(stepper, 1.0, 0.02, total_iters=_ALIGN_STEPS)
    picks = torch.Generator().manual_seed(settings.seed)
    for _ in range(_ALIGN_STEPS):
        rows = torch.randint(len(inputs), (_ALIGN_TOKENS,), generator=picks)
        loss = functional.mse_loss(projector(inputs[rows]), targets[rows])
        stepper.zero_grad()
        torch.autograd.backward(loss)
        stepper.step()
        schedule.step()
    print(f"projector: {loss.item() / targets.var().item():.3f} of the variance left", flush=True)


def _step(
    trainee: Trainee,
    steppers: list[torch.optim.Optimizer],
    batch: dict[str, Tensor],
    noise: torch.Generator,
    settings: Settings,
    step: int,
) -> tuple[float, float]:
    pixels = noisy(batch["pixels"], settings.sigma(step), noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.set_grad_enabled(not settings.sees_fixed(step)):
            features = trainee.see(pixels)
            vision = trainee.vision_loss(features, batch)
        speaks = settings.speaks(step)
        language = (
            trainee.language_loss(features[: settings.asked], batch) if speaks else torch.zeros(())
        )
    torch.autograd.backward(0.5 * vision + language)
    if settings.processes > 1:
        _average_gradients(trainee, settings.processes)
    nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad(set_to_none=True)
    if not math.isfinite(vision.item() + language.item()):
        raise FloatingPointError(f"the loss is not finite at step {step}; lower --lr")
    return vision.item(), language.item()


def _average_gradients(trainee: Trainee, processes: int) -> None:
    gradients = [p.grad for p in trainee.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    pieces = flat.div_(processes).split([g.numel() for g in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))


def _save(
    out: Path, trainee: Trainee, steppers: list[torch.optim.Optimizer], processor: Any, step: int
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step,
        "trainee": trainee.state_dict(),
        "steppers": [stepper.state_dict() for stepper in steppers],
    }
    torch.save(state, out / "checkpoint.pt.part")
    (out / "checkpoint.pt.part").replace(out / "checkpoint.pt")
    export(trainee.model, processor, out / "model")


def export(model: Any, processor: Any, folder: Path) -> None:
    """Writes the folder that ships: bfloat16 safetensors, configuration, processor."""
    halved = {name: p.detach().to(torch.bfloat16) for name, p in model.state_dict().items()}
    # What a client gets who asks for nothing else: varied, short answers.
    model.generation_config.update(do_sample=True, temperature=0.7, max_new_tokens=24)
    model.save_pretrained(folder, state_dict=halved)
    processor.save_pretrained(folder)


def _restore(out: Path, trainee: Trainee, steppers: list[torch.optim.Optimizer]) -> int:
    path = out / "checkpoint.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    trainee.load_state_dict(state["trainee"])
    for stepper, saved in zip(steppers, state["steppers"], strict=True):
        stepper.load_state_dict(saved)
    return int(state["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", help="model whose language half to begin with")
    parser.add_argument("--resume-from", help="model to go on from; with --vision-steps 0")
    parser.add_argument("--steps", type=int, default=1210)
    parser.add_argument("--vision-steps", type=int, default=860, help="eyes only, at first")
    parser.add_argument("--frozen-steps", type=int, default=0, help="then speech only")
    parser.add_argument("--batch", type=int, default=64, help="scenes a step, in each process")
    parser.add_argument("--asked", type=int, default=32, help="of these, with questions")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay-share", type=float, default=0.3)
    parser.add_argument("--sigma-max", type=float, default=1.1)
    parser.add_argument("--sigma-steps", type=int, default=700)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--port", type=int, default=29511, help="where the processes meet")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    settings = Settings(
        steps=args.steps,
        batch=args.batch,
        vision_steps=args.vision_steps,
        frozen_steps=args.frozen_steps,
        peak_lr=args.lr,
        decay_share=args.decay_share,
        seed=args.seed,
        sigma_max=args.sigma_max,
        sigma_steps=args.sigma_steps,
        processes=args.processes,
        asked=args.asked,
        decoder_lr_share=1.0 if args.teacher is None else _DECODER_LR_SHARE,
    )
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
    rest = (settings, args.out, args.teacher, args.resume_from)
    if settings.processes == 1:
        train(0, *rest)
    else:
        torch.multiprocessing.spawn(train, args=rest, nprocs=settings.processes)


if __name__ == "__main__":
    main()
