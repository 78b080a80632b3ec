"""Any text-classification model of Hugging Face as a scorer.

The labels that mean harm are named with a threshold each, or the one that means harmless is. Long
answers are judged in windows that overlap by half; their score is that of the worst window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guardrail.errors import ConfigError
from guardrail.oracles.classifier.files import files_of, label_names, parts_of, weights_digest
from guardrail.oracles.classifier.harm_labels import (
    HarmLabels,
    check_thresholds,
    harmful_labels,
    harmless_label,
)
from guardrail.oracles.classifier.sequence_model import (
    Activation,
    SequenceModel,
    digest,
    move_to_device,
)
from guardrail.oracles.classifier.sequence_scorer import (
    LoadedClassifier,
    Running,
    SequenceScorer,
    in_precision,
)
from guardrail.oracles.packages import import_torch
from guardrail.oracles.text.windows import frame_of, window_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

__all__ = ["ClassifierScorer", "Pair", "Problem"]

Problem = Literal["single_label", "multi_label"]
Pair = Literal["none", "prompt_and_response"]

_ACTIVATIONS: dict[Problem, Activation] = {"single_label": "softmax", "multi_label": "sigmoid"}
_PROBLEMS: dict[str, Problem] = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
}


class ClassifierScorer(SequenceScorer):
    """Scores answers with a sequence classifier.

    With `labels`, the score is the largest over them, each first rescaled so that its own
    threshold becomes 0.5: judge at `threshold=0.5`. With `harmless_label`, it is one minus that
    label's probability.

    Args:
        model: A folder, or a Hugging Face id.
        labels: Label to the probability from which it counts as harm, each in (0, 1).
        harmless_label: The one label that means harmless, instead of `labels`.
        problem: Whether labels exclude each other (softmax) or not (sigmoid). Default: what the
            model's config says; without a word there, sigmoid for one label and else softmax.
        pair: `prompt_and_response` for models trained on both together.
        hub_revision: Commit, branch or tag of a Hugging Face id.
        window_tokens: Tokens judged at once, special tokens included. Default: as many as the
            model takes, at most 512.
        device: Where torch computes.
        precision: `float32`, `bfloat16`, or `int8` on a processor.
        batch_windows: Windows in one forward pass.
        trust_checkpoint: Allows pickled weights where there are no safetensors.

    Raises:
        ConfigError: An option is not usable.
    """

    def __init__(
        self,
        model: Path | str,
        *,
        labels: Mapping[str, float] | None = None,
        harmless_label: str | None = None,
        problem: Problem | None = None,
        pair: Pair = "none",
        hub_revision: str | None = None,
        window_tokens: int | None = None,
        device: str = "cpu",
        precision: str = "float32",
        batch_windows: int = 16,
        trust_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if (labels is None) == (harmless_label is None):
            raise ConfigError("give either labels or harmless_label", field="labels")
        if labels is not None:
            check_thresholds(labels, "labels")
        self._running = Running(window_tokens, batch_windows, device, precision)
        self._running.check()
        self._model = model
        self._thresholds = None if labels is None else dict(labels)
        self._harmless = harmless_label
        self._problem = problem
        self._paired = pair == "prompt_and_response"
        self._hub_revision = hub_revision
        self._trust = trust_checkpoint

    def _load(self) -> LoadedClassifier:
        _, transformers = import_torch("local")
        folder = files_of(self._model, self._hub_revision, trust=self._trust)
        tokenizer, model = parts_of(transformers, folder, trust=self._trust)
        names = label_names(model.config)
        labels = self._labels(names)
        sequence = self._sequence(tokenizer, model)
        precision = self._running.precision
        settings = digest(sequence, weights_digest(folder), names, labels, self._paired, precision)
        return in_precision(sequence, labels, f"classifier-{settings}", precision)

    def _sequence(self, tokenizer: Any, model: Any) -> SequenceModel:
        frame = frame_of(tokenizer, paired=self._paired)
        return SequenceModel(
            model=move_to_device(model, self._running.device),
            tokenizer=tokenizer,
            frame=frame,
            activation=_activation(model.config, self._problem),
            window_tokens=window_size(model.config, tokenizer, frame, self._running.window_tokens),
            batch_windows=self._running.batch_windows,
        )

    def _labels(self, names: Sequence[str]) -> HarmLabels:
        if self._harmless is not None:
            return harmless_label(self._harmless, names)
        return harmful_labels(self._thresholds or {}, names, "labels")


def _activation(config: Any, problem: Problem | None) -> Activation:
    """How this model's logits become probabilities.

    Raises:
        ConfigError: Its labels are not classes, or a single one cannot exclude others.
    """
    if problem is None and config.problem_type is not None:
        if config.problem_type not in _PROBLEMS:
            raise ConfigError(
                f"the model's config says '{config.problem_type}', which gives no probabilities; "
                "use a model that classifies, or say single_label or multi_label",
                field="problem",
            )
        problem = _PROBLEMS[config.problem_type]
    if config.num_labels > 1:
        return _ACTIVATIONS[problem or "single_label"]
    if problem == "single_label":
        raise ConfigError("one label alone excludes nothing; use multi_label", field="problem")
    return "sigmoid"
