"""Reads lists of known pictures; a mistake in one is named by file and line."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.files import read_file
from guardrail.images.known_pictures import KnownPictures, says_little

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.images.known_pictures import Place
    from guardrail.policy.schema import Policy

__all__ = ["read_known_pictures"]

_LARGEST_BYTES = 256 * 1024 * 1024
_ENTRY = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{16}")
_DIGEST_DIGITS = 64
_MOST_MISTAKES = 10


def read_known_pictures(policy: Policy) -> KnownPictures | None:
    """The pictures on a policy's lists; None where it names no list. Slow for long lists.

    Raises:
        ConfigError: a list cannot be read, or a line of it is no entry; the first ten are named.
    """
    section = policy.known_pictures
    if not section.lists:
        return None
    digests: dict[str, Place] = {}
    hashes: list[tuple[int, Place]] = []
    for name in section.lists:
        _read_list(policy.folder / name, digests, hashes)
    return KnownPictures(digests, hashes, section.distance)


def _read_list(path: Path, digests: dict[str, Place], hashes: list[tuple[int, Place]]) -> None:
    data = read_file(path, "list of known pictures", max_bytes=_LARGEST_BYTES)
    mistakes: list[ConfigError] = []
    name = os.fsencode(path.name).decode(errors="replace")  # records hold no lone surrogates
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), 1):
        entry = line.partition("#")[0].strip().lower()
        if not entry:
            continue
        place = name, number
        if problem := _find_problem(entry):
            mistakes.append(ConfigError(problem, file=str(path), line=number))
            if len(mistakes) == _MOST_MISTAKES:
                break
        elif len(entry) == _DIGEST_DIGITS:
            digests.setdefault(entry, place)
        else:
            hashes.append((int(entry, 16), place))
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)))


def _find_problem(entry: str) -> str:
    if not _ENTRY.fullmatch(entry):
        return (
            "no entry; write one a line: a SHA-256 (64 hexadecimal digits) or a perceptual hash "
            "(16), as 'guardrail policy fingerprint' prints them, and comments behind a #"
        )
    if len(entry) != _DIGEST_DIGITS and says_little(int(entry, 16)):
        return (
            "the hash of an empty picture, of a plain gradient or of one figure in the middle, to "
            "which others of that kind are near; list it by its SHA-256"
        )
    return ""
