"""Takes the pictures of docs/console.md, each page of the console on a desk and on a phone, and of
the demo's report.

Runs `guardrail demo --keep-open`, whose decisions and what was said in them fill the console, and
looks at it with Debian's Chromium. A page of the menu without a picture ends this with status 1.

From the repository root:  python benchmarks/pictures/console.py   (part of `make pictures`)
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # tests/ has the browser, and is no package that is installed
from tests.console.browser import find_chromium, running_browser  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

FOLDER = ROOT / "docs" / "console"
LARGEST_BYTES = 200_000
WIDTHS = {"": 1280, "-phone": 390}
PICTURE = ROOT / "guardrail" / "demo" / "pictures" / "attacked-large-1.png"
STARTED, READY = r"console at (http://\S+/console)/", "stays open"
PATIENCE_S = 900


def stay(_page: Page) -> None:
    """The page is there once it is loaded."""


def open_doubtful(page: Page) -> None:
    """The newest decision that was stopped only after many answers."""
    page.goto(page.url + "?verdict=block")
    rows = page.locator("tr[data-row]")
    doubtful = rows.filter(has_text="not clear enough")
    (doubtful if doubtful.count() else rows).first.get_by_role("link").first.click()
    page.locator(".tiles").first.wait_for()


def begin_round(page: Page) -> None:
    if page.get_by_role("button", name="Draw").is_visible():
        page.get_by_role("button", name="Draw").click()
    page.get_by_role("button", name="Harmful").first.wait_for()


def open_policy(page: Page) -> None:
    page.locator("tr[data-row] a").first.click()
    page.wait_for_load_state()


def wait_for_numbers(page: Page) -> None:
    """All steps of the sliders are computed in the background, some of them for seconds."""
    page.locator("#tune-numbers table").first.wait_for()
    page.locator("#tune-numbers progress").wait_for(state="detached")


def try_picture(page: Page) -> None:
    # Another prompt for each picture: the verdict on an equal request is remembered.
    words = "Describe" if page.viewport_size["width"] < 500 else "What is shown in"
    page.get_by_label("Prompt").fill(f"{words} this picture.")
    page.get_by_label("Picture", exact=True).last.set_input_files(PICTURE)
    page.get_by_alt_text("The picture that you chose").wait_for()
    page.get_by_role("button", name="Decide").click()
    page.locator("#run > [role=status]", has_text="Decided.").wait_for()
    page.locator("#run .draw").first.wait_for()


@dataclass(frozen=True, slots=True)
class Shot:
    """A page: its address, what is done before it is taken, and what is seen of it."""

    address: str
    prepare: Callable[[Page], None] = stay
    height: int = 860
    phone_height: int = 780

    def viewport(self, suffix: str) -> dict[str, int]:
        height = self.phone_height if suffix else self.height
        return {"width": WIDTHS[suffix], "height": height}


# A page more is one line, by the name of its pictures.
PAGES = {
    "overview": Shot("/", height=1180),
    "decisions": Shot("/decisions"),
    "decision": Shot("/decisions", open_doubtful, height=1700, phone_height=1100),
    "label": Shot("/label", begin_round),
    "tune": Shot("/tune", wait_for_numbers, height=1500, phone_height=1300),
    "playground": Shot("/playground", try_picture, height=1300, phone_height=1300),
    "policies": Shot("/policies", open_policy),
    "appeals": Shot("/appeals"),
    "health": Shot("/health"),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """A picture that was written."""

    file: Path
    width: int
    height: int
    colours: int


@contextmanager
def open_demo(folder: Path, *options: str) -> Iterator[str]:
    """The address of the console of a demo that has ended its work and stays open."""
    log = folder / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "guardrail", "demo", "--keep-open",
             "--out", str(folder / "demo.html"), *options],
            stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
        )  # fmt: skip
    try:
        yield wait_for_console(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def wait_for_console(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        told = log.read_text(errors="replace")
        if READY in told and (found := re.search(STARTED, told)):
            return found[1]
        time.sleep(0.2)
    raise SystemExit(
        f"the demo did not come to its end:\n{log.read_text(errors='replace')[-2000:]}"
    )


def take_all(url: str, folder: Path) -> list[Taken]:
    """Every page in every viewport. Raises SystemExit where a page of the menu has no picture."""
    folder.mkdir(exist_ok=True)
    with running_browser() as browser:
        check_menu(browser, url)
        return [
            take(browser, url, shot, suffix, folder / f"{name}{suffix}.webp")
            for name, shot in PAGES.items()
            for suffix in WIDTHS
        ]


def check_menu(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.goto(f"{url}/")
    there = {
        link.get_attribute("href").removeprefix("/console")
        for link in page.get_by_role("navigation", name="Pages").get_by_role("link").all()
    }
    page.close()
    if missing := there - {shot.address for shot in PAGES.values()}:
        raise SystemExit(f"PAGES of {Path(__file__).name} lacks {', '.join(sorted(missing))}")


def take(browser: Browser, url: str, shot: Shot, suffix: str, file: Path) -> Taken:
    """A picture of a page, without loss: text and even colours make small files."""
    context = browser.new_context(
        viewport=shot.viewport(suffix), color_scheme="light", timezone_id="UTC", locale="en-GB"
    )
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    page.goto(f"{url}{shot.address}")
    shot.prepare(page)
    page.evaluate("window.scrollTo(0, 0)")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    image.save(file, "WEBP", lossless=True, method=6)
    size = file.stat().st_size
    print(f"{file.name}: {image.width} x {image.height}, {size:,} bytes")
    if size > LARGEST_BYTES:
        raise SystemExit(f"{file} has more than {LARGEST_BYTES:,} bytes")
    return Taken(file, image.width, image.height, len(image.getcolors(1 << 24)))


def take_report(page_file: Path, file: Path) -> None:
    """The upper part of the demo's report, in few colours: there are photographs' worth of them."""
    with running_browser() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 1700}, color_scheme="light")
        page.goto(page_file.as_uri())
        image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(colors=200, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.name}: {image.width} x {image.height}, {file.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--url", help="a console that runs already, as http://127.0.0.1:8080/console"
    )
    options = parser.parse_args()
    if find_chromium() is None:
        raise SystemExit("chromium is missing; apt-get install chromium")
    if options.url:
        take_all(options.url.rstrip("/"), FOLDER)
        return
    with tempfile.TemporaryDirectory() as folder, open_demo(Path(folder)) as url:
        take_all(url, FOLDER)
        take_report(Path(folder) / "demo.html", ROOT / "docs" / "demo.png")


if __name__ == "__main__":
    main()
