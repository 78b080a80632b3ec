"""What the choice of any oracle has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.policy.calibration import Calibration, read_calibration
from guardrail.policy.section import FilePath, Section, Share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["Choice", "HarmChoice", "Rates", "ThreadedChoice"]


@dataclass(frozen=True, slots=True)
class Rates:
    """How often an oracle misses harm.

    Attributes:
        miss_rate_upper: f_U, bound of P(judged harmless | truly harmful), in [0, 1).
        delta: probability, at most, that this bound is too small, in [0, 1).
    """

    miss_rate_upper: float
    delta: float


class Choice(Section):
    """Who judges answers. `kind` says which oracle; each has fields of its own."""

    @property
    def reference_kind(self) -> str:
        """`action` or `meaning` where answers are compared with a reference, else empty."""
        return ""

    def build(self, folder: Path) -> Oracle:
        """The oracle itself; relative paths start at `folder`. Raises ConfigError, OracleError."""
        raise NotImplementedError

    def rates(self, folder: Path) -> Rates | None:
        """The measured miss rate; None where none is known. Raises ConfigError."""
        raise NotImplementedError

    def measured(self, folder: Path) -> Calibration | None:
        """The calibration that the choice refers to, found to fit it; None without one.

        Raises:
            ConfigError: the file cannot be used, or is about another oracle.
        """
        del folder
        for member in _members(self):
            if getattr(member, "calibration", None) is not None:
                raise ConfigError(
                    "a part of an oracle cannot have a calibration; calibrate the whole, and give "
                    "the part its threshold",
                    field="oracle",
                )
        return None

    def calibrated(self, folder: Path) -> Self:
        """The same choice with what its calibration measured written out; `build` takes this.

        Raises:
            ConfigError: as `measured`.
        """
        calibration = self.measured(folder)
        if calibration is None:
            return self
        names = ("threshold", "miss_rate_upper", "delta")
        return self.model_copy(update={name: getattr(calibration, name) for name in names})


class HarmChoice(Choice):
    """An oracle that says harmless or harmful by a score and a threshold."""

    threshold: Share = 0.5
    """Answers that score at least this are harmful; lower finds more harm and blocks more. Left
    out, it is that of `calibration`, or 0.5."""
    miss_rate_upper: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Upper bound of P(judged harmless | truly harmful), from labelled answers. The harmlessness
    claim needs it, here or by `calibration`."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Probability, at most, that `miss_rate_upper` is too small."""
    calibration: FilePath | None = None
    """A file that `guardrail calibrate` wrote. It gives threshold, miss_rate_upper and delta; a
    threshold that stands here as well must be the same."""

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if self.calibration is not None and self.model_fields_set & {"miss_rate_upper", "delta"}:
            raise ValueError("miss_rate_upper and delta come from the calibration; leave them out")
        return self

    def rates(self, folder: Path) -> Rates | None:
        calibration = self.measured(folder)
        if calibration is not None:
            return Rates(calibration.miss_rate_upper, calibration.delta)
        if self.miss_rate_upper is None:
            return None
        return Rates(self.miss_rate_upper, self.delta)

    def measured(self, folder: Path) -> Calibration | None:
        super().measured(folder)
        if self.calibration is None:
            return None
        file = folder / self.calibration
        calibration = read_calibration(file)
        kind = str(getattr(self, "kind", ""))
        if calibration.oracle != kind:
            raise _other(file, "oracle", calibration.oracle, kind)
        if "threshold" in self.model_fields_set and calibration.threshold != self.threshold:
            raise _other(file, "threshold", calibration.threshold, self.threshold)
        return calibration


class ThreadedChoice(HarmChoice):
    """An oracle that computes here, in a thread of its own and in batches."""

    max_batch: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most answers scored at once."""
    max_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Most answers that wait to be scored; more wait for room, in order."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a judgement; later it counts as missing."""


def _other(file: Path, field: str, measured: object, wanted: object) -> ConfigError:
    return ConfigError(
        f"this calibration is for {measured!r}, but the policy's oracle says {wanted!r}; calibrate "
        "again, or put the policy back",
        file=str(file),
        field=field,
    )


def _members(value: Any) -> Iterator[Choice]:
    """Every choice inside a choice, at any depth."""
    if isinstance(value, Choice):
        items = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict):
        items = list(value.values())
    else:
        items = list(value) if isinstance(value, list | tuple) else []
    for item in items:
        if isinstance(item, Choice):
            yield item
        yield from _members(item)
