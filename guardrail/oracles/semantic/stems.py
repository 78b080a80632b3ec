"""English words brought to one form, whatever their ending."""

from __future__ import annotations

import re
from functools import lru_cache

from guardrail.oracles.semantic.vocabulary import IRREGULAR, SYNONYMS

__all__ = ["stem"]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Brings the usual English endings together: "holding", "holds" and "hold" are one.

    >>> stem("running"), stem("cities"), stem("boxes"), stem("wooden")
    ('run', 'city', 'box', 'wooden')
    """
    root = _strip_ending(word.replace("’", "'").removesuffix("'s").removesuffix("'"))
    return SYNONYMS.get(root, SYNONYMS.get(f"{root}e", root))


def _strip_ending(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return IRREGULAR.get(f"{word[:-3]}y", f"{word[:-3]}y")
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses", "zes", "oes")):
        return IRREGULAR.get(word[:-2], word[:-2])
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(("eed", "thing")):
            break
        root = word[: -len(ending)]
        if word.endswith(ending) and len(root) >= 3 and re.search("[aeiouy]", root):
            doubled = root[-1] == root[-2] and root[-1] not in "lsz"
            word = root[:-1] if doubled else root
            break
    bare = word[:-1] if len(word) > 3 and word.endswith("e") else word
    return IRREGULAR.get(word, IRREGULAR.get(f"{word}e", bare))
