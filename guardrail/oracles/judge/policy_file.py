"""A policy written in words: a Markdown file that a judge reads unchanged as its instructions.

The form is the one that gpt-oss-safeguard and the policy packs of ROOST's model community use:
instructions, definitions, what violates the policy and what does not, examples. Of its text only
the names of its rules are read here, so that a judge's category becomes a word of this closed list:

    ## VIOLATES (1)                     a heading: what follows is a violation
    - **V2 Threats:** ...               a rule: code V2, name "Threats"
    ## SAFE (0)                         what follows is none
    - V0.a News and history - ...       a rule of harmless content
    | **HR** | Harassment | ...         a row of a table: code HR, name "Harassment"
    ### Likely spam (SP2, medium)       a heading with its code at the end
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Rule", "WrittenPolicy", "parse_policy", "read_policy_file"]

_LARGEST_BYTES = 128 * 1024  # some 30,000 tokens: three times what the models are said to take
_MOST_RULES = 1000
_LONGEST_NAME = 56
_LONGEST_CODE = 20

_CODE = r"[A-Z][A-Z0-9]{0,9}(?:[-.]?\d{1,3})?(?:\.[a-z0-9]{1,3})?"
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_CODE_FIRST = re.compile(rf"(?P<code>{_CODE})(?![\w'’])(?P<rest>.*)")
_CODE_LAST = re.compile(rf"(?P<name>[^()|]{{2,80}}?)\s*\(#?(?P<code>{_CODE})\b")
_MARKUP = re.compile(r"[*_`#]+")
_START = re.compile(r"^\W+")  # bullets, bars of tables, signs
_NAME_END = re.compile(r"\s[\u2013\u2014-]\s|[:|().;]|[“”\"]")
_HARMLESS = re.compile(
    r"\bsafe\b|\ballowed\b|\bvalid\b|\bpermit|\bacceptable\b|\bcompliant\b|\bnon-\w|"
    r"\bnot\s+violat|\bno\s+violation",
    re.IGNORECASE,
)
_HARMFUL = re.compile(
    r"\bviolat|\binvalid\b|\bunsafe\b|\bdisallowed\b|\bprohibited\b|\bnot\s+(?:allowed|permitted)\b"
    r"|\bharmful\b",
    re.IGNORECASE,
)
_MARK = re.compile(r"\(\s*(?:label:?\s*)?([01])\s*\)", re.IGNORECASE)
_ZERO = re.compile(r"[A-Z]+-?0+(?:\.[a-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class Rule:
    """One category of a policy.

    Attributes:
        code: as the policy numbers it, such as `H2.f`; empty where it has a name only.
        name: in the policy's own words, cut to what a reason may hold; empty where it has none.
        is_harmless: whether the policy lists it as content that it allows.
    """

    code: str
    name: str
    is_harmless: bool

    @property
    def label(self) -> str:
        """What reasons call it."""
        return f"{self.code} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class WrittenPolicy:
    """One policy file.

    Attributes:
        name: of the file, without its ending.
        text: the file's text, unchanged.
        digest: SHA-256 of the file's bytes, 64 hexadecimal digits.
        rules: the categories that the text names, in its order.
    """

    name: str
    text: str
    digest: str
    rules: tuple[Rule, ...]

    def find_rule(self, label: str) -> Rule | None:
        """The rule of a code or a name, whatever its case and markup; None where there is none.

        `H2.x` is under `H2` where the policy has no `H2.x` of its own.
        """
        wanted = _fold(label)
        for rule in self.rules:
            if wanted and wanted in (_fold(rule.code), _fold(rule.name), _fold(rule.label)):
                return rule
        parent, dot, _ = label.rpartition(".")
        is_code = bool(dot) and len(label) <= _LONGEST_CODE and " " not in label
        return self.find_rule(parent) if is_code else None


def read_policy_file(path: Path) -> WrittenPolicy:
    """The policy in a file.

    Raises:
        ConfigError: it cannot be read, is empty or too large, is not UTF-8 text, or gives its
            labels the opposite of their usual meaning.
    """
    data = read_file(path, "judge's policy", max_bytes=_LARGEST_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            "the judge's policy is not UTF-8 text; save it as UTF-8", file=str(path), line=line
        ) from None
    if not text.strip() or "\x00" in text:
        raise ConfigError(
            "the judge's policy holds no text; write instructions, definitions, what violates it "
            "and what does not",
            file=str(path),
        )
    return parse_policy(path.stem, text, hashlib.sha256(data).hexdigest(), file=str(path))


def parse_policy(name: str, text: str, digest: str, *, file: str | None = None) -> WrittenPolicy:
    """The policy of a text.

    Raises:
        ConfigError: a heading calls safe content 1 or a violation 0, or there are too many rules.
    """
    found: dict[str, Rule] = {}
    for rule in _find_rules(text, file):
        key = _fold(rule.code or rule.name)
        known = found.setdefault(key, rule)
        if known is not rule:  # named twice, as where a category says what is in it and what not
            both = known.is_harmless and rule.is_harmless
            found[key] = Rule(known.code, known.name or rule.name, both)
        if len(found) > _MOST_RULES:
            raise ConfigError(f"a policy has at most {_MOST_RULES} rules; shorten it", file=file)
    return WrittenPolicy(name, text, digest, tuple(found.values()))


def _find_rules(text: str, file: str | None) -> Iterator[Rule]:
    """Every heading and every line that begins with a code, outside fenced blocks."""
    is_fenced = harmless = False
    level = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith(("```", "~~~")):
            is_fenced = not is_fenced
        if is_fenced or not line.strip():
            continue
        heading = _HEADING.match(line.strip())
        words = _MARKUP.sub("", heading[2] if heading else line).strip()
        if heading or _is_title(line, words):
            depth = len(heading[1]) if heading else 7
            says = _read_polarity(words, file, number, is_name=depth == 1)
            if says is not None or depth <= level:
                harmless, level = bool(says), depth
        rule = _read_rule(words, harmless, is_heading=heading is not None)
        if rule is not None:
            yield rule


def _is_title(line: str, words: str) -> bool:
    """Whether a line that is no Markdown heading serves as one: all bold, or with its code last."""
    bare = line.strip()
    is_bold = bare.startswith("**") and bare.endswith("**")
    return is_bold or _CODE_LAST.match(_START.sub("", words)) is not None


def _read_polarity(words: str, file: str | None, line: int, *, is_name: bool) -> bool | None:
    """Whether a heading announces harmless content; None where it announces neither.

    The words of the policy's own name announce nothing: it may be called "Safe messaging".

    Raises:
        ConfigError: its words and its label, 0 or 1, say opposite things.
    """
    harmless, harmful = _HARMLESS.search(words), _HARMFUL.search(words)
    says = None if not (harmless or harmful) else bool(harmless)
    if re.search(r"\bnot\s+(?:allowed|permitted)\b", words, re.IGNORECASE):
        says = False
    mark = _MARK.search(words)
    if mark is None:
        return None if is_name else says
    if says is not None and says != (mark[1] == "0"):
        raise ConfigError(
            "a heading gives 0 to what violates the policy, or 1 to what does not; judges' replies "
            "are read as 1 = violates, 0 = does not",
            file=file,
            line=line,
        )
    return mark[1] == "0"


def _read_rule(words: str, harmless: bool, *, is_heading: bool) -> Rule | None:
    """The rule that a line names, if it names one."""
    words = _START.sub("", words)
    if not words or (is_heading and _MARK.search(words)):
        return None
    last, first = _CODE_LAST.match(words), _CODE_FIRST.match(words)
    if last is not None:
        return _make_rule(last["code"], last["name"], harmless)
    if first is not None and _is_code(first["code"], is_heading=is_heading, rest=first["rest"]):
        return _make_rule(first["code"], first["rest"], harmless)
    return _make_rule("", words, harmless) if is_heading else None


def _is_code(code: str, *, is_heading: bool, rest: str) -> bool:
    """Whether it is a code and not a word in capitals, such as a heading or the article A."""
    if any(character.isdigit() for character in code):
        return True
    return len(code) <= 4 and (rest.lstrip().startswith("|") or (is_heading and "(" in rest[:3]))


def _make_rule(code: str, name: str, harmless: bool) -> Rule:
    name = _START.sub("", name)
    end = _NAME_END.search(name)
    short = " ".join((name[: end.start()] if end else name).split())[:_LONGEST_NAME].strip()
    return Rule(code, short, harmless or _ZERO.fullmatch(code) is not None)


def _fold(label: str) -> str:
    return " ".join(_MARKUP.sub("", label).split()).strip("<>[]\"' ").casefold()
