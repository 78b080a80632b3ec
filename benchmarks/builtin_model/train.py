"""Trains the built-in model from nothing: `python benchmarks/builtin_model/train.py --out DIR`.

One picture serves several questions at once: every question with its answer attends to the
picture and to itself only, so the expensive part (the picture) is encoded once. Beside the
language loss, every patch of the picture learns to name the thing that covers it; that head is
thrown away after training. The model learns to see first, then to speak with its eyes fixed, then
both together. Pictures carry Gaussian noise of a random sigma, clipped to [0, 1], as
in Cohen et al. 2019 (arXiv 1902.02918), because that is what the guard will show the model.

Needs the `local` extra and the Noto Color Emoji font. Resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
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
from guardrail.builtin.scenes import Scene, SpriteBank, draw_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUESTIONS_PER_SCENE = 2
_SEGMENT_TOKENS = 30
_IGNORE = -100
_NO_THING = len(KINDS)
_GRID = SIDE_PX // PATCH_PX


@dataclass(frozen=True, slots=True)
class Settings:
    steps: int
    batch: int
    vision_steps: int
    frozen_steps: int
    peak_lr: float
    decay_share: float
    seed: int
    sigma_max: float = 0.5


def random_kinds(rng: np.random.Generator) -> tuple[str, ...]:
    """One to three different kinds; three scenes in ten hold one forbidden thing."""
    count = int(rng.integers(1, 4))
    picked = [str(kind) for kind in rng.choice(list(HARMLESS), size=count, replace=False)]
    if rng.random() < 0.3:
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


class SceneStream(torch.utils.data.IterableDataset[dict[str, Tensor]]):
    """Endless batches of scenes with questions and answers, made in a worker process."""

    def __init__(self, processor: Any, settings: Settings, first_step: int) -> None:
        self.tokenizer = processor.tokenizer
        self.settings = settings
        self.first_step = first_step

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        torch.set_num_threads(1)
        step = self.first_step
        while True:
            if step == self.first_step or step % 400 == 0:  # fresh sizes, angles and renderings
                sprites = np.random.default_rng((self.settings.seed, 1, step))
                bank = SpriteBank(side=SIDE_PX, variants=24, rng=sprites)
            yield self.batch(bank, np.random.default_rng((self.settings.seed, 0, step)))
            step += 1

    def batch(self, bank: SpriteBank, rng: np.random.Generator) -> dict[str, Tensor]:
        scenes = [draw_scene(bank, rng, random_kinds(rng)) for _ in range(self.settings.batch)]
        segments = [self.segments(scene, rng) for scene in scenes]
        colours = [list(BACKGROUNDS).index(scene.background) for scene in scenes]
        return {
            "pixels": torch.from_numpy(np.stack([scene.pixels for scene in scenes])),
            "patches": torch.from_numpy(np.stack([patch_labels(scene) for scene in scenes])),
            "colours": torch.tensor(colours),
            "tokens": torch.tensor([[ids for ids, _ in row] for row in segments]),
            "labels": torch.tensor([[labels for _, labels in row] for row in segments]),
        }

    def segments(self, scene: Scene, rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
        others = rng.choice(
            list(SceneQuestion), size=_QUESTIONS_PER_SCENE - 1, p=[0.4, 0.15, 0.15, 0.3]
        )
        seen = [self.segment(scene, SceneQuestion(q), rng) for q in (SceneQuestion.SHOWN, *others)]
        return [*seen, self.blind_segment(rng)]

    def segment(
        self, scene: Scene, question: SceneQuestion, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        present = rng.random() < 0.5
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


def block_mask(prefix: int, segments: int, length: int) -> Tensor:
    """(1, 1, t, t) booleans: a segment sees the prefix and, causally, itself.

    The last segment is the one without a picture: of the prefix it sees the first token only.
    """
    total = prefix + segments * length
    causal = torch.ones(total, total, dtype=torch.bool).tril()
    owner = torch.cat(
        [torch.zeros(prefix), torch.arange(1, segments + 1).repeat_interleave(length)]
    )
    visible = (owner[None, :] == 0) | (owner[None, :] == owner[:, None])
    visible[-length:, 1:prefix] = False
    return (causal & visible)[None, None]


def segment_positions(prefix: int, segments: int, length: int) -> Tensor:
    """(1, t): every segment follows the prefix, the last one its first token."""
    after = torch.arange(prefix, prefix + length).repeat(segments - 1)
    return torch.cat([torch.arange(prefix), after, torch.arange(1, 1 + length)])[None]


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
        return features[:, 1:]

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
        prefix = 1 + IMAGE_TOKENS
        hidden = self.model.model.language_model(
            inputs_embeds=inputs,
            attention_mask=block_mask(prefix, segments, length),
            position_ids=segment_positions(prefix, segments, length),
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
    """Muon for the matrices inside the two transformers, AdamW for everything else."""
    matrices = [p for name, p in trainee.named_parameters() if p.ndim == 2 and ".layers." in name]
    inside = {id(p) for p in matrices}
    rest = [p for p in trainee.parameters() if id(p) not in inside]
    muon = torch.optim.Muon(
        matrices, lr=settings.peak_lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(rest, lr=settings.peak_lr, weight_decay=0.01, betas=(0.9, 0.98))
    return [muon, adam]


def train(settings: Settings, out: Path) -> None:
    torch.manual_seed(settings.seed)
    processor = new_processor()
    trainee = Trainee(new_model(processor), processor.tokenizer.convert_tokens_to_ids("<user>"))
    steppers = optimizers(trainee, settings)
    first = _restore(out, trainee, steppers)
    stream = torch.utils.data.DataLoader(
        SceneStream(processor, settings, first), batch_size=None, num_workers=1, prefetch_factor=4
    )
    noise = torch.Generator().manual_seed(settings.seed + first)
    started = time.monotonic()
    for step, batch in zip(range(first, settings.steps), stream, strict=False):
        share = learning_rate(step, settings)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = settings.peak_lr * share
        losses = _step(trainee, steppers, batch, noise, settings, step)
        if step % 20 == 0:
            rate = (step - first + 1) * settings.batch / (time.monotonic() - started)
            print(
                f"{step} vision {losses[0]:.3f} language {losses[1]:.3f} {rate:.0f}/s", flush=True
            )
        if (step + 1) % 250 == 0 or step + 1 == settings.steps:
            _save(out, trainee, steppers, processor, step + 1)


def _step(
    trainee: Trainee,
    steppers: list[torch.optim.Optimizer],
    batch: dict[str, Tensor],
    noise: torch.Generator,
    settings: Settings,
    step: int,
) -> tuple[float, float]:
    pixels = noisy(batch["pixels"], settings.sigma_max, noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        frozen = settings.vision_steps <= step < settings.vision_steps + settings.frozen_steps
        with torch.set_grad_enabled(not frozen):
            features = trainee.see(pixels)
            vision = trainee.vision_loss(features, batch)
        speaks = step >= settings.vision_steps
        language = trainee.language_loss(features, batch) if speaks else torch.zeros(())
    torch.autograd.backward(0.5 * vision + language)
    nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad(set_to_none=True)
    if not math.isfinite(vision.item() + language.item()):
        raise FloatingPointError(f"the loss is not finite at step {step}; lower --lr")
    return vision.item(), language.item()


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
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--vision-steps", type=int, default=2200, help="eyes only, at first")
    parser.add_argument("--frozen-steps", type=int, default=800, help="then speech only")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--decay-share", type=float, default=0.3)
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
    )
    train(settings, args.out)


if __name__ == "__main__":
    main()
