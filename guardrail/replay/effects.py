"""What each field of a policy does to decisions, so that two policies can be held side by side.

Every field has one effect. A test holds that none is left out; a field that is not known here
counts as one that changes the draws, so that replay never claims to know what it does not.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from guardrail.policy.content import flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["Effect", "FieldChange", "find_changes", "find_effect"]


class Effect(Enum):
    """Which part of a decision a field acts on."""

    NAME = "the policy's name"
    MODE = "whether decisions are enforced"
    TEST = "the test: how many answers a pass takes, and how many harmful ones stop a request"
    THRESHOLD = "from which score on an answer counts as harmful"
    ORACLE = "who judges the answers"
    JUDGING = "what answers count as that the oracle cannot judge"
    EARLY_STOP = "whether answers are broken off"
    DRAWS = "what the model is asked"
    CALL_LIMITS = "which calls end in a fault"
    DECISION_LIMITS = "which decisions end at a limit"
    ANSWER = "which answer leaves"
    TEXT = "whether what is written in pictures is judged"
    MODELS = "answers of several models"
    SPENDING = "whether earlier tries count"
    MEMORY = "what becomes of repeated requests"
    HISTORY = "which pictures of a conversation are sent"
    REQUESTS = "which requests are taken at all"
    NOTHING = "no decision"


_BY_FIELD = {
    "version": Effect.NOTHING,
    "name": Effect.NAME,
    "mode": Effect.MODE,
    "smoothing.sigma": Effect.DRAWS,
    "smoothing.denoise": Effect.DRAWS,
    "advanced.smoothing.denoise_window_px": Effect.DRAWS,
    "advanced.smoothing.denoise_side_px": Effect.DRAWS,
    "oracle.threshold": Effect.THRESHOLD,
    "oracle.miss_rate_upper": Effect.TEST,
    "oracle.delta": Effect.TEST,
    "oracle.calibration": Effect.TEST,
    "oracle.max_batch": Effect.NOTHING,
    "oracle.max_queue": Effect.NOTHING,
    "answer": Effect.ANSWER,
    "images.history": Effect.HISTORY,
    "text_in_pictures": Effect.TEXT,
    "overrides": Effect.NOTHING,
    "spending.mode": Effect.SPENDING,
    "failures.several_models": Effect.MODELS,
    "advanced.sampling.probe_max_tokens": Effect.DRAWS,
    "advanced.sampling.judge_every_chars": Effect.EARLY_STOP,
    "advanced.images.variant_format": Effect.DRAWS,
    "advanced.images.variant_quality": Effect.DRAWS,
    "advanced.limits.call_timeout_s": Effect.CALL_LIMITS,
    "advanced.limits.retries": Effect.CALL_LIMITS,
    "advanced.limits.retry": Effect.CALL_LIMITS,
    "advanced.limits.deadline_s": Effect.DECISION_LIMITS,
    "advanced.limits.max_calls": Effect.DECISION_LIMITS,
    "advanced.limits.max_cost_usd_per_request": Effect.DECISION_LIMITS,
    "advanced.spending.window_s": Effect.NOTHING,
    "advanced.memory.pass": Effect.MEMORY,
    "advanced.memory.block": Effect.MEMORY,
}
_BY_SECTION = {
    "smoothing": Effect.TEST,
    "sampling": Effect.TEST,
    "oracle": Effect.ORACLE,
    "files": Effect.ORACLE,
    "model_sides": Effect.DRAWS,
    "failures": Effect.JUDGING,
    "observe": Effect.NOTHING,
    "block": Effect.NOTHING,
    "known_pictures": Effect.NOTHING,
    "images": Effect.REQUESTS,
    "advanced.smoothing": Effect.TEST,
    "advanced.sampling": Effect.TEST,
    "advanced.images": Effect.REQUESTS,
    "advanced.limits": Effect.REQUESTS,
    "advanced.requests": Effect.REQUESTS,
    "advanced.streams": Effect.NOTHING,
    "advanced.memory": Effect.NOTHING,
    "advanced.prices": Effect.NOTHING,
}


class FieldChange:
    """One field that two policies have differently."""

    __slots__ = ("effect", "field", "new", "old")

    def __init__(self, field: str, old: Json, new: Json) -> None:
        self.field, self.old, self.new = field, old, new
        self.effect = find_effect(field)


def find_effect(field: str) -> Effect:
    """What a field acts on, by its place such as `smoothing.radius`."""
    if field in _BY_FIELD:
        return _BY_FIELD[field]
    parts = field.split(".")
    for length in (2, 1):
        section = ".".join(parts[:length])
        if section in _BY_SECTION:
            return _BY_SECTION[section]
    return Effect.DRAWS


def find_changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> tuple[FieldChange, ...]:
    """The fields that two contents have differently, in the order of the new one.

    A field that only one of them has is None in the other; an oracle of another kind is one change
    of `oracle.kind` with all of its fields.
    """
    before, after = dict(flatten(old)), dict(flatten(new))
    names = dict.fromkeys((*after, *before))
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )
