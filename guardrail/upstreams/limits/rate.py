"""How much may be asked per minute: buckets that refill evenly, by a clock that is handed in."""

from __future__ import annotations

__all__ = ["Bucket", "CallRates", "TokenBudget"]

_ROUNDING = 1e-9  # of a bucket: what two ways of adding seconds may differ by
_TOKEN_BURST_S = 10.0
_WEIGHT = 0.1  # of the newest answer in what an answer usually costs


class Bucket:
    """Holds up to `burst` and refills at an even rate.

    The promise: what is taken in any stretch of t seconds, when nothing is taken before `wait_s`
    has passed, is at most burst + t · per_minute / 60.

    Args:
        per_minute: what flows in.
        burst: what may be taken at once after a rest.
        now: seconds of the caller's clock.
    """

    def __init__(self, per_minute: float, *, burst: float, now: float) -> None:
        self.burst = burst
        self._per_s = per_minute / 60.0
        self._level = burst
        self._at = now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there, or a full bucket if it is more than that."""
        self._refill(now)
        lacking = min(amount, self.burst) - self._level
        return lacking / self._per_s if lacking > _ROUNDING * self.burst else 0.0

    def take(self, amount: float, now: float) -> None:
        """Takes it whether it is there or not; a negative amount is given back."""
        self._refill(now)
        self._level = min(self.burst, self._level - amount)

    def _refill(self, now: float) -> None:
        self._level = min(self.burst, self._level + (now - self._at) * self._per_s)
        self._at = now


class TokenBudget:
    """Tokens per minute, where what a call costs is known only from its answer.

    Each call takes what calls have cost of late, and the difference once it has ended. The first
    one takes all there is, so that a burst of calls of unknown size cannot overdraw it.
    """

    def __init__(self, per_minute: float, *, now: float) -> None:
        self._bucket = Bucket(per_minute, burst=per_minute / 60.0 * _TOKEN_BURST_S, now=now)
        self._usual: float | None = None

    @property
    def expected(self) -> float:
        """What the next call is taken to cost."""
        return self._bucket.burst if self._usual is None else self._usual

    def wait_s(self, now: float) -> float:
        return self._bucket.wait_s(self.expected, now)

    def reserve(self, now: float) -> float:
        """Takes what a call is expected to cost, and returns it."""
        reserved = self.expected
        self._bucket.take(reserved, now)
        return reserved

    def settle(self, reserved: float, used: int | None, now: float) -> None:
        """Puts right what was reserved.

        Where what was used is not known (None), it counts as the usual, and as nothing as long as
        no answer has told: a provider that never tells is not limited by tokens.
        """
        cost = (self._usual or 0.0) if used is None else used
        self._bucket.take(cost - reserved, now)
        if used:
            usual = float(used) if self._usual is None else self._usual
            self._usual = usual + _WEIGHT * (used - usual)


class CallRates:
    """The calls and the tokens a minute of one upstream; None for as many as it takes."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._per_minute = requests_per_minute, tokens_per_minute
        self._requests: Bucket | None = None
        self._tokens: TokenBudget | None = None
        self._begun = False

    def begin(self, now: float) -> None:
        """Fills the buckets at the first call, since a limiter is made before there is a clock."""
        if self._begun:
            return
        self._begun = True
        requests, tokens = self._per_minute
        if requests is not None:
            # A second's worth at most, so that calls go out evenly.
            self._requests = Bucket(requests, burst=max(1.0, requests / 60.0), now=now)
        if tokens is not None:
            self._tokens = TokenBudget(tokens, now=now)

    def wait_s(self, now: float) -> float:
        """Seconds until the next call may go."""
        return max(
            0.0,
            self._requests.wait_s(1.0, now) if self._requests else 0.0,
            self._tokens.wait_s(now) if self._tokens else 0.0,
        )

    def take(self, now: float) -> float:
        """Takes what one call needs, and returns the tokens that are reserved for it."""
        if self._requests is not None:
            self._requests.take(1.0, now)
        return 0.0 if self._tokens is None else self._tokens.reserve(now)

    def settle(self, reserved: float, used: int | None, now: float) -> None:
        """Puts right what was reserved; see `TokenBudget.settle`."""
        if self._tokens is not None:
            self._tokens.settle(reserved, used, now)
