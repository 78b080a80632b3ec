"""What processes tell each other of their policies: which version each runs, and what all shall do.

`Board` is kept in Redis (`redis_board.py`), or in a folder by the workers of one machine
(`folder_board.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from typing import Protocol

__all__ = [
    "LIVES_S",
    "Board",
    "Order",
    "ProcessState",
    "Processes",
    "name_process",
    "read_order",
    "read_state",
    "write_json",
]

LIVES_S = 10.0
"""How long a process that tells nothing more is taken to live."""


@dataclass(frozen=True, slots=True)
class Order:
    """What all processes shall do.

    Attributes:
        number: a later order has a larger one.
        digest: the version to go back to; None to read the files again.
        cause: who asked for it.
    """

    number: int
    digest: str | None
    cause: str


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What a process says of itself.

    Attributes:
        name: host, process id and a random part.
        digest: the version of the policies that it runs.
        since: since when, ISO 8601, UTC.
        order: number of the last order that it met.
        fault: why it could not follow that one; empty where it did.
    """

    name: str
    digest: str
    since: str
    order: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Processes:
    """Which processes there are.

    Attributes:
        states: this process first among them, then by name.
        are_known: whether the others could be asked.
    """

    states: tuple[ProcessState, ...]
    are_known: bool

    @property
    def agree(self) -> bool | None:
        """Whether all run the same version; None where that is not known."""
        return len({one.digest for one in self.states}) == 1 if self.are_known else None


class Board(Protocol):
    """Where processes read orders and each other's states.

    Every method raises GuardrailError where the others cannot be reached.
    """

    async def put_order(self, digest: str | None, cause: str) -> Order:
        """Gives an order to all processes, in place of the one before."""

    async def exchange(self, state: ProcessState) -> tuple[Order | None, list[ProcessState]]:
        """Says how it stands with this process; the last order and all processes, by name."""

    async def leave(self, state: ProcessState) -> None:
        """This process ends."""


def name_process() -> str:
    """A name for this process that no other one has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"


def write_json(value: Order | ProcessState) -> bytes:
    """For `read_order` or `read_state`."""
    return json.dumps(asdict(value)).encode()


def read_order(data: bytes) -> Order | None:
    """An order; None where it is none, as of another version of this program."""
    match _parse(data):
        case {"number": int() as number, "digest": None | str() as digest, "cause": str() as cause}:
            return Order(number, digest, cause)
        case _:
            return None


def read_state(data: bytes) -> ProcessState | None:
    """A process's state; None where it is none."""
    match _parse(data):
        case {
            "name": str() as name,
            "digest": str() as digest,
            "since": str() as since,
            "order": int() as order,
            "fault": str() as fault,
        }:
            return ProcessState(name, digest, since, order, fault)
        case _:
            return None


def _parse(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None
