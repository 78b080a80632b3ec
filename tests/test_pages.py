"""What the pages say can be followed: links lead somewhere, commands and their options exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from guardrail.cli import _cli

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "docs", "guardrail", "integrations", "policies")
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(p for name in FOLDERS for p in (ROOT / name).rglob("*.md")))
    # What was installed below a hidden folder is other people's.
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)
BLOCK = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"(?:^|[`$(] ?)guardrail ((?:[^`\n]|\\\n)+)", re.MULTILINE)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def anchors_of(page):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).strip().lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


def commands_in(text):
    """The words behind `guardrail` of each command in blocks of code or between backquotes."""
    code = "\n".join(BLOCK.findall(text)) + "\n" + "\n".join(re.findall(r"`guardrail [^`]+`", text))
    for found in COMMAND.findall(code.replace("\\\n", " ")):
        try:
            words = shlex.split(found, comments=True)
        except ValueError:
            continue  # prose with an apostrophe
        if words and words[0] in _cli.list_commands(None):
            yield words


def command_of(words):
    """The command that the words name, and those that are left."""
    command, rest = _cli.get_command(None, words[0]), words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_options_of_commands_exist(page):
    for words in commands_in(page.read_text()):
        command, rest = command_of(words)
        known = {name for param in command.params for name in param.opts} | {"--help"}
        if isinstance(command, click.Group):
            known |= {n for c in command.commands.values() for p in c.params for n in p.opts}
        given = {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        assert given <= known, words


def test_the_search_finds_commands():
    found = [words[0] for page in PAGES for words in commands_in(page.read_text())]
    assert len(found) > 60
    assert set(found) == set(_cli.list_commands(None))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_nothing_is_left_to_be_filled_in(page):
    blocks = BLOCK.findall(page.read_text())
    assert not [block for block in blocks if re.fullmatch(r"[A-Z_]+\s*", block)]
