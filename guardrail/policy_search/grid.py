"""Which candidates are searched.

All fields but noise and canvas only cut or count what was drawn, so that one candidate takes
milliseconds of arithmetic: a grid of some hundreds covers them evenly, finds the same front every
time, and needs no optimiser. Radius and floor act on a decision only through the rate that a pass
must show; of candidates with the same rate the one with the fewest changed fields stands for all.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from guardrail.engine.plan import UNSCALED, required_rate
from guardrail.errors import CertificationError, ConfigError
from guardrail.policy_search.numbers import FIELDS, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from guardrail.engine.rules import Rules

__all__ = ["list_candidates", "list_noises", "parse_search"]

_THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_RADII = (0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0)
"""Times the policy's own."""
_FLOORS = (0.5, 0.3, 0.2, 0.1, 0.05)
_RATE_DIGITS = 2
_READ: Mapping[str, Callable[[str], Any]] = {"canvas": int, "max_samples": int, "oracle": str}


def parse_search(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """What `--search FIELD=VALUE,VALUE` says, by the names of `Numbers`.

    Raises:
        ConfigError: a field is none that can be searched, or a value is no number.
    """
    names = {field: name for name, field in FIELDS.items()}
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        field, _, values = text.partition("=")
        if field not in names or not values:
            raise ConfigError(
                f"'{text}' names nothing to search; write FIELD=VALUE,VALUE with one of "
                f"{', '.join(names)}"
            )
        read = _READ.get(names[field], float)
        try:
            found[names[field]] = tuple(read(value) for value in values.split(","))
        except ValueError as error:
            raise ConfigError(
                f"'{values}' are not numbers; write them as {field}=1,2", field=field
            ) from error
    return found


def list_noises(
    base: Numbers, wished: Mapping[str, Sequence[Any]]
) -> tuple[tuple[float, int | None], ...]:
    """Every sigma with every canvas, the policy's own first: each takes draws of its own."""
    sigmas = dict.fromkeys((base.sigma, *wished.get("sigma", ())))
    canvases = dict.fromkeys((base.canvas, *wished.get("canvas", ())))
    return tuple(itertools.product(sigmas, canvases))


def list_candidates(
    base: Numbers, wished: Mapping[str, Sequence[Any]], rules: Rules, *, any_threshold: bool
) -> list[Numbers]:
    """The candidates of one noise and oracle, those with few changes first.

    Args:
        base: the policy's numbers, with the noise and the oracle in question.
        wished: values in place of the usual ones.
        rules: of the policy under that noise.
        any_threshold: whether the recorded scores say what another threshold would find.
    """
    usual: dict[str, Sequence[Any]] = {
        "threshold": _THRESHOLDS if any_threshold else (),
        "radius": [base.radius * factor for factor in _RADII],
        "floor": _FLOORS,
    }
    names = ("threshold", "radius", "floor", "alpha", "max_samples")
    values = [
        dict.fromkeys((getattr(base, name), *map(_tidy, wished.get(name, usual.get(name, ())))))
        for name in names
    ]
    found = [
        dataclasses.replace(base, **dict(zip(names, chosen, strict=True)))
        for chosen in itertools.product(*values)
    ]
    found.sort(key=lambda numbers: len(numbers.changes(base)))
    return list(_drop_twins(found, rules))


def _tidy(value: float) -> float:
    """Without the digits that multiplying adds."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _drop_twins(candidates: Sequence[Numbers], rules: Rules) -> Iterator[Numbers]:
    """The first of those whose tests are alike, without those that have none."""
    seen = set()
    for numbers in candidates:
        try:
            rate = required_rate(numbers.apply_to_rules(rules), UNSCALED)
        except CertificationError:
            continue
        if rate >= rules.q1:
            continue
        key = (numbers.threshold, numbers.alpha, numbers.max_samples, round(rate, _RATE_DIGITS))
        if key not in seen:
            seen.add(key)
            yield numbers
