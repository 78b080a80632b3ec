"""Reads the sets of requests that `guardrail recall` and `guardrail tune` measure on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from guardrail.cli.options import find_columns

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.evaluation.requests import RequestSet
    from guardrail.policy.schema import Policy

__all__ = ["read_request_set"]


def read_request_set(
    policy: Policy, path: Path, options: dict[str, Any], *, most: int | None = None
) -> RequestSet:
    """The requests of a file or a folder, one drawn from each cluster, with a progress bar.

    Args:
        policy: bounds the pictures.
        path: of the set.
        options: those of the command: prompt, max_tokens, seed and how a table is read.
        most: no more than so many; None for all.

    Raises:
        ConfigError: the set cannot be read.
    """
    from guardrail.cli.progress import progress_bar
    from guardrail.evaluation.requests import FIELDS, read_requests
    from guardrail.policy.compile import image_limits

    limit = options["max_tokens"]
    return read_requests(
        path,
        prompt=options["prompt"],
        parameters={} if limit is None else {"max_tokens": limit},
        limits=image_limits(policy),
        seed=options["seed"],
        skip_bad_rows=options["skip_bad_rows"],
        columns=find_columns(options["columns_text"], FIELDS),
        encoding=options["encoding"],
        watch=partial(progress_bar, "reading"),
        most=most,
    )
