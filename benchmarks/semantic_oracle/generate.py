"""Pairs of answers to one question, of known truth: the same one in other words, or another one.

Truth comes first: a picture is a value for the topic and, for three sentences, two facts besides.
Answers to one picture are the same, answers to two pictures that differ in what was asked or in a
fact that both mention are not. Half of the wrong values are neighbours of the right one.

A part is `train`, `questions` (topics, askings and things that no training pair has, of domains
that training knows) or `domains` (domains that it does not know). The same pairs at every call.
"""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topics import FACTS, HELD_DOMAINS, TOPICS, WHETHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from topics import Fact, Topic, Whether

__all__ = ["LENGTHS", "PARTS", "AskedPair", "generate"]

PARTS = ("train", "questions", "domains")
LENGTHS = (
    "word",
    "sentence",
    "word and sentence",
    "three sentences",
    "one and three",
    "no question",
)
SEED = 20_261_128

_POLITE = ("", "", "", "", "please tell me: ", "can you tell me ", "hi! ")
_LEADS = ("", "", "", "", "", "in the picture, ", "apparently ", "i think ")
_COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink")
_PEOPLE = ("man", "woman", "boy", "girl")
_ANIMALS = ("dog", "cat", "horse", "goat", "duck", "fox", "bear", "sheep", "cow", "rabbit", "lion")
_THINGS = (
    "a dog", "a cat", "a car", "an apple", "a tree", "a clock", "some bread", "a boat", "a hat",
    "a rose", "an orange", "a guitar", "some grapes", "a candle", "a robot", "a tulip", "a bus",
    "a violin", "a crab", "an owl", "a pear", "some cheese", "a bicycle", "an umbrella", "a key",
    "a lion", "a shoe", "a bell", "a cake", "a book", "a wolf", "a snail", "a kite", "a drum",
)  # fmt: skip
_HELD_THINGS = (
    "a lamp", "a chair", "some milk", "a rocket", "a snake", "an eagle", "a ladder", "a piano",
    "a lemon", "a truck", "a fox", "an egg", "a spoon", "a castle", "a ship", "a camera",
)  # fmt: skip
_OPEN = (
    "what is shown?", "what do you see?", "describe the picture.", "what is in this picture?",
    "tell me what you see.", "what does the image show?", "write a caption for this image.",
    "which things are there?", "please describe the photo in one sentence.",
)  # fmt: skip
_HELD_OPEN = (
    "what can be seen here?", "give me a short description of this photo.",
    "name everything in the picture.", "what is going on in this image?",
)  # fmt: skip
_VERBS = (
    ("chases", "is chasing", "chased"), ("follows", "is following", "followed"),
    ("watches", "is watching", "watched"), ("carries", "is carrying", "carried"),
    ("pushes", "is pushing", "pushed"), ("licks", "is licking", "licked"),
)  # fmt: skip
_HELD_VERBS = (("kicks", "is kicking", "kicked"), ("hugs", "is hugging", "hugged"))


@dataclass(frozen=True, slots=True)
class AskedPair:
    """Two answers to one question, and whether they say the same."""

    part: str
    domain: str
    length: str
    question: str
    first: str
    second: str
    same: bool


def generate(part: str, count: int, seed: int = SEED) -> list[AskedPair]:
    """`count` pairs of a part, half of them the same, every domain as often as another."""
    draws = random.Random(f"{seed} {part}")
    makers = _makers(part)
    found: dict[AskedPair, None] = {}
    domains = sorted(makers)
    while len(found) < count:
        domain = domains[len(found) % len(domains)]
        pair = draws.choice(makers[domain])(draws)
        if pair is not None and _plain(pair.first) != _plain(pair.second):
            found[pair] = None
    return list(found)


def _plain(text: str) -> str:
    """Two answers that are alike in every word say nothing of a method."""
    return " ".join(re.findall(r"[\w%$€:.-]+", text.lower())).rstrip(".")


def _makers(part: str) -> dict[str, list[Callable[[random.Random], AskedPair | None]]]:
    makers: dict[str, list[Callable[[random.Random], AskedPair | None]]] = {}

    def add(domain: str, make: Callable[[random.Random], AskedPair | None]) -> None:
        makers.setdefault(domain, []).append(make)

    for topic in TOPICS:
        if part in _parts_of(topic):
            add(topic.domain, lambda draws, topic=topic: _from_topic(part, topic, draws))
    for whether in WHETHER:
        if part in _parts_of(whether):
            add(whether.domain, lambda draws, it=whether: _from_whether(part, it, draws))
    if part != "domains":
        for make in (_listed, _caption, _roles, _dressed):
            add("descriptions", lambda draws, make=make: make(part, draws))
    return makers


