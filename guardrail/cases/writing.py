"""Writes cases as a file that `load_cases` reads back to equal ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, assert_never

import yaml

from guardrail.canonical import make_interoperable
from guardrail.cases.case import AnswerCase, KeptAnswer, KeptCase, PictureCase
from guardrail.engine.preprocessing import NO_FILTER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.cases.case import Case
    from guardrail.types import Answer, Json

__all__ = ["write_cases"]


_PLAIN = re.compile(r"[a-z]+(?:[ _][a-z]+)*")


class _Dumper(yaml.SafeDumper):
    """Puts every text but plain words into double quotes, with escapes.

    Without quotes PyYAML writes some texts so that it reads others: line breaks of Unicode become
    blanks, and what is a text to YAML 1.1 may be a number to 1.2 (`1e3`).
    """


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if _PLAIN.fullmatch(text) else '"'
    node: yaml.Node = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


_Dumper.add_representer(str, _represent_text)


def write_cases(cases: Iterable[Case]) -> str:
    """A YAML file of these cases. Texts of others stay texts, whatever they hold.

    What no JSON can carry, such as half a character, is replaced, as in records.
    """
    rows = [make_interoperable(_case_fields(case)) for case in cases]
    text: str = yaml.dump(
        {"cases": rows}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def _case_fields(case: Case) -> dict[str, Json]:
    expect = case.expect
    expected = {
        "expect": expect.decision.value,
        "category": expect.category,
        "reason": None if expect.reason is None else expect.reason.value,
        "needs_at_most_calls": expect.most_calls,
        "radius_at_least": expect.radius_lower,
        "tags": list(case.tags) or None,
    }
    return {"name": case.name, **_drop_empty(_given_fields(case)), **_drop_empty(expected)}


def _given_fields(case: Case) -> dict[str, Json]:
    match case.given:
        case AnswerCase(answer, prompt):
            return {"prompt": prompt or None, "answer": _write_answer(answer)}
        case PictureCase(images, prompt, model, parameters):
            return {
                "images": [str(image) for image in images],
                "prompt": prompt,
                "model": model or None,
                "parameters": dict(parameters) or None,
            }
        case KeptCase() as kept:
            return {"prompt": kept.prompt or None, "record": _record_fields(kept)}
        case _:
            assert_never(case.given)


def _record_fields(kept: KeptCase) -> dict[str, Json]:
    pictures = [
        {"client": list(size.client), "canvas": list(size.canvas)} for size in kept.pictures
    ]
    return _drop_empty(
        {
            "id": kept.record_id,
            "oracle": kept.oracle,
            "sigma": kept.sigma,
            "pictures": pictures or None,
            "model_side_px": kept.model_side_px,
            "denoise": None if kept.denoise == NO_FILTER else kept.denoise,
            "answers": [_kept_fields(one) for one in kept.answers],
        }
    )


def _kept_fields(one: KeptAnswer) -> dict[str, Json]:
    return _drop_empty(
        {
            "outcome": one.outcome.value,
            "score": one.score,
            "category": one.category or None,
            "field": one.field or None,
            "answer": None if one.answer is None else _write_answer(one.answer),
        }
    )


def _write_answer(answer: Answer) -> Json:
    """The text of an answer that is nothing else, as most are; else its whole message."""
    more = {name for name, value in answer.message.items() if value} - {"role", "content"}
    content = answer.message.get("content")
    if not more and isinstance(content, str):
        return content
    return {name: value for name, value in answer.message.items() if name != "role"}


def _drop_empty(fields: dict[str, Any]) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}
