"""The labelled texts that the shipped oracles are trained and measured on, and how they are split.

Texts whose prompt, template or wording is shared stay together: whole groups go to training, to
validation (which chooses thresholds) or to the test part. Where a source names no prompt,
neighbours in the file and near-duplicates make the groups. Of the sources that name the model that
answered, every answer of some models is kept for validation and of others for the test.
"""

from __future__ import annotations

import csv
import hashlib
import html
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guardrail.oracles.text.ngrams import grams
from guardrail.oracles.text.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "oracle"
FOLDS = 8
VALIDATION_FOLD, TEST_FOLD = 6, 7  # the test part is not looked at before the report
VALIDATION_MODELS = frozenset(
    {"Meta-Llama-3-8B-Instruct", "guanaco-13b", "tulu-2-dpo-13b-ExPO", "llava_13b", "gpt35"}
)
TEST_MODELS = frozenset(
    {"Qwen2-72B-Instruct", "vicuna-13b-v1.5", "phi-2", "pairrm-tulu-2-70b", "zephyr-7b-alpha"}
    | {"mPLUG_Owl_7b", "bard"}
)
KINDS = {
    "gptfuzz": "dangerous",
    "pyrit": "dangerous",
    "xstest": "dangerous",
    "jbb": "dangerous",
    "assistant": "ordinary",
    "vlm": "ordinary",
    "davidson": "abuse",
    "hatecheck": "hate",
    "captions": "captions",
    "short": "short answers",
    "lexicon": "word rows",
    "prose": "prose",
    "manuals": "prose",
    "functions": "code",
    "glosses": "prose",
}


@dataclass(frozen=True, slots=True)
class Text:
    """One labelled text; `group` is what may not be torn apart by a split."""

    source: str
    id: str
    prompt: str
    text: str
    harmful: bool
    group: str
    detail: str = ""
    fold: int = 0
    model: str = ""

    @property
    def kind(self) -> str:
        return KINDS[self.source]

    @property
    def is_test(self) -> bool:
        return self.fold == TEST_FOLD or self.model in TEST_MODELS

    @property
    def is_validation(self) -> bool:
        """Of neither training nor test: chooses thresholds and calibrates."""
        held_back = self.fold == VALIDATION_FOLD or self.model in VALIDATION_MODELS
        return held_back and not self.is_test


def load(folder: Path = DATA) -> list[Text]:
    """All labelled texts, grouped and dealt into `FOLDS` folds."""
    texts = [*_responses(folder), *_answers(folder), *_tweets(folder), *_hatecheck(folder)]
    return _deal(_merge_near_duplicates(texts))


def _deal(texts: list[Text]) -> list[Text]:
    """Whole groups to folds, so that each source's harm and length spread evenly.

    The largest group goes first, each to the fold that has least of its label so far; ties and
    order come from a digest, so the split depends on nothing but the data.
    """
    groups: dict[tuple[str, str], list[Text]] = defaultdict(list)
    for text in texts:
        groups[text.source, text.group].append(text)
    order = sorted(groups, key=lambda key: (-len(groups[key]), _digest("/".join(key))))
    filled: dict[tuple[str, bool], list[int]] = defaultdict(lambda: [0] * FOLDS)
    fold_of: dict[tuple[str, str], int] = {}
    for key in order:
        harmful = sum(text.harmful for text in groups[key])
        label = harmful > 0
        load = filled[key[0], label]
        fold = min(range(FOLDS), key=lambda f: (load[f], (f + _digest(key[1])) % FOLDS))
        load[fold] += harmful if label else len(groups[key])
        fold_of[key] = fold
    return [replace(text, fold=fold_of[text.source, text.group]) for text in texts]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _responses(folder: Path) -> Iterator[Text]:
    for source in ("gptfuzz", "pyrit", "xstest"):
        rows = _jsonl(folder / f"responses_{source}.jsonl")
        rows.sort(key=lambda row: int(row["id"].rsplit("-", 1)[1]))
        for place, row in enumerate(rows):
            # Rows without a prompt are in the order of their prompts: ten neighbours, one group.
            group = row["prompt"] or f"rows {place // 10}"
            yield Text(source, row["id"], row["prompt"], row["response"], row["harmful"], group)


