"""What an English answer says, read against its question: terms, details, relations, yes or no.

All of it goes by closed lists of words (`vocabulary.py`) and by word order. It is a reading for
comparison, not a parse: two answers read alike are likely to say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from guardrail.oracles.semantic.vocabulary import (
    AUXILIARIES,
    BACKDROPS,
    BASE_COLOURS,
    COMPARATIVES,
    CONVERSES,
    DIMENSIONS,
    FRAME_WORDS,
    IRREGULAR,
    LOOSE_PLACES,
    NEGATIONS,
    NO_WORDS,
    NUMBER_WORDS,
    PEOPLE_DIMENSIONS,
    PERCENT,
    PLACES,
    STOP_WORDS,
    SYNONYMS,
    YES_WORDS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Question", "QuestionKind", "Sentence", "Term", "read_answer", "read_question", "stem"]

_TOKEN = re.compile(
    r"\d{1,2}[:h]\d{2}|\d+[-–]\d+|\d+(?:[.,]\d+)*|km/h|[°][cf]|[^\W\d_]+(?:['-][^\W\d_]+)*|[&,%$€£¥]"
)
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+|(?<=[a-z]);")
_ARTICLES = frozenset("a an the this that his her its their my your some any".split())
_BE = frozenset("is are was were am be been being get gets got it's he's she's they're".split())
_JOINTS = ("and", ",", "&")
_AFTER_ONE = frozenset("can could may might would should must sees reads finds has of".split())
_SWITCHED = frozenset("switched turned not isn't aren't light lamp still".split())
_SAYS_NOTHING = STOP_WORDS | FRAME_WORDS | NEGATIONS
_SAID_OF_ITSELF = AUXILIARIES - frozenset("is was has does isn't wasn't hasn't doesn't".split())
_BEFORE_A_BACKDROP = frozenset("on over above against front-of".split())
_HAVING = frozenset("wear hold carry dress ride own".split())
_PHRASES = {("in", "front"): "front-of", ("next", "to"): "near", ("top", "of"): "on",
    ("going", "up"): "rising", ("goes", "up"): "rising", ("going", "down"): "falling",
    ("goes", "down"): "falling", ("table", "tennis"): "pingpong", ("ping", "pong"): "pingpong",
    ("hot", "chocolate"): "cocoa", ("walking", "stick"): "cane", ("notebook", "computer"): "laptop",
    ("ice", "cream"): "icecream", ("mobile", "phone"): "phone", ("cell", "phone"): "phone",
    ("no", "one"): "nobody", ("free", "of"): "without", ("more", "expensive"): "dearer",
    ("less", "expensive"): "cheaper", ("straight", "on"): "straight",
    ("straight", "ahead"): "straight", ("to", "the"): "to", ("living", "room"): "lounge",
    ("set", "of"): "", ("loaf", "of"): "", ("slice", "of"): "", ("glass", "of"): "",
    ("cup", "of"): "", ("kind", "of"): "", ("piece", "of"): "", ("bottle", "of"): "",
}  # fmt: skip
_ASKS_TO_SAY = re.compile(
    r"^(?:please|kindly|hey|hi|hello|so|well|ok|okay)?[ ,]*"
    r"(?:(?:can|could|would|will) you (?:please )?(?:tell|say|answer|describe|list|name|count|read"
    r"|identify|explain|give|write|state|caption)"
    r"|(?:please )?(?:tell me|say|answer|state|do you know|i want to know|let me know"
    r"|i'd like to know|check|look and say))\b[ ,:]*(?:me )?"
)
_ABOUT_THE_PICTURE = re.compile(
    r"\b(?:in|on|from|of|by|according to|looking at|judging by|as seen in) (?:the|this|that|your) "
    r"(?:\w+ )?(?:picture|image|photo|photograph|scene|shot)\b[ ,]*"
)


class QuestionKind(StrEnum):
    """What sort of answer a question wants; `OPEN` also where nothing is asked."""

    YES_NO = "yes or no"
    CHOICE = "choice"
    COUNT = "count"
    COLOUR = "colour"
    SLOT = "slot"
    OPEN = "open"


class TermKind(StrEnum):
    NUMBER = "number"
    COLOUR = "colour"
    MARK = "mark"
    PLACE = "place"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Term:
    """One word that carries content.

    Attributes:
        kind: which closed class it is of, or an ordinary word.
        value: the stem or the class's name for it; equal values mean the same.
        surface: the word as it was written, in lower case.
        dimension: of a mark, the number of its group; else -1.
        bound: stem of the ordinary word that it is said of; empty where that is not named.
        owner: stem of the noun before that word, whose it may be ("a man in a red hat").
        listed: whether it is one of several things joined by commas, "and" or "with"; the first of
            them is, too, unless "with" joins it.
        place: where it stands in the sentence.
    """

    kind: TermKind
    value: str
    surface: str
    dimension: int = -1
    bound: str = ""
    owner: str = ""
    listed: bool = False
    place: int = 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer.

    Attributes:
        text: as it was written.
        terms: in order.
        negations: how many words negate, a leading "no" not among them.
        said: +1 where it begins with a yes, -1 with a no, else 0.
        passive: whether "by" says who does it.
        relations: (first, relation, second) in one direction of each relation.
        direction: +1 where it says that its first noun has more, -1 where it has less, else 0.
    """

    text: str
    terms: tuple[Term, ...]
    negations: int
    said: int
    passive: bool
    relations: frozenset[tuple[str, str, str]]
    direction: int = 0

    def values(self, kind: TermKind) -> frozenset[str]:
        return frozenset(term.value for term in self.terms if term.kind is kind)

    @property
    def words(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.kind is TermKind.WORD)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as answers are read against it.

    Attributes:
        kind: what it wants.
        sentence: its words, the asking taken away.
        given: values of the terms that it names and that an answer need not repeat.
        focus: stem of what is asked about; empty where nothing is named.
        options: stems between which a choice is asked for.
    """

    kind: QuestionKind
    sentence: Sentence
    given: frozenset[str]
    focus: str
    options: tuple[str, ...] = ()


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


def read_question(text: str) -> Question:
    """Reads a question; of several sentences the last that asks something."""
    lines = [part.strip() for part in _SENTENCE_END.split(text.lower()) if part.strip()]
    asking = [line for line in lines if line.endswith("?")] or lines
    plain = asking[-1] if asking else ""
    plain = _ABOUT_THE_PICTURE.sub(" ", _ASKS_TO_SAY.sub("", plain)).strip(" ,:")
    return _classify(plain)


@lru_cache(maxsize=4096)
def read_answer(text: str) -> tuple[Sentence, ...]:
    """The sentences of an answer that say anything, in order; at least one."""
    parts = [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]
    read = [_read_sentence(part.lower(), part) for part in parts]
    merged = list(_merge_leading_word(read))
    return tuple(merged) or (_read_sentence(text.lower(), text),)


def _merge_leading_word(read: Sequence[Sentence]) -> Iterator[Sentence]:
    """A "Yes." or "No." that stands alone before its sentence belongs to it."""
    held: Sentence | None = None
    for at, sentence in enumerate(read):
        alone = sentence.said != 0 and not sentence.terms and at + 1 < len(read)
        if alone and held is None:
            held = sentence
        elif held is not None:
            yield replace(
                sentence, text=f"{held.text} {sentence.text}", said=sentence.said or held.said
            )
            held = None
        else:
            yield sentence


def _classify(plain: str) -> Question:
    words = _TOKEN.findall(plain)
    sentence = _read_sentence(plain, plain)
    kind = _question_kind(words, sentence)
    values = frozenset(term.value for term in sentence.terms)
    options = tuple(_options(words, sentence)) if kind is QuestionKind.CHOICE else ()
    focus = next((term.value for term in reversed(sentence.words)), "")
    return Question(kind, sentence, values - frozenset(options), focus, options)


def _question_kind(words: list[str], sentence: Sentence) -> QuestionKind:
    if not words:
        return QuestionKind.OPEN
    asks_whether = words[0] in ("whether", "if") or (
        words[0] in AUXILIARIES and not {"what", "which"} & set(words[:3])
    )
    if "or" in words and "not" not in words:
        return QuestionKind.CHOICE
    if asks_whether:
        return QuestionKind.YES_NO
    if words[0] in ("count", "number") or {"how", "many"} <= set(words) or "number" in words:
        return QuestionKind.COUNT
    if any(word.rstrip("s") in ("colour", "color") for word in words):
        return QuestionKind.COLOUR
    if not [term for term in sentence.terms if term.kind is not TermKind.PLACE]:
        return QuestionKind.OPEN
    if words[0] in ("describe", "caption", "summarise", "summarize") or not _asks(words):
        return QuestionKind.OPEN
    return QuestionKind.SLOT


def _asks(words: list[str]) -> bool:
    asking = "what which who whom whose where when why how name list read identify give"
    return bool(set(asking.split()) & set(words))


def _options(words: list[str], sentence: Sentence) -> Iterator[str]:
    """Values of the terms that stand around "or"."""
    place = words.index("or")
    nouns = [term for term in sentence.terms if term.kind is not TermKind.PLACE]
    before = [term for term in nouns if term.place < place]
    after = [term for term in nouns if term.place > place]
    yield from (term.value for term in before[-1:])
    yield from (term.value for term in after[:1])


def _read_sentence(lower: str, text: str) -> Sentence:
    tokens = list(_join_numbers(_TOKEN.findall(lower.replace("’", "'"))))
    said, tokens = _leading_word(tokens)
    terms = _bind(tokens, list(_terms(tokens)))
    negations = sum(token in NEGATIONS or token.endswith("n't") for token in tokens)
    return Sentence(
        text=text,
        terms=tuple(terms),
        negations=negations,
        said=said,
        passive=_is_passive(tokens),
        relations=frozenset(_relations(tokens, terms)),
        direction=next((COMPARATIVES[token] for token in tokens if token in COMPARATIVES), 0),
    )


def _leading_word(tokens: list[str]) -> tuple[int, list[str]]:
    """A yes or no at the beginning, and the rest; "no dog" begins with no such no."""
    if not tokens:
        return 0, tokens
    alone = len(tokens) == 1 or tokens[1] == ","
    first = tokens[0]
    if first in YES_WORDS and (alone or tokens[1] not in STOP_WORDS or first in ("yes", "yeah")):
        return 1, list(tokens[1:])
    if first in NO_WORDS and (alone or tokens[1] in ("it", "he", "she", "they", "there", "i")):
        return -1, list(tokens[1:])
    return 0, tokens


def _join_numbers(tokens: Sequence[str]) -> Iterator[str]:
    """Digits for numbers of two words ("twenty one"), times in words; one word for a place."""
    at = 0
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        after = tokens[at + 2] if at + 2 < len(tokens) else ""
        clock = _clock(token, following, after)
        phrase = _PHRASES.get((token, following))
        tens, ones = NUMBER_WORDS.get(token, 0.0), NUMBER_WORDS.get(following, 0.0)
        if clock:
            yield clock
            at += 3
        elif phrase is not None:
            if phrase:
                yield phrase
            at += 2
        elif _is_plain(token) and following == "to" and _is_plain(after):
            yield f"{_number(token):g}-{_number(after):g}"
            at += 3
        elif token.endswith("'s") and token not in STOP_WORDS:
            yield token[:-2]
            at += 1
        elif 20 <= tens <= 90 and 1 <= ones <= 9 and following != "second":
            yield f"{tens + ones:g}"
            at += 2
        elif "-" in token and all(part in NUMBER_WORDS for part in token.split("-")):
            yield f"{sum(NUMBER_WORDS[part] for part in token.split('-')):g}"
            at += 1
        elif "-" in token and token[0].isalpha() and token not in DIMENSIONS:
            yield from token.split("-")
            at += 1
        elif NUMBER_WORDS.get(following, 0.0) >= 100 and _number(token) is not None:
            yield f"{(_number(token) or 0.0) * NUMBER_WORDS[following]:g}"
            at += 2
        else:
            yield token
            at += 1


def _clock(word: str, following: str, after: str) -> str:
    """`half past two` and `quarter to three` as `2:30` and `2:45`; empty for anything else."""
    hour = _number(after)
    if word not in ("half", "quarter") or following not in ("past", "to") or hour is None:
        return ""
    if word == "half":
        return f"{hour:g}:30"
    return f"{hour:g}:15" if following == "past" else f"{(hour - 2) % 12 + 1:g}:45"


def _is_plain(word: str) -> bool:
    return word != "one" and _number(word) is not None


def _number(token: str) -> float | None:
    if token in NUMBER_WORDS:
        return NUMBER_WORDS[token]
    plain = (
        token.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", token) else token
    )
    try:
        return float(plain.replace(",", "."))
    except ValueError:
        return None


def _number_value(token: str) -> str | None:
    """The name of a number or of a time of day; None for any other token."""
    if re.fullmatch(r"\d{1,2}[:h]\d{2}", token):
        hour, minute = re.split("[:h]", token)
        return f"{int(hour)}:{minute}"
    if re.fullmatch(r"\d+[-–]\d+", token):
        return token.replace("–", "-")
    number = _number(token)
    return None if number is None else f"{number:g}"


def _terms(tokens: Sequence[str]) -> Iterator[Term]:
    for place in range(len(tokens)):
        token = _in_context(tokens, place)
        number = _number_value(token)
        if _is_pronoun_one(tokens, place):
            continue
        if number is not None:
            yield Term(TermKind.NUMBER, number, token, place=place)
        elif token in BASE_COLOURS:
            yield Term(TermKind.COLOUR, BASE_COLOURS[token], token, place=place)
        elif token in DIMENSIONS:
            dimension, value = DIMENSIONS[token]
            yield Term(TermKind.MARK, value, value, dimension=dimension, place=place)
        elif token in PLACES:
            if not _is_loose(tokens, place):
                yield Term(TermKind.PLACE, PLACES[token], token, place=place)
        elif token in PERCENT:
            yield Term(TermKind.WORD, "percent", "percent", place=place)
        elif _is_code(tokens, place):
            yield Term(TermKind.WORD, token, token, place=place)
        elif len(token) > 1 and token not in _SAYS_NOTHING and not token.endswith("n't"):
            yield Term(TermKind.WORD, stem(token), token, place=place)


def _in_context(tokens: Sequence[str], place: int) -> str:
    """The word, where it is one of a few that mean another thing at the end or after some words."""
    word = tokens[place]
    before = tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if word in ("on", "off") and not after and (before in _BE or before in _SWITCHED):
        return f"switched-{word}"
    if word == "may" and (not after or after[0].isdigit() or before in ("in", "of", "late")):
        return "month-of-may"
    return word


def _is_code(tokens: Sequence[str], place: int) -> bool:
    """Whether a single letter names something, as in "product C"."""
    word = tokens[place]
    if len(word) != 1 or not word.isalpha():
        return False
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if word == "i" and after in _SAID_OF_ITSELF:
        return False  # "no, I do not see it"
    last = not after or after in AUXILIARIES
    return word not in "aisdmt" or (last and place > 0)


def _is_loose(tokens: Sequence[str], place: int) -> bool:
    """Whether a word of place stands before something that takes several, or names no place."""
    following = [token for token in tokens[place + 1 : place + 5] if token not in _ARTICLES]
    words = [stem(token) for token in following[:2]]
    if tokens[place] in _BEFORE_A_BACKDROP and _is_backdrop(following):
        return True
    if tokens[place] not in ("in", "on"):
        return False
    return not words or bool(LOOSE_PLACES & set(words)) or words[0] in BASE_COLOURS


def _is_backdrop(following: Sequence[str]) -> bool:
    """Whether a backdrop comes next, its own colour and state before it."""
    first = next(
        (token for token in following if token not in BASE_COLOURS and token not in DIMENSIONS), ""
    )
    return first in BACKDROPS


def _is_pronoun_one(tokens: Sequence[str], place: int) -> bool:
    """Whether a "one" stands for a thing ("the red one", "one can see") and counts nothing."""
    if tokens[place] != "one":
        return False
    before = tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    named = before in {"the", "this", "that", "which", "no"} or before in BASE_COLOURS
    return named or before in DIMENSIONS or after in _AFTER_ONE


def _bind(tokens: Sequence[str], terms: list[Term]) -> list[Term]:
    """Says of every detail which ordinary word it belongs to, and which words are listed."""
    words = [term for term in terms if _is_noun(term) and not _is_deed(term)]
    bound = []
    for term in terms:
        listed = term.kind is not TermKind.PLACE and (
            _is_listed(tokens, terms, term) or _begins_list(tokens, words, terms, term)
        )
        to = "" if _is_noun(term) else _holder(tokens, words, terms, term)
        owner = "" if _is_noun(term) or _is_joined(tokens, term.place) else _owner(words, term)
        bound.append(replace(term, bound=to, owner="" if owner == to else owner, listed=listed))
    return bound


def _owner(words: Sequence[Term], term: Term) -> str:
    return next((word.value for word in reversed(words) if word.place < term.place), "")


def _is_deed(word: Term) -> bool:
    """Whether it looks like a verb, to which no detail belongs."""
    return word.surface.endswith(("ing", "ed")) or word.value in _HAVING


def _is_noun(term: Term) -> bool:
    """Whether details may belong to it."""
    return term.kind is TermKind.WORD or term.dimension in PEOPLE_DIMENSIONS


def _holder(tokens: Sequence[str], words: Sequence[Term], terms: Sequence[Term], term: Term) -> str:
    details = {other.place for other in terms if not _is_noun(other)}
    following = next((word for word in words if word.place > term.place), None)
    if following is not None:
        between = range(term.place + 1, following.place)
        if all(at in details or tokens[at] in _ARTICLES for at in between):
            return following.value
    if term.kind is TermKind.NUMBER:
        return ""
    if term.kind is TermKind.PLACE:
        return "" if following is None else following.value
    before = [word for word in words if word.place < term.place]
    return before[-1].value if before else ""


def _is_listed(tokens: Sequence[str], terms: Sequence[Term], term: Term) -> bool:
    """Whether it is joined to another thing: a joint stands before it and its details."""
    details = {other.place for other in terms if not _is_noun(other)}
    place = term.place
    while _is_noun(term) and place - 1 in details and tokens[place - 1] not in PLACES:
        place -= 1
    return _is_joined(tokens, place, *_JOINTS, "with", "plus", "also")


def _begins_list(
    tokens: Sequence[str], words: Sequence[Term], terms: Sequence[Term], term: Term
) -> bool:
    """Whether a joint and then another thing follow at once: "a wolf, two cats and a kite"."""
    after = term.place + 1
    following = next((word for word in words if word.place > term.place), None)
    if term not in words or following is None or tokens[after] not in _JOINTS:
        return False
    details = {other.place for other in terms if not _is_noun(other)}
    between = range(after + 1, following.place)
    return all(at in details or tokens[at] in _ARTICLES or tokens[at] in _JOINTS for at in between)


def _is_joined(tokens: Sequence[str], place: int, *joints: str) -> bool:
    at = place - 1
    while at >= 0 and (tokens[at] in _ARTICLES or _number_value(tokens[at]) is not None):
        at -= 1
    return at >= 0 and tokens[at] in (joints or _JOINTS)


def _is_passive(tokens: Sequence[str]) -> bool:
    """Whether "by" follows a participle: "is chased by", "hit by" after a form of "be"."""
    return any(
        word == "by"
        and at >= 2
        and not tokens[at - 1].endswith("ing")
        and (bool(_BE & set(tokens[max(0, at - 4) : at - 1])) or tokens[at - 1].endswith("ed"))
        for at, word in enumerate(tokens)
    )


def _relations(tokens: Sequence[str], terms: Sequence[Term]) -> Iterator[tuple[str, str, str]]:
    """`the cup is left of the plate` and `the plate is right of the cup` as one triple."""
    nouns = [term for term in terms if _is_noun(term)]
    for place, token in enumerate(tokens):
        joint = _joint(tokens, place)
        before = [noun.value for noun in nouns if noun.place < place]
        after = [noun.value for noun in nouns if joint is not None and noun.place > joint]
        if token in COMPARATIVES:
            # "there are more cats than dogs" names the first one behind the word
            before += [noun.value for noun in nouns if place < noun.place < (joint or 0)]
        if not (before and after):
            continue
        first, second = before[-1], after[0]
        if token in COMPARATIVES:
            more = COMPARATIVES[token] > 0
            yield (first, "more", second) if more else (second, "more", first)
        else:
            relation, swapped = CONVERSES[token]
            yield (second, relation, first) if swapped else (first, relation, second)


def _joint(tokens: Sequence[str], place: int) -> int | None:
    """Where the second thing of a relation begins; None where the word at `place` is none."""
    token = tokens[place]
    if token in COMPARATIVES:
        joints = ("than", "of", "to", "by")
        later = range(place + 1, min(place + 5, len(tokens)))
        found = next((at for at in later if tokens[at] in joints), None)
        return place if found is None and token in ("beats", "beat", "exceeds", "outnumber",
                                                    "outnumbers", "defeats") else found  # fmt: skip
    if token in ("left", "right"):
        later = range(place + 1, min(place + 4, len(tokens)))
        return next((at for at in later if tokens[at] == "of"), None)
    return place if token in CONVERSES else None
