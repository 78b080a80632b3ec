"""Event loops for tests of time limits, which must not depend on how fast the machine is."""

import asyncio
import selectors


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while anything works.

    Where every task waits for a timer alone, the clock is set forward to the next one: a limit
    ends what hangs, at once, and never what is merely slow. Work in the loop's threads counts as
    work. Nothing else outside the loop does: neither a socket nor any other thread.
    """

    def __init__(self):
        self._now, self._in_threads = 0.0, 0
        super().__init__(_Selector(self._pass_time))

    def time(self):
        return self._now

    def hold_up(self, seconds):
        """As if a call on the loop took so long."""
        self._now += seconds

    def run_in_executor(self, executor, func, *args):
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._count_end)
        return future

    def _count_end(self, _):
        self._in_threads -= 1

    def _pass_time(self, seconds):
        """Whether nothing but time can wake a task, and so much of it has now passed."""
        if self._in_threads or seconds is None:
            return False
        self._now += seconds
        return True


class _Selector(selectors.DefaultSelector):
    def __init__(self, pass_time):
        super().__init__()
        self._pass_time = pass_time

    def select(self, timeout=None):
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        return [] if self._pass_time(timeout) else super().select(None)


class SkippingLoop(asyncio.SelectorEventLoop):
    """The machine's clock; a test sets it forward once what a limit shall end has begun."""

    def __init__(self):
        self._skipped = 0.0
        super().__init__()

    def time(self):
        return super().time() + self._skipped

    def skip(self, seconds):
        self._skipped += seconds


def run_in_virtual_time(coroutine):
    """What `asyncio.run` does, on a `VirtualTimeLoop`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def run_skipping(coroutine):
    """What `asyncio.run` does, on a `SkippingLoop`."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(coroutine)


def skip(seconds):
    """Sets the clock of the running `SkippingLoop` forward."""
    asyncio.get_running_loop().skip(seconds)