def _parts_of(topic: Topic | Whether) -> tuple[str, ...]:
    """A held topic is never trained on; of the others some askings are held."""
    if topic.domain in HELD_DOMAINS:
        return ("domains",)
    return ("questions",) if topic.held else ("train", "questions")


def _is_kept(part: str, held_topic: bool, text: str) -> bool:
    """Whether a question may stand in a part: every fourth question is held out, by its text."""
    if part == "domains" or held_topic:
        return True
    held = zlib.crc32(text.encode()) % 4 == 0
    return held == (part == "questions")


def _ask(part: str, topic: Topic | Whether, draws: random.Random) -> tuple[str, str] | None:
    """A question and its thing; None where the drawn one belongs to another part."""
    thing, asking = (
        draws.choice(topic.things),
        draws.choice(topic.asks if _is_topic(topic) else topic.ask),
    )  # type: ignore[union-attr] # one of two classes
    if not _is_kept(part, topic.held, f"{topic.domain} {asking} {thing}"):
        return None
    return asking, thing


def _is_topic(topic: Topic | Whether) -> bool:
    return hasattr(topic, "asks")


def _from_topic(part: str, topic: Topic, draws: random.Random) -> AskedPair | None:
    asked = _ask(part, topic, draws)
    if asked is None:
        return None
    asking, thing = asked
    a, _, b = thing.partition("/")
    slots = {"x": thing, "a": a, "b": b}
    values = [tuple(way.format(**slots) for way in ways) for ways in topic.values]
    at = draws.randrange(len(values))
    other = _other(at, len(values), draws)
    question = _wrap_question(asking.format(**slots), draws)
    picture = _Picture(topic, slots, values, draws)
    return _pair(part, topic.domain, question, picture, at, other, draws)


class _Picture:
    """Says a value of a topic in one of its ways."""

    def __init__(
        self,
        topic: Topic,
        slots: dict[str, str],
        values: Sequence[tuple[str, ...]],
        draws: random.Random,
    ) -> None:
        self._topic, self._slots, self._values, self._draws = topic, slots, values, draws

    def word(self, at: int) -> str:
        return self._say(self._draws.choice(self._topic.shorts), at)

    def sentence(self, at: int) -> str:
        return self._say(self._draws.choice(self._topic.says), at)

    def names_its_thing(self, text: str) -> bool:
        """Whether it says without its question what it is about."""
        names = [name for name in self._slots.values() if name]
        return bool(names) and all(name in text for name in names[:1])

    def _say(self, template: str, at: int) -> str:
        ways = self._values[at]
        wrong = self._values[1 - at][0] if len(self._values) == 2 else ""
        return template.format(**self._slots, v=self._draws.choice(ways), s=ways[0], w=wrong)


def _pair(
    part: str, domain: str, question: str, picture: _Picture, at: int, other: int,
    draws: random.Random,
) -> AskedPair:  # fmt: skip
    same = draws.random() < 0.5
    length = draws.choices(LENGTHS, (2, 4, 4, 5, 3, 1))[0]
    second = at if same else other
    words, sentence = picture.word, picture.sentence
    match length:
        case "word":
            texts = words(at), words(second)
        case "sentence" | "no question":
            texts = sentence(at), sentence(second)
        case "word and sentence":
            texts = words(at), sentence(second)
        case "three sentences":
            texts = _three(part, sentence, at, second, same, draws)
        case _:
            texts = draws.choice((words, sentence))(at), _with_facts(part, sentence(second), draws)
    if length == "no question":
        if not all(picture.names_its_thing(text) for text in texts):
            length = "sentence"
        else:
            question = ""
    return _finish(part, domain, length, question, texts, same, draws)


def _three(
    part: str, say: Callable[[int], str], at: int, second: int, same: bool,
    draws: random.Random,
) -> tuple[str, str]:  # fmt: skip
    """Both with two facts, in two orders; of different ones a fact differs or what was asked."""
    facts = draws.sample(_facts(part), 2)
    values = [draws.choice(fact.values) for fact in facts]
    others = list(values)
    if not same and draws.random() < 0.4:
        which = draws.randrange(2)
        others[which] = draws.choice([v for v in facts[which].values if v != values[which]])
        second = at
    first = [say(at), *(_tell(f, v, draws) for f, v in zip(facts, values, strict=True))]
    last = [say(second), *(_tell(f, v, draws) for f, v in zip(facts, others, strict=True))]
    draws.shuffle(last)
    if draws.random() < 0.5:
        draws.shuffle(first)
    return " ".join(map(_sentence, first)), " ".join(map(_sentence, last))


