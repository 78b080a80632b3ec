"""This machine's clock against that of an upstream's answers."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp

from guardrail.doctor.finding import Finding, error, ok, skip_check, warning

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["examine_clock"]

_TOLERATED_S = 30.0
_WRONG_S = 300.0
_TIMEOUT_S = 10.0
_REMEDY = "run a time service (chrony, systemd-timesyncd); records, keys' ends and TLS go by it"


async def examine_clock(url: str, now: Callable[[], float] = time.time) -> Finding:
    """How far this clock is from the `Date` of any answer at a URL; no key is sent.

    Args:
        url: http or https.
        now: this clock, in seconds since 1970.
    """
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            date = response.headers.get("date", "")
    except (aiohttp.ClientError, TimeoutError, OSError):
        return skip_check("clock", "the upstream gave no answer to compare it with")
    try:
        off = now() - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return skip_check("clock", "the upstream's answers carry no date to compare it with")
    if abs(off) <= _TOLERATED_S:
        return ok("clock", "agrees with the upstream's within 30 s")
    word = "ahead of" if off > 0 else "behind"
    told = f"{abs(off):,.0f} s {word} the upstream's"
    return (error if abs(off) > _WRONG_S else warning)("clock", told, _REMEDY)
