"""Outcomes as a pandas DataFrame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from guardrail.bulk.outcome import RowOutcome
from guardrail.distribution import install_command
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["to_frame"]


def to_frame(outcomes: Iterable[RowOutcome]) -> Any:
    """A `pandas.DataFrame` with a row for each outcome, in their order; all are held in memory.

    Columns are the fields of `RowOutcome` and `radius`, the certified ℓ2 radius of a pass.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a DataFrame needs the package pandas; {install_command('frames')}"
        ) from error
    rows = [{**outcome.to_dict(), "radius": outcome.radius} for outcome in outcomes]
    columns = [*(one.name for one in dataclasses.fields(RowOutcome)), "radius"]
    return pd.DataFrame(rows, columns=columns)
