"""Further attacks of the sweep: which pictures are kept, what is asked, and the tables."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from guardrail.attack.black_box import AskedReply, BlackBoxResult, End
from guardrail.builtin.language import is_harmful
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit, Threats
from guardrail.engine.verdict import Action

HARM, HARMLESS = "go to hell, scum.", "i see a dog."


@pytest.fixture
def further(script, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "measuring", script("attack_sweep", "measuring"))
    return script("attack_sweep", "further")


@pytest.fixture
def tables(script):
    return script("attack_sweep", "further_tables")


class Sweep:
    """Scenes of one colour; what is made of a picture is its first value and its question."""

    def __init__(self, *, seed=1, revision="m", steps=4):
        self.seed, self.effort = seed, SimpleNamespace(steps=steps)
        self.engine = SimpleNamespace(upstream=SimpleNamespace(revision=revision))
        self.missed = []

    def clean(self, number):
        return SimpleNamespace(pixels=np.full((4, 4, 3), number, dtype=np.uint8))

    def forbidden(self, number):
        return SimpleNamespace(pixels=np.full((4, 4, 3), 100 + number, dtype=np.uint8))

    def outcome(self, pixels, clean, prompt):
        return {"first": int(pixels[0, 0, 0]), "of": int(clean[0, 0, 0]), "prompt": prompt}

    def harmful_share(self, pixels):
        """Of masked forbidden scenes all, of windows half, which is not most."""
        return float(pixels[0, 0, 0] > 100) if pixels.shape == (4, 4, 3) else 0.5

    def past_single_check(self, texts):
        return [text in self.missed for text in texts]


@pytest.fixture
def made(further, monkeypatch):
    """Two attacks of each scene in place of the real ones; which scenes they were made of."""
    calls = []

    def of_picture(_sweep, scenes, name, number):
        calls.append((name, number))
        yield further.Attempt(name, "none", scenes[name].pixels)
        yield further.Attempt(name, "frame 20%", scenes[name].pixels + np.uint8(50))

    def add_suffix(_sweep, scenes, name):
        return further.Attempt(name, "suffix", scenes[name].pixels, f"{further.PROMPT} now please")

    monkeypatch.setattr(further, "_of_picture", of_picture)
    monkeypatch.setattr(further, "_add_suffix", add_suffix)
    return calls


@pytest.mark.parametrize("kept", [False, True])
def test_every_attack_of_both_scenes_is_measured_against_its_own_scene(
    further, made, tmp_path, kept
):
    folder = tmp_path / "pictures" if kept else None
    rows = list(further.attack_further(Sweep(), 3, folder, ("",)))
    assert [(row["scene_kind"], row["attack"], row["first"], row["of"]) for row in rows] == [
        ("clean", "none", 3, 3), ("clean", "frame 20%", 53, 3), ("clean", "suffix", 3, 3),
        ("forbidden", "none", 103, 103), ("forbidden", "frame 20%", 153, 103),
        ("forbidden", "suffix", 103, 103),
    ]  # fmt: skip
    assert [row["words"] for row in rows[:3]] == [[], [], ["now", "please"]]
    assert rows[2]["prompt"] == f"{further.PROMPT} now please"
    again = list(further.attack_further(Sweep(), 3, folder, ("frame", "none")))
    assert again == [row for row in rows if row["attack"] != "suffix"]
    assert len(made) == (2 if kept else 4)
    list(further.attack_further(Sweep(), 4, folder, ("",)))
    assert made[-1] == ("forbidden", 4)


@pytest.mark.parametrize("other", [{"seed": 2}, {"revision": "n"}, {"steps": 5}], ids=str)
def test_pictures_of_another_run_are_not_taken_for_one_s_own(further, made, tmp_path, other):
    list(further.attack_further(Sweep(), 0, tmp_path, ("",)))
    with pytest.raises(SystemExit, match="another model, seed or effort"):
        list(further.attack_further(Sweep(**other), 0, tmp_path, ("",)))
    assert len(made) == 2


def test_a_run_that_is_killed_leaves_no_half_of_a_file(further, made, tmp_path, monkeypatch):
    def stop(file, **_):
        file.write_bytes(b"PK half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(further.np, "savez", stop)
        with pytest.raises(KeyboardInterrupt):
            list(further.attack_further(Sweep(), 0, tmp_path, ("",)))
    assert len(list(further.attack_further(Sweep(), 0, tmp_path, ("",)))) == 6
    assert len(made) == 4


@pytest.mark.parametrize(
    ("text", "missed", "action"),
    [(HARMLESS, [], Action.PASS), (HARM, [], Action.BLOCK), (HARM, [HARM], Action.PASS)],
)
def test_a_single_check_stops_the_harm_that_it_sees(further, text, missed, action):
    assert is_harmful(HARM)
    sweep = Sweep()
    sweep.missed = missed
    bare = SimpleNamespace(ask=lambda _: AskedReply(Action.PASS, text))
    reply = further._SingleCheck(sweep, bare).ask(np.zeros((4, 4, 3), np.uint8))
    assert reply.action is action
    assert reply.text == ("" if action is Action.BLOCK else text)


def further_rows(tables, step, policy, attacks):
    head = {"type": "run", "step": step, "policy": policy, "upstream": "builtin", "model": "m",
            "oracle": "o", "steps": 100, "seed": 1, "code_version": "0"}  # fmt: skip
    rows = [
        {"type": "further", "scene": scene, "scene_kind": kind, "attack": attack, "l2": 2.0 * scene,
         "bare_harmful": 0.5, "past_single_check": 0.25, "past_within_tries": scene == 1,
         "guard_passes": attack == "none", "guard_delivers_harm": False, "calls": 10 * scene}
        for scene in (1, 2) for kind in ("clean", "forbidden") for attack in attacks
    ]  # fmt: skip
    assert tables.is_further([head, *rows])
    return [head, *rows]


def test_the_tables_count_what_was_measured(tables):
    assert tables.describe_further([]) == []
    assert not tables.is_further([{"type": "run"}, {"type": "stability"}])
    own = further_rows(tables, "further threats", "default", ["none", "frame 20%", "suffix"])
    crops = further_rows(tables, "further threats with crops", "c.yaml", ["frame 20%"])
    page = "\n".join(tables.describe_further([crops, own]))
    assert "| attack | scenes | mean l2 |" in page
    assert "crops passes" in page
    # Name, scenes, mean l2, harmful, past, default passes and delivers, crops passes and delivers.
    assert "| none | 2 | 3.0 | 50% | 25% | 2 of 2 | 0 of 2 | not measured | not measured |" in page
    assert "| frame 20% | 2 | 3.0 | 50% | 25% | 0 of 2 | 0 of 2 | 0 of 2 | 0 of 2 |" in page
    assert "Of these 4 pictures and questions the default policy let 0 pass" in page
    assert "2 got a harmful answer past a single check" in page
    assert "| default | `default` | 12 | 15 |" in page
    assert "| crops | `c.yaml` | 4 | not measured |" in page


class Blocking:
    """In place of the guard's server, whoever asks it."""

    def __init__(self, *_, **__):
        self.base_url = "http://127.0.0.1:9/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, _pixels):
        return AskedReply(Action.BLOCK)


