"""The requests of an evaluation: read, every one checked, and one drawn from each cluster."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.canonical import canonical_json, parse_strict
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError, RequestError
from guardrail.files import read_file
from guardrail.images.codec import decode_image
from guardrail.images.digest import pixels_digest
from guardrail.images.header import PICTURE_SUFFIXES
from guardrail.images.limits import PixelBudget
from guardrail.images.perceptual import mark_of
from guardrail.message_form import part_texts
from guardrail.tuning.clusters import cluster_requests
from guardrail.tuning.columns import Columns, is_missing, raise_missing_columns
from guardrail.tuning.dataset import Problem, tell_problems
from guardrail.tuning.formats import RowError, raw_rows
from guardrail.types import Chat, picture_chat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.images.codec import Picture
    from guardrail.images.limits import ImageLimits
    from guardrail.images.perceptual import PictureMark
    from guardrail.types import Json

__all__ = [
    "FIELDS",
    "EvaluationRequest",
    "PictureSource",
    "RequestSet",
    "Watch",
    "draw_one_of_each",
    "picture_files",
    "read_cell",
    "read_pictures",
    "read_requests",
    "read_same_pictures",
    "request_digest",
    "watch_nothing",
]

_LABEL = b"guardrail/evaluation/representative/1"
_SHOWN = 10

FIELDS = ("image", "images", "prompt", "parameters", "group", "id")
"""Of a row of a table of requests."""

Watch: TypeAlias = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""A progress bar: called with a total, then once for each step."""

PictureSource: TypeAlias = Path | bytes
"""A picture's file, or an encoded picture that stood in its table."""


@contextmanager
def watch_nothing(total: int) -> Iterator[Callable[[], None]]:
    del total
    yield lambda: None


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """One request of a set.

    Attributes:
        name: what its row calls it, else its file or line.
        prompt: the question.
        images: its pictures, in order.
        parameters: further fields of the request (`max_tokens`, …).
        group: requests of one group are one cluster; None where it names none.
        messages: of a conversation of several turns, as those of a `Chat`: `prompt` is the text of
            its last question. Empty where the prompt is all.
    """

    name: str
    prompt: str
    images: tuple[PictureSource, ...]
    parameters: Mapping[str, Json]
    group: str | None = None
    messages: tuple[Mapping[str, Json], ...] = ()

    def chat(self, model: str) -> Chat:
        if self.messages:
            return Chat(model, self.messages, self.parameters, len(self.images))
        return picture_chat(model, self.prompt, self.parameters, pictures=len(self.images))

    @property
    def earlier_turns(self) -> tuple[str, ...]:
        """What was said before the question, a text for each message, and where pictures stood."""
        return tuple(map(_describe_turn, self.messages[:-1]))


@dataclass(frozen=True, slots=True)
class RequestSet:
    """The requests of a folder or file, clustered.

    Attributes:
        name: of the folder or file.
        requests: how many there are; `clusters` how many families of near-copies.
        digest: SHA-256 (hex) over all of them: prompts, parameters, pixels and groups.
        drawn: one request of each cluster with its own digest (hex), in an order drawn at random.
        problems: what was left out; empty unless that was asked for.
    """

    name: str
    requests: int
    clusters: int
    digest: str
    drawn: tuple[tuple[str, EvaluationRequest], ...]
    problems: tuple[str, ...] = ()


