"""Trains the finder of foreign text: `python benchmarks/languages/train.py --packages FOLDER`.

Logistic regression on stretches of one to twelve words, English or not. A stretch's logit is the
sum over its words, and a word's the sum over its features, so that the fitted numbers can be used
word by word. After a first fit, the English stretches that it takes for foreign ones are added
(`mine`), since it is the worst stretch of a whole answer that must stay below the limit.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import scipy.optimize
import scipy.sparse
from ciphers import CIPHERS, transliterate
from corpora import Corpora, Sentence, answers, fetch, fold_of

from guardrail.oracles.text.languages import FORMAT, LANGUAGE_MODEL, LanguageModel
from guardrail.oracles.text.word_features import read_words, word_features

BITS, KIND_BITS = 20, 16
PENALTY = 2e-7
PER_LANGUAGE = {"interface": 1500, "django": 300, "declaration": 80, "function words": 900,
                "conversations": 2000}  # fmt: skip
CONVERSATIONS = ("german", "spanish", "italian", "portuguese")  # measured by other texts
FUNCTION_WORD = 4.0  # weight: there is one row of each
PER_SOURCE = {"interface": 6000, "django": 1000, "glosses": 40_000, "words": 50_000, "code": 30_000}
HELD_OUT_LANGUAGES = {"sw", "swh", "tl", "tgl", "hu", "hun", "eu", "eus", "cy", "cym", "zul", "zu"}
CIPHERED = 30_000
TRANSLITERATED = 15_000
NAMES = 30_000
MOST_FALSE_ALARMS = 0.001  # of answers that chose the limit
LEAST_LIMIT = 8.25  # names of places and works in answers about travel reach 8.2
MOST_FALSE_ALARMS_SHORT = 0.01  # of names, phrases and messages
MOST, LEAST = 3.0, -3.0  # what one word may count
ROUNDS = 2
ITERATIONS = (70, 25)

if TYPE_CHECKING:
    from collections.abc import Iterator

Word: TypeAlias = tuple[str, str, bool]


@dataclass
class Stretches:
    """Training rows: words, label, weight, and whether they are of a language."""

    words: list[list[Word]] = field(default_factory=list)
    foreign: list[bool] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    language: list[bool] = field(default_factory=list)

    def add(
        self, words: list[Word], *, foreign: bool, weight: float = 1.0, language: bool = True
    ) -> None:
        if words:
            self.words.append(words)
            self.foreign.append(foreign)
            self.weight.append(weight)
            self.language.append(language)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="where packages are kept")
    parser.add_argument("--fetch", action="store_true", help="download them first")
    parser.add_argument("--out", type=Path, default=LANGUAGE_MODEL)
    options = parser.parse_args()
    if options.fetch:
        fetch(options.packages)
    started = time.perf_counter()
    corpora = Corpora(options.packages)
    rng = random.Random(12)
    rows = Stretches()
    add_english(rows, corpora, rng)
    print(len(rows.words), "English", round(time.perf_counter() - started))
    add_foreign(rows, corpora, rng)
    print(len(rows.words), "stretches", round(time.perf_counter() - started))
    whole = list(training_answers())
    columns = Columns()
    model = fit(rows, columns)
    print("fit", round(time.perf_counter() - started), flush=True)
    for _ in range(ROUNDS):
        found = mine(rows, model, whole)
        print(found, "mined", round(time.perf_counter() - started))
        model = fit(rows, columns, model)
    limits = calibrate(model, whole, short_texts(corpora, rng))
    print(limits)
    save(model, limits, fit_kinds(rows), options.out)
    print(options.out.stat().st_size, "bytes", round(time.perf_counter() - started), "s")


def training_answers() -> Iterator[str]:
    """English answers whose stretches train, and that choose the limit: half of the prompts."""
    foreign = foreign_ids()
    for name in ("benign_answers_alpacaeval.jsonl", "responses_gptfuzz.jsonl"):
        for key, prompt, text in answers(name):
            if fold_of(prompt) == 0 and f"{name} {key}" not in foreign and not other_script(text):
                yield text


def foreign_ids() -> set[str]:
    path = Path(__file__).with_name("foreign_answers.txt")
    return {line.split("#")[0].strip() for line in path.read_text().splitlines()}


def add_english(rows: Stretches, corpora: Corpora, rng: random.Random) -> None:
    for text in training_answers():
        for part in cut(read_words(text), rng):
            rows.add(part, foreign=False)
    found: dict[str, list[str]] = {}
    sources = (corpora.interface, corpora.django, corpora.glosses, corpora.words, corpora.code)
    for source in sources:
        for sentence in source():
            if sentence.language == "en":
                found.setdefault(sentence.source, []).append(sentence.text)
    for name, texts in found.items():
        for text in rng.sample(texts, min(PER_SOURCE[name], len(texts))):
            weight = 0.1 if name == "words" else 0.7
            for part in cut(read_words(recase(text, rng)), rng):
                rows.add(part, foreign=False, weight=weight)
    for key, _, text in answers("tweets_davidson.jsonl"):
        if fold_of(key) == 0:
            for part in cut(read_words(text), rng):
                rows.add(part, foreign=False, weight=0.5)
    names = list(corpora.names())
    for _ in range(NAMES):
        text = " ".join(rng.sample(names, rng.choice((1, 1, 2, 2, 3))))
        rows.add(read_words(text), foreign=False, weight=0.15)


def add_foreign(rows: Stretches, corpora: Corpora, rng: random.Random) -> None:
    by_language: dict[tuple[str, str], list[Sentence]] = {}
    for source in (corpora.interface, corpora.django, corpora.declaration, corpora.function_words):
        for sentence in source():
            if sentence.language != "en" and sentence.language.lower() not in HELD_OUT_LANGUAGES:
                by_language.setdefault((sentence.source, sentence.language), []).append(sentence)
    for sentence in corpora.conversations():
        if sentence.language in CONVERSATIONS:
            by_language.setdefault((sentence.source, sentence.language), []).append(sentence)
    scripts: list[str] = []
    english: list[str] = [s.text for s in corpora.glosses() if s.source == "glosses"]
    for (source, _), found in sorted(by_language.items()):
        chosen = rng.sample(found, min(len(found), PER_LANGUAGE[source]))
        for sentence in chosen:
            text = sentence.text
            if other_script(text):
                scripts.append(text)
                continue
            if rng.random() < 0.25:
                text = strip(text)
            for part in cut(read_words(recase(text, rng)), rng):
                weight = FUNCTION_WORD if source == "function words" else 1.0
                rows.add(part, foreign=True, weight=weight)
    for text in rng.sample(scripts, min(TRANSLITERATED, len(scripts))):
        for part in cut(read_words(transliterate(text)), rng):
            rows.add(part, foreign=True, weight=0.7)
    for text in rng.sample(english, CIPHERED):
        cipher = rng.choice(CIPHERS)
        short = " ".join(text.split()[:14])
        for part in cut(read_words(cipher(short, rng)), rng):
            rows.add(part, foreign=True, weight=0.7, language=False)


def other_script(text: str) -> bool:
    """Whether a third of its letters are not Latin; asks no model."""
    letters = [char for char in text if char.isalpha()]
    return 3 * sum(
        ord(char) > 0x36F and not 0x1E00 <= ord(char) < 0x1F00 for char in letters
    ) > len(letters)


def recase(text: str, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.06:
        return text.title()
    if chance < 0.12:
        return text.upper()
    return text.lower() if chance < 0.25 else text


def strip(text: str) -> str:
    import unicodedata

    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def cut(words: list[Word], rng: random.Random) -> list[list[Word]]:
    """Stretches of one to twelve words, four on average."""
    parts, at = [], 0
    while at < len(words):
        size = min(1 + int(rng.expovariate(1 / 3.5)), 12)
        parts.append(words[at : at + size])
        at += size
    return parts


class Columns:
    """The distinct words of all rows, numbered, with their features; kept between two fits."""

    def __init__(self) -> None:
        self._numbers: dict[Word, int] = {}
        self._codes: list[list[int]] = []

    def by_word(self, rows: Stretches) -> scipy.sparse.csr_matrix:
        """Rows by distinct words."""
        numbers = self._numbers
        places = [numbers.setdefault(w, len(numbers)) for words in rows.words for w in words]
        ends = np.cumsum([0] + [len(words) for words in rows.words])
        ones = np.ones(len(places), np.float32)
        return scipy.sparse.csr_matrix((ones, places, ends), (len(rows.words), len(numbers)))

    def by_bucket(self, bits: int) -> scipy.sparse.csr_matrix:
        """Distinct words by buckets."""
        for word in list(self._numbers)[len(self._codes) :]:
            self._codes.append(word_features(*word))
        flat = np.fromiter((code for row in self._codes for code in row), np.uint32)
        ends = np.cumsum([0] + [len(row) for row in self._codes])
        places = (flat >> np.uint32(32 - bits)).astype(np.int64)
        shape = len(self._codes), 1 << bits
        return scipy.sparse.csr_matrix((np.ones(len(flat), np.float32), places, ends), shape)


def fit(rows: Stretches, columns: Columns, start: np.ndarray | None = None) -> np.ndarray:
    """Log-odds of each bucket."""
    by_word = columns.by_word(rows)
    label, weight = np.array(rows.foreign), np.array(rows.weight)
    steps = ITERATIONS[start is not None]
    return regress(by_word, columns.by_bucket(BITS), label, weight, PENALTY, steps, start)


def fit_kinds(rows: Stretches) -> np.ndarray:
    keep = [place for place, foreign in enumerate(rows.foreign) if foreign]
    part = Stretches(
        [rows.words[i] for i in keep],
        [rows.language[i] for i in keep],
        [1.0 for _ in keep],
        [True for _ in keep],
    )
    columns = Columns()
    by_word, by_bucket = columns.by_word(part), columns.by_bucket(KIND_BITS)
    label = np.array(part.foreign)
    weight = np.where(label, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    return regress(by_word, by_bucket, label, weight, 1e-6, ITERATIONS[1])


def regress(
    by_word: scipy.sparse.csr_matrix,
    by_bucket: scipy.sparse.csr_matrix,
    label: np.ndarray,
    weight: np.ndarray,
    penalty: float,
    steps: int,
    start: np.ndarray | None = None,
) -> np.ndarray:
    sign = np.where(label, 1.0, -1.0).astype(np.float32)
    weight = (weight / weight.sum()).astype(np.float32)
    word_t, bucket_t = by_word.T.tocsr(), by_bucket.T.tocsr()

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        theta32 = theta.astype(np.float32)
        margin = sign * (by_word @ (by_bucket @ theta32))
        value = float((weight * np.logaddexp(0, -margin)).sum()) + penalty * float(theta @ theta)
        slope = -sign * weight / (1 + np.exp(np.clip(margin, -60, 60)))
        return value, (bucket_t @ (word_t @ slope)).astype(np.float64) + 2 * penalty * theta

    if start is None:
        start = np.zeros(by_bucket.shape[1])
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 8}
    )
    return found.x


def pack(theta: np.ndarray) -> tuple[np.ndarray, float]:
    scale = float(np.quantile(np.abs(theta[theta != 0]), 0.9995)) / 127
    return np.clip(np.round(theta / scale), -127, 127).astype(np.int8), scale


def as_model(theta: np.ndarray) -> LanguageModel:
    weights, scale = pack(theta)
    kinds = np.zeros(1 << KIND_BITS, np.int8)
    return LanguageModel(weights, scale, kinds, limit=7.0, limit_alone=4.0, most=MOST, least=LEAST)


def mine(rows: Stretches, theta: np.ndarray, whole: list[str]) -> int:
    model, found = as_model(theta), 0
    for text in whole:
        words = read_words(text)
        total, begin, end = model.worst_stretch(words)
        if total > 2.0:
            rows.add(words[begin:end], foreign=False, weight=2.0)
            found += 1
    return found


def calibrate(theta: np.ndarray, whole: list[str], short: list[str]) -> tuple[float, float]:
    """The limits that a given share of English answers and of short English texts reaches."""
    model = as_model(theta)
    totals = [model.worst_stretch(read_words(text))[0] for text in whole]
    alone = []
    for text in short:
        words = read_words(text)
        total, begin, end = model.worst_stretch(words)
        alone.append(total if model.limit_of(len(words), end - begin) == model.limit_alone else 0.0)
    print("answers", np.quantile(totals, (0.5, 0.9, 0.99, 0.995, 0.998, 0.999)).round(2))
    print("short", np.quantile(alone, (0.5, 0.9, 0.99, 0.995, 0.998, 0.999)).round(2))
    limit = max(float(np.quantile(totals, 1 - MOST_FALSE_ALARMS)) + 1e-3, LEAST_LIMIT)
    limit_alone = float(np.quantile(alone, 1 - MOST_FALSE_ALARMS_SHORT)) + 1e-3
    return limit, min(max(limit_alone, MOST + 0.1), limit)


def short_texts(corpora: Corpora, rng: random.Random) -> list[str]:
    """Names, phrases and messages, the kinds of short answers."""
    names = list(corpora.names())
    texts = [" ".join(rng.sample(names, rng.choice((1, 2)))) for _ in range(4000)]
    phrases = [s.text for s in corpora.glosses() if s.source == "words" and " " in s.text]
    texts += rng.sample(phrases, 4000)
    messages = [s.text for s in corpora.interface() if s.language == "en"]
    return texts + rng.sample(messages, 4000)


def save(theta: np.ndarray, limits: tuple[float, float], kinds: np.ndarray, path: Path) -> None:
    weights, scale = pack(theta)
    np.savez_compressed(
        path,
        format=FORMAT,
        weights=weights,
        kinds=pack(kinds)[0],
        numbers=np.array([scale, *limits, MOST, LEAST]),
    )


if __name__ == "__main__":
    main()
