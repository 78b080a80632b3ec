"""Whether a model takes calls, so that no single caller can have it taken from the others."""

from __future__ import annotations

from guardrail.upstreams.limits.breaker import Breaker, BreakerState

__all__ = ["ModelHealth"]

_MOST_CALLERS = 1024  # of whom faults are remembered


class ModelHealth:
    """What faults say of one model: to the caller that met them, and to all.

    A fault may be the model's or its request's: a picture that crashes the server, an answer so
    long that it is cut off. So each caller has a `Breaker` of its own, which opens by the faults of
    its own decisions and closes by answers to its own calls. The model counts as down for all
    callers only by faults of several: `faults` decisions in a row with no answer to anybody between
    them, of which one caller counts for half, rounded up. With `faults` = 10, a caller whose every
    request fails is left alone after 10 decisions and makes up 5 of the common count; the other 5
    must come from other callers.

    When the common pause is over, all may call, and it takes as many faults to begin another one:
    a single call that decides for all could be that of the caller whose requests fail.

    Calls whose caller is not known (an empty name) are those of one caller.

    Nothing here reads a clock: `now` is handed in, in seconds.
    """

    def __init__(self, *, faults: int, after_s: float, open_s: float) -> None:
        self._most = faults
        self._after_s = after_s
        self._open_s = open_s
        self._own: dict[str, Breaker] = {}
        self._failed: list[tuple[str, object]] = []
        self._since = 0.0
        self._down_until: float | None = None

    def state(self, now: float, caller: str = "") -> BreakerState:
        """As the caller meets it."""
        if self.wait_common_s(now):
            return BreakerState.OPEN
        own = self._own.get(caller)
        return BreakerState.CLOSED if own is None else own.state(now)

    def common_state(self, now: float) -> BreakerState:
        """As all meet it; that of the calls whose caller is not known."""
        return self.state(now)

    def wait_s(self, now: float, caller: str = "") -> float:
        """Seconds until a call of the caller may try again; 0 unless it is open."""
        return max(self.wait_common_s(now), self.wait_own_s(now, caller))

    def wait_own_s(self, now: float, caller: str) -> float:
        """The same of what holds for the caller alone."""
        own = self._own.get(caller)
        return 0.0 if own is None else own.wait_s(now)

    def wait_common_s(self, now: float) -> float:
        """The same of what holds for all."""
        return 0.0 if self._down_until is None else max(0.0, self._down_until - now)

    @property
    def is_quiet(self) -> bool:
        """Whether it knows of nothing that speaks against the model."""
        return not self._own and not self._failed and self._down_until is None

    def is_probing(self, caller: str) -> bool:
        """Whether the one call that decides for the caller is on its way."""
        own = self._own.get(caller)
        return own is not None and own.probing

    def start(self, now: float, caller: str) -> bool:
        """Whether the caller's call that starts now is the one that decides."""
        own = self._own.get(caller)
        return own is not None and own.start(now)

    def alive(self, now: float, caller: str, *, probe: bool) -> None:
        """A call was answered, if only by a refusal."""
        self._failed.clear()
        self._since = now
        self._down_until = None
        own = self._own.get(caller)
        if own is not None:
            own.alive(now, probe=probe)
            self._drop_quiet(caller)

    def record_fault(
        self, started: float, now: float, caller: str, *, probe: bool, decision: object
    ) -> None:
        """A call of a decision failed, by the model's own fault as far as can be seen."""
        own = self._take_own(caller)
        own.record_fault(started, now, probe=probe, decision=decision)
        if caller and not self.wait_common_s(now):
            self._count(started, now, caller, decision)

    def unknown(self, caller: str, *, probe: bool) -> None:
        """A call was given up, and nothing is known; if it was to decide, the next one will."""
        own = self._own.get(caller)
        if own is not None:
            own.unknown(probe=probe)

    def open(self, until: float) -> None:
        """Opens for all callers by what another process has met."""
        self._failed.clear()
        self._down_until = max(until, self._down_until or until)

    def open_own(self, until: float, caller: str) -> None:
        """The same for one caller."""
        self._take_own(caller).open(until)

    def _take_own(self, caller: str) -> Breaker:
        own = self._own.get(caller)
        if own is None:
            own = Breaker(faults=self._most, after_s=self._after_s, open_s=self._open_s)
            own.alive(self._since, probe=False)
            if len(self._own) >= _MOST_CALLERS:
                self._own.pop(next(iter(self._own)))
            self._own[caller] = own
        return own

    def _count(self, started: float, now: float, caller: str, decision: object) -> None:
        self._down_until = None
        if not self._failed:
            self._since = max(self._since, started)
        mine = [one for name, one in self._failed if name == caller]
        if len(mine) < (self._most + 1) // 2 and all(decision is not one for one in mine):
            self._failed.append((caller, decision))
        if len(self._failed) >= max(2, self._most) and now - self._since >= self._after_s:
            self._failed.clear()
            self._down_until = now + self._open_s

    def _drop_quiet(self, caller: str) -> None:
        if self._own[caller].is_quiet:
            del self._own[caller]
