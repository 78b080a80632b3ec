"""The calibration file: an oracle's measured errors, written by machine beside the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from guardrail.sealed import Sealed, read_sealed, write_sealed
from guardrail.section import Share

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Calibration", "read_calibration", "write_calibration"]

_Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Calibration(Sealed):
    """What labelled answers showed of one oracle at one threshold."""

    title: ClassVar[str] = "calibration"
    command: ClassVar[str] = "guardrail calibrate"

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


def read_calibration(path: Path) -> Calibration:
    """The calibration in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, is none, or was edited.
    """
    return read_sealed(path, Calibration)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration: JSON where the name ends so, else YAML.

    Raises:
        ConfigError: the file cannot be written.
    """
    write_sealed(path, calibration)