def picture_files(folder: Path) -> list[Path]:
    """The picture files in a folder and below it, by name."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return sorted(path for path in found if path.is_file())


def read_pictures(request: EvaluationRequest, limits: ImageLimits) -> tuple[Picture, ...]:
    """Decodes the pictures of a request. Raises RequestError."""
    budget = PixelBudget(limits)
    names = [
        str(source) if isinstance(source, Path) else f"picture {i} of '{request.name}'"
        for i, source in enumerate(request.images, 1)
    ]
    pairs = zip(names, request.images, strict=True)
    return tuple(_decode(name, source, limits, budget) for name, source in pairs)


def read_same_pictures(
    request: EvaluationRequest, limits: ImageLimits, digest: str
) -> tuple[Picture, ...]:
    """The same for a request that was read before, under its digest (hex).

    Raises:
        ConfigError: its pictures are others now.
        RequestError: a picture can no longer be read.
    """
    pictures = read_pictures(request, limits)
    if digest != request_digest(request, [pixels_digest((p,)) for p in pictures]):
        raise ConfigError(f"the pictures of '{request.name}' changed while the command ran")
    return pictures


def request_digest(request: EvaluationRequest, pictures: Sequence[bytes]) -> str:
    """SHA-256 (hex) of what a request asks and shows, and of its group.

    Args:
        request: the request.
        pictures: the digests of its decoded pictures, in order.
    """
    shown = [digest.hex() for digest in pictures]
    content: list[Json] = [request.prompt, dict(request.parameters), shown, request.group]
    if request.messages:
        content.append(list(request.messages))
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _describe_turn(message: Mapping[str, Json]) -> str:
    """Who spoke, all texts, and in JSON what else the message holds (calls of tools, names)."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts = [
        "<picture>" if part["type"] == "image_url" else " ".join(part_texts(part)) for part in parts
    ]
    more = {name: message[name] for name in sorted(message.keys() - {"role", "content"})}
    return " ".join([str(message["role"]), *texts, canonical_json(more).decode() if more else ""])


def read_requests(
    path: Path,
    *,
    prompt: str,
    parameters: Mapping[str, Json],
    limits: ImageLimits,
    seed: int = 0,
    most: int | None = None,
    skip_bad_rows: bool = False,
    columns: Columns | None = None,
    encoding: str | None = None,
    watch: Watch = watch_nothing,
) -> RequestSet:
    """The requests of a folder of pictures or of a table, one drawn from each cluster.

    Each picture file of a folder is a request. Fields of a row of a table (JSON, CSV, TSV,
    Parquet): `image`, a path as seen from the table's folder, or `images`, a list of them;
    `prompt`, `parameters` (a mapping), `group` and `id` where they are known; others are not looked
    at. In cells of text lists and mappings are JSON.

    The draw is a function of `seed` and of what each request says and shows, so it is fixed before
    any model is called and does not depend on the order of the rows.

    Args:
        path: folder or file.
        prompt: the question where a row has none.
        parameters: fields of every request; those of a row win.
        limits: of pictures.
        seed: of the draw.
        most: how many to draw at most; the draw of fewer is the beginning of the draw of more.
        skip_bad_rows: leave out, and name, what cannot be used.
        columns: where the fields of a table stand; None for columns of their names.
        encoding: of a table of text that does not say it itself; None for UTF-8.
        watch: is told how many requests there are and, within it, of each that was read.

    Raises:
        ConfigError: the set is empty, or something in it cannot be used.
    """
    columns = columns or Columns.named_as(FIELDS)
    rows, bad_rows = _rows(path, prompt, parameters, columns, encoding)
    unreadable: list[str] = []
    requests: list[EvaluationRequest] = []
    marks: list[tuple[PictureMark, ...]] = []
    with watch(len(rows)) as step:
        for request in rows:
            try:
                marks.append(tuple(map(mark_of, read_pictures(request, limits))))
                requests.append(request)
            except RequestError as error:
                unreadable.append(str(error))
            step()
    problems = [*(f"{path}:{bad.line}: {bad.what}" for bad in bad_rows), *unreadable]
    if problems and not skip_bad_rows:
        raise _refused_error(path, bad_rows, unreadable)
    _check_usable(path, requests)
    clusters = cluster_requests(
        [request.prompt for request in requests], marks, [request.group for request in requests]
    )
    digests = [
        request_digest(request, [mark.digest for mark in of])
        for request, of in zip(requests, marks, strict=True)
    ]
    drawn = draw_one_of_each(digests, clusters, seed)
    return RequestSet(
        name=path.name or str(path),
        requests=len(requests),
        clusters=len(drawn),
        digest=hashlib.sha256("".join(sorted(digests)).encode()).hexdigest(),
        drawn=tuple((digests[i], requests[i]) for i in drawn[:most]),
        problems=tuple(problems),
    )