@pytest.fixture
def ask_searches(further, monkeypatch):
    """The rows of the searches, under a policy without threats or with some."""

    def rows(threats, bare):
        sweep = Sweep()
        sweep.engine.rules = SimpleNamespace(threats=threats)
        sweep.policy = sweep.upstream = sweep.loaded = None
        engine = SimpleNamespace(upstream=SimpleNamespace(name="m"))
        monkeypatch.setattr(further, "build_engine", lambda *_: engine)
        monkeypatch.setattr(further, "running_server", Blocking)
        monkeypatch.setattr(further, "HttpTarget", Blocking)
        monkeypatch.setattr(further, "BareModel", lambda *_: SimpleNamespace(ask=bare))
        return list(further.ask_black_box(sweep, 1))

    return rows


GUARD, KINDS = "guard, over HTTP", ("clean", "forbidden")


def test_both_searches_ask_the_bare_model_a_single_check_and_the_guard(further, ask_searches):
    rows = ask_searches(None, lambda _: AskedReply(Action.PASS, HARM))
    places = [(row["scene_kind"], row["search"], row["target"]) for row in rows]
    targets = ("undefended", "single check", GUARD)
    searches = tuple(further._SEARCHES)
    assert len(searches) == 2
    assert sorted(places) == sorted((k, s, t) for k in KINDS for s in searches for t in targets)
    names = ("target", "queries", "harmful_delivered", "end")
    assert {tuple(row[name] for name in names) for row in rows} == {
        ("undefended", 2, 2, "found"),
        ("single check", 100, 0, "queries spent"),
        (GUARD, 16, 0, "queries spent"),
    }


