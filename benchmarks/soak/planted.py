"""Strings that nobody else writes: planted in secrets and in what users say, then looked for.

    Planted.secret("pepper") -> 32 hexadecimal digits, of which the harness remembers the name
    Planted.user("prompt")   -> the same, of what users say

What is searched is every byte that the guard wrote or sent: see `Search`.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Planted", "Search"]


class Planted:
    """All that was planted in one run.

    Attributes:
        secrets: name by value.
        kinds: of what users say; each occurrence begins with `zqKINDzq`.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.kinds = ("prompt", "answer", "harm", "file", "picture", "header", "path", "tool")

    def secret(self, name: str, value: str | None = None) -> str:
        made = value if value is not None else secrets.token_hex(16)
        self.secrets[made] = name
        return made

    def user(self, kind: str, number: str) -> str:
        """A word of a user's text; it has the request's number, so that answers can be told apart."""
        assert kind in self.kinds
        return f"zq{kind}zq{number}"


class Search:
    """Looks for what was planted: as it is, in base64 (all three phases), in hexadecimal and quoted.

    Attributes:
        found: how often, by (where, what).
        read_bytes: how much was searched, by where.
    """

    def __init__(self, planted: Planted, folder: Path) -> None:
        """`folder` takes the list of what is looked for; it must not be searched itself."""
        self.found: Counter[tuple[str, str]] = Counter()
        self.read_bytes: Counter[str] = Counter()
        self._needles: dict[bytes, str] = {}
        for value, name in planted.secrets.items():
            for needle in _forms(value.encode()):
                self._needles[needle] = f"secret: {name}"
        for kind in planted.kinds:
            for needle in _forms(f"zq{kind}zq".encode()):
                self._needles[needle] = f"user text: {kind}"
        self._list = folder / "needles"
        self._list.write_bytes(b"\n".join(self._needles) + b"\n")

    def bytes(self, where: str, data: bytes) -> None:
        file = self._list.with_name("searched")
        file.write_bytes(data)
        self.folder(where, file)
        file.unlink()

    def folder(self, where: str, folder: Path) -> None:
        """Every file below it, and their names."""
        files = [one for one in [folder, *folder.rglob("*")] if one.is_file()]
        names = "\n".join(str(file.relative_to(folder)) for file in files).encode()
        self.read_bytes[where] += sum(file.stat().st_size for file in files)
        command = ["grep", "-raohF", "-f", str(self._list), str(folder)]
        for line in self._grep(command) + self._grep([*command[:-1], "-"], names):
            self.found[where, self._needles[line]] += 1

    def counts(self) -> list[dict[str, object]]:
        return [
            {"where": where, "what": what, "times": times}
            for (where, what), times in sorted(self.found.items())
        ]

    @staticmethod
    def _grep(command: list[str], given: bytes = b"") -> list[bytes]:
        """The needles that it finds. grep knows thousands of them at once, in linear time."""
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(
            command, input=given, capture_output=True, env=environment, check=False
        )
        if done.returncode > 1:
            raise SystemExit(f"grep failed: {done.stderr.decode()}")
        return done.stdout.splitlines()


def _forms(word: bytes) -> set[bytes]:
    """Ways in which a word may be written."""
    forms = {word, word.hex().encode(), quote(word).encode()}
    for phase in range(3):
        # Base64 of bytes in the midst of others: what the neighbours decide is cut off.
        coded = base64.b64encode(bytes(phase) + word)
        first = 0 if phase == 0 else phase + 1
        coded = coded[first : (phase + len(word)) // 3 * 4]
        if len(coded) >= 10:
            forms |= {coded, coded.translate(bytes.maketrans(b"+/", b"-_"))}
    return {form for form in forms if len(form) >= 6}
