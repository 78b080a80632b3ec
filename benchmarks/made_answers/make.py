"""Seeded, labelled answers of all domains, without equal or nearly equal ones."""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import (
    chat,
    code,
    identity,
    long,
    pictures,
    records,
    refusals,
    reports,
    service,
    steps,
    tools,
)
from .parts import Part, PartRandom

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from .forms import Form

HARMFUL_SHARE = 0.35
NEAR_COPY = 0.8  # Jaccard index of the two sets of three-word runs
SHORTEST_RUNS = 6  # texts of fewer runs of three words need only be distinct
_DOMAINS = (
    tools,
    code,
    records,
    steps,
    refusals,
    reports,
    pictures,
    chat,
    identity,
    long,
    service,
)
FORMS = tuple(form for domain in _DOMAINS for form in domain.FORMS)
_MOST_FAILURES = 60  # in a row, before a form counts as used up


@dataclass(frozen=True, slots=True)
class MadeAnswer:
    """One answer.

    Attributes:
        domain: kind of answers, such as "tools".
        category: of the harm; "" where it is harmless.
        prompt: what was asked; often "".
        answer: its text, as the engine shows it to an oracle.
        harmful: the label.
        form: the pattern and label, "domain/family/harmful" or "domain/family/harmless".
    """

    domain: str
    category: str
    prompt: str
    answer: str
    harmful: bool
    form: str


def form_family(form: str) -> str:
    """What a harmful form shares with its harmless twin: "tools/mail/harmful" -> "tools/mail".

    Split by it where a test part must hold whole patterns that training never saw.
    """
    return form.rpartition("/")[0]


def make_answers(count: int, seed: int, part: Part = "all") -> list[MadeAnswer]:
    """So many distinct answers; equal seeds give equal ones.

    Domains are drawn evenly, and forms evenly inside a domain and a label. A form that gives only
    copies of earlier answers is dropped.

    Args:
        count: how many.
        seed: of all choices.
        part: "train" and "test" draw subjects and shared sentences from two disjoint parts of the
            tables (three quarters and one); "all" from both. Forms are not split by it.

    Raises:
        ValueError: the forms cannot give so many.
    """
    rng = PartRandom(seed, part)
    pools = _pools()
    seen = _Seen()
    made: list[MadeAnswer] = []
    failures: defaultdict[str, int] = defaultdict(int)
    while len(made) < count:
        harmful = rng.random() < HARMFUL_SHARE
        domains = [domain for domain, label in pools if label == harmful]
        if not domains:
            raise ValueError(f"no more than {len(made)} distinct answers; ask for fewer")
        pool = pools[rng.choice(domains), harmful]
        form = rng.choice(pool)
        answer = _build(form, rng)
        if seen.is_new(answer.answer):
            made.append(answer)
            failures[form.name] = 0
            continue
        failures[form.name] += 1
        if failures[form.name] > _MOST_FAILURES:
            pool.remove(form)
            if not pool:
                del pools[form.domain, harmful]
    return made


def _pools() -> dict[tuple[str, bool], list[Form]]:
    pools: defaultdict[tuple[str, bool], list[Form]] = defaultdict(list)
    for form in FORMS:
        pools[form.domain, form.harmful].append(form)
    return dict(pools)


def _build(form: Form, rng: random.Random) -> MadeAnswer:
    draft = form.build(rng)
    answer = draft.answer.strip()
    return MadeAnswer(form.domain, draft.category, draft.prompt, answer, form.harmful, form.name)


def runs_of_words(text: str) -> frozenset[int]:
    """Checksums of all runs of three words, without case, marks and the value of numbers."""
    words = re.findall(r"[a-z]+|\d+", re.sub(r"\d+", "0", text.lower()))
    runs = (" ".join(words[start : start + 3]) for start in range(max(1, len(words) - 2)))
    return frozenset(zlib.crc32(run.encode()) for run in runs)


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    """Size of what both have over the size of all."""
    return len(first & second) / len(first | second)


class _Seen:
    """Remembers answers; finds earlier near copies by what their sets of runs share (MinHash).

    A set is kept under its smallest checksum in each of eight mixings. Two sets share one of them
    with a chance of their Jaccard index J. Earlier sets that share at least three are compared in
    full; at J = .8 fewer than three are shared with a chance of .0012.
    """

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._runs: list[frozenset[int]] = []
        self._places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def is_new(self, text: str) -> bool:
        """Whether no equal text or near copy was seen; if so, it is remembered."""
        plain = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
        if not plain or plain in self._texts:
            return False
        runs = runs_of_words(text)
        keys = list(smallest_runs(runs))
        if len(runs) >= SHORTEST_RUNS and self._has_near_copy(runs, keys):
            return False
        self._texts.add(plain)
        for key in keys:
            self._places[key].append(len(self._runs))
        self._runs.append(runs)
        return True

    def _has_near_copy(self, runs: frozenset[int], keys: list[tuple[int, int]]) -> bool:
        shared = Counter(place for key in keys for place in self._places[key])
        likely = (place for place, count in shared.items() if count >= 3)
        return any(jaccard(runs, self._runs[place]) >= NEAR_COPY for place in likely)


def smallest_runs(runs: frozenset[int]) -> Iterator[tuple[int, int]]:
    """The smallest checksum in each of eight mixings, with the number of the mixing."""
    for mixing in range(8):
        factor = 2 * (0x9E3779B1 * (mixing + 1) % 2**31) + 1
        yield mixing, min(run * factor % 2**32 for run in runs)
