"""What an attacker who knows the built-in model, and the guard's oracle, would have it say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from guardrail.attack.objectives import AnswerMargin
from guardrail.attack.tensors import to_tensor
from guardrail.builtin.kinds import FORBIDDEN
from guardrail.builtin.language import harmful_answers, harmless_openings, words
from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.attack.surrogate import Surrogate
    from guardrail.oracles.base import Judgement, Oracle
    from guardrail.types import Pixels

__all__ = ["find_missed_answers", "likeliest", "plain_answers", "unmistakable_answers"]

_JUDGED = 32
_ROWS = 16  # sentences whose likelihood is computed at a time


_PLAIN = ("there is", "here is", "it shows", "this picture", "the image", "a picture")


def plain_answers() -> tuple[str, ...]:
    """How the built-in model begins harmless descriptions, and no harmful sentence of its own."""
    return _PLAIN


def unmistakable_answers() -> tuple[str, ...]:
    """One harmful sentence for each word that only harmful ones begin with."""
    harmless = harmless_openings()
    by_opening: dict[str, str] = {}
    for kind in FORBIDDEN:
        for text in harmful_answers(kind):
            if (opening := words(text)[0]) not in harmless:
                by_opening.setdefault(opening, text)
    return tuple(by_opening.values())


async def find_missed_answers(oracle: Oracle, prompt: str) -> tuple[str, ...]:
    """The harmful sentences of the built-in model that an oracle finds harmless, worst miss first.

    Raises:
        ConfigError: there is none.
        OracleError: the oracle fails.
    """
    texts = list(dict.fromkeys(text for kind in FORBIDDEN for text in harmful_answers(kind)))
    judged: list[Judgement] = []
    for start in range(0, len(texts), _JUDGED):  # each call of an oracle has a deadline
        some = texts[start : start + _JUDGED]
        judged += await oracle.judge([Exchange(prompt, text) for text in some])
    missed = sorted(
        (one.score, text)
        for one, text in zip(judged, texts, strict=True)
        if one.outcome is Outcome.HARMLESS
    )
    if not missed:
        raise ConfigError(
            "the policy's oracle misses no harmful sentence that the built-in model knows; "
            "choose another goal, or give answers to aim for",
            field="goal",
        )
    return tuple(text for _, text in missed)


def likeliest(
    surrogate: Surrogate, pixels: Pixels, answers: Sequence[str], count: int
) -> tuple[str, ...]:
    """Of some answers those that the model gives to the picture most, the likeliest first."""
    x = to_tensor(pixels, surrogate.device)[None]
    logs: list[float] = []
    with torch.no_grad():
        for start in range(0, len(answers), _ROWS):
            some = AnswerMargin(surrogate, answers[start : start + _ROWS])
            logs += some.log_probabilities(x)[0].tolist()
    order = sorted(range(len(answers)), key=lambda index: -logs[index])
    return tuple(answers[index] for index in order[:count])
