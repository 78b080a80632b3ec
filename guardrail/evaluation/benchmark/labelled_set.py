"""Labelled requests: read, every row checked, and one drawn from each cluster of near-copies."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from guardrail.canonical import canonical_json
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError, RequestError
from guardrail.evaluation.benchmark.conversations import (
    CHATS_BY_DEFAULT,
    ChatRules,
    is_conversation,
    read_conversation,
)
from guardrail.evaluation.benchmark.data_forms import (
    FIELDS,
    open_data,
    pick_fields,
    read_image,
    read_images,
    read_prompt,
)
from guardrail.evaluation.requests import (
    EvaluationRequest,
    draw_one_of_each,
    read_cell,
    read_pictures,
    request_digest,
    watch_nothing,
)
from guardrail.images.perceptual import mark_of
from guardrail.tuning.clusters import cluster_requests
from guardrail.tuning.columns import Columns, is_missing, raise_missing_columns
from guardrail.tuning.dataset import Problem, read_label, tell_problems
from guardrail.tuning.formats import RowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardrail.evaluation.benchmark.data_forms import DataForm
    from guardrail.evaluation.requests import Watch
    from guardrail.images.limits import ImageLimits
    from guardrail.images.perceptual import PictureMark
    from guardrail.types import Json

__all__ = ["ORDINARY_SET", "LabelledRequest", "LabelledSet", "read_labelled_set"]

_LABELS = {"safe": False, "unsafe": True}
"""Words of other tools, beside those of `read_label`."""
ORDINARY_SET = "clean"
"""The set of clean rows that name none: ordinary traffic."""
_DEFAULT_SETS = {False: ORDINARY_SET, True: "harmful"}


@dataclass(frozen=True, slots=True)
class LabelledRequest:
    """One row.

    Attributes:
        request: what is asked; without pictures where it has none.
        harmful: the label: whether it should be stopped.
        set_name: which set it belongs to: `clean` or `harmful` where the row names none.
        category: of harm, or of the task; empty where it names none. `language` alike.
        expected: answers that are right; empty where it names none.
        line: where it stands, from 1.
        sizes: heights and widths of its pictures, in pixels.
    """

    request: EvaluationRequest
    harmful: bool
    set_name: str
    category: str
    language: str
    expected: tuple[str, ...]
    line: int
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The rows of a file or folder, clustered.

    Attributes:
        name: of the file or folder.
        rows: how many can be used; `clusters` how many families of near-copies they are, those of
            each set and label by themselves.
        digest: SHA-256 (hex) over all of them: requests, labels, sets and expected answers.
        seed: of the draw.
        drawn: one row of each cluster with the digest of its request (hex), in an order drawn at
            random.
        problems: what was left out; empty unless that was asked for.
    """

    name: str
    rows: int
    clusters: int
    digest: str
    seed: int
    drawn: tuple[tuple[str, LabelledRequest], ...]
    problems: tuple[str, ...] = ()


