"""What a guard and the clients that it wraps share: the decider, and the loop that it runs on."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from guardrail.errors import ConfigError
from guardrail.middleware.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from guardrail.api.endpoint import Endpoint
    from guardrail.api.incoming import Incoming
    from guardrail.assembly import Model
    from guardrail.middleware.decider import Decider
    from guardrail.middleware.result import OnBlock, Result
    from guardrail.types import Json

__all__ = ["Runtime"]

_T = TypeVar("_T")


class Runtime:
    """Decides for callers in any thread. It ends with its last owner, closed or not."""

    def __init__(
        self, decider: Decider, on_block: OnBlock, *, principal: str | None = None
    ) -> None:
        if on_block not in ("raise", "refusal"):
            raise ConfigError("must be 'raise' or 'refusal'", field="on_block")
        self.decider = decider
        self.on_block = on_block
        self._principal = principal
        self._thread = LoopThread()
        # Where nobody closes it, its connections are closed here, at the latest as Python ends.
        self._stop = weakref.finalize(self, self._thread.stop, decider.own_parts())

    async def decide(
        self,
        request: Mapping[str, Json] | bytes,
        endpoint: Endpoint,
        model: Model | None,
        *,
        scope: str | None = None,
        principal: str | None = None,
        timeout_s: float | None = None,
        on_read: Callable[[Incoming], None] | None = None,
    ) -> Result:
        """See `Decider.decide`; a model's async function is called on the caller's loop.

        Raises:
            TimeoutError: there was no decision in time.
            ConfigError: it is closed.
        """
        loop, name = asyncio.get_running_loop(), self.principal_of(principal)
        async with asyncio.timeout(timeout_s):
            return await self._thread.run(
                self.decider.decide(
                    request, endpoint, model, loop, scope=scope, principal=name, on_read=on_read
                )
            )

    def decide_sync(
        self,
        request: Mapping[str, Json] | bytes,
        endpoint: Endpoint,
        model: Model | None,
        *,
        scope: str | None = None,
        principal: str | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """The same; the caller's thread waits."""

        async def decide_in_time() -> Result:
            async with asyncio.timeout(timeout_s):
                return await self.decider.decide(
                    request, endpoint, model, scope=scope, principal=self.principal_of(principal)
                )

        return self._thread.run_sync(decide_in_time())

    async def first_model(self) -> str:
        """See `Decider.first_model`."""
        return await self._thread.run(self.decider.first_model())

    def first_model_sync(self) -> str:
        """The same for a caller whose thread waits."""
        return self._thread.run_sync(self.decider.first_model())

    def run_sync(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What `work` returns, on the loop of this guard; the caller's thread waits."""
        return self._thread.run_sync(work)

    def principal_of(self, principal: str | None) -> str | None:
        """Whose try it is where a call names this one, or nobody."""
        return self._principal if principal is None else principal

    def close(self) -> None:
        """Closes the decider and ends the loop; a second time it does nothing."""
        if self._stop.alive:
            try:
                self._thread.run_sync(self.decider.aclose())
            finally:
                self._stop.detach()
                self._thread.stop()
