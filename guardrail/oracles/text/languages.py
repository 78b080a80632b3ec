"""Finds stretches of a text that are not plain English, however short.

The shipped models were trained and measured on English. What they say of other text means nothing,
so such text is found first, and what becomes of it is the policy's choice.

Three things are looked for:

- `script`: letters of another script than Latin, counted by characters, since many scripts have no
  blanks. English words that are spelled with look-alikes are English (see `normalise.py`). One
  foreign word, or as many characters of a denser script, may stand among English words.
- `language`: words of another language in Latin letters.
- `unknown words`: words of no language: a cipher, a transliteration, a salad of letters.

For the last two every word gets a number: the log-odds, learned from texts in some 400 languages
and from ciphers, that it is not English. It is a sum over the word, its character n-grams and the
way it is capitalised. The stretch of neighbouring words with the largest sum decides. Example with
a limit of 6: in "he said ich töte dich today" the words count about -3, -3, 3, 2, 3, -3, so the
worst stretch is the three in the middle, with 8. Words that are certainly English end a stretch,
which is why a list of foreign names passes where a sentence does not.

What this was trained on and how well it does: `benchmarks/languages`.
"""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from guardrail.canonical import short_digest
from guardrail.errors import OracleError
from guardrail.oracles.text.normalise import normalise
from guardrail.oracles.text.word_features import read_words, word_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "FORMAT",
    "LANGUAGE_MODEL",
    "LANGUAGE_REPORT",
    "LanguageModel",
    "Unmeasured",
    "foreign_stretch",
    "language_model",
]

LANGUAGE_MODEL = Path(__file__).parent / "language_model.npz"
LANGUAGE_REPORT = LANGUAGE_MODEL.with_name("language_report.json")
"""How much of which language is seen, as `benchmarks/languages/measure.py` wrote it."""
FORMAT = 1
"""Raised whenever normalisation or features change: old weights then no longer fit."""

_MOSTLY = 0.5  # share of a text's words from which a stretch is nearly all there is
_REMEMBERED = 2**15  # words whose number is kept, as most are met again

_NOT_LATIN = re.compile(
    "[\u0370-\u1cff\u1f00-\u1fff\u2800-\u28ff\u2c00-\u2c5f\u2c80-\u2dff\u3005-\u3007"
    "\u3021-\u3029\u3031-\ua6ff\ua800-\uab2f\uab70-\ufaff\ufb07-\ufdff\ufe70-\ufefe"
    "\uff66-\uffdc\U00010000-\U0001d3ff\U0001d800-\U0001efff\U0001f130-\U0001f189"
    "\U00020000-\U0003ffff]+"
)


class Unmeasured(StrEnum):
    """Why a text is none that the shipped models were measured on; a closed list."""

    SCRIPT = "script"
    LANGUAGE = "language"
    UNKNOWN_WORDS = "unknown words"


