"""What an attacker makes small: losses over what a model would answer to a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from guardrail.attack.surrogate import AnswerTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.attack.guard_view import GuardView
    from guardrail.attack.surrogate import Surrogate

__all__ = [
    "AnswerLikelihood",
    "AnswerMargin",
    "FirstTokenMargin",
    "Loss",
    "Objective",
    "PictureLoss",
    "first_token_margin",
]

_IGNORE = -100
_COLDEST = 1e-3  # below it sampling is practically greedy


class Objective(Protocol):
    """One number for each picture, the smaller the nearer to the attacker's goal."""

    @property
    def device(self) -> str: ...

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Shape (n, 3, h, w), in [0, 1], to shape (n,)."""


class Loss(Protocol):
    """What is minimised over one picture's pixels."""

    @property
    def device(self) -> str: ...

    def __call__(self, x: torch.Tensor, draws: int) -> torch.Tensor:
        """The loss of `x`, shape (3, h, w) in [0, 1]; a mean over `draws` where it is random."""


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """An objective of the picture itself, or in the mean over the guard's own variants of it.

    The latter is expectation over transformation (Athalye et al. 2018, arXiv 1707.07397).
    """

    objective: Objective
    view: GuardView | None = None

    @property
    def device(self) -> str:
        return self.objective.device

    def __call__(self, x: torch.Tensor, draws: int) -> torch.Tensor:
        return self.objective(x[None] if self.view is None else self.view.draw(x, draws)).mean()


class _OfAnswers:
    """What all objectives share that speak of wanted answers of one model."""

    def __init__(self, surrogate: Surrogate, answers: Sequence[str]) -> None:
        self._surrogate = surrogate
        self._answers = surrogate.tokens(answers)

    @property
    def device(self) -> str:
        return self._surrogate.device


class AnswerLikelihood(_OfAnswers):
    """Mean negative log-likelihood of the tokens of wanted answers.

    Raises:
        ConfigError: there are no answers.
    """

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        logits = self._surrogate.logits(pictures, self._answers)
        wanted = torch.where(self._answers.real, self._answers.ids, _IGNORE)
        losses = functional.cross_entropy(
            logits.flatten(0, 2),
            wanted.repeat(len(pictures), 1).flatten(),
            ignore_index=_IGNORE,
            reduction="none",
        )
        return losses.view(len(pictures), -1).sum(1) / self._answers.real.sum()


class FirstTokenMargin(_OfAnswers):
    """How much likelier an answer is to begin otherwise than as the wanted ones do, in logits.

    With z the logits of the first token, divided by the model's own temperature, and H the tokens
    that wanted answers begin with:

        log sum_{i not in H} exp z_i - log sum_{i in H} exp z_i.

    It is at most 0 exactly where at least half of the sampled answers begin like a wanted one. (A
    margin of logits as in Carlini & Wagner 2017, arXiv 1608.04644, of groups in place of classes.)

    Raises:
        ConfigError: there are no answers.
    """

    def __init__(self, surrogate: Surrogate, answers: Sequence[str]) -> None:
        super().__init__(surrogate, answers)
        tokens = self._answers
        self._wanted = tokens.first
        self._any = AnswerTokens(tokens.ids[:1, :1], tokens.real[:1, :1])

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        z = self._surrogate.logits(pictures, self._any)[:, 0, 0]
        return first_token_margin(z, self._wanted, self._surrogate.temperature)


def first_token_margin(
    logits: torch.Tensor, wanted_tokens: Sequence[int], temperature: float
) -> torch.Tensor:
    """The margin of `FirstTokenMargin`, of logits of shape (n, vocabulary); shape (n,)."""
    z = logits / max(temperature, _COLDEST)
    wanted = torch.zeros(z.shape[-1], dtype=torch.bool, device=z.device)
    wanted[list(wanted_tokens)] = True
    return z[:, ~wanted].logsumexp(1) - z[:, wanted].logsumexp(1)


class AnswerMargin(_OfAnswers):
    """How far the wanted answers together are from being half of what the model says, in nats.

    log(1/2) - log sum_s P(s), where P(s) is the probability that a sampled answer begins with all
    of s. It is at most 0 exactly where that is so of at least half of the sampled answers.

    Raises:
        ConfigError: there are no answers.
    """

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return math.log(0.5) - self.log_probabilities(pictures).logsumexp(1)

    def log_probabilities(self, pictures: torch.Tensor) -> torch.Tensor:
        """Log P(s) of each wanted answer, shape (pictures, answers)."""
        z = self._surrogate.logits(pictures, self._answers)
        logs = (z / max(self._surrogate.temperature, _COLDEST)).log_softmax(-1)
        index = self._answers.ids.expand(len(pictures), -1, -1)[..., None]
        return (logs.gather(-1, index)[..., 0] * self._answers.real).sum(-1)
