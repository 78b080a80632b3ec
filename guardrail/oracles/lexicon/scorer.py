"""Words and patterns from a list: what is found there is harm of a named category.

A list finds what it names and nothing else, so it serves as a part of an ensemble or in front of a
cascade; alone its miss rate is high. Texts are brought into several plain forms first (see
`normalise.views`), and RE2 searches them in time linear in their length whatever a pattern says.

Patterns of one category and weight are searched as one alternation. RE2's own sets are not used:
one that runs out of memory reports that nothing matched.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError
from guardrail.oracles.base import Judgement
from guardrail.oracles.text.normalise import find_spelled_words, fold, views
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.oracles.base import Exchange
    from guardrail.oracles.worker import ThreadedOracle

__all__ = ["Entry", "LexiconOracle", "LexiconScorer"]

_VERSION = 1
"""Raised whenever the same list would find something else."""

_MAX_MEMORY_BYTES = 64 * 1024 * 1024  # of one alternation; RE2 takes only what it needs
_AT_ONCE = 250  # entries of one alternation
_NO_WORD = re.compile(r"[\W_]+")
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list: a phrase or a pattern.

    Attributes:
        text: words as people write them, or a pattern in RE2's syntax that is searched in the
            plain forms: lower-case, without accents, every blank a single space.
        is_pattern: which of the two.
        category: what kind of harm it is, as reasons name it.
        weight: the score of an answer that has it, in (0, 1].
        line: where it stands in its file, 0 where it comes from none.
    """

    text: str
    is_pattern: bool
    category: str
    weight: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    """Entries of one category and weight, each sort searched in its own forms of a text.

    Attributes:
        category: theirs.
        weight: theirs.
        phrases: for texts that consist of words with one blank around each.
        spelled: for words that were spelled out: the same phrases, run together.
        patterns: for plain texts.
    """

    category: str
    weight: float
    phrases: tuple[Any, ...]
    spelled: tuple[Any, ...]
    patterns: tuple[Any, ...]


class LexiconScorer:
    """Scores an answer by the largest weight of what it contains; 0 where nothing is found.

    An answer without any visible character scores 1: there is nothing to search.

    Args:
        entries: What to find.
        file: Their file, for messages.

    Raises:
        ConfigError: A pattern is not one of RE2's, matches everything, or all together are too
            large.
    """

    def __init__(self, entries: Sequence[Entry], *, file: str | None = None) -> None:
        self._entries = tuple(entries)
        for entry in self._entries:
            _check(entry, file)
        self._groups = _group_entries(self._entries, file)

    @cached_property
    def revision(self) -> str:
        parts = [[e.text, e.is_pattern, e.category, e.weight] for e in self._entries]
        text = json.dumps([_VERSION, unicodedata.unidata_version, parts])
        return f"lexicon-{short_digest(text, 12)}"

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [self.find(exchange.response)[0] for exchange in exchanges]

    def find(self, text: str) -> tuple[float, str]:
        """The largest weight of what the text contains, and its category."""
        forms = views(text)
        if not any(forms):
            return 1.0, "nothing to read"
        plain = [form.encode() for form in forms]
        wordy = [f" {_NO_WORD.sub(' ', form)} ".encode() for form in forms]
        spelled = [word.encode() for word in find_spelled_words(text)]
        for group in self._groups:
            if (
                _has(group.phrases, wordy)
                or _has(group.patterns, plain)
                or _has(group.spelled, spelled)
            ):
                return group.weight, group.category
        return 0.0, ""


