"""From exchanges to harm scores by a sequence classifier: what all such oracles share."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.oracles.base import NamedScore
from guardrail.oracles.classifier.precision import Agreement, check_precision, lower_precision
from guardrail.oracles.rescale import worse
from guardrail.oracles.text.windows import Window, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange
    from guardrail.oracles.classifier.harm_labels import HarmLabels
    from guardrail.oracles.classifier.sequence_model import SequenceModel

__all__ = ["LoadedClassifier", "Running", "SequenceScorer", "in_precision"]


@dataclass(frozen=True, slots=True)
class Running:
    """How a classifier runs, whichever it is.

    Attributes:
        window_tokens: tokens judged at once, special ones included; None: as many as the model
            takes, at most 512.
        batch_windows: most windows in one forward pass.
        device: where torch computes.
        precision: what it computes in.
    """

    window_tokens: int | None = None
    batch_windows: int = 16
    device: str = "cpu"
    precision: str = "float32"

    def check(self) -> None:
        """Raises ConfigError where a field is not usable, whatever the model."""
        if self.window_tokens is not None and self.window_tokens < 1:
            raise ConfigError("must be at least 1", field="window_tokens")
        if self.batch_windows < 1:
            raise ConfigError("must be at least 1", field="batch_windows")
        check_precision(self.precision, self.device)


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A model, what it means by harm, and the digest of both."""

    model: SequenceModel
    labels: HarmLabels
    revision: str
    agreement: Agreement | None = None

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> list[NamedScore]:
        """The worst window's score of each response; 1 where the model cannot read it."""
        answers = self.model.tokens(responses)
        asked = self.model.tokens(prompts) if self.model.frame.paired else [[] for _ in answers]
        scores = [NamedScore(0.0, "harm")] * len(answers)
        cut: list[Window] = []
        owners: list[int] = []
        for place, (prompt, answer) in enumerate(zip(asked, answers, strict=True)):
            if not responses[place].strip() or self.model.is_unreadable(answer):
                scores[place] = NamedScore(1.0, "unreadable")
                continue
            found = windows(self.model.frame, self.model.window_tokens, answer, prompt)
            cut += found
            owners += [place] * len(found)
        for owner, row in zip(owners, self.model.probabilities(cut), strict=True):
            scores[owner] = worse(scores[owner], self.labels.score(row))
        return scores


class SequenceScorer:
    """A scorer whose model is loaded at the first use, once, in whichever thread comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: LoadedClassifier | None = None

    @property
    def revision(self) -> str:
        """Digest of weights, tokenizer, labels, thresholds, window and precision; loads."""
        return self.load().revision

    @property
    def agreement(self) -> Agreement | None:
        """How the precision compares with float32; None for float32 itself. Loads the model."""
        return self.load().agreement

    def load(self) -> LoadedClassifier:
        """Loads the model if that is still to be done; worth calling before traffic comes.

        Raises:
            OracleError: A package or a file of the model is missing or damaged.
            ConfigError: A label, window, device or precision does not suit the model.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def scores(self, exchanges: Sequence[Exchange]) -> Sequence[float]:
        """One score in [0, 1] for each exchange; see `LoadedClassifier.scores`."""
        return self.load().scores(
            [exchange.prompt for exchange in exchanges],
            [exchange.response for exchange in exchanges],
        )

    def _load(self) -> LoadedClassifier:
        raise NotImplementedError


def in_precision(
    model: SequenceModel, labels: HarmLabels, revision: str, precision: str
) -> LoadedClassifier:
    """The classifier in that precision, checked against float32. Raises ConfigError."""

    def score(model: SequenceModel, text: str) -> float:
        (found,) = LoadedClassifier(model, labels, revision).scores([text], [text])
        return found

    fast, agreement = lower_precision(model, precision, score)
    return LoadedClassifier(fast, labels, revision, agreement)
