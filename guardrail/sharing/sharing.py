"""What the processes of the guard share, opened by the address of a Redis server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.key_files import load_or_create_keyring
from guardrail.sharing.connection import SharedRedis
from guardrail.sharing.key_limits import RedisLimits
from guardrail.sharing.ledger import RedisLedger
from guardrail.sharing.redis_board import RedisBoard
from guardrail.sharing.upstream_stops import SharedStops
from guardrail.sharing.verdict_store import RedisVerdictStore

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator

    from guardrail.keys.limits import Limits
    from guardrail.memory.ledger import Ledger
    from guardrail.memory.rules import MemoryRules
    from guardrail.memory.store import VerdictStore
    from guardrail.sharing.process_board import Board

__all__ = ["Sharing", "open_sharing"]

_NOBODY = "nobody"  # a principal that holds nothing


class Sharing:
    """What processes keep together on one Redis server; used from one event loop.

    Attributes:
        limits: of API keys.
        stops: pauses and breakers of upstreams.
    """

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self._ledger: Ledger | None = None
        self._limits = RedisLimits(redis)
        self.stops = SharedStops(redis)

    @property
    def limits(self) -> Limits:
        return self._limits

    def open_ledger(self, window_s: float) -> Ledger:
        self._ledger = RedisLedger(self._redis, window_s)
        return self._ledger

    def open_verdict_store(self, rules: MemoryRules) -> VerdictStore:
        return RedisVerdictStore(self._redis, rules)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchanges stops of upstreams for as long as the context lasts."""
        async with self.stops.running():
            yield

    def open_board(self) -> Board:
        """Where processes meet about their policies."""
        return RedisBoard(self._redis)

    async def probe(self) -> None:
        """Raises GuardrailError where Redis cannot be relied on, or takes no tries."""
        await self._redis.probe()
        if self._ledger is not None:
            await self._ledger.wait_s(_NOBODY)

    async def aclose(self) -> None:
        await self._limits.aclose()
        await self._redis.aclose()


def open_sharing(url: str, key_file: str | os.PathLike[str] | None) -> Sharing:
    """What is shared at a URL; nothing is connected yet.

    Names are derived from the oldest key of the file, so that tries are counted on when the noise
    key is rotated.

    Args:
        url: see `SharedRedis`.
        key_file: the noise keys, the same for all processes.

    Raises:
        ConfigError: there is no file of keys, or one of them cannot be used.
    """
    if key_file is None:
        raise ConfigError(
            "processes that share Redis need the same noise key; name its file by --key-file",
            field="redis",
        )
    return Sharing(SharedRedis(url, load_or_create_keyring(key_file).keys[-1]))
