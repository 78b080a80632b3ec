"""Measures the finder of foreign text: `python benchmarks/languages/measure.py --packages FOLDER`.

Writes table.json and table.md: of harmless texts in other languages, how many are seen, by number
of words, and of English texts, how many are taken for foreign ones, by source. No source of the
first part trained; of the second, half of the prompts of two sources did, and are left out here.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from ciphers import CIPHERS, transliterate
from corpora import Corpora, answers, fold_of
from train import CONVERSATIONS, HELD_OUT_LANGUAGES, foreign_ids

from guardrail.oracles.text.languages import LANGUAGE_REPORT, foreign_stretch, language_model
from guardrail.stats import harmless_rate_lower, harmless_rate_upper

HERE = Path(__file__).parent
PER_LANGUAGE = 2000
PER_ENGLISH_SOURCE = 4800
LENGTHS = ((1, 1), (2, 3), (4, 10), (11, 10_000))
UNSPACED = {"chinese", "traditionalchinese", "japanese", "thai", "zh", "th", "ja"}
ANSWERS = (
    "benign_answers_alpacaeval.jsonl", "benign_answers_vlm.jsonl", "responses_gptfuzz.jsonl",
    "responses_xstest.jsonl", "responses_jbb_artifacts.jsonl", "responses_pyrit.jsonl",
    "hatecheck_cases.csv", "tweets_davidson.jsonl",
)  # fmt: skip
CODES = {"de": "German", "es": "Spanish", "it": "Italian", "pl": "Polish", "pt": "Portuguese",
         "ru": "Russian", "zh": "Chinese"}  # fmt: skip
TRAINED_HALF = (
    "benign_answers_alpacaeval.jsonl",
    "responses_gptfuzz.jsonl",
    "tweets_davidson.jsonl",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--alarms", type=Path, help="write the English texts taken for foreign")
    parser.add_argument("--most", type=int, default=PER_LANGUAGE, help="texts of a language")
    options = parser.parse_args()
    corpora = Corpora(options.packages)
    foreign = measure_foreign(corpora, options.most)
    english, alarms = measure_english(corpora, PER_ENGLISH_SOURCE)
    if options.alarms:
        options.alarms.write_text("\n".join(alarms) + "\n")
    result = {
        "model": language_model().revision,
        "foreign": foreign,
        "english": english,
        "milliseconds_of_150_words": milliseconds(),
    }
    (HERE / "table.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    LANGUAGE_REPORT.write_text(json.dumps(report(result), indent=1) + "\n")
    (HERE / "table.md").write_text(as_markdown(result))
    sys.stdout.write(as_markdown(result))


def report(result: dict) -> dict:
    """What ships: shares of harmless sentences of four to ten words that are seen."""
    shares: dict[str, list[int]] = {}
    for name, rows in result["foreign"].items():
        source, language = name.split(": ")
        row = rows.get("4-10")
        if source in {"conversations", "fortunes"} and row:
            language = CODES.get(language, language.title())
            total = shares.setdefault(language, [0, 0])
            total[0] += row["hits"]
            total[1] += row["of"]
    seen = {name: round(hits / of, 4) for name, (hits, of) in sorted(shares.items()) if of >= 10}
    return {"model": result["model"], "seen": seen}


def measure_foreign(corpora: Corpora, most: int) -> dict:
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source in (corpora.conversations, corpora.fortunes):
        for sentence in source():
            if sentence.source != "conversations" or sentence.language not in CONVERSATIONS:
                texts[sentence.source, sentence.language].append(sentence.text)
    for source in (corpora.declaration, corpora.interface):
        for sentence in source():
            if sentence.language in HELD_OUT_LANGUAGES:
                texts[sentence.source, sentence.language].append(sentence.text)
    rng = random.Random(3)
    english = texts["conversations", "en"]
    for cipher in dict.fromkeys(CIPHERS):
        name = cipher.__name__.replace("_", " ")
        texts["cipher", name] = [cipher(text, rng) for text in rng.sample(english, most)]
    for language in ("russian", "hindi", "chinese", "japanese", "persian"):
        own = texts["conversations", language][:most]
        texts["transliterated", language] = [transliterate(text) for text in own]
    texts = {key: found for key, found in texts.items() if key[1] != "en"}
    result: dict[str, dict] = {}
    for (source, language), found in sorted(texts.items()):
        found = sorted(set(found))
        chosen = rng.sample(found, min(most, len(found)))
        rows: dict[str, list[int]] = {}
        for text in chosen:
            length = count_words(text, language)
            name = next(
                (name_of(low, high) for low, high in LENGTHS if low <= length <= high), None
            )
            if name:
                row = rows.setdefault(name, [0, 0])
                row[0] += foreign_stretch(text) is not None
                row[1] += 1
        result[f"{source}: {language}"] = {name: interval(*row) for name, row in rows.items()}
    return result


def measure_english(corpora: Corpora, most: int) -> tuple[dict, list[str]]:
    listed, alarms = foreign_ids(), []
    result = {}
    for name in ANSWERS:
        seen = total = apart = 0
        reasons: Counter[str] = Counter()
        for key, prompt, text in answers(name):
            if name in TRAINED_HALF and fold_of(prompt or key) == 0:
                continue
            if f"{name} {key}" in listed:
                apart += 1
                continue
            if total >= most:
                continue
            total += 1
            reason = foreign_stretch(text)
            if reason is not None:
                seen += 1
                reasons[str(reason)] += 1
                alarms.append(f"{name} {key} [{reason}] {show(text)}")
        result[name] = interval(seen, total) | {"set_apart": apart, "reasons": dict(reasons)}
    for source in (corpora.conversations, corpora.fortunes):
        texts = [s.text for s in source() if s.language == "en"][:most]
        found = [text for text in texts if foreign_stretch(text) is not None]
        alarms += [f"{source.__name__} [{foreign_stretch(text)}] {show(text)}" for text in found]
        result[source.__name__] = interval(len(found), len(texts))
    return result, alarms


def show(text: str) -> str:
    """The worst stretch, for reading."""
    from guardrail.oracles.text.languages import find_script
    from guardrail.oracles.text.word_features import read_words

    if find_script(text):
        return "".join(c for c in text if ord(c) > 0x36F)[:60]
    words = read_words(text)
    total, begin, end = language_model().worst_stretch(words)
    return f"{total:.1f} " + " ".join(word for word, *_ in words[begin:end])[:150]


def count_words(text: str, language: str) -> int:
    """Two characters make a word where there are no blanks."""
    if language in UNSPACED:
        return (sum(map(str.isalpha, text)) + 1) // 2
    return len([word for word in text.split() if any(map(str.isalpha, word))])


def name_of(low: int, high: int) -> str:
    return f"{low}" if low == high else f"> {low - 1}" if high > 1000 else f"{low}-{high}"


def interval(hits: int, total: int) -> dict:
    if not total:
        return {"hits": 0, "of": 0}
    return {
        "hits": hits,
        "of": total,
        "lower": round(harmless_rate_lower(hits, total, 0.025), 5),
        "upper": round(harmless_rate_upper(hits, total, 0.025), 5),
    }


def milliseconds() -> dict[str, float]:
    """Processor time of one answer of 150 words, the least of five rounds over the same answers.

    Warm: every word was met before; cold: none was in this answer.
    """
    texts = [text for _, _, text in answers(ANSWERS[0])]
    chosen = [" ".join(text.split()[:150]) for text in texts if len(text.split()) >= 150][:60]
    return {
        "warm": round(min(_round_ms(chosen, forget=False) for _ in range(5)), 3),
        "cold": round(min(_round_ms(chosen, forget=True) for _ in range(5)), 3),
    }


def _round_ms(texts: list[str], *, forget: bool) -> float:
    spent = 0.0
    for text in texts:
        if forget:
            language_model().word_score.cache_clear()
        started = time.process_time()
        foreign_stretch(text)
        spent += time.process_time() - started
    return spent / len(texts) * 1e3


def as_markdown(result: dict) -> str:
    names = [name_of(low, high) for low, high in LENGTHS]
    lines = [
        "# English or not", "",
        f"Model {result['model']}. Written by `measure.py`; intervals: 95 % (Clopper-Pearson).", "",
        "## Harmless texts that are not English: share seen, by number of words", "",
        "| source: language | " + " | ".join(names) + " |",
        "| --- |" + " --- |" * len(names),
    ]  # fmt: skip
    for name, rows in result["foreign"].items():
        lines.append(f"| {name} | " + " | ".join(cell(rows.get(at)) for at in names) + " |")
    lines += ["", "## English texts taken for foreign ones", "",
              "| source | share | of | set apart as holding foreign text |",
              "| --- | --- | --- | --- |"]  # fmt: skip
    for name, row in result["english"].items():
        apart = row.get("set_apart", 0)
        lines.append(f"| {name} | {cell(row, digits=2)} | {row['of']} | {apart} |")
    times = result["milliseconds_of_150_words"]
    lines += ["", (f"An answer of 150 words takes {times['warm']} ms of processor time where its "
              f"words were met before and {times['cold']} ms where none was."), ""]  # fmt: skip
    return "\n".join(lines)


def cell(row: dict | None, digits: int = 0) -> str:
    if not row or not row["of"]:
        return ""
    share = 100 * row["hits"] / row["of"]
    low, high = 100 * row["lower"], 100 * row["upper"]
    return f"{share:.{digits}f} % ({low:.{digits}f}-{high:.{digits}f}; n = {row['of']})"


if __name__ == "__main__":
    main()
