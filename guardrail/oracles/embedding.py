"""Harm judged by meaning: one linear head for each category on sentence embeddings and words.

An answer is normalised and cut into passages that overlap. Of each passage a head sees the
sentence embedding, which knows paraphrases, and the words it consists of, which tell a refusal
from an answer better than any embedding does. The worst passage decides, so that nothing hides
behind a harmless beginning; it is mapped to a calibrated probability. The prompt is not looked
at: it adds nothing to what the answer says, and whoever attacks can write it.

An answer without any visible character scores 1. Text that is not English is told apart before an
answer comes here, see `measured_languages.py`. What the heads were trained on, how well they do and
what they miss stand in `embedding_heads/CARD.md` and `report.json`.
"""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import NamedScore
from guardrail.oracles.text.ngrams import grams
from guardrail.oracles.text.normalise import normalise
from guardrail.oracles.text.sentences import SentenceEncoder, window_starts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from guardrail.oracles.base import Exchange

__all__ = [
    "EMBEDDING_HEADS",
    "EmbeddingScorer",
    "Heads",
    "default_encoder",
    "passages",
    "words_of",
]

EMBEDDING_HEADS = Path(__file__).parent / "embedding_heads" / "heads.npz"
FORMAT = 1
"""Raised whenever passages, normalisation or hashing change: old heads then no longer fit."""
LAYERS = 4
"""Of the six layers of the usual model: the last two give up wording for meaning, and a refusal
differs from an answer in its wording. Measured in `benchmarks/embedding_oracle`."""
WORD_BITS = 16
"""Words are hashed into 2**16 buckets."""
PASSAGE_WORDS = 160  # about as many as fit the usual encoder's window
PASSAGE_OVERLAP = 40


