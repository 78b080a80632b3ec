"""The board of processes in a folder, for the workers of one server without Redis.

Each process has a file of its own, and each order one that is named by its number; a file is
written aside and then renamed, so that nobody reads half of one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from guardrail.errors import StorageError
from guardrail.sharing.process_board import (
    LIVES_S,
    Order,
    ProcessState,
    read_order,
    read_state,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FolderBoard"]

_ORDER, _STATE = "order-", "state-"
_MOST_BYTES = 64 * 1024


class FolderBoard:
    """See `Board`. The folder must be private: who may write there gives orders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put_order(self, digest: str | None, cause: str) -> Order:
        return await asyncio.to_thread(self._put_order, digest, cause)

    async def exchange(self, state: ProcessState) -> tuple[Order | None, list[ProcessState]]:
        return await asyncio.to_thread(self._exchange, state)

    async def leave(self, state: ProcessState) -> None:
        self._remove(_state_name(state))

    def _put_order(self, digest: str | None, cause: str) -> Order:
        last = max(self._order_numbers(), default=0)
        order = Order(max(time.time_ns(), last + 1), digest, cause)
        self._write(_order_name(order.number), write_json(order))
        return order

    def _exchange(self, state: ProcessState) -> tuple[Order | None, list[ProcessState]]:
        self._write(_state_name(state), write_json(state))
        numbers = self._order_numbers()
        for number in sorted(numbers)[:-1]:
            self._remove(_order_name(number))
        data = self._read(_order_name(max(numbers))) if numbers else None
        return None if data is None else read_order(data), self._read_states()

    def _read_states(self) -> list[ProcessState]:
        """Of the processes that live; the files of the others are removed."""
        found, oldest = [], time.time() - LIVES_S
        for name in self._list():
            if not name.startswith(_STATE):
                continue
            with suppress(OSError):
                if (self._folder / name).stat().st_mtime < oldest:
                    self._remove(name)
                    continue
            data = self._read(name)
            state = None if data is None else read_state(data)
            if state is not None:
                found.append(state)
        return sorted(found, key=lambda state: state.name)

    def _order_numbers(self) -> list[int]:
        names = [name.removeprefix(_ORDER) for name in self._list() if name.startswith(_ORDER)]
        return [int(name) for name in names if name.isdigit()]

    def _list(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir()]
        except OSError as error:
            raise _folder_error(error) from error

    def _read(self, name: str) -> bytes | None:
        """None where it is gone by now."""
        with suppress(OSError), (self._folder / name).open("rb") as stream:
            return stream.read(_MOST_BYTES)
        return None

    def _write(self, name: str, data: bytes) -> None:
        aside = self._folder / f".{secrets.token_hex(8)}"
        try:
            aside.write_bytes(data)
            aside.replace(self._folder / name)
        except OSError as error:
            raise _folder_error(error) from error

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            (self._folder / name).unlink()


def _state_name(state: ProcessState) -> str:
    return f"{_STATE}{state.name}"


def _order_name(number: int) -> str:
    return f"{_ORDER}{number}"


def _folder_error(error: OSError) -> StorageError:
    return StorageError(
        f"the folder that the workers share cannot be used ({error.strerror}); start the server "
        "again"
    )
