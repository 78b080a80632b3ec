"""What a draft may not change: found in the schema, so that new kinds and fields are held."""

import pytest
import yaml

from guardrail.console.held_fields import FREE_FIELDS, FREE_KINDS, FREE_TEXTS, PARTS, find_held
from guardrail.oracles.registry import builtin_kinds, find_options
from guardrail.policy.document import parse_document
from guardrail.policy.fields import schema_tree
from guardrail.policy.schema import PolicyFile
from guardrail.policy.shipped import shipped_names

HELD = [
    {"oracle": {"kind": "os:system"}},
    {"oracle": {"kind": "ensemble", "members": [{"kind": "os:system"}]}},
    {"oracle": {"kind": "judge", "upstream": "openai_compatible:http://evil.example"}},
    {"oracle": {"kind": "judge", "api_key_env": "DATABASE_PASSWORD"}},
    {"oracle": {"kind": "lexicon", "file": "/etc/passwd"}},
    {"oracle": {"calibration": "/etc/passwd"}},
    {"oracle": {"kind": "classifier", "model": "somebody/else"}},
    {"oracle": {"kind": "moderation"}},
    {"oracle": {"kind": "ensemble", "members": [{"kind": "builtin"}, {"kind": "moderation"}]}},
    {"oracle": {"kind": "cascade", "cheap": {"kind": "moderation"}}},
    {"oracle": {"kind": "action", "actions": {"go": {"arguments": {"$ref": "http://evil"}}}}},
    {"oracle": {"kind": ["builtin"]}},
    {"extends": "/etc/passwd"},
    {"recall": "/etc/passwd"},
    {"images": {"remote": "public"}},
    {"images": {"remote": "allow_list", "remote_hosts": ["evil.example"]}},
    {"advanced": {"requests": {"allow": ["plugins"]}}},
    {"overrides": "on"},
]

JUDGE = {"kind": "judge", "upstream": "openai_compatible:http://here", "model": "m"}
MODERATION = {"kind": "moderation", "api_base": "http://here"}
CLASSIFIER = {"kind": "classifier", "model": "here", "harmless_label": "fine"}


def write(content):
    return parse_document(yaml.safe_dump(content).encode(), file="x.yaml")


def find_held_fields(draft, current=None):
    """The fields of a draft that are held, by their names."""
    documents = write({"name": "x", **draft}), write({"name": "x", **(current or {})})
    return [error.field for error in find_held(*documents)]


@pytest.mark.parametrize("content", HELD, ids=str)
def test_what_reaches_outside_is_held(content):
    assert find_held_fields(content)
    assert find_held_fields(content, content) == []  # what stands there may stay


@pytest.mark.parametrize(
    ("draft", "current", "field"),
    [
        ({"kind": "moderation"}, MODERATION, "oracle.api_base"),
        ({**MODERATION, "pictures": True}, MODERATION, "oracle.pictures"),
        ({**CLASSIFIER, "trust_checkpoint": True}, CLASSIFIER, "oracle.trust_checkpoint"),
        ({"kind": "judge", "model": "m"}, JUDGE, "oracle.upstream"),
        ({"kind": "semantic", "method": "embedding"}, {"kind": "semantic"}, "oracle.method"),
        (JUDGE, CLASSIFIER, "oracle.kind"),
        (
            {"kind": "ensemble", "members": [MODERATION, {"kind": "moderation"}]},
            {"kind": "ensemble", "members": [MODERATION]},
            "oracle.members.1.api_base",
        ),
        (
            {"kind": "cascade", "cheap": {"kind": "builtin"}, "expensive": {"kind": "moderation"}},
            {"kind": "cascade", "cheap": {"kind": "builtin"}, "expensive": MODERATION},
            "oracle.expensive.api_base",
        ),
    ],
    ids=str,
)
def test_what_is_added_changed_or_left_out_is_held(draft, current, field):
    assert find_held_fields({"oracle": draft}, {"oracle": current}) == [field]


