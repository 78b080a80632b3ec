"""Which of a classifier's labels mean harm, and from which probability."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.oracles.base import NamedScore
from guardrail.oracles.rescale import rescale, worse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["HarmLabels", "check_thresholds", "harmful_labels", "harmless_label"]

_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class HarmLabels:
    """Columns of a classifier's output and their thresholds, in (0, 1).

    Where `complement` holds, the one column is that of the harmless label. `names` are what the
    labels are called in reasons.
    """

    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    complement: bool = False
    names: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def score(self, row: Sequence[float]) -> NamedScore:
        """The worst label's score, each rescaled so that its threshold becomes 0.5; NaN stays."""
        worst = NamedScore(0.0, "harm")
        for place, (column, threshold) in enumerate(
            zip(self.columns, self.thresholds, strict=True)
        ):
            probability = 1.0 - row[column] if self.complement else row[column]
            worst = worse(worst, NamedScore(rescale(probability, threshold), self._name(place)))
        return worst

    def _name(self, place: int) -> str:
        name = self.names[place][:_LONGEST_NAME] if self.names else "harm"
        return f"not {name}" if self.complement else name


def check_thresholds(thresholds: Mapping[str, float], field: str) -> None:
    """Raises ConfigError where nothing could be harmful, or a threshold is out of range."""
    if not thresholds:
        raise ConfigError("names no label, so nothing could be harmful", field=field)
    for name, threshold in thresholds.items():
        if not 0.0 < threshold < 1.0:
            raise ConfigError("must lie strictly between 0 and 1", field=f"{field}.{name}")


def harmful_labels(thresholds: Mapping[str, float], known: Sequence[str], field: str) -> HarmLabels:
    """The columns of the labels named.

    Raises:
        ConfigError: The model does not know one of them.
    """
    if unknown := sorted(set(thresholds) - set(known)):
        raise ConfigError(
            f"the model does not know {', '.join(unknown)}; it knows {', '.join(known)}",
            field=field,
        )
    columns = tuple(known.index(name) for name in thresholds)
    return HarmLabels(columns, tuple(thresholds.values()), names=tuple(thresholds))


def harmless_label(name: str, known: Sequence[str]) -> HarmLabels:
    """Harm is whatever probability the harmless label leaves.

    Raises:
        ConfigError: The model does not know the label.
    """
    named = harmful_labels({name: 0.5}, known, "harmless_label")
    return HarmLabels(named.columns, named.thresholds, complement=True, names=(name,))
