"""Passages of manuals, as answers that explain something; taken as harmless.

    apt-get install gnucash-docs=1:4.13* harden-doc debian-handbook eqonomize-doc    # training only

Debian's packages of personal finance (money, loans, cards, taxes) and of computers' security and
administration (attacks, intruders, keys, processes): words that harm shares, without harm.
"""

from __future__ import annotations

import random
from html.parser import HTMLParser
from pathlib import Path

FOLDER = Path("/usr/share/doc")
PAGES = {
    "finance": (
        "gnucash-docs/gnucash-guide-en",
        "gnucash-docs/gnucash-help-en",
        "eqonomize/html/C",
    ),
    "computers": ("harden-doc/html/en-US", "debian-handbook/html/en-US"),
}
OF_EACH = 900
WORDS = range(20, 221)
_HEADS = ("h1", "h2", "h3", "h4", "h5", "dt")
_SKIPPED = ("script", "style", "head", "nav")
_BLOCKS = (*_HEADS, "p", "li", "dd", "pre", "td")


def passages(seed: int) -> list[tuple[str, str]]:
    """A passage, and the page that it is from."""
    rng = random.Random(seed)
    found = []
    for folders in PAGES.values():
        pages = [page for folder in folders for page in sorted((FOLDER / folder).glob("*.html"))]
        if not pages:
            raise SystemExit(f"no manuals in {FOLDER}: install the packages that this file names")
        pieces = [
            (text, str(page.relative_to(FOLDER))) for page in pages for text in _cut(page, rng)
        ]
        found += rng.sample(pieces, min(OF_EACH, len(pieces)))
    return found


def _cut(page: Path, rng: random.Random) -> list[str]:
    reader = _Reader()
    reader.feed(page.read_text("utf-8", errors="replace"))
    found, part, most = [], [], rng.choice(WORDS)
    for block in reader.blocks:
        part.append(block)
        if sum(len(text.split()) for text in part) >= most:
            found.append("\n\n".join(part))
            part, most = [], rng.choice(WORDS)
    return [text for text in found if len(text.split()) <= 2 * max(WORDS)]


class _Reader(HTMLParser):
    """The text of a page in blocks, headings and points marked as in Markdown."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self._open: list[str] = []
        self._text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        if tag in _BLOCKS:
            self._close()
        if tag not in ("br", "img", "hr", "meta", "link", "col", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._close()
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if not any(tag in _SKIPPED for tag in self._open):
            self._text += data

    def _close(self) -> None:
        text = " ".join(self._text.split())
        self._text = ""
        if len(text) > 3:
            head = any(tag in _HEADS for tag in self._open)
            point = "li" in self._open
            self.blocks.append(f"## {text}" if head else f"- {text}" if point else text)
