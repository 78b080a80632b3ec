"""Reads files of cases; every mistake is named by file, line and field, as in policies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.cases.case import (
    AnswerCase,
    Case,
    CaseDecision,
    Expectation,
    KeptAnswer,
    KeptCase,
    KeptPicture,
    PictureCase,
)
from guardrail.cases.schema import CasesFile
from guardrail.errors import ConfigError, UpstreamError
from guardrail.files import read_file
from guardrail.policy.document import Source, parse_document, parse_json_lines
from guardrail.policy.load import validate_content
from guardrail.policy.mistakes import raise_mistakes
from guardrail.upstreams.wire import answer_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.cases.case import Given
    from guardrail.cases.schema import CaseSection, RecordSection
    from guardrail.types import Answer, Json

__all__ = ["SHIPPED_CASES", "find_case_files", "load_cases", "parse_cases", "read_answer"]

SHIPPED_CASES = {"starter": Path(__file__).resolve().parent / "starter"}
"""Suites that ship with the package, by name."""

_ENDINGS = (".yaml", ".yml", ".json", ".jsonl")
_LARGEST_BYTES = 64 * 1024 * 1024
_KINDS = ("answer", "image", "images", "record")


def find_case_files(name: str) -> tuple[Path, ...]:
    """The files of cases that a name stands for.

    Args:
        name: a file; a folder, of which all files of cases are taken, by name; or a shipped suite.

    Raises:
        ConfigError: there is nothing of that name.
    """
    path = Path(name)
    if not path.exists():
        path = SHIPPED_CASES.get(name, path)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS)
        if not found:
            raise ConfigError(
                f"there is no file of cases in this folder; they end in {', '.join(_ENDINGS)}",
                file=str(path),
            )
        return tuple(found)
    if not path.exists():
        raise ConfigError(
            f"there is no file, no folder and no shipped suite '{name}'; those that ship: "
            f"{', '.join(SHIPPED_CASES)}"
        )
    return (path,)


def load_cases(name: str) -> tuple[Case, ...]:
    """All cases of a file, a folder or a shipped suite, in order.

    Raises:
        ConfigError: a file cannot be read, or something in it is wrong; all mistakes are named.
    """
    return tuple(
        case
        for file in find_case_files(name)
        for case in parse_cases(
            read_file(file, "file of cases", max_bytes=_LARGEST_BYTES), file=str(file)
        )
    )


def parse_cases(data: bytes, *, file: str) -> tuple[Case, ...]:
    """The cases in a text.

    Args:
        data: the text.
        file: where it stands: JSON if that ends in .json, a case in each line if it ends in .jsonl,
            else YAML. Pictures are looked for by their paths from its folder.

    Raises:
        ConfigError: as `load_cases`.
    """
    if file.lower().endswith(".jsonl"):
        document = parse_json_lines(data, file=file, name="cases")
    else:
        document = parse_document(data, file=file)
    source = Source(Path(file).parent, (document,))
    parsed = validate_content(CasesFile, document.content, source, schema="docs/policy_tests.md")
    raise_mistakes([*_find_mistakes(parsed, source)])
    return tuple(
        Case(
            section.name,
            _read_given(section, source.folder),
            _read_expectation(section),
            section.tags,
            *source.locate(("cases", index)),
        )
        for index, section in enumerate(parsed.cases)
    )


def read_answer(said: str | Mapping[str, Json], *, may_be_empty: bool = False) -> Answer:
    """The answer that a text or an assistant message is, read as strictly as a provider's.

    `may_be_empty` takes one that says nothing for what a provider's filter left of an answer.

    Raises:
        ConfigError: no client could show it.
    """
    message = {"content": said} if isinstance(said, str) else said
    is_empty = may_be_empty and not any(value for name, value in message.items() if name != "role")
    choice = {
        "index": 0,
        "message": {**message, "role": "assistant"},
        "finish_reason": "content_filter" if is_empty else "stop",
    }
    try:
        return answer_from({"choices": [choice]})
    except UpstreamError as error:
        raise ConfigError(
            "this is no answer; give a text, or an assistant message with content, refusal or "
            "tool_calls"
        ) from error


def _find_mistakes(parsed: CasesFile, source: Source) -> Iterator[ConfigError]:
    names = Counter(section.name for section in parsed.cases)
    seen: set[str] = set()
    for index, section in enumerate(parsed.cases):
        if names[section.name] > 1 and section.name in seen:
            yield _mistake("another case has this name; rename one", source, index, "name")
        seen.add(section.name)
        for field, problem in _find_case_mistakes(section, source.folder):
            yield _mistake(problem, source, index, field)


def _mistake(problem: str, source: Source, index: int, field: str) -> ConfigError:
    names = field.split(".") if field else []
    place = ("cases", index, *(int(name) if name.isdecimal() else name for name in names))
    file, line = source.locate(place)
    return ConfigError(problem, file=file, line=line, field=".".join(map(str, place)))


def _find_case_mistakes(section: CaseSection, folder: Path) -> Iterator[tuple[str, str]]:
    """Pairs of a field and what is wrong with it."""
    given = [name for name in _KINDS if getattr(section, name) is not None]
    if len(given) != 1:
        found = f"this case has {' and '.join(given)}" if given else "this case has none of them"
        yield "", f"give one of {', '.join(_KINDS)}; {found}"
        return
    (kind,) = given
    yield from _find_given_mistakes(section, kind, folder)
    yield from _find_expectation_mistakes(section, kind)


def _find_given_mistakes(
    section: CaseSection, kind: str, folder: Path
) -> Iterator[tuple[str, str]]:
    asks = kind in ("image", "images")
    for name in ("model", "parameters"):
        if getattr(section, name) and not asks:
            yield name, "only a case with a picture asks a model; leave this field out"
    if asks:
        if not section.prompt.strip():
            yield "prompt", "a picture needs a question; give it as prompt"
        for image in _images_of(section):
            if not (folder / image).is_file():
                yield kind, "there is no such picture; its path starts at this file's folder"
    if section.answer is not None:
        try:
            read_answer(section.answer)
        except ConfigError as error:
            yield kind, error.told
    if section.record is not None:
        yield from _find_record_mistakes(section.record)


def _find_record_mistakes(record: RecordSection) -> Iterator[tuple[str, str]]:
    if bool(record.pictures) is not (record.sigma is not None):
        yield "record.sigma", "give sigma and pictures together, or neither of them"
    if not record.pictures and len(record.answers) != 1:
        yield "record.answers", "a request without pictures has one answer"
    for index, kept in enumerate(record.answers):
        if kept.answer is not None:
            try:
                read_answer(kept.answer, may_be_empty=True)
            except ConfigError as error:
                yield f"record.answers.{index}.answer", error.told


def _find_expectation_mistakes(section: CaseSection, kind: str) -> Iterator[tuple[str, str]]:
    stopped = section.expect == "stopped"
    if section.category is not None and not stopped:
        yield "category", "what is let through has no category; expect stopped, or leave it out"
    if section.reason is not None and not section.reason.is_judgement:
        yield "reason", "this reason is a fault or a limit, and a case with it is not decided"
    if section.needs_at_most_calls is not None and kind == "answer":
        yield "needs_at_most_calls", "no model is called for an answer; leave this field out"
    has_picture = kind in ("image", "images") or (
        section.record is not None and bool(section.record.pictures)
    )
    if section.radius_at_least is not None and (stopped or not has_picture):
        yield (
            "radius_at_least",
            "only a request with pictures that is let through has a radius; leave this field out",
        )


def _images_of(section: CaseSection) -> tuple[str, ...]:
    if section.image is not None:
        return (section.image,)
    return section.images or ()


def _read_given(section: CaseSection, folder: Path) -> Given:
    if section.answer is not None:
        return AnswerCase(read_answer(section.answer), section.prompt)
    if section.record is not None:
        return _read_kept(section.record, section.prompt)
    images = tuple(folder / image for image in _images_of(section))
    return PictureCase(images, section.prompt, section.model, section.parameters)


def _read_kept(record: RecordSection, prompt: str) -> KeptCase:
    return KeptCase(
        record_id=record.id,
        oracle=record.oracle,
        sigma=record.sigma,
        pictures=tuple(KeptPicture(size.client, size.canvas) for size in record.pictures),
        answers=tuple(
            KeptAnswer(
                kept.outcome,
                kept.score,
                kept.category,
                kept.field,
                None if kept.answer is None else read_answer(kept.answer, may_be_empty=True),
            )
            for kept in record.answers
        ),
        prompt=prompt,
        model_side_px=record.model_side_px,
        denoise=record.denoise,
    )


def _read_expectation(section: CaseSection) -> Expectation:
    return Expectation(
        decision=CaseDecision(section.expect),
        category=section.category,
        reason=section.reason,
        most_calls=section.needs_at_most_calls,
        radius_lower=section.radius_at_least,
    )