class LanguageModel:
    """The learned numbers; see the module.

    Args:
        weights: int8, (2**bits,), of each bucket of `word_features`.
        scale: What one step of `weights` is worth, in log-odds.
        kinds: int8, (2**bits,), positive for words of a language, negative for words of none.
        limit: The sum from which a stretch among English words is not English.
        limit_alone: The same of a stretch that is nearly all there is.
        most: The largest number that a word of up to 12 letters may count; `least` the smallest.
        revision: A digest of all this.
    """

    def __init__(
        self,
        weights: NDArray[np.int8],
        scale: float,
        kinds: NDArray[np.int8],
        *,
        limit: float,
        limit_alone: float,
        most: float,
        least: float,
        revision: str = "",
    ) -> None:
        self.limit, self.limit_alone = limit, limit_alone
        self.most, self.least, self.revision = most, least, revision
        self._scale = scale
        self._weights, self._kinds = weights.data, kinds.data
        self._shift = 32 - (len(weights).bit_length() - 1)
        self._kind_shift = 32 - (len(kinds).bit_length() - 1)
        self.word_score = lru_cache(maxsize=_REMEMBERED)(self._word_score)

    def worst_stretch(self, words: Sequence[tuple[str, str, bool]]) -> tuple[float, int, int]:
        """The largest sum over neighbouring words, where they begin, and the place after them.

        A word that speaks against English counts once in a stretch, so that a refrain, or two
        variables all over a formula, are not taken for a language.
        """
        score = self.word_score
        best, best_begin, best_end = 0.0, 0, 0
        total, begin = 0.0, 0
        counted: set[str] = set()
        for place, word in enumerate(words):
            number = score(*word)
            if number > 0.0:
                if not total:
                    begin = place
                if word[0] in counted:
                    continue
                counted.add(word[0])
                total += number
                if total > best:
                    best, best_begin, best_end = total, begin, place + 1
            elif total:
                total += number
                if total <= 0.0:
                    total = 0.0
                    counted.clear()
        return best, best_begin, best_end

    def limit_of(self, words: int, stretch: int) -> float:
        """The sum from which a stretch of `stretch` among `words` words is not English."""
        return self.limit if _MOSTLY * words > stretch else self.limit_alone

    def find(self, text: str) -> Unmeasured | None:
        """What the worst stretch of Latin words in a text is, or None where it is English."""
        words = read_words(text)
        total, begin, end = self.worst_stretch(words)
        if total < self.limit_of(len(words), end - begin):
            return None
        kinds = sum(
            self._kinds[code >> self._kind_shift]
            for word in words[begin:end]
            for code in word_features(*word)
        )
        return Unmeasured.LANGUAGE if kinds >= 0 else Unmeasured.UNKNOWN_WORDS

    def _word_score(self, word: str, shape: str, accented: bool) -> float:
        weights, shift = self._weights, self._shift
        codes = word_features(word, shape, accented)
        total = self._scale * sum([weights[code >> shift] for code in codes])
        most = self.most * (1 + len(word) // 13) if len(word) > 1 else 0.0
        return min(max(total, self.least), most)


def foreign_stretch(text: str) -> Unmeasured | None:
    """Why some stretch of a text is not English, or None where all of it is.

    Raises OracleError where the model's file is missing or damaged.
    """
    if not text.isascii() and find_script(text):
        return Unmeasured.SCRIPT
    return language_model().find(text)


@dataclass(frozen=True, slots=True)
class _Run:
    """Letters of other scripts with nothing but a few signs between them."""

    weight: int
    words: int


# What may stand among English words.
_MOST_WEIGHT = 12  # one word of so many letters
# Latin letters for the first such word, and for each further one.
_LATIN_FIRST, _LATIN_MORE = 10, 40
_NEAR = 3  # characters between two words that still stand together
_SPELLED_OUT = 5  # single Greek letters parted by blanks: fewer are symbols


def find_script(text: str) -> bool:
    """Whether letters of other scripts than Latin are more than a foreign word among English.

    Letters are weighed: an ideograph counts 5, a syllable of hangul 4, one of kana and a letter of
    Thai, Lao, Khmer, Burmese and Tibetan 3, another letter 1. Tolerated are single words up to a
    weight of 12 (two ideographs, four kana, twelve Cyrillic letters), the first with at least 10
    Latin letters in the text, each further one with 40 more. Single Greek letters are symbols.
    """
    if text.isascii():
        return False
    plain = unicodedata.normalize("NFKC", text)
    runs = _foreign_runs(plain)
    if not runs:
        return False
    if any(run.weight > _MOST_WEIGHT or run.words > 1 for run in runs):
        return True
    latin = sum(char.isalpha() and not _NOT_LATIN.match(char) for char in plain)
    return latin < _LATIN_FIRST + _LATIN_MORE * (len(runs) - 1)


def _foreign_runs(text: str) -> list[_Run]:
    """Runs of other letters; English words in look-alikes count only beside one ("не входить")."""
    runs: list[_Run] = []
    end, greek = -_NEAR - 1, 0
    alike, alike_end = 0, -_NEAR - 1  # an English word in look-alikes alone, and where it ends
    for match in _NOT_LATIN.finditer(text):
        begin, found = match.start(), match[0]
        weight = sum(map(_char_weight, found))
        if not weight:
            continue
        near = _are_near(text, end, begin)
        word = _surrounding_word(text, begin, match.end())
        if _is_english(word) and not (near and runs and word == found):
            alike, alike_end = (weight if word == found else 0), match.end()
            continue
        end = match.end()
        if len(found) == 1 and "\u0370" <= found <= "\u03ff":
            greek = greek + 1 if near else 1
            if greek >= _SPELLED_OUT:
                runs.append(_Run(greek, greek))
        elif near and runs:
            runs[-1] = _Run(runs[-1].weight + weight, runs[-1].words + 1)
        else:
            before = alike if _are_near(text, alike_end, begin) else 0
            runs.append(_Run(weight + before, 1 + (before > 0)))
    return runs


def _are_near(text: str, end: int, begin: int) -> bool:
    """Whether two words have nothing but a few signs between them."""
    return begin - end <= _NEAR and not any(map(str.isalnum, text[max(end, 0) : begin]))


def _surrounding_word(text: str, begin: int, end: int) -> str:
    while begin and text[begin - 1].isalpha():
        begin -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return text[begin:end]


def _is_english(word: str) -> bool:
    """Whether it is an English word that is spelled with letters that look like Latin ones."""
    plain = normalise(word)
    return (
        plain.isascii() and plain.isalpha() and language_model().word_score(plain, "l", False) < 0
    )


@lru_cache(maxsize=4096)
def _char_weight(char: str) -> int:
    code = ord(char)
    if 0x2801 <= code <= 0x28FF or 0x1F130 <= code <= 0x1F189:
        return 4  # Braille, letters in boxes: signs to Unicode, letters to a reader
    if unicodedata.category(char)[0] not in "LM" and unicodedata.category(char) != "Nl":
        return 0
    return next((weight for first, last, weight in _DENSE if first <= code <= last), 1)


_DENSE = (
    (0x0E00, 0x109F, 3),  # Thai, Lao, Tibetan, Burmese
    (0x1100, 0x11FF, 2),  # hangul in parts
    (0x1200, 0x139F, 2),  # Ethiopic
    (0x1780, 0x17FF, 3),  # Khmer
    (0x1950, 0x1AAF, 3),  # Tai and neighbours
    (0x3040, 0x30FF, 3),  # kana
    (0x31F0, 0x31FF, 3),
    (0xAC00, 0xD7AF, 4),  # hangul
    (0x2E80, 0xA4CF, 5),  # ideographs, Yi
    (0xF900, 0xFAFF, 5),
    (0x10000, 0x3FFFF, 5),
)
"""First and last code point, and what a character counts; the first row that fits."""


@cache
def language_model() -> LanguageModel:
    """The shipped numbers, read once. Raises OracleError."""
    return read_language_model(LANGUAGE_MODEL)


def read_language_model(path: Path) -> LanguageModel:
    """The numbers in a file that `benchmarks/languages/train.py` wrote. Raises OracleError."""
    try:
        data = path.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _unpack(arrays, short_digest(data, 12))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise OracleError(
            f"the model that tells English from other text at {path} cannot be read "
            f"({type(error).__name__}); reinstall the package, or write it anew with "
            "benchmarks/languages/train.py"
        ) from error


def _unpack(arrays: Any, revision: str) -> LanguageModel:
    if int(arrays["format"]) != FORMAT:
        raise ValueError("written for another version of this package")
    weights, kinds, numbers = arrays["weights"], arrays["kinds"], arrays["numbers"]
    for table in (weights, kinds):
        if table.dtype != np.int8 or table.ndim != 1 or table.size & (table.size - 1):
            raise ValueError("of another size")
    scale, limit, limit_alone, most, least = map(float, numbers)
    if not np.isfinite(numbers).all() or not (least < 0.0 < most < limit_alone <= limit):
        raise ValueError("damaged")
    return LanguageModel(
        weights,
        scale,
        kinds,
        limit=limit,
        limit_alone=limit_alone,
        most=most,
        least=least,
        revision=revision,
    )