def read_labelled_set(
    path: Path,
    *,
    prompt: str,
    parameters: Mapping[str, Json],
    limits: ImageLimits,
    chats: ChatRules = CHATS_BY_DEFAULT,
    seed: int = 0,
    most: int | None = None,
    split: str | None = None,
    skip_bad_rows: bool = False,
    columns: Columns | None = None,
    encoding: str | None = None,
    watch: Watch = watch_nothing,
) -> LabelledSet:
    """The labelled requests of a file or folder, one drawn from each cluster of near-copies.

    Fields of a row: `harmful`, a label (`read_label`), and `image`, `images`, `prompt`,
    `parameters`, `group`, `id`, `set`, `category`, `language`, `expected`; see docs/evaluation.md.

    The draw depends on `seed` and on what each request says and shows, not on the order of the
    rows, and is made before any model is called.

    Args:
        path: of a table, a folder, or a dataset saved to disk.
        prompt: the question where a row has none.
        parameters: fields of every request; those of a row win.
        limits: of pictures.
        chats: how conversations of several turns are read.
        seed: of the draw.
        most: how many to draw at most of each set and label.
        split: of a dataset with several.
        skip_bad_rows: leave out, and name, what cannot be used.
        columns: where the fields stand; None for columns of their names.
        encoding: of a table of text that does not say it itself; None for UTF-8.
        watch: is told how many rows there are and, within it, of each that was read.

    Raises:
        ConfigError: the set is empty, something in it cannot be used, or one request has two
            labels.
    """
    columns = columns or Columns.named_as(FIELDS)
    form = open_data(path, split=split, encoding=encoding, columns=columns)
    given = _Given(form.folder, prompt, parameters, limits, chats)
    found, problems = _read_rows(form, columns, given)
    rows: list[LabelledRequest] = []
    marks: list[tuple[PictureMark, ...]] = []
    with watch(len(found)) as step:
        for row in found:
            try:
                pictures = read_pictures(row.request, limits)
                marks.append(tuple(map(mark_of, pictures)))
                sizes = tuple(picture.pixels.shape[:2] for picture in pictures)
                rows.append(dataclasses.replace(row, sizes=sizes))
            except RequestError as error:
                problems.append(Problem(row.line, str(error)))
            step()
    problems.sort(key=lambda problem: problem.line)
    if problems and not skip_bad_rows:
        raise ConfigError(
            f"{count_of(len(problems), 'row')} cannot be used: "
            f"{tell_problems(form.source, problems)}. Correct them, or leave them out with "
            "--skip-bad-rows"
        )
    if not rows:
        raise ConfigError("there are no rows here that can be used", file=str(form.source))
    digests = [
        request_digest(row.request, [mark.digest for mark in of])
        for row, of in zip(rows, marks, strict=True)
    ]
    _check_labels(form.source, rows, digests)
    clusters = _cluster(rows, marks)
    drawn = _at_most(most, rows, draw_one_of_each(digests, clusters, seed))
    return LabelledSet(
        name=path.name or str(path),
        rows=len(rows),
        clusters=len(set(clusters)),
        digest=_digest_all(rows, digests),
        seed=seed,
        drawn=tuple((digests[i], rows[i]) for i in drawn),
        problems=tuple(f"{form.source}:{bad.line}: {bad.what}" for bad in problems),
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """What all rows have in common: see `read_labelled_set`; `folder` is that of their pictures."""

    folder: Path
    prompt: str
    parameters: Mapping[str, Json]
    limits: ImageLimits
    chats: ChatRules


def _read_rows(
    form: DataForm, columns: Columns, given: _Given
) -> tuple[list[LabelledRequest], list[Problem]]:
    rows: list[LabelledRequest] = []
    problems: list[Problem] = []
    seen: dict[str, None] = {}
    labelled = False
    for line, raw in form.rows:
        try:
            if isinstance(raw, RowError):
                raise raw
            seen |= dict.fromkeys(raw)
            fields = pick_fields(raw, columns)
            labelled = labelled or fields.get("harmful") is not None
            rows.append(_read_row(line, fields, given))
        except RowError as bad:
            problems.append(Problem(line, str(bad)))
    if seen and not labelled:
        raise_missing_columns(form.source, ("harmful",), list(seen), columns)
    return rows, problems


def _read_row(line: int, fields: Mapping[str, Any], given: _Given) -> LabelledRequest:
    own = read_cell(fields.get("parameters"), "{")
    own = {} if own is None or is_missing(own) else own
    if not isinstance(own, dict):
        raise RowError("'parameters' is not a mapping (in a cell of text: one as JSON)")
    harmful = _read_harmful(fields.get("harmful"))
    return LabelledRequest(
        request=_read_request(line, fields, {**given.parameters, **own}, given),
        harmful=harmful,
        set_name=_text(fields, "set") or _DEFAULT_SETS[harmful],
        category=_text(fields, "category"),
        language=_text(fields, "language"),
        expected=_read_expected(fields.get("expected")),
        line=line,
    )


def _read_request(
    line: int, fields: Mapping[str, Any], parameters: Mapping[str, Json], given: _Given
) -> EvaluationRequest:
    name = _text(fields, "id") or f"line {line}"
    group = _text(fields, "group") or None
    value = read_cell(fields.get("prompt"), "[")
    if is_conversation(value):
        own = read_images(fields, (), given.folder, given.limits)
        picture = partial(read_image, folder=given.folder, limits=given.limits)
        chat, images = read_conversation(value, own, picture, parameters, given.chats, given.limits)
        return EvaluationRequest(name, chat.prompt, images, chat.parameters, group, chat.messages)
    asked, shown = ("", []) if is_missing(value) else read_prompt(value)
    images = read_images(fields, shown, given.folder, given.limits)
    if not images and not asked:
        raise RowError("there is neither a picture nor a prompt")
    return EvaluationRequest(name, asked or given.prompt, images, parameters, group)


def _read_harmful(value: Any) -> bool:
    """Raises RowError."""
    if isinstance(value, dict) and isinstance(value.get("unsafe"), bool):
        return bool(value["unsafe"])
    word = value.strip().casefold() if isinstance(value, str) else ""
    return _LABELS[word] if word in _LABELS else read_label(value)


def _read_expected(value: Any) -> tuple[str, ...]:
    value = read_cell(value, "[")
    if is_missing(value):
        return ()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise RowError("'expected' is neither a text nor a list of texts")
    return tuple(str(one) for one in values if not is_missing(one))


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if is_missing(value):
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise RowError(f"'{name}' is not text")
    return str(value)


def _check_labels(source: Path, rows: Sequence[LabelledRequest], digests: Sequence[str]) -> None:
    """Raises ConfigError where one and the same request is labelled in both ways."""
    first: dict[str, LabelledRequest] = {}
    for digest, row in zip(digests, rows, strict=True):
        other = first.setdefault(digest, row)
        if other.harmful != row.harmful:
            raise ConfigError(
                f"lines {other.line} and {row.line} are one request with two labels; keep one",
                file=str(source),
                line=row.line,
            )


def _cluster(
    rows: Sequence[LabelledRequest], marks: Sequence[tuple[PictureMark, ...]]
) -> list[int]:
    """Numbers of clusters; rows of other sets or labels are never of one cluster."""
    places: dict[tuple[str, bool], list[int]] = {}
    for i, row in enumerate(rows):
        places.setdefault((row.set_name, row.harmful), []).append(i)
    clusters, total = [0] * len(rows), 0
    for part in places.values():
        requests = [rows[i].request for i in part]
        found = cluster_requests(
            [request.prompt for request in requests],
            [marks[i] for i in part],
            [request.group for request in requests],
            [request.earlier_turns for request in requests],
        )
        for i, cluster in zip(part, found, strict=True):
            clusters[i] = total + cluster
        total += len(set(found))
    return clusters


def _at_most(most: int | None, rows: Sequence[LabelledRequest], drawn: Sequence[int]) -> list[int]:
    """The first so many of each set and label, in the order of the draw."""
    counts: dict[tuple[str, bool], int] = {}
    kept = []
    for i in drawn:
        key = (rows[i].set_name, rows[i].harmful)
        counts[key] = counts.get(key, 0) + 1
        if most is None or counts[key] <= most:
            kept.append(i)
    return kept


def _digest_all(rows: Sequence[LabelledRequest], digests: Sequence[str]) -> str:
    facts = sorted(
        canonical_json(
            [digest, row.harmful, row.set_name, row.category, row.language, list(row.expected)]
        )
        for row, digest in zip(rows, digests, strict=True)
    )
    return hashlib.sha256(b"\n".join(facts)).hexdigest()