def _answers(folder: Path) -> Iterator[Text]:
    """The sets that name a prompt and the model that answered."""
    files = {
        "jbb": "responses_jbb_artifacts",
        "assistant": "benign_answers_alpacaeval",
        "vlm": "benign_answers_vlm",
    }
    for source, name in files.items():
        for row in _jsonl(folder / f"{name}.jsonl"):
            prompt = row.get("prompt") or row["goal"]
            model = row["model"] if source != "jbb" else ""
            yield Text(
                source,
                row["id"],
                prompt,
                row["response"],
                row["harmful"],
                prompt,
                row.get("category") or row.get("dataset", ""),
                model=model,
            )


def _tweets(folder: Path) -> Iterator[Text]:
    for row in _jsonl(folder / "tweets_davidson.jsonl"):
        text = html.unescape(html.unescape(row["text"]))
        harmful = row["label"] != "neither"
        yield Text("davidson", row["id"], "", text, harmful, row["id"], row["label"])


def _hatecheck(folder: Path) -> Iterator[Text]:
    with (folder / "hatecheck_cases.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            template = row["ref_templ_id"] or row["templ_id"] or row["case_id"]
            harmful = row["label_gold"] == "hateful"
            text, functionality = row["test_case"], row["functionality"]
            yield Text(
                "hatecheck", row["case_id"], "", text, harmful, f"t{template}", functionality
            )


def _jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _merge_near_duplicates(texts: list[Text], least_overlap: float = 0.5) -> list[Text]:
    """Joins groups that hold texts whose sets of word triples overlap by half (Jaccard).

    Answers shorter than 40 words are stock refusals, alike for every prompt; they join nothing.
    Neither do answers of `gptfuzz`: they share the frame of the jailbreak that drew them ("[GPT]:
    … [ANTI-GPT]: …"), which would join nearly all; there the prompt alone is the group.
    """
    joined = _Union(len(texts))
    _join_equal([f"{text.source}/{text.group}" for text in texts], joined)
    tokens = [grams(normalise(text.text)) for text in texts]
    for source, least_words in (("pyrit", 40), ("xstest", 40), ("davidson", 4), ("hatecheck", 4)):
        rows = [
            row
            for row, text in enumerate(texts)
            if text.source == source and len(tokens[row].words) >= least_words
        ]
        sets = {row: np.unique(tokens[row].triples) for row in rows}
        for first, second in _likely_pairs(sets, rows):
            shared = np.intersect1d(sets[first], sets[second], assume_unique=True).size
            if shared >= least_overlap * (sets[first].size + sets[second].size - shared):
                joined.join(first, second)
    return [replace(text, group=f"g{joined.root(row)}") for row, text in enumerate(texts)]


def _join_equal(keys: list[str], joined: _Union) -> None:
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        joined.join(first.setdefault(key, row), row)


def _likely_pairs(sets: dict[int, np.ndarray], rows: list[int]) -> set[tuple[int, int]]:
    """Pairs that share one of 24 minima (min-hash): of overlap 0.5 all but one in 10**7."""
    pairs: set[tuple[int, int]] = set()
    for seed in range(24):
        salt = np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
        bins: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            if sets[row].size:
                mixed = (sets[row] ^ salt) * np.uint64(0xD6E8FEB86659FD93)
                bins[int(mixed.min())].append(row)
        for members in bins.values():
            pairs.update((members[0], member) for member in members[1:])
    return pairs


class _Union:
    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def join(self, first: int, second: int) -> None:
        first, second = self.root(first), self.root(second)
        self._parent[max(first, second)] = min(first, second)
