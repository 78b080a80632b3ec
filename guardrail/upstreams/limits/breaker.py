"""A circuit breaker: an upstream that is down gets no calls for a while, then one as a trial."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Breaker", "BreakerState"]


class BreakerState(StrEnum):
    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """They fail at once."""
    HALF_OPEN = "half_open"
    """One goes through, and decides for the others."""


class Breaker:
    """Opens when decisions fail one after the other with no sign of life between them.

    It takes `faults` decisions in a row and `after_s` seconds. Decisions are counted, not calls:
    the dozens of variants of one picture that a model cannot take are a single event, and so are
    the calls that one reset cuts off in the same moment. The seconds count from the last sign of
    life, or from the start of the first call that failed since, whichever is later; so calls that
    hang for a minute have waited long enough when they fail.

    Nothing here reads a clock: `now` is handed in, in seconds.
    """

    def __init__(self, *, faults: int = 10, after_s: float = 1.0, open_s: float = 10.0) -> None:
        self._most = faults
        self._after_s = after_s
        self._open_s = open_s
        self._failed: list[
            object
        ] = []  # decisions, held so that none takes over another's identity
        self._since = 0.0
        self._opens_until: float | None = None
        self._probing = False

    def state(self, now: float) -> BreakerState:
        if self._opens_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._opens_until else BreakerState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """Seconds until a call may try again; 0 unless it is open."""
        return 0.0 if self._opens_until is None else max(0.0, self._opens_until - now)

    @property
    def is_quiet(self) -> bool:
        """Whether it knows of nothing that speaks against the upstream."""
        return not self._failed and self._opens_until is None

    @property
    def probing(self) -> bool:
        """Whether the one call that decides is on its way."""
        return self._probing

    def open(self, until: float) -> None:
        """Opens by what another process has met; one that is open for longer stays so."""
        self._failed.clear()
        self._opens_until = max(until, self._opens_until or until)

    def start(self, now: float) -> bool:
        """Whether the call that starts now is the one that decides."""
        self._probing = self.state(now) is BreakerState.HALF_OPEN
        return self._probing

    def alive(self, now: float, *, probe: bool) -> None:
        """A call was answered, if only by a refusal."""
        self._failed.clear()
        self._since = now
        if probe:
            self._probing = False
            self._opens_until = None

    def record_fault(self, started: float, now: float, *, probe: bool, decision: object) -> None:
        """A call of a decision failed by the upstream's own fault."""
        if probe:
            self._probing = False
            self._opens_until = now + self._open_s
        elif self._opens_until is None:
            self._count(started, now, decision)

    def unknown(self, *, probe: bool) -> None:
        """A call was given up, and nothing is known; if it was to decide, the next one will."""
        if probe:
            self._probing = False

    def _count(self, started: float, now: float, decision: object) -> None:
        if not self._failed:
            self._since = max(self._since, started)
        if len(self._failed) < self._most and all(decision is not one for one in self._failed):
            self._failed.append(decision)
        if len(self._failed) >= self._most and now - self._since >= self._after_s:
            self._failed.clear()
            self._opens_until = now + self._open_s
