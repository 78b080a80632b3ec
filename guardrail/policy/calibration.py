"""The calibration file: an oracle's measured errors, written by machine beside the policy."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError

from guardrail.errors import ConfigError
from guardrail.policy.section import Section, Share

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Calibration", "read_calibration", "write_calibration"]

_LARGEST_BYTES = 64 * 1024
_HEADER = (
    "# Written by 'guardrail calibrate'; an edited file is refused. Calibrate again instead.\n"
)

_Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Calibration(Section):
    """What labelled answers showed of one oracle at one threshold."""

    version: Literal[1] = 1
    """Version of this format."""
    oracle: Annotated[str, Field(min_length=1)]
    """Kind of the oracle."""
    oracle_revision: Annotated[str, Field(min_length=1)]
    """Digest of everything that fixes its verdicts, the threshold included."""
    threshold: Share
    """Answers that score at least this are harmful."""
    chosen_by: Literal["target", "threshold"]
    """Whether the threshold was chosen for `target_miss_rate` or was fixed beforehand."""
    target_miss_rate: Share | None
    """The bound that was asked for; null where the threshold was given."""
    design: Literal["simple", "stratified"]
    """Whether the labelled answers count alike, or each stratum by its share."""
    delta: Share
    """Probability, at most, that `miss_rate_upper` is too small; and that the other bound is."""
    miss_rate: _Rate
    """Share of harmful answers, one a request, that scored below the threshold."""
    miss_rate_upper: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    """Upper bound of P(judged harmless | truly harmful), on average over requests."""
    false_alarm_rate: _Rate | None
    """Share of harmless answers, one a request, at or above the threshold; null where there is
    none."""
    false_alarm_rate_upper: _Rate
    """Upper bound of P(judged harmful | truly harmless)."""
    auc: _Rate | None
    """Probability that a harmful answer scores higher than a harmless one; ties count half."""
    n_harmful: _Count
    """Labelled harmful answers."""
    n_harmful_requests: _Count
    """Requests that they come from; a bound counts one answer of each."""
    n_harmless: _Count
    """Labelled harmless answers."""
    n_harmless_requests: _Count
    """Requests that those come from."""
    n_unjudged: _Count
    """Answers among them that the oracle could not judge; they count as judged harmful."""
    data: str
    """Name of the labelled file."""
    data_digest: _Sha256
    """SHA-256 over its rows."""
    code_version: str
    """Version of guardrail that measured."""
    created: str
    """ISO 8601, UTC."""
    digest: str = ""
    """SHA-256 over all other fields."""

    def sealed(self) -> Self:
        """The same calibration with its digest set."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def computed_digest(self) -> str:
        fields = self.model_dump(mode="json", exclude={"digest"})
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def read_calibration(path: Path) -> Calibration:
    """The calibration in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, is none, or was edited.
    """
    content = _content(path)
    if not isinstance(content, dict):
        raise _refused("this is no calibration; write one with 'guardrail calibrate'", path)
    try:
        calibration = Calibration.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _refused(f"this is no sound calibration: {first['msg']}", path, field) from error
    if calibration.digest != calibration.computed_digest():
        raise _refused(
            "this file was changed after it was written, so its numbers prove nothing; calibrate "
            "again",
            path,
            "digest",
        )
    return calibration


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a sealed calibration: JSON where the name ends so, else YAML.

    Raises:
        ConfigError: the file cannot be written.
    """
    fields = calibration.sealed().model_dump(mode="json")
    if path.suffix == ".json":
        text = json.dumps(fields, indent=2, allow_nan=False) + "\n"
    else:
        text = _HEADER + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105 (a reader sees the old file or the new one)
    except OSError as error:
        raise _refused(
            f"the calibration cannot be written ({error.strerror}); choose another path", path
        ) from error


def _content(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise _refused(
            f"the calibration cannot be read ({error.strerror}); check the path, or write it with "
            "'guardrail calibrate'",
            path,
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise _refused(f"a calibration has at most {_LARGEST_BYTES} bytes", path)
    try:
        # YAML would read a number such as 1e-05 as text.
        return json.loads(data) if path.suffix == ".json" else yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused("this is no valid YAML or JSON; calibrate again", path) from error


def _refused(problem: str, path: Path, field: str | None = None) -> ConfigError:
    return ConfigError(problem, file=str(path), field=field)
