"""A text that somebody wrote as a policy: whether it can be used, and every mistake at its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.console.held_fields import find_held
from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.policy.compile import compile_policy
from guardrail.policy.document import parse_document
from guardrail.policy.load import parse_policy
from guardrail.policy.mistakes import list_mistakes, raise_mistakes

if TYPE_CHECKING:
    from guardrail.console.policy_text import PolicyText
    from guardrail.policy.schema import Policy

__all__ = ["MOST_TEXT_BYTES", "DraftCheck", "Mistake", "check_draft", "read_text"]

MOST_TEXT_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong; `line` is None where it is in none of the text's own lines."""

    line: int | None
    words: str


@dataclass(frozen=True, slots=True)
class DraftCheck:
    """What a text is as a policy; `policy` is None where it has mistakes."""

    policy: Policy | None
    mistakes: tuple[Mistake, ...]


def read_text(sent: str, current: str) -> str:
    """A text as a form sent it, with the ends of line that the current one has.

    Browsers end every line with CR and LF.

    Raises:
        RequestError: it is too long, or has characters that no file of text has.
    """
    text = sent.replace("\r\n", "\n").replace("\r", "\n")
    if "\r\n" in current:
        text = text.replace("\n", "\r\n")
    if len(text.encode()) > MOST_TEXT_BYTES:
        raise RequestError(f"a policy has at most {MOST_TEXT_BYTES:,} bytes here", param="text")
    if "\0" in text:
        raise RequestError("the text has a null character in it; remove it", param="text")
    return text


def check_draft(text: str, target: PolicyText, *, is_from_file: bool = False) -> DraftCheck:
    """Checks a text as the policy that is to take the place of another one.

    What it may not change is looked for first: only then is anything done that it names.

    Args:
        text: what is checked.
        target: the policy.
        is_from_file: whether the text once stood in the policy's file without having been written
            here, so that it may name whatever it does.
    """
    try:
        return DraftCheck(_use(text, target, is_from_file=is_from_file), ())
    except ConfigError as error:
        return DraftCheck(None, tuple(_describe(one, target) for one in list_mistakes(error)))
    except CertificationError as error:
        return DraftCheck(None, (Mistake(None, str(error)),))


def _use(text: str, target: PolicyText, *, is_from_file: bool) -> Policy:
    """Raises ConfigError or CertificationError."""
    file, data = target.parsed_as, text.encode()
    draft = parse_document(data, file=file)
    if not is_from_file:
        current = parse_document(target.text.encode(), file=file)
        raise_mistakes([*find_held(draft, current)])
    policy = parse_policy(data, file=file)
    if policy.name != target.name:
        raise ConfigError(
            f"must stay '{target.name}': keys, requests and records name the policy by it",
            file=file,
            line=draft.find_line(("name",)),
            field="name",
        )
    plan_for(compile_policy(policy), UNSCALED)
    return policy


def _describe(error: ConfigError, target: PolicyText) -> Mistake:
    if error.file in (None, target.parsed_as):
        return Mistake(error.line, error.told)
    return Mistake(None, str(error))
