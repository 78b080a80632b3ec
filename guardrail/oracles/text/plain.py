"""What the shipped models see of a text: its plain words in one plain form."""

from __future__ import annotations

from guardrail.oracles.text.normalise import normalise
from guardrail.oracles.text.structure import plain_words

__all__ = ["plain_text"]


def plain_text(text: str) -> str:
    """The words of structured text without its syntax, normalised; see the two functions.

    A text that is nothing but syntax, such as `{}`, stays as it is: it says little, but there is
    something to see.
    """
    return normalise(plain_words(text)) or normalise(text)
