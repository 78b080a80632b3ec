"""`guardrail attack`: the searches by answers alone, and what they count."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from guardrail.cli.attack_options import AttackKind
from guardrail.engine.verdict import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.attack.black_box import BlackBoxResult, Target
    from guardrail.cli.attack_options import AttackOptions
    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded

__all__ = ["search_bare", "search_server"]

_ANSWERS = 2  # of each candidate


def search_server(
    options: AttackOptions,
    url: str,
    pixels: Pixels,
    wants: Callable[[Sequence[str]], Sequence[bool]],
) -> tuple[Pixels, dict[str, Any]]:
    """Asks the server of that URL, at the pace of the options.

    Raises:
        ConfigError: the URL is none.
        UpstreamError: the server takes no such requests.
    """
    from guardrail.attack.black_box import End
    from guardrail.attack.targets import HttpTarget
    from guardrail.files import read_variable

    key = read_variable(options.key_variable)
    with HttpTarget(url, options.model, options.prompt, key=key) as target:
        found = _search(target, pixels, options, wants, options.per_minute)
    return found.pixels, {
        "attack": options.attack, "goal": options.goal, "reached": found.end is End.FOUND,
        **_counts(found),
    }  # fmt: skip


def search_bare(
    options: AttackOptions,
    loaded: Loaded,
    pixels: Pixels,
    wants: Callable[[Sequence[str]], Sequence[bool]],
) -> tuple[Pixels, dict[str, Any]]:
    """Asks the model itself, undefended."""
    from guardrail.attack.targets import BareModel

    target = BareModel(loaded, options.prompt, options.seed)
    found = _search(target, pixels, options, wants, math.inf)
    return found.pixels, _counts(found)


def _search(
    target: Target,
    pixels: Pixels,
    options: AttackOptions,
    wants: Callable[[Sequence[str]], Sequence[bool]],
    per_minute: float,
) -> BlackBoxResult:
    from guardrail.attack.black_box import BlackBoxSettings, search_by_asking
    from guardrail.attack.linf_squares import LinfSquares
    from guardrail.attack.moving_sticker import MovingSticker
    from guardrail.cli.progress import progress_bar

    answers = min(_ANSWERS, options.queries)
    is_sticker = options.attack is AttackKind.STICKER_SEARCH
    proposals = MovingSticker(options.size) if is_sticker else LinfSquares(options.size)
    settings = BlackBoxSettings(proposals, options.queries, answers, per_minute, options.seed)
    with progress_bar("asking", options.queries) as advance:
        return search_by_asking(
            target, pixels, settings, wants=lambda text: wants([text])[0], progress=advance
        )


def _counts(found: BlackBoxResult) -> dict[str, Any]:
    return {
        "queries": found.queries,
        "passed": found.replies.get(Action.PASS, 0),
        "blocked": found.replies.get(Action.BLOCK, 0),
        "faults": found.replies.get(Action.FAULT, 0),
        "delivered": found.wanted,
        "end": found.end,
        "cause": found.cause,
    }
