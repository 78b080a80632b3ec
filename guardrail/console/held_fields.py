"""What of a policy a draft may not change: whatever reaches outside of it.

Whoever may write policies in a browser does not by that run code on the server, read its files,
send answers, pictures or the keys in its environment to anybody, have it fetch from addresses that
it did not fetch from before, or let requests out of every claim (`overrides`). Such fields are
changed in the file, by who may write there.

What may be written freely is listed here, by name. All else is held: a kind of oracle or a field
that is added to the program is held until somebody has thought of it. A field is held against being
added, changed and left out alike, as the default of an address is an address too.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.policy.document import find_child, read_document
from guardrail.policy.fields import schema_tree
from guardrail.policy.mistakes import suggest_field
from guardrail.policy.schema import PolicyFile
from guardrail.policy.shipped import shipped_names, shipped_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.policy.document import Document

    _Section = Mapping[str, Any]
    _Place = tuple[str | int, ...]

__all__ = ["FREE_FIELDS", "FREE_KINDS", "FREE_TEXTS", "PARTS", "find_held"]

FREE_KINDS = frozenset(
    {"action", "builtin", "cascade", "default", "encoder", "ensemble", "semantic"}
)
"""Kinds of oracles that use installed packages alone where their held fields are left out. All
others ask an address, or need a file or a model."""

FREE_FIELDS = frozenset(
    # What is harmful, and what is measured of it.
    "threshold thresholds labels high miss_rate_upper delta languages unmeasured_language "
    "flagged_is_harmful harmless_label rubric models pair problem prompt "
    # How several oracles vote, and how answers are compared.
    "rule k weights n0 similarity details entailment label texts "
    # How a judge that the file names is asked; `pictures`, which it would be sent, is held.
    "template form each_field logprobs reasoning_effort max_tokens deterministic share_calls "
    # Time, memory and processors.
    "max_batch max_queue max_parallel deadline_s window_tokens batch_windows precision threads "
    # The closed set of actions; the JSON Schema of their arguments is held.
    "source field arguments_field arguments_that_matter steps pattern forbidden".split()
)
"""Fields of oracles that take any value: it is compared, counted or said, and nothing else."""

PARTS = frozenset({"actions", "cheap", "expensive", "harm", "members"})
"""Fields of oracles that hold sections with fields of their own."""

FREE_TEXTS = frozenset(
    "name block.text block.language_text images.history goals.false_alarms goals.missed_harm "
    "goals.recall goals.calls goals.price_usd".split()
)
"""Fields outside of the oracle that take any text. Numbers, truth values and the words of a fixed
list are free there, but for `images.remote`."""

_USUAL_KIND = "default"
_ELSEWHERE = frozenset({"extends", "recall", "oracle"})
"""Fields that are not compared as texts."""
_OPENED: tuple[_Place, ...] = (("images", "remote_hosts"), ("advanced", "requests", "allow"))
"""Lists that hold what is open to a request: shorter is free."""
_NOTHING: Mapping[str, Any] = {}
_MISSING = object()
_WHY = (
    "this reaches outside of the policy (code, a file, an address, a model, a secret, who is sent "
    "what, or whether people may decide single requests), and is changed in the file on the server "
    "only; put back what stands there"
)


def find_held(draft: Document, current: Document) -> Iterator[ConfigError]:
    """One error for each field of a draft that it may not change.

    Nothing that a policy names is imported or read for it, but for policies that ship.

    Args:
        draft: what somebody wrote.
        current: the file that it is to replace.
    """
    for place in _find_places(_section(draft.content), _section(current.content)):
        line, field = draft.find_line(place), ".".join(map(str, place))
        yield ConfigError(_say_why(place, draft.content), file=draft.file, line=line, field=field)


def _say_why(place: _Place, content: Any) -> str:
    """A name that no field has is most often a slip of the pen, and reaches nowhere."""
    *section, name = place
    tree = schema_tree(PolicyFile)
    known = tree.names(section, content)
    if not known or name in known or _find(_section(content), place, _MISSING) is _MISSING:
        return _WHY
    meant = suggest_field(place, PolicyFile, tree, content)
    return f"there is no such field; {meant or 'the fields that there are stand beside the text'}"


def _find_places(new: _Section, old: _Section) -> Iterator[_Place]:
    base = new.get("extends")
    inherits = not (base is None or (base in shipped_names() and _stays_inside(base)))
    if inherits and base != old.get("extends"):
        yield ("extends",)
    if new.get("recall") not in (None, old.get("recall")):
        yield ("recall",)
    oracles = _section(new.get("oracle")), _section(old.get("oracle"))
    yield from _compare_oracles(*oracles, ("oracle",), inherits=inherits)
    yield from _compare_opened(new, old, inherits=inherits)
    yield from _compare_overrides(new, old, inherits=inherits)
    yield from _compare_texts(new, old)


@cache
def _stays_inside(name: str) -> bool:
    """Whether a shipped policy reaches nowhere; some ask a judge, or load a model."""
    content = read_document(shipped_policy(name), "policy").content
    return not any(_find_places(_section(content), _NOTHING))


def _compare_oracles(
    new: _Section, old: _Section, place: _Place, *, inherits: bool
) -> Iterator[_Place]:
    """The held fields in which the section of an oracle differs from the one that it replaces.

    Args:
        new: of the draft.
        old: of the file.
        place: where it stands.
        inherits: whether what is left out comes from a policy that is extended and may reach
            anywhere.
    """
    usual = None if inherits else _USUAL_KIND
    kind = new.get("kind", usual)
    if kind != old.get("kind", usual):
        if not isinstance(kind, str) or kind not in FREE_KINDS:
            yield (*place, "kind")
            return
        old = _NOTHING  # an oracle of another kind replaces the whole section
    for name in {**new, **old}:
        if name in PARTS:
            yield from _compare_parts(
                name, new.get(name), old.get(name), (*place, name), inherits=inherits
            )
        elif name != "kind":
            yield from _compare_field(name, new, old, place)


def _compare_field(name: str, new: _Section, old: _Section, place: _Place) -> Iterator[_Place]:
    if name not in FREE_FIELDS and new.get(name, _MISSING) != old.get(name, _MISSING):
        yield (*place, name)


def _compare_parts(
    name: str, new: Any, old: Any, place: _Place, *, inherits: bool
) -> Iterator[_Place]:
    """The same for sections inside that of an oracle."""
    if name == "actions":
        known = _section(old)
        for action, given in _section(new).items():
            fields = _section(given), _section(known.get(action))
            for field in {**fields[0], **fields[1]}:
                yield from _compare_field(field, *fields, (*place, action))
    elif isinstance(new, list):
        sections = [_section(one) for one in old] if isinstance(old, list) else []
        for number, one in enumerate(new):
            yield from _compare_member(_section(one), sections, (*place, number))
    elif isinstance(new, dict):
        yield from _compare_oracles(new, _section(old), place, inherits=inherits)
    elif inherits and old is not None:
        yield place


def _compare_member(new: _Section, old: list[_Section], place: _Place) -> Iterator[_Place]:
    """A member may be any of those that were there before, or one that reaches nowhere."""
    found = [
        [*_compare_oracles(new, one, place, inherits=False)]  # lists are replaced as a whole
        for one in (*old, _NOTHING)
    ]
    if [] not in found:
        kind = new.get("kind")
        same = [errors for one, errors in zip(old, found, strict=False) if one.get("kind") == kind]
        yield from min(same or found, key=len)


def _compare_opened(new: _Section, old: _Section, *, inherits: bool) -> Iterator[_Place]:
    """Whether pictures would be fetched from more addresses, or more fields of requests passed on.

    Less is free.
    """
    place: _Place = ("images", "remote")
    usual = None if inherits else "off"
    remote, was = (_find(one, place, usual) for one in (new, old))
    if remote not in (was, "off"):
        yield place
    for place in _OPENED:
        given, known = (_find(one, place, None) for one in (new, old))
        if any(one not in _list(known) for one in _list(given)) or (
            inherits and given is None and known is not None
        ):
            yield place


def _compare_overrides(new: _Section, old: _Section, *, inherits: bool) -> Iterator[_Place]:
    """Whether people may decide single requests, outside of every claim, that could not before.

    Off is free.
    """
    usual = None if inherits else "off"
    given, known = new.get("overrides", usual), old.get("overrides", usual)
    if given not in (known, "off"):
        yield ("overrides",)


def _compare_texts(new: _Section, old: _Section) -> Iterator[_Place]:
    """The texts outside of oracles that differ and are neither free nor words of a fixed list."""
    tree = schema_tree(PolicyFile)
    for name, value in new.items():
        if name in _ELSEWHERE or name.startswith("x-"):
            continue
        for place, text in _texts(value, (name,)):
            if _find(old, place, None) == text or ".".join(map(str, place)) in FREE_TEXTS:
                continue
            entry = tree.find(place, new)
            if entry is None or place[:-1] in _OPENED:
                continue  # the schema refuses it, or it was looked at
            if not any(_is_word(form, text) for form in tree.alternatives(entry)):
                yield place


def _is_word(form: Mapping[str, Any], text: str) -> bool:
    return text in form.get("enum", ()) or text == form.get("const")


def _texts(value: Any, place: _Place) -> Iterator[tuple[_Place, str]]:
    """Every text below a place; whatever is no number or truth value counts as one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, (*place, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*place, number))
    elif value is not None and not isinstance(value, bool | int | float):
        yield place, str(value)


def _find(section: _Section, place: _Place, missing: Any) -> Any:
    value: Any = section
    for part in place:
        value = find_child(value, part, missing=missing)
    return value


def _section(value: Any) -> _Section:
    return {str(name): inner for name, inner in value.items()} if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
