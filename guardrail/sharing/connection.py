"""The way to the Redis server that several processes share."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeVar

from guardrail.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from guardrail.images.keys import NoiseKey

__all__ = ["SHARING_UNAVAILABLE", "SharedRedis"]

SHARING_UNAVAILABLE = "ledger_unavailable"
"""The code of an answer 503: what several processes count together cannot be reached."""

_SCHEMES = ("redis://", "rediss://", "unix://")
_MOST_CONNECTIONS = 64
_RETRY_S = 5.0
_LOG_EVERY_S = 5.0
_LABEL = b"guardrail/sharing/1"
_MARKER = "guardrail:marker"
_MARK = "redis.call('SET', KEYS[1], ARGV[1], 'NX'); return redis.call('GET', KEYS[1])"

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SharedRedis:
    """Runs scripts on one Redis server; used from one event loop at a time.

    Nothing is repeated, since a script whose reply was lost may have run. Before its first script,
    and again after each failure, it looks whether the server may throw keys away, and takes the
    marker: a value that the first process wrote, so that all can tell whether the server has lost
    what it held. The marker names the noise key; processes of other keys are refused, as they
    would count apart.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the database's number.
        key: the secret that all processes share; names and values are derived from it.
        timeout_s: longest wait for a connection, and for a reply.

    Raises:
        ConfigError: the URL is none, or the package `redis` is missing.
    """

    def __init__(self, url: str, key: NoiseKey, *, timeout_s: float = 2.0) -> None:
        if not url.startswith(_SCHEMES):
            raise ConfigError(
                "must begin with redis://, rediss:// or unix://, as redis://127.0.0.1:6379/0",
                field="redis",
            )
        self.key = key
        self._timeout_s = timeout_s
        self._client = _open_client(url, timeout_s)
        self._marker: bytes | None = None
        self._is_checked = False
        self._checking = asyncio.Lock()
        self._logged_at = float("-inf")

    @property
    def prefix(self) -> str:
        """Of all names; the braces put them into one slot."""
        return f"guardrail:{{{self.key.key_id}}}"

    def digest(self, label: str, text: bytes) -> bytes:
        """A keyed digest of 32 bytes, so that without the key no name can be looked up."""
        return self.key.derive(_LABEL, label.encode(), text)

    async def marker(self) -> bytes:
        """The marker that the server holds now.

        Raises:
            ConfigError: the server is set to throw keys away, or holds what another key counted.
            RequestError: 503, the server cannot be reached or does not answer rightly.
        """
        async with self._checking:
            if not self._is_checked or self._marker is None:
                self._marker = await self._check()
                self._is_checked = True
            return self._marker

    async def probe(self) -> None:
        """Raises what `marker` raises, where the server is not there now."""
        self.distrust()
        await self.marker()

    def distrust(self) -> None:
        """Looks at the server again before the next script."""
        self._is_checked = False

    async def run(self, script: str, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What a Lua script replies; the marker's name is its last key.

        Raises:
            RequestError: 503, see `marker`.
        """
        runs = self._client.register_script(script)
        return await self._await(runs(keys=[*names, _MARKER], args=list(arguments)))

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def _check(self) -> bytes:
        await self._check_eviction()
        fresh = f"{self.key.key_id}:{secrets.token_hex(16)}"
        marker = await self._await(self._client.eval(_MARK, 1, _MARKER, fresh))
        if not isinstance(marker, bytes):
            raise self.unavailable_error("its reply is none that was asked for")
        if marker.partition(b":")[0] != self.key.key_id.encode():
            raise ConfigError(
                "this Redis database is used with another noise key; give every process the same "
                "key file, or name another database at the end of the URL",
                field="redis",
            )
        return marker

    async def _check_eviction(self) -> None:
        """A key that is thrown away would be a number given back without a pass."""
        from redis.exceptions import NoPermissionError

        try:
            about = await self._await(self._client.info("memory"), passing=NoPermissionError)
        except NoPermissionError:
            _log.warning("Redis does not let its settings be read; maxmemory-policy must be "
                         "noeviction")  # fmt: skip
            return
        policy = about.get("maxmemory_policy") if isinstance(about, dict) else None
        if policy is None:
            raise self.unavailable_error("it does not say how it is set up")
        if policy != "noeviction":
            raise ConfigError(
                f"maxmemory-policy of this Redis is {policy}, which throws counted tries away; "
                "set it to noeviction, or name another server",
                field="redis",
            )

    async def _await(
        self, reply: Awaitable[_T], *, passing: type[Exception] | tuple[()] = ()
    ) -> _T:
        from redis.exceptions import RedisError

        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        try:
            # The client's own limits are per packet: one that trickles would never end.
            async with asyncio.timeout(2 * self._timeout_s):
                found = await reply
        except passing:
            raise
        except (RedisError, OSError, ValueError, AttributeError) as error:
            self.distrust()
            raise self.unavailable_error(type(error).__name__) from None
        # The client waits by asyncio.wait_for, which before Python 3.12 forgets that it was
        # cancelled where its part ends in the same moment; a task would then never end.
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError
        return found

    def unavailable_error(self, reason: str) -> RequestError:
        """The error for a server that cannot be relied on; it is logged now and then."""
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = now
            _log.error("Redis cannot be relied on: %s", reason)
        return RequestError(
            "what the guard's processes count together cannot be reached, so nothing is decided; "
            "retry later",
            status=503,
            code=SHARING_UNAVAILABLE,
            retry_after_s=_RETRY_S,
        )


def _open_client(url: str, timeout_s: float) -> Any:
    """A client that has sent nothing yet. Raises ConfigError."""
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise ConfigError(
            "needs the package redis; run: pip install 'certified-guardrail[redis]'", field="redis"
        ) from None
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MOST_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # whose text may hold a piece of the password
        raise ConfigError(
            "is no address of a Redis server, as redis://:PASSWORD@HOST:6379/0; write other than "
            "letters and digits of a password as in a URL",
            field="redis",
        ) from None
    return Redis.from_pool(pool)
