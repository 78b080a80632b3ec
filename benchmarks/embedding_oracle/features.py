"""The labelled texts of the embedding oracle and what its heads see of them.

Texts, groups and folds are those of the built-in oracle (`../builtin_oracle/data.py`), so that both
oracles are measured on the same held-out texts. Every text becomes passages, exactly as in use.
Embedding them takes minutes; a cache keeps the result for the next script.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "builtin_oracle"))

from captions import captions
from data import FOLDS, TEST_FOLD, Text, load
from prose import paragraphs
from short_answers import short_answers

from guardrail.oracles.embedding import WORD_BITS, default_encoder, passages, words_of
from guardrail.oracles.text.normalise import normalise

if TYPE_CHECKING:
    from guardrail.oracles.text.sentences import SentenceEncoder

RESPONSES = ("gptfuzz", "pyrit", "xstest")
ABUSE = ("davidson", "hatecheck")
CAPTIONS, PROSE, SHORT = 1500, 600, 4000
CUT_WORDS = 40  # harm must be found in a short piece too, without the words around it
CUTS = 2  # for each answer that is long enough
CACHE = Path(tempfile.gettempdir()) / "guardrail-embedding-oracle"

# PyRIT's rows stand in the order of its files, one for each harm.
PYRIT_ROWS = {"abuse": range(81, 326), "self_harm": range(512, 605), "sexual": range(605, 683)}


@dataclass(frozen=True)
class Features:
    """Of n texts with p passages.

    `vectors` (p, d) and `words` (p, b; 0 or 1) describe the passages, `owners` (p,) names the
    text of each. `source`, `harmful` and `fold` (n,) describe the texts.
    """

    texts: list[Text]
    vectors: np.ndarray
    words: scipy.sparse.csr_matrix
    owners: np.ndarray

    @property
    def source(self) -> np.ndarray:
        return np.array([text.source for text in self.texts])

    @property
    def harmful(self) -> np.ndarray:
        return np.array([text.harmful for text in self.texts])

    @property
    def fold(self) -> np.ndarray:
        return np.array([text.fold for text in self.texts])

    def worst(self, margins: np.ndarray) -> np.ndarray:
        """The largest over the passages of each text."""
        found = np.full(len(self.texts), -np.inf)
        np.maximum.at(found, self.owners, margins)
        return found


def all_texts() -> list[Text]:
    """The labelled sets, and sentences made up for training and its folds."""
    calm = [
        *(("captions", text) for text in captions(CAPTIONS, seed=1, share=(0.0, 0.8))),
        *(("prose", text) for text in paragraphs(PROSE, seed=4, share=(0.0, 0.8))),
    ]
    labelled = load()
    made_up = [_made_up(source, text, False, text, TEST_FOLD) for source, text in calm]
    return [*labelled, *cuts(labelled), *made_up, *_short()]


def labelled_and_short() -> list[Text]:
    """Without pieces, captions and prose."""
    return [*load(), *_short()]


def _short() -> list[Text]:
    short = dict.fromkeys(short_answers(SHORT, seed=2))
    return [_made_up("short", *made, FOLDS) for made in short]


def cuts(texts: list[Text]) -> list[Text]:
    """Short pieces of the training answers, labelled like the whole and in its fold."""
    rng = np.random.default_rng(8)
    found = []
    for text in texts:
        words = text.text.split()
        if text.source in RESPONSES and not text.is_test and len(words) > 2 * CUT_WORDS:
            for at in rng.integers(0, len(words) - CUT_WORDS, CUTS):
                piece = " ".join(words[at : at + CUT_WORDS])
                found.append(replace(text, source=f"cut {text.source}", text=piece))
    return found


def _made_up(source: str, text: str, harmful: bool, group: str, folds: int) -> Text:
    fold = zlib.crc32(group.encode()) % folds
    return Text(source, "", "", text, harmful=harmful, group=group, fold=fold)


def category(text: Text) -> str | None:
    """What kind of harm a harmful text is, where the data tells."""
    if text.source in ABUSE:
        return "abuse"
    if text.source in {"pyrit", "cut pyrit"}:
        row = int(text.id.rsplit("-", 1)[1])
        return next((name for name, rows in PYRIT_ROWS.items() if row in rows), None)
    return None


def features(encoder: SentenceEncoder | None = None, cache: Path = CACHE) -> Features:
    texts = all_texts()
    cut = [passages(normalise(text.text)) for text in texts]
    flat = [part for parts in cut for part in parts]
    owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in cut])
    vectors = cached(encoder or default_encoder(), flat, cache)
    return Features(texts, vectors, word_matrix(flat), owners)


def word_matrix(flat: list[str]) -> scipy.sparse.csr_matrix:
    columns = [words_of(part) for part in flat]
    starts = np.concatenate(([0], np.cumsum([len(column) for column in columns])))
    ones = np.ones(starts[-1], dtype=np.float32)
    shape = (len(flat), 1 << WORD_BITS)
    return scipy.sparse.csr_matrix((ones, np.concatenate(columns), starts), shape=shape)


def cached(encoder: SentenceEncoder, flat: list[str], cache: Path) -> np.ndarray:
    """Row by row, by a digest of encoder and text: a change costs only what is new."""
    path = cache / f"{encoder.revision}.npz"
    known: dict[str, np.ndarray] = {}
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    keys = [hashlib.sha256(part.encode()).hexdigest() for part in flat]
    missing = {key: part for key, part in zip(keys, flat, strict=True) if key not in known}
    known |= dict(zip(missing, encoder.encode(list(missing.values())), strict=True))
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, keys=np.array(list(known)), vectors=np.array(list(known.values())))
    return np.array([known[key] for key in keys])