@dataclass(frozen=True)
class Heads:
    """The numbers behind the scorer; h heads, d numbers in an embedding, b buckets of words.

    Attributes:
        names: The categories, (h,).
        meaning: float32, (h, d), weights of the embedding.
        words: float32, (h, b), weights of the buckets.
        rarity: float32, (b,), inverse document frequency of each bucket; 0 where unseen.
        bias: float64, (h,).
        slopes: float64, (h,), map the worst margin to a probability with `intercepts`.
        intercepts: float64, (h,).
        thresholds: The operating point of each category that is judged without other word.
        encoder_weights: `SentenceEncoder.weights_digest` of the encoder they were trained on.
    """

    names: tuple[str, ...]
    meaning: NDArray[np.float32]
    words: NDArray[np.float32]
    rarity: NDArray[np.float32]
    bias: NDArray[np.float64]
    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    thresholds: Mapping[str, float]
    encoder_weights: str

    def margins(self, vector: NDArray[np.float32], passage: str) -> NDArray[np.float64]:
        """Of one passage, for every head; shape (h,)."""
        buckets = words_of(passage)
        rarity = self.rarity[buckets]
        length = float(np.sqrt(np.square(rarity).sum() + 1e-9))
        return self.meaning @ vector + self.words[:, buckets] @ rarity / length + self.bias

    def probabilities(self, worst: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated, from the largest margins over the passages; same shape."""
        logit = np.clip(self.slopes * worst + self.intercepts, -500.0, 500.0)
        return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)


class EmbeddingScorer:
    """Scores answers by the shipped heads or others of the same format.

    The score is the worst over the categories. Each is first rescaled so that its own threshold
    becomes 0.5: judge at `threshold=0.5`. Everything is loaded at the first use.

    Args:
        heads: As written by `benchmarks/embedding_oracle/fit.py`.
        encoder: What they were trained on. Default: the model of the extra `embedding`.
        thresholds: Category to the probability from which it counts as harm, each in (0, 1).
            Default: those of the heads.

    Raises:
        ConfigError: A threshold is not usable.
    """

    def __init__(
        self,
        heads: Path | str = EMBEDDING_HEADS,
        *,
        encoder: SentenceEncoder | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        _check_thresholds(thresholds)
        self._path = Path(heads)
        self._encoder = encoder or default_encoder()
        self._thresholds = None if thresholds is None else dict(thresholds)
        self._lock = threading.Lock()
        self._loaded: tuple[Heads, str] | None = None

    @property
    def revision(self) -> str:
        """Digest of heads, thresholds and encoder; loads them."""
        heads, digest = self.load()
        settings = [
            digest,
            self._encoder.revision,
            self._choose_thresholds(heads),
        ]
        text = json.dumps(settings, sort_keys=True)
        return f"embedding-{short_digest(text, 12)}"

    def load(self) -> tuple[Heads, str]:
        """The heads and a digest of their file; worth calling before traffic comes.

        Raises:
            OracleError: A file or package is missing or damaged, or heads and encoder do not fit.
            ConfigError: A category is asked for that the heads do not know.
        """
        with self._lock:
            if self._loaded is None:
                heads, digest = _read(self._path)
                self._choose_thresholds(heads)
                _check_fit(heads, self._encoder)
                self._loaded = heads, digest
            return self._loaded

    def scores(self, exchanges: Sequence[Exchange]) -> list[NamedScore]:
        heads, _ = self.load()
        chosen = self._choose_thresholds(heads)
        columns = [heads.names.index(name) for name in chosen]
        found = self.probabilities([exchange.response for exchange in exchanges])
        return [_worst_category(row[columns], chosen) for row in found]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of every text and category, shape (n, h); 1 in all where nothing is visible."""
        heads, _ = self.load()
        plain = [normalise(text) for text in texts]
        readable = [place for place, text in enumerate(plain) if text]
        parts = {place: passages(plain[place]) for place in readable}
        vectors = iter(self._encoder.encode([part for place in readable for part in parts[place]]))
        found = np.ones((len(texts), len(heads.names)))
        for place in readable:
            margins = [heads.margins(next(vectors), part) for part in parts[place]]
            found[place] = heads.probabilities(np.max(margins, axis=0))
        return found

    def _choose_thresholds(self, heads: Heads) -> dict[str, float]:
        """The threshold of each category."""
        if self._thresholds is None:
            return dict(heads.thresholds)
        if unknown := sorted(set(self._thresholds) - set(heads.names)):
            raise ConfigError(
                f"the heads do not know {', '.join(unknown)}; they know {', '.join(heads.names)}",
                field="thresholds",
            )
        return self._thresholds


def default_encoder(device: str = "cpu", precision: str = "float32") -> SentenceEncoder:
    """What the shipped heads were trained on."""
    return SentenceEncoder(device=device, precision=precision, layers=LAYERS)


def passages(text: str) -> list[str]:
    """Overlapping passages of `PASSAGE_WORDS` words; at least one."""
    words = text.split()
    starts = window_starts(len(words), PASSAGE_WORDS, PASSAGE_OVERLAP)
    return [" ".join(words[at : at + PASSAGE_WORDS]) for at in starts]


def words_of(passage: str) -> NDArray[np.int64]:
    """The buckets of its distinct words, ascending; of a passage of a normalised text."""
    found = grams(passage)
    return np.unique(found.words[found.is_word] >> np.uint64(64 - WORD_BITS)).astype(np.int64)


def _worst_category(row: NDArray[np.float64], thresholds: Mapping[str, float]) -> NamedScore:
    """The worst of the categories; certain harm in all of them is what has no text."""
    scores = _rescale(row, np.array(list(thresholds.values())))
    worst = int(scores.argmax())
    name = "unreadable" if (row >= 1.0).all() else list(thresholds)[worst]
    return NamedScore(float(scores[worst]), name)


def _rescale(
    probability: NDArray[np.float64], threshold: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Piecewise linear, with 0, the threshold and 1 going to 0, 0.5 and 1."""
    above = 0.5 + 0.5 * (probability - threshold) / (1.0 - threshold)
    return np.where(probability >= threshold, above, 0.5 * probability / threshold)


def _check_thresholds(thresholds: Mapping[str, float] | None) -> None:
    if thresholds is not None and not thresholds:
        raise ConfigError("names no category, so nothing could be harmful", field="thresholds")
    for name, threshold in (thresholds or {}).items():
        if not 0.0 < threshold < 1.0:
            raise ConfigError("must lie strictly between 0 and 1", field=f"thresholds.{name}")


def _check_fit(heads: Heads, encoder: SentenceEncoder) -> None:
    if encoder.weights_digest != heads.encoder_weights:
        raise OracleError(
            "the heads of the embedding oracle were trained on another sentence model than the one "
            "given; leave 'model' out, or train heads for it with "
            "benchmarks/embedding_oracle/fit.py"
        )


def _read(path: Path) -> tuple[Heads, str]:
    try:
        data = path.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            heads = _unpack(arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise OracleError(
            f"the embedding oracle's heads at {path} cannot be read ({type(error).__name__}); "
            "reinstall the package, or point to heads that benchmarks/embedding_oracle/fit.py "
            "has written"
        ) from error
    return heads, short_digest(data, 16)


def _unpack(arrays: Any) -> Heads:
    if int(arrays["format"]) != FORMAT:
        raise ValueError("written for another version of this package")
    names = tuple(map(str, arrays["names"]))
    numbers = {
        name: arrays[name].astype(np.float64) for name in ("bias", "slopes", "intercepts", "chosen")
    }
    meaning, words, rarity = (
        arrays[name].astype(np.float32) for name in ("meaning", "words", "rarity")
    )
    _check_arrays(len(names), meaning, words, rarity, numbers)
    chosen = dict(zip(names, map(float, numbers.pop("chosen")), strict=True))
    return Heads(
        names=names,
        meaning=meaning,
        words=words,
        rarity=rarity,
        thresholds={name: at for name, at in chosen.items() if at < 1.0},
        encoder_weights=str(arrays["encoder_weights"]),
        **numbers,
    )


def _check_arrays(
    count: int,
    meaning: NDArray[np.float32],
    words: NDArray[np.float32],
    rarity: NDArray[np.float32],
    numbers: Mapping[str, NDArray[np.float64]],
) -> None:
    """Raises ValueError for damage: a NaN, a size that does not fit, a category never harmful."""
    every: list[NDArray[Any]] = [meaning, words, rarity, *numbers.values()]
    if not all(np.isfinite(array).all() for array in every):
        raise ValueError("damaged")
    per_head: list[NDArray[Any]] = [meaning, words, *numbers.values()]
    rows = {array.shape[0] for array in per_head}
    if rows != {count} or words.shape[1:] != (1 << WORD_BITS,) or rarity.shape != words.shape[1:]:
        raise ValueError("of another size")
    chosen = numbers["chosen"]
    if (chosen <= 0.0).any() or (chosen > 1.0).any() or not (chosen < 1.0).any():
        raise ValueError("thresholds outside their range")
    if (numbers["slopes"] <= 0.0).any():
        raise ValueError("turned around")