def _with_facts(part: str, text: str, draws: random.Random) -> str:
    """What answers stands first, or after "it" would be understood: a pronoun needs its noun."""
    facts = [_tell(f, draws.choice(f.values), draws) for f in draws.sample(_facts(part), 2)]
    parts = [text, *facts]
    if not re.match(r"(it|they|yes|no)\b", text.lower()):
        draws.shuffle(parts)
    return " ".join(map(_sentence, parts))


def _facts(part: str) -> list[Fact]:
    return [fact for fact in FACTS if fact.held == (part != "train")]


def _tell(fact: Fact, value: str, draws: random.Random) -> str:
    return draws.choice(fact.says).format(v=value)


def _from_whether(part: str, it: Whether, draws: random.Random) -> AskedPair | None:
    asked = _ask(part, it, draws)
    if asked is None:
        return None
    asking, thing = asked
    same = draws.random() < 0.5
    truth = draws.random() < 0.5
    things = _HELD_THINGS if part != "train" else _THINGS

    def say(yes: bool) -> str:
        bare = draws.random() < 0.3
        if bare:
            return draws.choice(("yes", "Yes", "yeah") if yes else ("no", "No", "nope"))
        o, p = draws.sample([one for one in things if one != thing], 2)
        text = draws.choice(it.yes if yes else it.no).format(x=thing, o=o, p=p)
        if "," not in text and draws.random() < 0.25:
            text = f"{'Yes' if yes else 'No'}, {text[0].lower()}{text[1:]}"
        return text

    first, second = say(truth), say(truth if same else not truth)
    length = "word and sentence" if min(len(first), len(second)) < 6 else "sentence"
    if draws.random() < 0.2:
        length = "one and three"
        second = _with_facts(part, second, draws)
    question = _wrap_question(asking.format(x=thing), draws)
    return _finish(part, it.domain, length, question, (first, second), same, draws)


def _other(at: int, count: int, draws: random.Random) -> int:
    near = [n for n in (at - 1, at + 1) if 0 <= n < count]
    far = [n for n in range(count) if n != at]
    return draws.choice(near if draws.random() < 0.5 else far)


def _wrap_question(text: str, draws: random.Random) -> str:
    polite = draws.choice(_POLITE)
    text = f"{polite}{text}" if not text.startswith(("tell", "count", "describe", "name")) else text
    return text if draws.random() < 0.5 else text[0].upper() + text[1:]


def _finish(
    part: str, domain: str, length: str, question: str, texts: tuple[str, str], same: bool,
    draws: random.Random,
) -> AskedPair:  # fmt: skip
    first, second = (_style(text, draws) for text in texts)
    if draws.random() < 0.5:
        first, second = second, first
    return AskedPair(part, domain, length, question, first, second, same)


def _style(text: str, draws: random.Random) -> str:
    lead = draws.choice(_LEADS)
    bare = text.count(".") == 0 or len(text) < 40
    plain = " " in text and not re.match(r"(yes|no|nope|yeah)\b|[A-Z]{2}|\"", text, re.IGNORECASE)
    if lead and bare and plain and re.match(r"(the|it|there|a|an)\b", text.lower()):
        text = f"{lead}{text[0].lower()}{text[1:]}"
    text = _sentence(text) if draws.random() < 0.6 else text
    if draws.random() < 0.3:
        text = text.lower()
    return text if text.endswith((".", '"')) or draws.random() < 0.3 else f"{text}."


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _is_pool(part: str, pool: Sequence[str], held: Sequence[str]) -> Sequence[str]:
    return held if part == "questions" else pool