@pytest.mark.parametrize(
    ("draft", "current"),
    [
        ({"kind": "builtin", "threshold": 0.3}, JUDGE),  # an oracle that reaches nowhere
        ({}, MODERATION),
        ({**CLASSIFIER, "harmless_label": "good", "max_batch": 4}, CLASSIFIER),
        ({**JUDGE, "rubric": "No lies.", "max_tokens": 9}, JUDGE),
        (
            {"kind": "ensemble", "members": [MODERATION, JUDGE, {"kind": "builtin"}], "k": 2},
            {"kind": "ensemble", "members": [JUDGE, CLASSIFIER, MODERATION]},
        ),
        (
            {"kind": "action", "actions": {"go": {"arguments": {"a": {}}, "forbidden": True}}},
            {"kind": "action", "actions": {"go": {"arguments": {"a": {}}}, "stop": {}}},
        ),
    ],
    ids=str,
)
def test_what_stays_inside_is_free(draft, current):
    assert find_held_fields({"oracle": draft}, {"oracle": current}) == []


def test_overrides_are_turned_off_freely_and_on_in_the_file_alone():
    on, off = {"overrides": "on"}, {"overrides": "off"}
    assert (
        find_held_fields(off, on)
        == find_held_fields({}, on)
        == find_held_fields(off)
        == find_held_fields({}, off)
        == []
    )
    assert find_held_fields(on, off) == find_held_fields(on) == ["overrides"]
    base = {"extends": "base.yaml"}
    assert find_held_fields({**base}, {**base, **off}) == ["overrides"]  # the base may have them on
    assert find_held_fields({**base, **off}, base) == find_held_fields(base, base) == []


@pytest.mark.parametrize(
    ("draft", "meant"),
    [
        ({"oracle": {"treshold": 0.3}}, "did you mean 'oracle.threshold'?"),
        ({"oracle": {"kind": "judge", "api_bse": "http://evil.example"}}, None),
        ({"oracle": {"api_base": "http://evil.example"}}, "there is no such field"),
        ({"oracle": {"kind": "moderation", "api_base": "http://evil.example"}}, None),
    ],
    ids=str,
)
def test_a_slip_of_the_pen_is_told_as_one_and_stays_a_mistake(draft, meant):
    mistakes = list(find_held(write({"name": "x", **draft}), write({"name": "x"})))
    assert mistakes
    if meant is None:
        assert "reaches outside" in str(mistakes[0])
    else:
        assert meant in str(mistakes[0])
        assert "reaches outside" not in str(mistakes[0])


def test_what_is_left_out_may_come_from_a_file_that_is_extended():
    base = {"extends": "base.yaml"}
    assert find_held_fields(base, {**base, "oracle": {"kind": "builtin"}}) == ["oracle.kind"]
    assert find_held_fields(base, {**base, "images": {"remote": "off"}}) == ["images.remote"]
    hosts = {"images": {"remote": "allow_list", "remote_hosts": ["a.example"]}}
    assert find_held_fields({**base, "images": {"remote": "allow_list"}}, {**base, **hosts}) == [
        "images.remote_hosts"
    ]
    assert find_held_fields({"extends": "default"}, {**base, "oracle": MODERATION}) == []


def test_less_of_what_is_fetched_and_passed_on_is_free():
    wide = {
        "images": {"remote": "allow_list", "remote_hosts": ["a.example", "b.example"]},
        "advanced": {"requests": {"allow": ["plugins", "provider"]}},
    }
    narrow = {
        "images": {"remote": "allow_list", "remote_hosts": ["b.example"]},
        "advanced": {"requests": {"allow": ["provider"]}},
    }
    assert find_held_fields(narrow, wide) == []
    assert find_held_fields({"images": {"remote": "off"}}, wide) == []
    assert find_held_fields({}, wide) == []
    assert find_held_fields(wide, narrow) == ["images.remote_hosts", "advanced.requests.allow"]


