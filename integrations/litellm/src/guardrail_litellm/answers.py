"""A decided answer on its way through LiteLLM: put into a request, and found there again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NO_CACHE", "answer_of", "held", "pieces_of"]

_PIECES = "guardrail_pieces"

# A cache may hold answers from before there was a guard; and one that goes by meaning would give
# every variant the same answer, whereas the test counts independent ones.
NO_CACHE = {"no-cache": True, "no-store": True}


def held(answer: Any, pieces: Sequence[Any] = ()) -> Any:
    """The answer with its pieces, which alone are what a stream delivers."""
    for piece in pieces:
        if about := getattr(piece, "guardrail", None):
            # Newer releases send no fields that they do not know, unless this one is set.
            piece.provider_specific_fields = {"guardrail": about}
    made: Any = litellm.stream_chunk_builder(list(pieces)) if pieces else answer
    made._hidden_params[_PIECES] = pieces  # noqa: SLF001 (LiteLLM's place for such)
    return made


def answer_of(data: Mapping[str, Any]) -> Any:
    """The answer that was decided for a request; None if there is none. No JSON makes one."""
    answer = data.get("mock_response")
    return answer if _PIECES in getattr(answer, "_hidden_params", {}) else None


def pieces_of(answer: Any) -> Sequence[Any]:
    pieces: Sequence[Any] = answer._hidden_params[_PIECES]  # noqa: SLF001 (as above)
    return pieces
