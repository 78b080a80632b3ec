"""The attempt: what makes a decision's draws fresh, though an equal request was decided before.

Noise and sampling seeds grow from secret, request, policy, attempt and index. If a request came
twice and met the same noise while the model drew anew, the second decision would be no fresh try:
given noise that happens to be favourable, its probability of passing may exceed alpha.

An attempt is 128 random bits, drawn for each decision. They need no counter that restarts and
replicas would have to share: among a million decisions on one request the probability that any two
have the same attempt is below 2e-27. It stands in certificate and record, so that a decision can
be replayed. It is zero where nothing random is left, as every try would bring the same outcome.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from guardrail.oracles.base import is_function
from guardrail.upstreams.base import is_deterministic

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.upstreams.base import Upstream

__all__ = ["ATTEMPT_BYTES", "ONLY_ATTEMPT", "attempt_of", "draw_attempt"]

ATTEMPT_BYTES = 16

ONLY_ATTEMPT = bytes(ATTEMPT_BYTES)
"""The attempt of every decision whose outcome follows from request, policy and key alone."""


def attempt_of(upstream: Upstream, oracle: Oracle) -> bytes:
    """The attempt of a decision that begins now; `ATTEMPT_BYTES` bytes.

    Fresh, unless the model gives the same answer bit for bit to the same chat, pictures and seed,
    and the oracle the same judgement to the same exchange: a judge that draws at random would meet
    old noise anew just as a model would.
    """
    is_fixed = is_deterministic(upstream) and is_function(oracle)
    return ONLY_ATTEMPT if is_fixed else draw_attempt()


def draw_attempt() -> bytes:
    """One that no other decision has."""
    return secrets.token_bytes(ATTEMPT_BYTES)