def example(form):
    """A value of one form of a field."""
    match form:
        case {"enum": [*_, last]} | {"const": last}:
            return last
        case {"type": "boolean"}:
            return not form.get("default", False)
        case {"type": "integer" | "number"}:
            return 0.375
        case {"type": "array"}:
            return ["new"]
        case {"type": "object"}:
            return {"new": 0.375}
        case _:
            return "new"


def fields():
    """Kind, field and a new value, of every field of every oracle."""
    for kind in builtin_kinds():
        tree = schema_tree(find_options(kind))
        for root in tree.alternatives(tree.schema):
            for name, entry in root.get("properties", {}).items():
                if name != "kind" and name not in PARTS:
                    for form in tree.alternatives(entry):
                        if form.get("type") != "null":
                            yield kind, name, example(form)


def test_every_field_of_every_oracle_is_listed_as_free_or_held():
    """A field or kind that is added is held until it is listed."""
    found = {}
    for kind, name, value in fields():
        errors = find_held_fields(
            {"oracle": {"kind": kind, name: value}}, {"oracle": {"kind": kind}}
        )
        assert errors == ([] if name in FREE_FIELDS else [f"oracle.{name}"]), (kind, name, value)
        found[name] = bool(errors)
        # Left out again, it is as it was with the added one.
        again = find_held_fields(
            {"oracle": {"kind": kind}}, {"oracle": {"kind": kind, name: value}}
        )
        assert again == errors
    assert sum(found.values()) >= 12
    assert {name for name, is_held in found.items() if is_held} >= {
        "api_base", "api_key_env", "calibration", "checkpoint", "config_path", "device", "file",
        "hub_revision", "method", "model", "pictures", "policy_file", "trust_checkpoint",
        "upstream",
    }  # fmt: skip
    action_fields = {"arguments", "arguments_that_matter", "forbidden", "pattern", "steps"}
    assert set(FREE_FIELDS) <= set(found) | action_fields  # nothing is listed that is not there


def test_every_kind_is_free_or_held():
    kinds = set(builtin_kinds())
    assert set(FREE_KINDS) <= kinds
    for kind in kinds - {"default"}:
        assert find_held_fields({"oracle": {"kind": kind}}) == (
            [] if kind in FREE_KINDS else ["oracle.kind"]
        )


def test_the_parts_are_those_of_the_schema():
    found = {"actions"}
    for kind in builtin_kinds():
        tree = schema_tree(find_options(kind))
        for root in tree.alternatives(tree.schema):
            for name, entry in root.get("properties", {}).items():
                if "'#/$defs/Oracle'" in repr(entry):
                    found.add(name)
    assert found == set(PARTS)


def texts(tree, entry, place=()):
    """The places of all fields of a policy that take any text."""
    for form in tree.alternatives(entry):
        if form.get("type") == "string" and not {"enum", "const"} & set(form):
            yield place
        for name, inner in form.get("properties", {}).items():
            if place or name != "oracle":
                yield from texts(tree, inner, (*place, name))
        if isinstance(form.get("items"), dict):
            yield from texts(tree, form["items"], (*place, 0))
        if isinstance(form.get("additionalProperties"), dict):
            yield from texts(tree, form["additionalProperties"], (*place, "new"))


def test_every_text_outside_of_the_oracle_is_free_or_held():
    tree, found = schema_tree(PolicyFile), set()
    for place in texts(tree, tree.schema):
        value = "new"
        for part in reversed(place):
            value = [value] if part == 0 else {part: value}
        name = ".".join(str(part) for part in place if part != 0)
        found.add(name)
        assert bool(find_held_fields(value)) is (name not in FREE_TEXTS), name
    assert found > FREE_TEXTS
    assert {"extends", "recall", "images.remote_hosts", "advanced.requests.allow"} <= found


def test_only_shipped_policies_that_reach_nowhere_may_be_extended():
    free = {name for name in shipped_names() if not find_held_fields({"extends": name})}
    assert free == {"default", "observe", "quick", "strict"}
    for name in set(shipped_names()) - free:
        assert find_held_fields({"extends": name}) == ["extends"]
        assert find_held_fields({"extends": name}, {"extends": name}) == []
