"""What an operator sets about the server itself; what it decides is the policy's."""

from __future__ import annotations

from dataclasses import dataclass, field

from guardrail.api.wire_limits import WireLimits

__all__ = ["ServerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Times of the server, in seconds, and what it asks of clients.

    Attributes:
        first_byte_s: after how long a stream that waits for its verdict begins. A verdict or a
            fault that comes before is answered with its own HTTP status.
        heartbeat_s: how often it then says that it is alive.
        probe_timeout_s: longest wait for the model or the oracle when readiness is asked for.
        probe_cache_s: for how long readiness and the list of models are remembered.
        known_models_only: refuse a model that the upstream does not list; right for models in
            this process, wrong for providers that answer to more names than they list.
        litellm_model: the model that pictures from LiteLLM are certified with; None takes the
            name that LiteLLM sends.
        wire: how much strangers may send, and how long they may take.
        cors_origins: whose web pages may ask from a browser, as `https://chat.example`.
    """

    first_byte_s: float = 1.0
    heartbeat_s: float = 5.0
    probe_timeout_s: float = 5.0
    probe_cache_s: float = 5.0
    known_models_only: bool = False
    litellm_model: str | None = None
    wire: WireLimits = field(default_factory=WireLimits)
    cors_origins: tuple[str, ...] = ()
