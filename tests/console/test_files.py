"""The console's own files and those of others: unchanged, and with nothing from outside."""

import hashlib
import re
from pathlib import Path

import pytest

import guardrail
from guardrail.console.templates import STATIC, static_url

CONSOLE = Path(guardrail.__file__).parent / "console"
VENDORS = (STATIC / "vendor", Path(__file__).with_name("vendor"))
ROW = re.compile(r"\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|")


@pytest.mark.parametrize("folder", VENDORS, ids=["served", "tests"])
def test_files_of_others_are_as_their_packages_have_them(folder):
    rows = ROW.findall((folder / "README.md").read_text())
    assert {name for name, _ in rows} == {file.name for file in folder.glob("*.js")}
    for name, digest in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert list(folder.glob("*LICENSE*"))


def test_nothing_is_loaded_from_outside_and_nothing_stands_inline():
    for template in (CONSOLE / "html").glob("*.html"):
        text = template.read_text()
        assert not re.search(r"https?://", text), template.name
        assert not re.search(r"<(script(?! src)|style)\b|\sstyle=|\son[a-z]+=", text), template.name
        assert not re.search(r"\|\s*safe\b|autoescape", text), template.name
    assert not re.search(r"url\(|@import", (STATIC / "console.css").read_text())


def test_no_greek_letter_stands_outside_a_tooltip():
    for template in (CONSOLE / "html").glob("*.html"):
        text = re.sub(r'title="[^"]*"|"[^"]*(?:σ|τ|α)[^"]*"', "", template.read_text())
        assert not re.search("[α-ωΑ-Ω]", text), template.name


def test_a_files_address_changes_with_its_content():
    assert re.fullmatch(r"/console/static/console\.css\?v=[0-9a-f]{12}", static_url("console.css"))
