"""Long answers in overlapping windows, each framed as the model's tokenizer frames a text.

Nothing of an answer is ever cut off. A prompt that is judged along with it is kept in every
window; where it is too long its middle is left out, for it is context and not what is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from guardrail.errors import ConfigError
from guardrail.oracles.text.sentences import window_starts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Frame", "Window", "frame_of", "window_size", "windows"]

Token: TypeAlias = tuple[int, int]
"""The number of a token and the type of its place: in the first text of a pair or the second."""

_USUAL_WINDOW = 512
_COUNTED_FROM_PADDING = {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl"}


class Window(NamedTuple):
    """What goes into the model at once: numbers of tokens and their types, of one length."""

    ids: list[int]
    types: list[int]


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens around an answer, and between it and its prompt if there is one."""

    before: tuple[Token, ...]
    between: tuple[Token, ...]
    after: tuple[Token, ...]
    prompt_type: int
    answer_type: int
    paired: bool

    def __len__(self) -> int:
        """How many special tokens there are."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(self, prompt: Sequence[int], answer: Sequence[int]) -> Window:
        """One window."""
        tokens = [
            *self.before,
            *((token, self.prompt_type) for token in prompt),
            *self.between,
            *((token, self.answer_type) for token in answer),
            *self.after,
        ]
        return Window([token for token, _ in tokens], [kind for _, kind in tokens])


def frame_of(tokenizer: Any, *, paired: bool) -> Frame:
    """What the tokenizer puts around a text, or around and between two.

    Raises:
        ConfigError: It does not take pairs, or frames them in a way that is not known here.
    """
    texts = ("a", "a") if paired else ("a",)
    whole = tokenizer(*texts, return_special_tokens_mask=True, return_token_type_ids=True)
    tokens = list(zip(whole["input_ids"], whole["token_type_ids"], strict=True))
    runs = _runs(tokens, whole["special_tokens_mask"])
    if [bool(special) for special, _ in runs] != [True, False] * len(texts) + [True]:
        raise ConfigError(
            "the model's tokenizer does not mark where texts begin and end as expected; use "
            "another model" + (", or pair 'none'" if paired else ""),
            field="pair" if paired else "model",
        )
    parts = [tuple(part) for _, part in runs]
    between = parts[2] if paired else ()
    return Frame(parts[0], between, parts[-1], parts[1][0][1], parts[-2][0][1], paired)


def _runs(tokens: list[Token], special: list[int]) -> list[tuple[int, list[Token]]]:
    """Neighbours of one kind together; an end without special tokens is an empty run."""
    pairs = zip(special, tokens, strict=True)
    found = [(kind, [token for _, token in run]) for kind, run in groupby(pairs, lambda p: p[0])]
    if found and not found[0][0]:
        found.insert(0, (1, []))
    if found and not found[-1][0]:
        found.append((1, []))
    return found


def window_size(config: Any, tokenizer: Any, frame: Frame, asked: int | None) -> int:
    """Tokens of one window, special ones included; at most 512 unless more is asked for.

    Raises:
        ConfigError: The model does not take so many, or so few would hold no text.
    """
    most = getattr(config, "max_position_embeddings", None) or _USUAL_WINDOW
    if config.model_type in _COUNTED_FROM_PADDING:
        most -= config.pad_token_id + 1  # the first place is the one behind the padding token's
    most = int(min(most, tokenizer.model_max_length))
    size = min(most, _USUAL_WINDOW) if asked is None else asked
    least = len(frame) + (4 if frame.paired else 2)
    if not least <= size <= most:
        raise ConfigError(f"must lie in [{least}, {most}]", field="window_tokens")
    return size


def windows(
    frame: Frame, size: int, answer: Sequence[int], prompt: Sequence[int] = ()
) -> list[Window]:
    """As few windows as cover the answer, neighbours overlapping by half or more.

    The prompt has a third of the room, and more where the answer leaves it.
    """
    room = size - len(frame)
    kept = _ends(prompt, max(room // 3, room - len(answer))) if frame.paired else ()
    room -= len(kept)
    starts = window_starts(len(answer), room, room // 2)
    return [frame.around(kept, answer[start : start + room]) for start in starts]


def _ends(tokens: Sequence[int], most: int) -> Sequence[int]:
    """The beginning and the end of a prompt, where its question stands more often."""
    if len(tokens) <= most:
        return tokens
    tail = most // 2
    return [*tokens[: most - tail], *tokens[len(tokens) - tail :]]
