"""The pages name fields that exist, and their examples are policies that load."""

import re
from pathlib import Path

import pytest

from guardrail.policy.fields import describe_fields
from guardrail.policy.load import parse_policy
from guardrail.policy.schema import PolicyFile

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FIELDS = {".".join(field.place) for field in describe_fields(PolicyFile)}
SECTIONS = {name.partition(".")[0] for name in FIELDS if "." in name} | {"limits", "memory"}
NAMED = re.compile(rf"(?<![\w./-])((?:{'|'.join(sorted(SECTIONS))})(?:\.[a-z_]+)+)(?![\w/(-])")
BLOCK = re.compile(r"```yaml\n(?!guardrails:)(.*?)```", re.DOTALL)
EXAMPLES = [
    pytest.param(text, id=f"{page}-{number}")
    for page in ("policy.md", "wire.md")
    for number, text in enumerate(BLOCK.findall((ROOT / "docs" / page).read_text()))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fields_that_are_named_exist(page):
    named = set(NAMED.findall(page.read_text()))
    files = {name for name in named if name.endswith((".html", ".md", ".py", ".yaml"))}
    assert named - files <= FIELDS


def test_the_search_finds_fields():
    found = {name for page in PAGES for name in NAMED.findall(page.read_text())}
    assert len(found & FIELDS) > 50
    assert NAMED.findall("in limits.retries, or `smoothing.sigma: 1`") == [
        "limits.retries",
        "smoothing.sigma",
    ]


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_are_policies(text):
    name = "" if text.startswith("name:") else "name: example\n"
    assert parse_policy(f"{name}{text}".encode(), file="example.yaml").name