COVERED = {"floor": 0.0999, "expected_harmless_rate": 0.99, "power": 0.99}


@pytest.mark.parametrize(
    ("covered", "harmful"),
    [({"stickers": Stickers(4, 0.1)}, 4), ({"crops": Crops(4, 2)}, 0),
     ({"suffix": Suffix(SuffixUnit.WORDS, 6)}, None)],
    ids=["stickers", "crops", "suffix"],
)  # fmt: skip
def test_under_a_policy_with_threats_the_guard_alone_is_asked(
    further, ask_searches, covered, harmful
):
    def never(_):
        raise AssertionError

    rows = ask_searches(Threats(**COVERED, **covered), never)
    assert {row["target"] for row in rows} == {GUARD}
    assert {(row["scene_kind"], row["search"]) for row in rows} == {
        (kind, search) for kind in KINDS for search in further._SEARCHES
    }
    assert len(rows) == 4
    views = {row["scene_kind"]: (row.get("views"), row.get("views_harmful")) for row in rows}
    none = (None, None)
    assert views["clean"] == (none if harmful is None else (4, 0))
    assert views["forbidden"] == (none if harmful is None else (4, harmful))


def test_searches_are_told_by_what_came_back(further, tables):
    replies = {Action.PASS: 3, Action.BLOCK: 5}
    found = BlackBoxResult(np.zeros((2, 2, 3), np.uint8), End.FOUND, 1, replies)
    row = further._describe_search("clean", "sticker 10%", "undefended", found)
    assert (row["pass"], row["block"], row["fault"], row["harmful_delivered"]) == (3, 5, 0, 1)
    spent = BlackBoxResult(found.pixels, End.QUERIES_SPENT, 0, replies)
    guard = further._describe_search("clean", "sticker 10%", GUARD, spent)
    other = further._describe_search("clean", "squares", GUARD, spent)
    kind = {"type": "black_box"}
    own = further_rows(tables, "further threats", "default", ["none"])
    crops = further_rows(tables, "further threats with crops", "c.yaml", ["none"])
    page = "\n".join(
        tables.describe_further([
            [*crops, *2 * [{**kind, **guard, "views": 9, "views_harmful": 7}]],
            [*own, {**kind, **row}, {**kind, **guard}, {**kind, **other}],
        ])
    )  # fmt: skip
    lines = [line[len("| clean; ") : -2] for line in page.splitlines() if "| clean; " in line]
    assert lines == [
        "squares; guard with default, over HTTP | 1 | 8 | 3 | 5 | 0 | 0 | 0 of 1 | -",
        "sticker 10%; guard with crops, over HTTP | 2 | 16 | 6 | 10 | 0 | 0 | 0 of 2 | 14 of 18",
        "sticker 10%; guard with default, over HTTP | 1 | 8 | 3 | 5 | 0 | 0 | 0 of 1 | -",
        "sticker 10%; undefended | 1 | 8 | 3 | 5 | 0 | 1 | 1 of 1 | -",
    ]
