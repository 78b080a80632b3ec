"""Policies in words: read unchanged, their rules found in the forms that are in use."""

import hashlib
from pathlib import Path

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles.judge.policy_file import Rule, parse_policy, read_policy_file

PACKS = sorted((Path(__file__).parents[3] / "policies" / "packs").glob("*.md"))

CODED = """# Shouting policy
## INSTRUCTIONS
Return 0 or 1.
## VIOLATES (1)
- **L1 Capitals:** words in capitals.
- L2.a Bells - "ding"
## SAFE (0)
- **L0.a Acronyms:** NATO.
- L3 Whispering - quiet words
## EXAMPLES
```
X9 not a rule, but an example
```
"""
TIERS = """Parcel Policy (#PA)
Allowed Content (PA0 – wanted)
PA0.a A question – “Where is it?”
Likely bad (PA2 – medium)
PA2.a Cold mail – “Buy”
Output: INVALID
"""
TABLE = """# Flags
| Code | Category | Description |
|------|----------|-------------|
| **LD** | Loud | capitals |
| **Q** | Quiet | whispering |
## CRITERIA
### LD (Loud) - VIOLATES
### LD (Loud) - SAFE
"""


def rules(text):
    return {rule.code or rule.name: rule for rule in parse_policy("p", text, "").rules}


def test_rules_are_found_by_code_with_the_section_that_they_stand_in():
    found = rules(CODED)
    assert found["L1"] == Rule("L1", "Capitals", is_harmless=False)
    assert found["L2.a"] == Rule("L2.a", "Bells", is_harmless=False)
    assert found["L0.a"] == Rule("L0.a", "Acronyms", is_harmless=True)
    assert found["L3"] == Rule("L3", "Whispering", is_harmless=True)
    assert "X9" not in found


def test_tiers_and_tables_are_read_too():
    tiers = rules(TIERS)
    assert tiers["PA2"] == Rule("PA2", "Likely bad", is_harmless=False)
    assert tiers["PA0.a"].is_harmless
    assert not tiers["PA2.a"].is_harmless
    table = rules(TABLE)
    assert (table["LD"].name, table["Q"].name) == ("Loud", "Quiet")
    assert not table["LD"].is_harmless  # named for both sides: a flag of it is no acquittal


def test_the_name_of_a_policy_acquits_nothing():
    assert not rules("# Safe messaging\n## DEFINITIONS\n- M1 Insults - x\n")["M1"].is_harmless


def test_rules_are_found_by_code_name_and_parent():
    policy = parse_policy("p", CODED, "")
    for label in ("L1", "l1", "**L1**", "Capitals", "L1 Capitals", "L1.c"):
        assert policy.find_rule(label).code == "L1"
    assert policy.find_rule("L7") is None
    assert policy.find_rule("." * 5000) is None


def test_a_file_is_read_unchanged_with_the_digest_of_its_bytes(tmp_path):
    file = tmp_path / "quiet.md"
    file.write_bytes(CODED.encode())
    policy = read_policy_file(file)
    assert (policy.name, policy.text) == ("quiet", CODED)
    assert policy.digest == hashlib.sha256(CODED.encode()).hexdigest()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "cannot be read"),
        (b"", "holds no text"),
        (b" \n\t\n", "holds no text"),
        (b"# A\x00", "holds no text"),
        (b"# Policy\n\xff\xfe", "not UTF-8"),
        (b"a" * (128 * 1024 + 1), "more than 131072 bytes"),
        (b"# P\n## VIOLATES (0)\n", "1 = violates"),
        (b"# P\n## SAFE (Label: 1)\n", "1 = violates"),
        ("\n".join(f"- A1.{i % 36}x{i}" for i in range(5)).encode(), None),
        ("\n".join(f"## heading {i}" for i in range(1001)).encode(), "at most 1000 rules"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_file_named(tmp_path, data, words):
    file = tmp_path / "p.md"
    if data is not None:
        file.write_bytes(data)
    if words is None:
        read_policy_file(file)
        return
    with pytest.raises(ConfigError, match=words) as caught:
        read_policy_file(file)
    assert caught.value.file == str(file)


def test_a_byte_that_is_not_utf8_is_named_by_its_line(tmp_path):
    (tmp_path / "p.md").write_bytes(b"# P\n\ntext \xff\n")
    with pytest.raises(ConfigError) as caught:
        read_policy_file(tmp_path / "p.md")
    assert caught.value.line == 3


def test_the_packs_are_those_that_are_promised():
    assert {file.stem for file in PACKS} == {
        "general", "violence", "hate_and_harassment", "self_harm", "sexual_content",
        "dangerous_instructions", "privacy", "fraud",
    }  # fmt: skip


@pytest.mark.parametrize("file", PACKS, ids=lambda file: file.stem)
def test_every_pack_has_the_form_and_rules_of_both_kinds(file):
    policy = read_policy_file(file)
    for heading in ("INSTRUCTIONS", "DEFINITIONS", "VIOLATES (1)", "SAFE (0)", "EXAMPLES"):
        assert f"\n## {heading}\n" in policy.text
    coded = [rule for rule in policy.rules if rule.code]
    assert sum(rule.is_harmless for rule in coded) >= 4
    assert sum(not rule.is_harmless for rule in coded) >= 4
    assert all(rule.name for rule in coded)
    assert len(policy.text.split()) < 600  # short policies are followed best
