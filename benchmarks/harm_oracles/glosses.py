"""Plain English of every kind: definitions and examples from WordNet 3.0, taken as harmless.

WordNet (Princeton University, free licence) is needed for training only: Debian's package
`wordnet-base` puts it into /usr/share/wordnet. Entries marked as coarse or offensive are left out.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")
_MARKED = re.compile(
    r"offensive|disparag|obscen|vulgar|slur|taboo|derogat|insult|intercourse|slang|prostitut|rape"
)


def glosses(count: int, seed: int) -> list[str]:
    """Texts of one to eight definitions or examples each."""
    pieces = [piece for name in ("noun", "verb", "adj", "adv") for piece in _pieces(name)]
    rng = random.Random(seed)
    sizes = [rng.choice((1, 1, 2, 4, 8)) for _ in range(count)]
    return [" ".join(rng.choices(pieces, k=size)) for size in sizes]


def _pieces(name: str) -> list[str]:
    lines = (WORDNET / f"data.{name}").read_text("utf-8", errors="replace").splitlines()
    entries = [line.split(" | ", 1)[1].strip() for line in lines if " | " in line]
    return [
        _sentence(piece)
        for entry in entries
        if not _MARKED.search(entry)
        for piece in entry.split("; ")
        if len(piece) > 20
    ]


def _sentence(piece: str) -> str:
    piece = piece.strip(' "')
    return f"{piece[0].upper()}{piece[1:]}." if piece else ""
