"""Prompt suffixes: words behind the question that turn the answer, found by greedy search.

Coordinate by coordinate, as in Zou et al. 2023 (arXiv 2307.15043), but by trying whole words in
place of following gradients of tokens: a vocabulary of words is small enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from guardrail.attack.objectives import first_token_margin
from guardrail.errors import ConfigError
from guardrail.upstreams.local_prompt import adds_special_tokens, render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.attack.surrogate import Surrogate
    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded

__all__ = ["PromptMargin", "Suffix", "SuffixSettings", "find_suffix"]

_MOST_WORDS = 100
_ROWS = 32  # prompts that the model reads at a time


@dataclass(frozen=True, slots=True)
class SuffixSettings:
    """How long a suffix may be, and how hard to try.

    Attributes:
        words: at most so many, in [1, 100].
        rounds: how often each word is tried to be exchanged, once the suffix has its length.
        candidates: words of the vocabulary that are tried at each place, drawn anew each time.
        seed: fixes them.

    Raises:
        ConfigError: a number is outside its range.
    """

    words: int = 6
    rounds: int = 1
    candidates: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.words <= _MOST_WORDS:
            raise ConfigError(f"must be from 1 to {_MOST_WORDS}", field="words")
        if self.rounds < 0:
            raise ConfigError("must not be below 0", field="rounds")
        if self.candidates < 1:
            raise ConfigError("must be at least 1", field="candidates")


@dataclass(frozen=True, slots=True)
class Suffix:
    """The question with its suffix, and its loss; without a word where none made it smaller."""

    prompt: str
    words: tuple[str, ...]
    loss: float


def find_suffix(
    loss: Callable[[Sequence[str]], Sequence[float]],
    prompt: str,
    vocabulary: Sequence[str],
    settings: SuffixSettings,
    *,
    progress: Callable[[], None] = lambda: None,
) -> Suffix:
    """The question, one space, and at most so many words with one space between them.

    Words are added one at a time, each the best of its candidates if that makes the loss smaller;
    then each is exchanged where another makes it smaller still.

    Args:
        loss: of each of some prompts, to be made small.
        prompt: the question; it stands at the beginning of what is found, unchanged.
        vocabulary: words without white space.
        settings: length and effort.
        progress: called after each place that was tried.

    Raises:
        ConfigError: there are no words, or one has white space in it or is empty.
    """
    if not vocabulary or any(word.split() != [word] for word in vocabulary):
        raise ConfigError("must be words without white space, at least one", field="vocabulary")
    rng = np.random.default_rng(settings.seed)
    best = Suffix(prompt, (), float(loss([prompt])[0]))
    for _ in range(settings.words):
        best = _try_at(len(best.words), best, loss, prompt, vocabulary, settings, rng)
        progress()
    for _ in range(settings.rounds):
        for place in range(len(best.words)):
            best = _try_at(place, best, loss, prompt, vocabulary, settings, rng)
            progress()
    return best


def _try_at(
    place: int,
    best: Suffix,
    loss: Callable[[Sequence[str]], Sequence[float]],
    prompt: str,
    vocabulary: Sequence[str],
    settings: SuffixSettings,
    rng: np.random.Generator,
) -> Suffix:
    """The best with another word at that place, or with one more behind the last."""
    count = min(settings.candidates, len(vocabulary))
    drawn = [vocabulary[i] for i in rng.choice(len(vocabulary), count, replace=False)]
    suffixes = [(*best.words[:place], word, *best.words[place + 1 :]) for word in drawn]
    prompts = [f"{prompt} {' '.join(words)}" for words in suffixes]
    losses = loss(prompts)
    least = int(np.argmin(losses))
    if losses[least] >= best.loss:
        return best
    return Suffix(prompts[least], suffixes[least], float(losses[least]))


class PromptMargin:
    """How much likelier an answer is to begin otherwise than wanted, of each of some prompts.

    Args:
        loaded: the model under attack.
        surrogate: of the same model; says what tokens answers begin with, and its temperature.
        pixels: the picture that goes with all the prompts.
        answers: what is wanted, by the first token; see `FirstTokenMargin`.
    """

    def __init__(
        self, loaded: Loaded, surrogate: Surrogate, pixels: Pixels, answers: Sequence[str]
    ) -> None:
        self._loaded = loaded
        self._pixels = pixels
        self._wanted = surrogate.tokens(answers).first
        self._temperature = surrogate.temperature

    def __call__(self, prompts: Sequence[str]) -> list[float]:
        found: list[float] = []
        with torch.no_grad():
            for start in range(0, len(prompts), _ROWS):
                z = self._first_logits(prompts[start : start + _ROWS])
                found += first_token_margin(z, self._wanted, self._temperature).tolist()
        return found

    def _first_logits(self, prompts: Sequence[str]) -> torch.Tensor:
        """Shape (prompts, vocabulary)."""
        from PIL import Image

        processor = self._loaded.processor
        texts = [render(processor, _messages(prompt)) for prompt in prompts]
        picture = Image.fromarray(self._pixels)
        inputs = processor(
            text=texts,
            images=[[picture] for _ in texts],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=adds_special_tokens(processor, texts[0]),
        ).to(self._loaded.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._loaded.model.dtype)
        logits: torch.Tensor = self._loaded.model(**inputs).logits[:, -1].float()
        return logits


def _messages(prompt: str) -> list[dict[str, object]]:
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": content}]
