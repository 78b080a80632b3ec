"""Reports of guards as they are written: our own evaluations, and runs of guard-eval-harness.

Both are read into one form, and so is the evaluation that they are compared with, so that one code
computes every line of a comparison.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guardrail.canonical import parse_strict
from guardrail.engine.wording import digits_down
from guardrail.errors import ConfigError
from guardrail.evaluation.benchmark.guard_report import Certified, Claim, GuardReport, Ruling
from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["read_guard_report", "reports_of"]

_EVALUATION = "evaluation.json"
_MANIFEST, _PREDICTIONS, _DATASETS = "manifest.json", "predictions.jsonl", "datasets"
_DATASET_MANIFEST = "dataset-manifest.json"
_MOST_BYTES = 1 << 30
_P = TypeVar("_P", bound="_Part")


class _Part(BaseModel):
    """What is read of an object; its other fields are not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


_Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]


class _Floor(_Part):
    floor: _Score
    smallest_radius: float | None
    largest_radius: float | None


class _Certified(_Part):
    set: str
    threat: _Text
    beta: Annotated[float, Field(gt=0, lt=1)]
    extent: str = ""
    floors: tuple[_Floor, ...] = Field(default=(), strict=False)


class _ShownHeld(_Part):
    pixels: frozenset[float] | None = Field(default=None, strict=False)
    crops: bool | None = None
    stickers: bool | None = None
    sticker_place: bool | None = None
    suffix: bool | None = None


class _OneCheck(_Part):
    stopped: bool | None
    score: _Score | None


class _Request(_Part):
    id: _Text
    digest: _Text
    ending: Annotated[Ending, Field(strict=False)]
    score: _Score | None
    one_check: _OneCheck | None
    shown_held: _ShownHeld


class _Evaluation(_Part):
    type: Literal["guardrail-evaluation"]
    policy: str
    model: str
    requests: list[_Request]
    certified_recall: list[_Certified]


class _OurOwn(_Part):
    digest: str = ""
    shown_held: _ShownHeld = _ShownHeld()


class _Metadata(_Part):
    guardrail: _OurOwn = _OurOwn()


class _Prediction(_Part):
    sample_id: _Text
    unsafe_score: _Score
    unsafe_label: bool
    metadata: _Metadata = _Metadata()


class _Model(_Part):
    adapter: str = ""
    model_name: str | None = None


class _Manifest(_Part):
    run_name: str = ""
    model: _Model = _Model()


class _DatasetMetadata(_Part):
    certified_recall: list[_Certified] = []


class _DatasetManifest(_Part):
    metadata: _DatasetMetadata = _DatasetMetadata()


def read_guard_report(path: Path, dataset: str) -> GuardReport:
    """Reads the JSON file of an evaluation, its folder, or a run of guard-eval-harness.

    Args:
        path: a file, or a folder of a run, or of one dataset of a run.
        dataset: which dataset of a run that has several.

    Raises:
        ConfigError: it is something else, or a row cannot be read.
    """
    if path.is_file():
        return _read_evaluation(path, path.name)
    if not path.is_dir():
        raise ConfigError("there is no such file or folder; check the path", file=str(path))
    if (path / _EVALUATION).is_file():
        return _read_evaluation(path / _EVALUATION, path.name)
    if (path / _PREDICTIONS).is_file():
        run = path.parent.parent
        return _read_run(run if (run / _MANIFEST).is_file() else None, path)
    if (path / _DATASETS).is_dir():
        return _read_run(path, _pick_dataset(path, dataset))
    raise ConfigError(
        "this is no report of a guard; give evaluation.json, its folder, or a run of "
        "guard-eval-harness (manifest.json and datasets/NAME/predictions.jsonl)",
        file=str(path),
    )


def reports_of(facts: Mapping[str, Any]) -> tuple[GuardReport, ...]:
    """The guard of an evaluation and, where the bare model was asked, one check beside it.

    Args:
        facts: its JSON form.
    """
    read = _Evaluation.model_validate(facts)
    guard = _report_of(read, "")
    checks = [(row.id, row.digest, row.one_check) for row in read.requests]
    if not any(check for _, _, check in checks):
        return (guard,)
    rulings = [(name, _rule_by(check, digest)) for name, digest, check in checks]
    return guard, GuardReport.collect(f"one check of {read.model}", "", rulings, {})


def _report_of(read: _Evaluation, source: str) -> GuardReport:
    """The guard of an evaluation."""
    rulings = [
        (
            row.id,
            Ruling(
                digest=row.digest,
                stopped=_STOPPED[row.ending],
                score=row.score,
                shown_held=_columns_of(row.shown_held, read.certified_recall),
            ),
        )
        for row in read.requests
    ]
    name = f"guardrail {read.policy} on {read.model}"
    return GuardReport.collect(name, source, rulings, _claims_of(read.certified_recall))