class LexiconOracle:
    """Judges by a list, and names the category of what it found.

    Args:
        scorer: Searches the list.
        scored: The same scorer in a thread of its own.
    """

    cuts_scores = True  # see `cut_of`

    def __init__(self, scorer: LexiconScorer, scored: ThreadedOracle) -> None:
        self._scorer = scorer
        self._scored = scored

    @property
    def revision(self) -> str:
        return self._scored.revision

    @property
    def threshold(self) -> float:
        return self._scored.threshold

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order. Raises OracleError."""
        judgements = await self._scored.judge(exchanges)
        pairs = zip(exchanges, judgements, strict=True)
        return [await self._name_category(*pair) for pair in pairs]

    async def aclose(self) -> None:
        await self._scored.aclose()

    async def _name_category(self, exchange: Exchange, judgement: Judgement) -> Judgement:
        """Searches harmful answers, which are rare, once more for the category."""
        if judgement.outcome is not Outcome.HARMFUL:
            return judgement
        _, category = await asyncio.to_thread(self._scorer.find, exchange.response)
        return Judgement(Outcome.HARMFUL, judgement.score, f"lexicon: {category}")


def _has(searches: Iterable[Any], texts: Iterable[bytes]) -> bool:
    texts = tuple(texts)
    return any(search.search(text) is not None for search in searches for text in texts)


def _check(entry: Entry, file: str | None) -> None:
    """Each pattern compiles by itself, so that a message can name its line."""
    if entry.is_pattern:
        if _compile(entry.text, file, entry.line).search(b"") is not None:
            raise ConfigError(
                "this pattern matches the empty text, so every answer; make it ask for something",
                file=file,
                line=entry.line or None,
            )
    elif not _words(entry.text):
        raise ConfigError(
            "this phrase has no letter and no digit; make it a pattern",
            file=file,
            line=entry.line or None,
        )


def _group_entries(entries: Sequence[Entry], file: str | None) -> list[_Group]:
    """Groups by weight, the heaviest first: the first match then gives the score."""
    kinds: dict[tuple[float, str], list[Entry]] = {}
    for entry in entries:
        kinds.setdefault((entry.weight, entry.category), []).append(entry)
    heaviest_first = sorted(kinds.items(), key=lambda kind: -kind[0][0])
    return [_group(*kind, members, file) for kind, members in heaviest_first]


def _group(weight: float, category: str, entries: Sequence[Entry], file: str | None) -> _Group:
    words = [_words(entry.text) for entry in entries if not entry.is_pattern]
    return _Group(
        category=category,
        weight=weight,
        phrases=_alternations([_phrase(phrase) for phrase in words], file),
        spelled=_alternations([f"^{''.join(map(_stretch, phrase))}$" for phrase in words], file),
        patterns=_alternations([entry.text for entry in entries if entry.is_pattern], file),
    )


def _phrase(words: Sequence[str]) -> str:
    begin = "" if _is_unspaced(words[0][0]) else " "
    end = "" if _is_unspaced(words[-1][-1]) else " "
    return begin + " ".join(map(_stretch, words)) + end


def _words(phrase: str) -> list[str]:
    return _NO_WORD.sub(" ", fold(phrase)).split()


def _stretch(word: str) -> str:
    """Any letter may be drawn out (`killll`), but twice is not drawn out: `as` is not `ass`."""
    return "".join(f"{char}(?:{char}{char}+)?" if char.isalpha() else char for char in word)


def _is_unspaced(char: str) -> bool:
    """Whether words of its script stand without gaps between them, or with endings attached."""
    return unicodedata.name(char, "").startswith(_UNSPACED)


def _alternations(patterns: Sequence[str], file: str | None) -> tuple[Any, ...]:
    """All of them in few searches, none larger than RE2 handles well."""
    chunks = (patterns[i : i + _AT_ONCE] for i in range(0, len(patterns), _AT_ONCE))
    return tuple(_compile("|".join(f"(?:{one})" for one in chunk), file, 0) for chunk in chunks)


def _compile(pattern: str, file: str | None, line: int) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        return re2.compile(pattern.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        detail = error.args[0] if error.args else ""
        detail = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        raise ConfigError(
            f"RE2 does not take this pattern ({detail.split(':')[0]}); it knows no backreferences "
            "and no look-around, and repeats at most 1000 times",
            file=file,
            line=line or None,
        ) from error