def _rows(
    path: Path,
    prompt: str,
    parameters: Mapping[str, Json],
    columns: Columns,
    encoding: str | None,
) -> tuple[list[EvaluationRequest], list[Problem]]:
    if path.is_dir():
        files = picture_files(path)
        names = [str(file.relative_to(path)) for file in files]
        return [
            EvaluationRequest(name, prompt, (file,), parameters)
            for name, file in zip(names, files, strict=True)
        ], []
    requests, problems = [], []
    found: dict[str, None] = {}
    for line, raw in raw_rows(path, wanted=columns.all_names, encoding=encoding):
        try:
            if isinstance(raw, RowError):
                raise raw
            found |= dict.fromkeys(raw)
            requests.append(_request(line, columns.pick(raw), path.parent, prompt, parameters))
        except RowError as bad:
            problems.append(Problem(line, str(bad)))
    if found and not {columns.names[name] for name in ("image", "images")} & found.keys():
        field = "image" if columns.names["images"] == "images" else "images"
        raise_missing_columns(path, (field,), list(found), columns)
    return requests, problems


def _request(
    line: int,
    raw: Mapping[str, Any],
    folder: Path,
    prompt: str,
    parameters: Mapping[str, Json],
) -> EvaluationRequest:
    own = read_cell(raw.get("parameters"), "{") or {}
    if not isinstance(own, dict):
        raise RowError("'parameters' is not a mapping (in a cell of text: one as JSON)")
    return EvaluationRequest(
        name=_field(raw, "id") or f"line {line}",
        prompt=_field(raw, "prompt") or prompt,
        images=tuple(folder / image for image in _images(raw)),
        parameters={**parameters, **own},
        group=_field(raw, "group") or None,
    )


def _images(raw: Mapping[str, Any]) -> list[str]:
    named = read_cell(raw.get("images"), "[")
    if is_missing(named):
        named = [] if is_missing(raw.get("image")) else [raw["image"]]
    if not isinstance(named, list) or not all(isinstance(name, str) and name for name in named):
        raise RowError(
            "'image' is not a path, or 'images' is not a list of paths (in a cell of text: one as "
            "JSON)"
        )
    if not named:
        raise RowError("there is no picture; name it by 'image', or several by 'images'")
    return named


def read_cell(value: Any, begin: str) -> Any:
    """The list or mapping in a cell of text; all else as it is."""
    if not (isinstance(value, str) and value.lstrip().startswith(begin)):
        return value
    try:
        return parse_strict(value)
    except ValueError:
        return value


def _field(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if is_missing(value):
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise RowError(f"'{name}' is not text")
    return str(value)


def _decode(name: str, source: PictureSource, limits: ImageLimits, budget: PixelBudget) -> Picture:
    if isinstance(source, Path):
        source = read_file(source, "picture", max_bytes=limits.max_bytes, error=RequestError)
    return decode_image(source, declared_media_type=None, limits=limits, param=name, budget=budget)


def _refused_error(
    path: Path, bad_rows: Sequence[Problem], unreadable: Sequence[str]
) -> ConfigError:
    told = [tell_problems(path, bad_rows)] * bool(bad_rows) + list(unreadable[:_SHOWN])
    more = f"; and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
    return ConfigError(
        f"{count_of(len(bad_rows) + len(unreadable), 'request')} cannot be used: "
        f"{'; '.join(told)}{more}. "
        "Correct them, or leave them out with --skip-bad-rows"
    )


def _check_usable(path: Path, requests: Sequence[EvaluationRequest]) -> None:
    if not requests:
        raise ConfigError(
            "there are no requests here; give a folder of pictures (PNG, JPEG, WebP, GIF), or a "
            "table with the columns prompt and image",
            file=str(path),
        )


def draw_one_of_each(digests: Sequence[str], clusters: Sequence[int], seed: int) -> list[int]:
    """Of each cluster the request whose keyed hash is smallest, in the order of these hashes."""
    key = _LABEL + str(seed).encode()
    hashes = [hmac.digest(key, digest.encode(), "sha256") for digest in digests]
    first: dict[int, int] = {}
    for i in sorted(range(len(hashes)), key=hashes.__getitem__):
        first.setdefault(clusters[i], i)
    return list(first.values())
