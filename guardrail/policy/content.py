"""A policy's content as plain JSON: what its digest is of, and what of it differs from defaults.

Records keep the fields that differ from the defaults. With the defaults of this version they are
the whole policy again, which the record's policy digest proves:

    fields = find_differing(policy_content(policy))       # {"name": "mine", "oracle": {...}}
    digest_json(restore_content(fields)) == policy_digest(policy)
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from guardrail.canonical import digest_json
from guardrail.engine.rules import MODEL_SIDE, Denoise
from guardrail.policy.schema import Policy
from guardrail.policy.threats import compile_threats
from guardrail.upstreams.picture_side import SIDES_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.types import Json

__all__ = [
    "find_content",
    "find_differing",
    "flatten",
    "policy_content",
    "read_policy",
    "restore_content",
]

_LEFT_OUT = {"recall", "goals", "overrides", "known_pictures"}
_DERIVED = ("files", "model_sides")
"""What a content has beside the policy's own fields: digests of what the policy refers to."""
_WHOLE = ("oracle", "prices", "headers", "files")
"""Objects whose names are free or follow from one of them: they differ as a whole."""


def policy_content(policy: Policy) -> dict[str, Json]:
    """What the policy's digest is of: defaults and calibration written out.

    Without `recall`, which is bound to it, and `goals`: they change no decision. Without
    `overrides`: what a person decides in the guard's place is recorded as such, and an entry made
    of a decision must hold for the same policy with overrides on. Without `known_pictures`: lists
    grow from day to day, can only block, and what they block is recorded as such, so that what was
    measured of a policy stays true of it. With the digests of the files in
    words that a judge goes by, where there are any, and with one of the table of models where a
    size of pictures is taken from it. Without `threats` where nothing is covered beside l2.

    Raises:
        ConfigError: the oracle's calibration or a file of a judge cannot be used.
    """
    policy = policy.model_copy(update={"oracle": policy.oracle.with_calibration(policy.folder)})
    content: dict[str, Json] = policy.model_dump(mode="json", exclude=_LEFT_OUT)
    if compile_threats(policy.threats) is None:
        del content["threats"]  # nothing is covered, so nothing of it decides
    if files := policy.oracle.file_digests(policy.folder):
        content["files"] = files
    if _asks_for_model_side(content):
        content["model_sides"] = SIDES_DIGEST
    return content


def _asks_for_model_side(content: Mapping[str, Any]) -> bool:
    """`Rules.asks_for_model_side`, of a content."""
    sides = content["advanced"]["smoothing"]
    is_area = content["smoothing"]["denoise"] == Denoise.AREA.value
    area_side = sides["denoise_side_px"] if is_area else None
    return MODEL_SIDE in (sides["canvas_max_side_px"], area_side)


def find_differing(content: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of a content that do not have their defaults, in their sections."""
    return _difference(content, _defaults())


def restore_content(fields: Mapping[str, Json]) -> dict[str, Json]:
    """The whole content that `find_differing` came from, by the defaults of this version."""
    content = _merge(copy.deepcopy(_defaults()), fields)
    if not _asks_for_model_side(content):
        content.pop("model_sides", None)
    return content


def find_content(fields: Mapping[str, Json], digest: str) -> dict[str, Json] | None:
    """The same, where it has this digest; None where it was another version's policy."""
    try:
        content = restore_content(fields)
        return content if digest_json(content) == digest else None
    except (TypeError, ValueError):
        return None


def read_policy(content: Mapping[str, Json]) -> Policy:
    """The policy that a content is of.

    Raises:
        ValidationError: it is of another version.
    """
    return Policy.model_validate({k: v for k, v in content.items() if k not in _DERIVED})


def flatten(content: Mapping[str, Json], place: str = "") -> Iterator[tuple[str, Json]]:
    """Every value with its place: `("smoothing.radius", 0.25)`; lists are one value."""
    for name, value in content.items():
        path = f"{place}.{name}" if place else name
        if isinstance(value, dict) and value:
            yield from flatten(value, path)
        else:
            yield path, value


@cache
def _defaults() -> dict[str, Json]:
    content = policy_content(Policy(name="default"))
    del content["name"]
    return content


def _difference(content: Mapping[str, Json], default: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        plain = default.get(name, _Absent)
        if name in default and value == plain and type(value) is type(plain):
            continue
        both = isinstance(value, dict) and isinstance(plain, dict) and name not in _WHOLE
        found[name] = _difference(value, plain) if both else value
    return found


class _Absent:
    """No default."""


def _merge(content: dict[str, Json], fields: Mapping[str, Json]) -> dict[str, Json]:
    for name, value in fields.items():
        old = content.get(name)
        if isinstance(value, dict) and isinstance(old, dict) and name not in _WHOLE:
            content[name] = _merge(old, value)
        else:
            content[name] = value
    return content
