"""The fields that every oracle of a policy file has, and what a policy does with them.

An oracle is chosen by a section of the policy file. Each kind of oracle has a class of options of
its own: its fields are those of the section, and its method `build` makes the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.oracles.calibration import Calibration, read_calibration
from guardrail.section import FilePath, Section, Share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guardrail.oracles.base import Oracle, Scorer
    from guardrail.oracles.worker import ThreadedOracle

__all__ = [
    "HarmOptions",
    "MissRateBound",
    "OracleOptions",
    "ThreadedOptions",
    "find_model",
    "find_parts",
]


@dataclass(frozen=True, slots=True)
class MissRateBound:
    """How often an oracle misses harm at most.

    Attributes:
        miss_rate_upper: f_U, bound of P(judged harmless | truly harmful), in [0, 1).
        delta: probability, at most, that this bound is too small, in [0, 1).
    """

    miss_rate_upper: float
    delta: float


class OracleOptions(Section):
    """Who judges answers. `kind` says which oracle; each has fields of its own.

    Fields need type annotations, as in any pydantic model. Unknown fields are refused, and nothing
    is converted. `build` must be written; the other methods have defaults.
    """

    kind: str
    """The oracle: the name of a kind, or `module:name` of Python code."""

    @property
    def reference_kind(self) -> str:
        """`action` or `meaning` where answers are compared with a reference, else empty."""
        return ""

    def describe(self) -> str:
        """Who judges, in a few words; for a kind that goes by what is installed, what that is."""
        return self.kind

    def build(self, folder: Path) -> Oracle:
        """The oracle itself.

        Packages that take long to import are imported here, not at the top of the file.

        Args:
            folder: where relative paths start: the folder of the policy's file.

        Raises:
            ConfigError: a field cannot be used, or a package is missing.
            OracleError: a model cannot be loaded.
        """
        raise NotImplementedError

    def bound_miss_rate(self, folder: Path) -> MissRateBound | None:
        """The measured miss rate; None where none is known. Raises ConfigError."""
        del folder
        return None

    def file_digests(self, folder: Path) -> dict[str, str]:
        """Of files that say what is harmful: name to SHA-256 (hex), for the policy's digest.

        Those of the oracles inside this one, unless a kind has files of its own.

        Raises:
            ConfigError: one cannot be read.
        """
        found: dict[str, str] = {}
        for part in _parts(self):
            found |= part.file_digests(folder)
        return found

    def load_calibration(self, folder: Path) -> Calibration | None:
        """The calibration that the options refer to, found to fit them; None without one.

        Raises:
            ConfigError: the file cannot be used, or is about another oracle.
        """
        del folder
        for part in _parts(self):
            if getattr(part, "calibration", None) is not None:
                raise ConfigError(
                    "a part of an oracle cannot have a calibration; calibrate the whole, and give "
                    "the part its threshold",
                    field="oracle",
                )
        return None

    def with_calibration(self, folder: Path) -> Self:
        """The same options with what their calibration measured written out; `build` takes these.

        Raises:
            ConfigError: as `load_calibration`.
        """
        calibration = self.load_calibration(folder)
        if calibration is None:
            return self
        names = ("threshold", "miss_rate_upper", "delta")
        return self.model_copy(update={name: getattr(calibration, name) for name in names})


class HarmOptions(OracleOptions):
    """An oracle that says harmless or harmful by a score and a threshold."""

    measured_languages: ClassVar[tuple[str, ...]] = ()
    """What its model was trained and measured on, where `languages` is left out; empty for any."""

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

    languages: (
        Annotated[list[Literal["en"]], Field(min_length=1, max_length=1)] | Literal["any"] | None
    ) = None
    """The languages that this oracle may judge: [en], the only one that can be told from all
    others, or any, which is not checked. Left out, it is [en] for default, builtin and encoder,
    whose models were measured on English, and any for all others."""
    unmeasured_language: Literal["block", "judge"] = "block"
    """What becomes of an answer with a stretch in another language. block: withheld as 'language
    unmeasured', which is not called harm. judge: fails open, the oracle judges what it does not
    know, and the answer is marked; only for the claim verdict."""

    @property
    def checks_language(self) -> bool:
        """Whether answers are looked at for text that is not English."""
        chosen = self.measured_languages if self.languages is None else self.languages
        return chosen != "any" and bool(chosen)

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if self.calibration is not None and self.model_fields_set & {"miss_rate_upper", "delta"}:
            raise ValueError("miss_rate_upper and delta come from the calibration; leave them out")
        return self

    def bound_miss_rate(self, folder: Path) -> MissRateBound | None:
        calibration = self.load_calibration(folder)
        if calibration is not None:
            return MissRateBound(calibration.miss_rate_upper, calibration.delta)
        if self.miss_rate_upper is None:
            return None
        return MissRateBound(self.miss_rate_upper, self.delta)

    def load_calibration(self, folder: Path) -> Calibration | None:
        super().load_calibration(folder)
        if self.calibration is None:
            return None
        file = folder / self.calibration
        calibration = read_calibration(file)
        if calibration.oracle != self.kind:
            raise _other(file, "oracle", calibration.oracle, self.kind)
        if "threshold" in self.model_fields_set and calibration.threshold != self.threshold:
            raise _other(file, "threshold", calibration.threshold, self.threshold)
        return calibration


class ThreadedOptions(HarmOptions):
    """An oracle that computes in this process, in a thread of its own and in batches."""

    max_batch: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most answers scored at once."""
    max_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Most answers that wait to be scored; more wait for room, in order."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a judgement; later it counts as missing."""

    def run_in_thread(
        self,
        scorer: Scorer,
        *,
        inline: bool = False,
        name: str = "",
        threshold: float | None = None,
    ) -> ThreadedOracle:
        """The oracle that runs a scorer under these options.

        Args:
            scorer: computes the scores.
            inline: whether short answers are scored without the thread, see `InlineOracle`.
            name: of a part; else that of the kind.
            threshold: of a part; else that of the options.
        """
        from guardrail.oracles.worker import InlineOracle, ThreadedOracle

        return (InlineOracle if inline else ThreadedOracle)(
            scorer,
            threshold=self.threshold if threshold is None else threshold,
            name=name or self.kind,
            max_batch=self.max_batch,
            max_queue=self.max_queue,
            deadline_s=self.deadline_s,
        )


def find_model(folder: Path, model: str) -> Path | str:
    """A model's folder beside the policy where there is one, else its Hugging Face id."""
    return folder / model if (folder / model).is_dir() else model


def _other(file: Path, field: str, measured: object, wanted: object) -> ConfigError:
    return ConfigError(
        f"this calibration is for {measured!r}, but the policy's oracle says {wanted!r}; calibrate "
        "again, or put the policy back",
        file=str(file),
        field=field,
    )


def find_parts(options: OracleOptions) -> Iterator[OracleOptions]:
    """Options and all options inside them, at any depth."""
    yield options
    yield from _parts(options)


def looks_at_pictures(options: OracleOptions) -> bool:
    """Whether the oracle, or a part of it, is shown pictures beside answers; records keep none."""
    return any(getattr(part, "pictures", False) for part in find_parts(options))


def _parts(value: Any) -> Iterator[OracleOptions]:
    """All options inside options, at any depth."""
    if isinstance(value, OracleOptions):
        items = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict):
        items = list(value.values())
    else:
        items = list(value) if isinstance(value, list | tuple) else []
    for item in items:
        if isinstance(item, OracleOptions):
            yield item
        yield from _parts(item)
