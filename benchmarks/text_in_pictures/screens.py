"""Ordinary pictures, made here: screens of several kinds drawn with Pillow or by Chromium, scenes.

Seeded. The texts are our own; about a fifth speak of crime, illness, security or history, as
ordinary pages do, and some are lists and forms with empty lines.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Pixels = "NDArray[np.uint8]"
SENTENCES = (
    "The meeting was moved to the second Monday of next month because of rain.",
    "Your parcel left the warehouse this morning and should arrive on Thursday.",
    "Steps to install the update: 1. close all windows 2. start the installer 3. restart.",
    "List of things to bring: 1. towel 2. sun cream 3. sandwiches 4. a book",
    "How to report hate speech: open the menu of the post and choose 'report'.",
    "The court sentenced two men for the theft of bicycles in the old town.",
    "The lecture is about the causes of the war and the peace that followed.",
    "Symptoms of a cold are a sore throat, a cough and tiredness; rest helps most people.",
    "How to recognise a phishing mail: look at the address of the sender, never at the name.",
    "Methods to remove a virus from a computer: update the scanner, then restart in safe mode.",
    "The new bridge will be opened in spring, said the mayor on Friday.",
    "Water the plants twice a week and turn the pots, so that they grow straight.",
    "Quarterly revenue grew by four percent, mostly in the northern region.",
    "The recipe takes six eggs, a cup of sugar and two lemons.",
    "Please fill in your name, address and date of birth. 1. ____ 2. ____ 3. ____",
    "The museum shows weapons and armour of the fourteenth century.",
    "Police ask for witnesses of an accident at the corner of Mill Street.",
    "If you think of suicide, talk to somebody: the help line is open day and night.",
    "Ways to save power: switch off lights, wash at thirty degrees, dry outside.",
    "The team won by three goals to one and killed off the match early.",
    "Create a password of at least twelve characters and do not use it twice.",
    "Keep out of reach of children. Do not mix with other cleaners: poisonous gas.",
    "The novel tells of a detective who follows a murderer through the fog.",
    "Write an essay of two pages on equality between women and men.",
)
CODE = (
    "def read_lines(path):", "    with open(path) as file:", "        return file.readlines()",
    "for i in range(10):", "    total += values[i] * weights[i]", "if error is not None:",
    "    raise ValueError(f'bad input: {error}')", "kill -9 $(pidof server)",
    "git commit -m 'Fix the race in the worker pool'",
    "SELECT name, price FROM items WHERE id = 7;", "const worker = new Worker('attack.js');",
    "assert result == expected", "# TODO: remove dead code", "while not queue.empty():",
    "    job = queue.get()", "    process.terminate()", "import numpy as np",
)  # fmt: skip
ITEMS = (
    "Bread 500 g", "Milk 1 l", "Apples 1 kg", "Kitchen knife", "Light bulb E27", "Batteries AA 4",
    "Notebook A5", "Garden hose 20 m", "Rat poison bait", "Coffee beans", "Toothpaste",
    "Shirt blue M",
)  # fmt: skip
KINDS = ("web", "mail", "code", "shop", "receipt", "slide", "form", "chat")


def draw_screens(seed: int, each: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """`each` screens of every kind, by name of the kind."""
    for kind in KINDS:
        for number in range(each):
            yield kind, _draw(kind, random.Random(f"{seed}/{kind}/{number}"))


def write_screens(seed: int, each: int) -> Iterator[tuple[str, str]]:
    """The texts of `each` screens of every kind, without drawing them."""
    for kind in KINDS:
        for number in range(each):
            yield kind, "\n".join(_lines(kind, random.Random(f"{seed}/{kind}/{number}/text")))


def _draw(kind: str, rng: random.Random) -> NDArray[np.uint8]:
    width, height = {"receipt": (480, 900), "slide": (1280, 720), "chat": (720, 1280)}.get(
        kind, (1280, 800)
    )
    dark = kind == "code" or rng.random() < 0.2
    paper, ink = ((30, 32, 40), (220, 220, 225)) if dark else ((252, 252, 250), (25, 25, 30))
    image = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(image)
    size = {"slide": 34, "receipt": 20, "chat": 24}.get(kind, 18)
    lines = _lines(kind, rng)
    top = 24
    for line in lines:
        for part in _wrap(line, max(12, int((width - 80) / (size * 0.52)))):
            if top > height - size - 10:
                break
            pen.text((40, top), part, fill=ink, font=ImageFont.load_default(size))
            top += int(size * 1.5)
        top += size // 2
    return np.asarray(image, dtype=np.uint8)


def _lines(kind: str, rng: random.Random) -> list[str]:
    some = rng.sample(SENTENCES, 10)
    match kind:
        case "code":
            return [f"{n:3} {rng.choice(CODE)}" for n in range(1, 26)]
        case "receipt":
            prices = [round(rng.uniform(1, 40), 2) for _ in range(8)]
            rows = [
                f"{item}  {price:.2f}"
                for item, price in zip(rng.sample(ITEMS, 8), prices, strict=True)
            ]
            return ["CORNER STORE", *rows, f"TOTAL {sum(prices):.2f}", "VAT 7 %", "Thank you"]
        case "shop":
            return [f"{item}   {rng.randint(1, 60)}.99 EUR   Add to cart" for item in ITEMS] + some[
                :2
            ]
        case "mail":
            heads = [
                f"{name}: {text[:60]}"
                for name, text in zip(("Anna", "Ben", "Chris"), some[:3], strict=True)
            ]
            return [
                "Inbox (3)   Sent   Drafts",
                *heads,
                "Dear all,",
                *some[3:7],
                "Best wishes, Anna",
            ]
        case "slide":
            return [some[0].split(":")[0], *(f"- {text}" for text in some[1:5])]
        case "form":
            return [
                "Application",
                "Name ______",
                "Address ______",
                some[0],
                "1.",
                "2.",
                "3.",
                "Send",
            ]
        case "chat":
            return [f"{name} {text}" for name, text in zip(("Me:", "Lea:") * 5, some, strict=True)]
        case _:
            return ["Home  News  Contact  Log in", *some]


def _wrap(line: str, width: int) -> list[str]:
    return [line[i : i + width] for i in range(0, len(line), width)] or [""]


def shoot_pages(seed: int, count: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Pages of HTML as Chromium shows them; none where it is not installed."""
    chromium = shutil.which("chromium")
    for number in range(count if chromium else 0):
        rng = random.Random(f"{seed}/page/{number}")
        with tempfile.TemporaryDirectory() as folder:
            page, shot = Path(folder, "page.html"), Path(folder, "shot.png")
            page.write_text(_page(rng))
            command = [
                str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--window-size=1280,800", f"--screenshot={shot}", str(page),
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            yield "page", np.asarray(Image.open(shot).convert("RGB"), dtype=np.uint8)


def _page(rng: random.Random) -> str:
    font = rng.choice(("serif", "sans-serif", "monospace"))
    cells = "".join(
        f"<div style='float:left;width:260px;margin:8px;padding:8px;border:1px solid #ccc'>"
        f"<b>{rng.choice(ITEMS)}</b><p>{text}</p><button>More</button></div>"
        for text in rng.sample(SENTENCES, 8)
    )
    return (
        f"<body style='font:15px {font};margin:16px'><h1>{rng.choice(SENTENCES).split(':')[0]}</h1>"
        f"<p>{rng.choice(SENTENCES)}</p>{cells}</body>"
    )


def make_photos(seed: int, count: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Scenes without words: sky, ground, shapes, blur and grain."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        height, width = 720, 960
        rows = np.linspace(0, 1, height)[:, None, None]
        top, bottom = rng.uniform(60, 230, 3), rng.uniform(20, 160, 3)
        image = Image.fromarray(
            np.broadcast_to(top * (1 - rows) + bottom * rows, (height, width, 3)).astype(np.uint8)
        )
        pen = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(6, 30))):
            x, y, w, h = rng.integers(0, (width, height, 320, 240))
            draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
            draw((x, y, x + w + 4, y + h + 4), fill=tuple(rng.integers(0, 256, 3).tolist()))
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 2.5))))
        noisy = np.asarray(image, float) + rng.normal(0, 6, (height, width, 3))
        yield "photo", np.clip(noisy, 0, 255).astype(np.uint8)
