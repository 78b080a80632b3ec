"""Changes of policies that reach every process: what one is asked to do, all others do as well.

A process first makes a change itself, so that a mistake in a file is told to who asked and changes
nothing anywhere. Then it gives the order to the others, who look for one every second. One that
cannot follow (its own files are wrong, or it does not know the version to go back to) stays as it
is and says so. So does one that starts after a rollback, as long as others run that version.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError, GuardrailError, RequestError
from guardrail.sharing.process_board import Processes, ProcessState, name_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from guardrail.api.deployment import Deployment
    from guardrail.sharing.process_board import Board, Order

__all__ = ["PolicySync"]

_EVERY_S = 1.0
_PAUSE_S = 5.0
_PATIENCE_S = 5.0

_log = logging.getLogger(__name__)


class PolicySync:
    """Keeps one process's policies together with those of the others. For one event loop.

    Args:
        deployment: of this process.
        board: where the processes meet; None where there is but this one.
        every_s: how often it looks for orders.
    """

    def __init__(
        self, deployment: Deployment, board: Board | None, *, every_s: float = _EVERY_S
    ) -> None:
        self._deployment = deployment
        self._board = board
        self._every_s = every_s
        self._name = name_process()
        self._met = 0  # number of the last order
        self._has_looked = False
        self._fault = ""
        self._fault_of = ""
        self._missed = ""  # the version of a rollback from before this process
        self._lag = ""
        self._changing = asyncio.Lock()

    @property
    def has_board(self) -> bool:
        """Whether there may be other processes."""
        return self._board is not None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows orders for as long as the context lasts."""
        if self._board is None:
            yield
            return
        task = asyncio.create_task(self._run(self._board))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(GuardrailError):
                await self._board.leave(self._state())

    async def reload(self, cause: str) -> Processes:
        """Has every process read its files again.

        Raises:
            ConfigError: something in this process's files is wrong; nothing has changed anywhere.
            RequestError: 503, this process has changed, and the others could not be told.
        """
        async with self._changing:
            await self._deployment.reload(cause)
            return await self._tell(None, cause)

    async def roll_back(self, digest: str, cause: str) -> Processes:
        """Has a former version decide again in every process that knows it.

        Raises:
            ConfigError: it cannot be made any more; nothing has changed anywhere.
            RequestError: 404, this process does not know it; or see `reload`.
        """
        async with self._changing:
            await self._deployment.roll_back(digest, cause)
            return await self._tell(digest, cause)

    async def look(self) -> Processes:
        """Which processes there are now, and what they run."""
        own = self._state()
        if self._board is None:
            return Processes((own,), are_known=True)
        try:
            _, states = await self._board.exchange(own)
        except GuardrailError:
            return Processes((own,), are_known=False)
        others = [one for one in states if one.name != own.name]
        return Processes((own, *others), are_known=True)

    async def _tell(self, digest: str | None, cause: str) -> Processes:
        """Gives the order, and waits for a while until all have met it."""
        self._fault, self._missed, self._lag = "", "", ""
        if self._board is None:
            return await self.look()
        try:
            order = await self._board.put_order(digest, cause)
        except GuardrailError as error:
            raise RequestError(
                "this process has changed its policies, and the others could not be told; send "
                "this again, or change their files",
                status=503,
                code="processes_unreachable",
                retry_after_s=_PAUSE_S,
            ) from error
        self._met = max(self._met, order.number)
        ends_at = time.monotonic() + _PATIENCE_S
        found = await self.look()
        while time.monotonic() < ends_at and any(one.order < order.number for one in found.states):
            await asyncio.sleep(self._every_s / 4)
            found = await self.look()
        return found

    async def _run(self, board: Board) -> None:
        while True:
            try:
                order, states = await board.exchange(self._state())
                if order is not None:
                    await self._meet(order)
                self._has_looked = True
                self._compare(states)
            except GuardrailError:
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:  # noqa: BLE001 (a crash here must not end the following)
                _log.error("orders of other processes were not read: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_S)
            await asyncio.sleep(self._every_s)

    async def _meet(self, order: Order) -> None:
        if not self._has_looked and order.digest is not None:
            # From before this process, which read its files and does not know that version. Since
            # then files may have changed everywhere: what the others run says so, see `_compare`.
            self._met = max(self._met, order.number)
            self._missed = order.digest
            return
        async with self._changing:
            if order.number <= self._met:
                return
            self._met, self._missed = order.number, ""
            self._fault = await self._follow(order)
            self._fault_of = self._deployment.current.digest
        if self._fault:
            _log.error("an order to all processes was not followed: %s", self._fault)

    def _compare(self, states: Sequence[ProcessState]) -> None:
        """Says so as long as others run the version of a rollback that this process has missed."""
        own = self._deployment.current.digest
        is_behind = bool(self._missed) and own != self._missed and any(
            one.digest == self._missed for one in states if one.name != self._name
        )  # fmt: skip
        if is_behind and not self._lag:
            self._lag = (
                f"started after a rollback to version {self._missed[:12]}, and runs what its files "
                "say; write that version into the files, or restart all processes"
            )
            _log.error("this process %s", self._lag)
        elif not is_behind:
            self._lag = ""

    async def check(self) -> None:
        """Raises ConfigError where others run a version that all were rolled back to."""
        if self._lag:
            raise ConfigError(f"this process {self._lag}")

    async def _follow(self, order: Order) -> str:
        """Does it; why it could not, else empty."""
        try:
            if order.digest is None:
                await self._deployment.reload(order.cause)
            else:
                await self._deployment.roll_back(order.digest, order.cause)
        except RequestError:
            return f"version {order.digest} is not known to this process"
        except GuardrailError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 (what crashes is not followed, and said)
            return f"crashed ({type(error).__name__})"
        return ""

    def _state(self) -> ProcessState:
        version = self._deployment.versions[0]
        if self._fault and version.digest != self._fault_of:
            self._fault = ""  # it has changed since, and is not behind by that any more
        fault = self._fault or self._lag
        return ProcessState(self._name, version.digest, version.since, self._met, fault)
