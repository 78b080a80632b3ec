"""Plain English made unreadable: ciphers and word games that must be seen."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from anyascii import anyascii

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

LETTERS = string.ascii_lowercase
_WORD = re.compile(r"[A-Za-z]+")


def transliterate(text: str) -> str:
    """Other scripts in Latin letters."""
    return anyascii(text)


def shift(text: str, rng: random.Random) -> str:
    """Caesar's, rot13 in a third of the cases."""
    by = 13 if rng.random() < 0.35 else rng.randrange(1, 26)
    return _substitute(text, LETTERS[by:] + LETTERS[:by])


def substitute(text: str, rng: random.Random) -> str:
    return _substitute(text, "".join(rng.sample(LETTERS, 26)))


def atbash(text: str, _: random.Random) -> str:
    return _substitute(text, LETTERS[::-1])


def reverse(text: str, rng: random.Random) -> str:
    return text[::-1] if rng.random() < 0.5 else _each(text, lambda word: word[::-1])


def pig_latin(text: str, _: random.Random) -> str:
    return _each(text, lambda word: re.sub(r"^([^aeiouAEIOU]*)(.*)$", r"\2\1ay", word))


def drop_vowels(text: str, _: random.Random) -> str:
    return _each(text, lambda word: re.sub(r"(?<!^)[aeiou]", "", word))


def syllables(text: str, rng: random.Random) -> str:
    extra = rng.choice(("ob", "ub", "idig", "op", "av"))
    return _each(text, lambda word: re.sub(r"([aeiou]+)", extra + r"\1", word))


def noise(text: str, rng: random.Random) -> str:
    return _each(text, lambda word: "".join(rng.choice(LETTERS) for _ in word))


def scramble(text: str, rng: random.Random) -> str:
    return _each(text, lambda word: "".join(rng.sample(word, len(word))))


def vigenere(text: str, rng: random.Random) -> str:
    key = [rng.randrange(1, 26) for _ in range(rng.randrange(3, 8))]
    shown, at = [], 0
    for char in text.lower():
        if char in LETTERS:
            char, at = LETTERS[(LETTERS.index(char) + key[at % len(key)]) % 26], at + 1
        shown.append(char)
    return "".join(shown)


def _substitute(text: str, alphabet: str) -> str:
    return text.translate(str.maketrans(LETTERS + LETTERS.upper(), alphabet + alphabet.upper()))


def _each(text: str, change: Callable[[str], str]) -> str:
    return _WORD.sub(lambda match: change(match[0]), text)


CIPHERS: tuple[Callable[[str, random.Random], str], ...] = (
    shift, shift, substitute, atbash, reverse, pig_latin, drop_vowels, syllables, noise, scramble,
    vigenere,
)  # fmt: skip
