"""A TCP relay in front of a part, which can refuse, hang, be slow, or send rubbish in its place."""

import asyncio
import contextlib
import socket

SLOW_S = 0.05
RUBBISH = b"\x15\x00 nothing that anybody asked for \xff\r\n\r\n"


class Relay:
    """Passes bytes on to a port; `set` says what it does instead. Runs on the loop of `home`.

    Attributes:
        port: where it listens, whatever its mode.
    """

    def __init__(self, home, target):
        self._home, self._target = home, target
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._mode = "refuse"
        self._server = None
        self._writers, self._tasks = set(), set()
        self.set("pass")

    def set(self, mode):
        """`pass`, `refuse`, `hang`, `slow`, `rubbish` or `cut` (a reset within an answer)."""
        self._home.run_sync(self._set(mode))

    def close(self):
        self.set("refuse")

    async def _set(self, mode):
        self._mode = mode
        if mode == "refuse" and self._server is not None:
            # What was just accepted would never be closed if its server were gone.
            for listener in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
            await asyncio.sleep(0.01)
            self._server.close()
            self._server = None
            for _ in range(5):  # who was accepted just now is served, and known, a few turns later
                await asyncio.sleep(0)
        if mode not in ("hang", "slow"):  # these go on with the connections that are there
            for _ in range(2):  # one that was just accepted is known after a turn of the loop
                await self._end_all()
        if mode != "refuse" and self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _end_all(self):
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # until the transports have seen it

    async def _serve(self, reader, writer):
        if self._mode == "refuse":
            writer.transport.abort()
            return
        task = asyncio.current_task()
        self._tasks.add(task)
        self._writers.add(writer)
        other = None
        try:
            back, other = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(other)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, other, is_answer=False))
                group.create_task(self._pump(back, writer, is_answer=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in filter(None, (writer, other)):
                one.transport.abort()
                self._writers.discard(one)
            self._tasks.discard(task)

    async def _pump(self, reader, writer, *, is_answer):
        while data := await reader.read(1 << 16):
            if self._mode == "hang":
                await asyncio.Event().wait()
            if self._mode == "slow":
                await asyncio.sleep(SLOW_S)
            if is_answer and self._mode == "rubbish":
                data = RUBBISH
            if is_answer and self._mode == "cut":
                writer.write(data[: len(data) // 2])
                raise ConnectionResetError
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.transport.abort() if self._mode == "hang" else writer.close()
        raise ConnectionResetError  # ends the other direction, too
