"""Which oracles are searched: kinds, and limits of the default oracle's cascade.

Each judges all answers that were drawn, once; no call of the model is made for it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.oracles.options import looks_at_pictures
from guardrail.oracles.registry import find_options
from guardrail.policy_search.numbers import change_policy, find_band

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.policy.schema import Policy

__all__ = [
    "OracleChoice",
    "apply_oracle",
    "check_rejudging",
    "find_oracles",
    "list_oracles",
    "may_move_threshold",
]


class OracleChoice(NamedTuple):
    """One oracle: its kind, and the limits of its cascade where it is the default one."""

    kind: str
    low: float | None
    high: float | None

    @classmethod
    def of(cls, policy: Policy) -> OracleChoice:
        """That of a policy."""
        return cls(policy.oracle.kind, *find_band(policy))

    @property
    def has_band(self) -> bool:
        return self.low is not None and self.high is not None

    def __str__(self) -> str:
        return f"{self.kind} {self.low:g} to {self.high:g}" if self.has_band else self.kind


def list_oracles(policy: Policy, wished: Mapping[str, Sequence[Any]]) -> tuple[OracleChoice, ...]:
    """Every kind, the policy's own first, with every pair of limits where it has a cascade.

    Args:
        policy: what is searched.
        wished: kinds by `oracle`, limits by `low` and `high`.

    Raises:
        ConfigError: a kind is not known or takes options, or limits are wished and no oracle has a
            cascade.
    """
    own = OracleChoice.of(policy)
    kinds = dict.fromkeys((own.kind, *wished.get("oracle", ())))
    found = [own]
    for kind in kinds:
        one = own if kind == own.kind else OracleChoice.of(apply_oracle(policy, _plain(kind)))
        if not one.has_band:
            found.append(one)
            continue
        lows = dict.fromkeys((one.low, *wished.get("low", ())))
        highs = dict.fromkeys((one.high, *wished.get("high", ())))
        # A pair that leaves no band is no policy.
        found += [
            OracleChoice(kind, low, high)
            for low, high in itertools.product(lows, highs)
            if (low or 0.0) < (high or 1.0)
        ]
    if ("low" in wished or "high" in wished) and not any(one.has_band for one in found):
        raise ConfigError(
            "limits of a cascade are searched, but no oracle here has one: that is the default "
            "oracle with the extra 'encoder'",
            field="oracle.low",
        )
    return tuple(dict.fromkeys(found))


def find_oracles(
    policy: Policy, kinds: Sequence[str], wished: Mapping[str, Sequence[Any]]
) -> tuple[OracleChoice, ...]:
    """The oracles of a search, checked.

    Args:
        policy: what is searched; its goals may name kinds.
        kinds: those that take their place.
        wished: see `list_oracles`; kinds there take the place of both.

    Raises:
        ConfigError: see `list_oracles` and `check_rejudging`.
    """
    choices = list_oracles(policy, {"oracle": kinds or policy.goals.oracles, **wished})
    check_rejudging(policy, choices)
    return choices


def apply_oracle(policy: Policy, choice: OracleChoice) -> Policy:
    """The policy with another oracle; with its own where that is chosen.

    Raises:
        ConfigError: the kind is not known, or cannot be used without options of its own.
    """
    own = OracleChoice.of(policy)
    if choice == own:
        return policy
    fields: dict[str, Any] = {} if choice.kind == own.kind else {"oracle.kind": choice.kind}
    if choice.has_band:
        fields |= {"oracle.low": choice.low, "oracle.high": choice.high}
    try:
        return change_policy(policy, fields)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]
        raise ConfigError(
            f"the oracle '{choice}' cannot be used by its kind alone "
            f"({'.'.join(map(str, what['loc']))}: {what['msg']}); search those that need no "
            "options of their own",
            field="oracle.kind",
        ) from error


def check_rejudging(policy: Policy, choices: Sequence[OracleChoice]) -> None:
    """Raises ConfigError where other oracles cannot judge the answers that were drawn."""
    if len(choices) == 1:
        return
    if policy.smoothing.claim == "harmlessness" or getattr(policy.oracle, "calibration", None):
        raise ConfigError(
            "the policy's oracle was measured, and another one was not; leave its calibration and "
            "the claim of harmlessness out, or search no oracle",
            field="oracle.calibration",
        )
    if policy.advanced.sampling.judge_every_chars is not None:
        raise ConfigError(
            "answers are broken off where this oracle finds harm, and another one would read on; "
            "set judge_every_chars to null to search oracles",
            field="advanced.sampling.judge_every_chars",
        )
    for choice in choices:
        other = apply_oracle(policy, choice).oracle
        if other.reference_kind:
            problem = "compares answers with a reference of the same request"
        elif looks_at_pictures(other):
            problem = "looks at pictures, which are not kept"
        else:
            continue
        raise ConfigError(
            f"answers that were drawn cannot be judged again by '{choice}': it {problem}",
            field="oracle.kind",
        )


def may_move_threshold(policy: Policy) -> bool:
    """Whether another threshold may be proposed, and is known from scores.

    A calibration bounds the misses at its own threshold, and answers that are broken off have
    scores of their beginnings.
    """
    fixed = getattr(policy.oracle, "calibration", None) is not None
    measured = policy.smoothing.claim == "harmlessness"
    return not fixed and not measured and policy.advanced.sampling.judge_every_chars is None


def _plain(kind: str) -> OracleChoice:
    find_options(kind)  # names the kinds that there are
    return OracleChoice(kind, None, None)
