"""Finds counts that do not agree with their nouns and verbs in sentences for people."""

import re

_NOUNS = (
    "answer call candidate case certificate character cluster copy decision draw label mask "
    "picture process record request row sample step time token view window word"
).split()
_MANY = "|".join(["copies", "processes", *(f"{noun}s" for noun in _NOUNS)])
_ONE = "|".join(_NOUNS)
_BEFORE = r"(?<![\d.,/])(?<![x×] )(?<![x×])"
_BETWEEN = r"(?!of |in |to |for )(?:[a-z-]+ )?"
_OF_ONE = rf"1 (?:{_BETWEEN}(?:{_MANY}|were|do|have)|(?:that )?are)"
_OF_MORE = rf"[2-9] {_BETWEEN}(?:{_ONE}|is|was|does)"
_WRONG = re.compile(rf"{_BEFORE}(?:{_OF_ONE}|{_OF_MORE})\b")


def disagreements(text):
    """Pieces such as `1 views` or `2 record was`; line breaks do not hide them."""
    return _WRONG.findall(" ".join(text.split()))