def _rule_by(check: _OneCheck | None, digest: str) -> Ruling:
    if check is None:
        return Ruling(digest, None, None, {})
    return Ruling(digest, check.stopped, check.score, {})


_STOPPED = {
    Ending.PASSED: False,
    Ending.BLOCKED: True,
    Ending.FAULT: None,
    Ending.UNJUDGED: None,
}


def _read_evaluation(file: Path, source: str) -> GuardReport:
    return _report_of(_parse(_Evaluation, _read_text(file), file), source)


def _pick_dataset(run: Path, name: str) -> Path:
    """The folder of the one dataset, or of the one of that name. Raises ConfigError."""
    folders = sorted(one.parent for one in (run / _DATASETS).glob(f"*/{_PREDICTIONS}"))
    named = [folder for folder in folders if folder.name == name]
    if len(named or folders) == 1:
        return (named or folders)[0]
    names = ", ".join(folder.name for folder in folders) or "none"
    raise ConfigError(
        f"this run has no dataset '{name}' (it has: {names}); give the folder of the one to "
        "compare with, datasets/NAME",
        file=str(run),
    )


def _read_run(run: Path | None, folder: Path) -> GuardReport:
    file = folder / _PREDICTIONS
    lines = enumerate(_read_text(file).splitlines(), start=1)
    found = [_parse(_Prediction, line, file, number) for number, line in lines if line.strip()]
    manifest = _read_optional(_Manifest, None if run is None else run / _MANIFEST)
    dataset = _read_optional(_DatasetManifest, folder / _DATASET_MANIFEST)
    certified = dataset.metadata.certified_recall
    rulings = [
        (
            row.sample_id,
            Ruling(
                digest=row.metadata.guardrail.digest,
                stopped=row.unsafe_label,
                score=row.unsafe_score,
                shown_held=_columns_of(row.metadata.guardrail.shown_held, certified),
            ),
        )
        for row in found
    ]
    source = folder.name if run is None else run.name
    model = manifest.model.model_name or manifest.model.adapter
    name = manifest.run_name or model or source
    if model not in name:
        name = f"{name} ({model})"
    return GuardReport.collect(name, source, rulings, _claims_of(certified))


def _read_text(file: Path) -> bytes:
    return read_file(file, "report", max_bytes=_MOST_BYTES)


def _parse(model: type[_P], text: bytes, file: Path, line: int | None = None) -> _P:
    """Raises ConfigError, which names the first field that is not as it should be."""
    try:
        return model.model_validate(parse_strict(text))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"])) or None
        problem = f"this is no report of a guard as guardrail reads it ({error.errors()[0]['msg']})"
        raise ConfigError(
            f"{problem}; write it again, or leave it out", file=str(file), line=line, field=field
        ) from error
    except ValueError as error:
        raise ConfigError(
            "this is not JSON; write the report again, or leave it out", file=str(file), line=line
        ) from error


def _read_optional(model: type[_P], file: Path | None) -> _P:
    """What a file says beside the rulings; nothing where there is none."""
    if file is None or not file.is_file():
        return model()
    return _parse(model, _read_text(file), file)


def _claims_of(certified: Sequence[_Certified]) -> dict[Certified, Claim]:
    """The columns of all sets; where their betas differ, the largest is the safe one."""
    claims: dict[Certified, Claim] = {}
    beta = max((entry.beta for entry in certified), default=0.0)
    threats = {entry.threat: entry.extent for entry in certified if not entry.floors}
    pixels = [floor for entry in certified for floor in entry.floors]
    floors = sorted({floor.floor for floor in pixels}, reverse=True)
    for floor in floors:
        radii = _radii(one for one in pixels if one.floor == floor)
        claims[Certified("pixels", floor)] = Claim(beta, len(floors), radii)
    for threat, extent in threats.items():
        claims[Certified(threat)] = Claim(beta, len(threats), extent)
    return claims


def _radii(floors: Iterable[_Floor]) -> str:
    """`within ℓ2 0.4` or `within ℓ2 0.4 to 0.9`, of several sizes."""
    known = [
        radius
        for floor in floors
        for radius in (floor.smallest_radius, floor.largest_radius)
        if radius is not None and math.isfinite(radius)
    ]
    if not known:
        return "no radius"
    low, high = digits_down(min(known)), digits_down(max(known))
    return f"within ℓ2 {low}" if low == high else f"within ℓ2 {low} to {high}"


def _columns_of(shown: _ShownHeld, certified: Sequence[_Certified]) -> dict[Certified, bool]:
    found: dict[Certified, bool] = {}
    if shown.pixels is not None:
        floors = {floor.floor for entry in certified for floor in entry.floors}
        found |= {Certified("pixels", floor): floor in shown.pixels for floor in floors}
    for threat, is_shown in shown.model_dump(exclude={"pixels"}).items():
        if is_shown is not None:
            found[Certified(threat)] = is_shown
    return found