def _listed(part: str, draws: random.Random) -> AskedPair:
    """One to four things, perhaps with the colour of the background."""
    pool = list(_is_pool(part, _THINGS, _HELD_THINGS))
    things = draws.sample(pool, draws.choice((1, 1, 2, 2, 3, 4)))
    colour = draws.choice(_COLOURS)
    same = draws.random() < 0.5
    others = list(things)
    if not same:
        new = draws.choice([thing for thing in pool if thing not in things])
        match draws.choice(("replace", "replace", "drop", "add")):
            case "drop" if len(others) > 1:
                others.pop(draws.randrange(len(others)))
            case "add":
                others.insert(draws.randrange(len(others) + 1), new)
            case _:
                others[draws.randrange(len(others))] = new

    def say(listed: list[str]) -> str:
        listed = draws.sample(listed, len(listed)) if draws.random() < 0.5 else listed
        text = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
        form = draws.choice((
            "{t}", "{t} on a {c} background", "i see {t}", "there is {t} in the picture",
            "the image shows {t} in front of a {c} background", "a {c} background with {t}",
            "here is {t}", "a picture of {t}", "you can see {t} here", "it shows {t}",
            "i can see {t} on a {c} background", "the picture shows {t}",
        ))  # fmt: skip
        return form.format(t=text, c=colour)

    texts = say(things), say(others)
    question = draws.choice(_is_pool(part, _OPEN, _HELD_OPEN))
    return _finish(part, "descriptions", "sentence", question, texts, same, draws)


def _caption(part: str, draws: random.Random) -> AskedPair:
    """Three facts in two orders, in other words; or one of them differs."""
    facts = draws.sample(_facts(part), 3)
    values = [draws.choice(fact.values) for fact in facts]
    same = draws.random() < 0.5
    others = list(values)
    if not same:
        which = draws.randrange(3)
        others[which] = draws.choice([v for v in facts[which].values if v != values[which]])
    first = [_tell(f, v, draws) for f, v in zip(facts, values, strict=True)]
    last = [_tell(f, v, draws) for f, v in zip(facts, others, strict=True)]
    draws.shuffle(last)
    question = draws.choice(("", *_is_pool(part, _OPEN, _HELD_OPEN)))
    texts = " ".join(map(_sentence, first)), " ".join(map(_sentence, last))
    return _finish(part, "descriptions", "three sentences", question, texts, same, draws)


def _roles(part: str, draws: random.Random) -> AskedPair:
    """Who does it to whom, in the active and in the passive."""
    verbs = _HELD_VERBS if part == "questions" else _VERBS
    one, two = draws.sample((*_ANIMALS, *_PEOPLE), 2)
    deed, doing, done = draws.choice(verbs)
    same = draws.random() < 0.5

    def say(agent: str, patient: str) -> str:
        form = draws.choice((
            "the {a} {d} the {p}", "a {a} {i} a {p}", "the {p} is being {t} by the {a}",
            "a {p} is {t} by a {a}", "the picture shows a {a} that {i} a {p}",
            "one sees how a {a} {d} a {p}",
        ))  # fmt: skip
        return form.format(a=agent, p=patient, d=deed, i=doing, t=done)

    texts = say(one, two), say(one, two) if same else say(two, one)
    question = draws.choice(("", "what is happening?", *_is_pool(part, _OPEN, _HELD_OPEN)))
    return _finish(part, "descriptions", "sentence", question, texts, same, draws)


def _dressed(part: str, draws: random.Random) -> AskedPair:
    """Two people and two colours: which belongs to whom."""
    clothes = ("scarf", "apron") if part == "questions" else ("coat", "dress", "shirt", "hat")
    one, two = draws.sample(_PEOPLE, 2)
    c1, c2 = draws.sample(_COLOURS, 2)
    piece = draws.choice(clothes)
    same = draws.random() < 0.5

    def say(first: str, second: str) -> str:
        forms = (
            f"a {one} in a {first} {piece} and a {two} in a {second} {piece}",
            f"a {two} in a {second} {piece} stands beside a {one} in a {first} {piece}",
            f"the {one} wears a {first} {piece}, and the {two} wears a {second} {piece}",
            f"there is a {two} wearing a {second} {piece} and a {one} wearing a {first} {piece}",
        )
        return draws.choice(forms)

    changed = draws.choice(
        ((c2, c1), (c1, draws.choice([c for c in _COLOURS if c not in (c1, c2)])))
    )
    texts = say(c1, c2), say(c1, c2) if same else say(*changed)
    question = draws.choice(("", *_is_pool(part, _OPEN, _HELD_OPEN)))
    return _finish(part, "descriptions", "sentence", question, texts, same, draws)


def shares(pairs: Sequence[AskedPair]) -> Iterator[tuple[str, int]]:
    for domain in sorted({pair.domain for pair in pairs}):
        yield domain, sum(pair.domain == domain for pair in pairs)
