"""Debian's Chromium, and a proxy with a console for it to look at."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

MISSING = "chromium is not installed (apt-get install chromium): the console's pages are not tried"
_AXE = Path(__file__).with_name("vendor") / "axe.min.js"


def find_chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running_browser():
    """A browser; Chromium refuses its own sandbox to root."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        try:
            yield browser
        finally:
            browser.close()


def find_violations(page):
    """What axe finds against WCAG 2.2, levels A and AA: rule, and where."""
    wait_for_frames(page)
    page.evaluate(_AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run({runOnly: tags})", tags)
    return [
        (one["id"], node["target"], node.get("failureSummary", ""))
        for one in found["violations"]
        for node in one["nodes"]
    ]


def wait_for_frames(page):
    """Until what a page does of itself when sizes change is done, which is with its next frame."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def find_unreachable(page):
    """The boxes that scroll and that the keyboard cannot reach, or that do not and it can."""
    wait_for_frames(page)
    return page.evaluate("""[...document.querySelectorAll(".scroll")]
        .filter(box => (box.scrollWidth > box.clientWidth) !== (box.tabIndex === 0))
        .map(box => box.textContent.trim().slice(0, 40))""")


def is_scrolled_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
