"""`guardrail policy replay`, `policy diff` and `records summary` on real records."""

import json

import pytest
from click.testing import CliRunner

from guardrail.cli import check, policy_diff, policy_replay, records
from guardrail.errors import ConfigError

NEW = """
name: other
extends: OLD
advanced: {sampling: {plan: fixed, power: 0.9}}
smoothing:
  alpha: 0.05
"""


def run(command, *arguments, **options):
    return CliRunner().invoke(
        command, [*map(str, arguments)], catch_exceptions=options.get("catch", False)
    )


@pytest.fixture
def keep_three(policy, pictures, model, kit, tmp_path):
    """Keeps three decisions at a place, with their contents, and writes a new policy."""

    def keep(place):
        for script in ([kit.CLEAN], [kit.HARM], [kit.CLEAN]):
            model(script)
            run(check.command, pictures / "a.png", f"--policy={policy}", f"--records={place}",
                f"--key-file={tmp_path / 'noise.key'}", "--keep-content",
                f"--content-key={tmp_path / 'content.key'}")  # fmt: skip
        (tmp_path / "new.yaml").write_text(NEW.replace("OLD", str(policy)))
        return place

    return keep


@pytest.fixture
def place(keep_three, tmp_path):
    """Three decisions in a file, and a new policy beside it."""
    return keep_three(tmp_path / "records.jsonl")


def test_replay_tells_and_writes_what_would_change(place, tmp_path):
    page = tmp_path / "page.html"
    options = ("--records", place, "--policy", tmp_path / "new.yaml")
    told = run(policy_replay.command, *options, "--report", page)
    assert told.exit_code == 0
    assert "3 decisions about 1 request under 'other'" in told.stdout
    assert "smoothing.alpha" in told.stdout
    assert page.read_text().startswith("<!doctype html>")
    facts = json.loads(run(policy_replay.command, *options, "--json").stdout)
    assert facts["decisions"] == 3
    assert facts["table"]["let through"]["let through"] == 2
    assert facts["decided_anew"] is None
    for window, count in (
        (("--since", "2999-01-01"), 0),
        (("--day", "yesterday"), 0),
        (("--day", "2001-01-31"), 0),
        (("--last-days", "7"), 3),
    ):
        found = run(policy_replay.command, *options, "--json", *window)
        assert json.loads(found.stdout)["decisions"] == count


def test_records_in_a_database_are_replayed_and_tried_again(
    keep_three, database_url, tmp_path, model, kit, pictures
):
    keep_three(database_url)
    options = ("--records", database_url, "--json")
    facts = json.loads(
        run(policy_replay.command, *options, "--policy", tmp_path / "new.yaml").stdout
    )
    assert facts["decisions"] == 3
    assert facts["table"]["let through"]["let through"] == 2
    listed = run(records.command, "list", "--records", database_url, "--json").stdout
    created = sorted(json.loads(line)["created"] for line in listed.splitlines())
    window = ("--since", created[1], "--until", created[2])
    one = run(policy_replay.command, *options, "--policy", tmp_path / "new.yaml", *window)
    assert json.loads(one.stdout)["table"]["stopped"]["stopped"] == 1
    noisier = tmp_path / "noisier.yaml"
    noisier.write_text(NEW.replace("OLD", str(tmp_path / "new.yaml")) + "  sigma: 0.6\n")
    model([kit.CLEAN])
    spent = run(policy_replay.command, *options, "--policy", noisier, "--upstream", "builtin",
                "--spend-calls", "1000", "--content-key", tmp_path / "content.key",
                "--pictures", pictures, "--key-file", tmp_path / "noise.key")  # fmt: skip
    facts = json.loads(spent.stdout)
    assert facts["decided_anew"]["decided"] == 3
    assert facts["table"]["stopped"]["not known"] == 1


def test_labels_count_errors(place, tmp_path):
    listed = run(records.command, "list", "--records", place, "--json").stdout.splitlines()
    names = {json.loads(one)["action"]: json.loads(one)["record_id"] for one in listed}
    labels = tmp_path / "labels.csv"
    labels.write_text(f"record_id,label\n{names['block']},harmful\n{names['pass']},harmless\n")
    options = ("--records", place, "--policy", tmp_path / "new.yaml", "--labels", labels)
    facts = json.loads(run(policy_replay.command, *options, "--json").stdout)
    assert facts["labelled"]["false_alarms"]["labelled"] == 1
    assert facts["labelled"]["missed_harm"]["before"]["count"] == 0
    assert "missed harm: before 0 of 1" in run(policy_replay.command, *options).stdout


def test_calls_are_made_where_prompt_and_picture_are_at_hand(place, tmp_path, model, kit, pictures):
    other = tmp_path / "noisier.yaml"
    other.write_text(NEW.replace("OLD", str(tmp_path / "new.yaml")) + "  sigma: 0.6\n")
    options = ("--records", place, "--policy", other)
    told = run(policy_replay.command, *options).stdout
    assert "3 need new answers" in told
    model([kit.CLEAN])
    spend = ("--upstream", "builtin", "--spend-calls", "1000")
    key = ("--content-key", tmp_path / "content.key")
    none = json.loads(run(policy_replay.command, *options, *spend, "--json").stdout)
    assert none["decided_anew"]["without_prompt"] == 3
    blind = json.loads(run(policy_replay.command, *options, *spend, *key, "--json").stdout)
    assert blind["decided_anew"]["without_picture"] == 3
    sees = ("--pictures", pictures, "--key-file", tmp_path / "noise.key")
    done = json.loads(run(policy_replay.command, *options, *spend, *key, *sees, "--json").stdout)
    fresh = done.pop("decided_anew")
    assert fresh["decided"] == 3
    assert fresh["calls"] > 0
    assert fresh["table"]["stopped"]["let through"] == 1
    bare = json.loads(run(policy_replay.command, *options, *key, "--json").stdout)
    assert bare.pop("decided_anew") is None
    assert done == bare
    page = tmp_path / "page.html"
    told = run(policy_replay.command, *options, *spend, *key, *sees, "--report", page).stdout
    assert "fresh tries: before (rows) and now (columns)" in told
    assert "no share of traffic follows from them" in told
    assert "<h2>Fresh tries</h2>" in page.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--spend-calls", "5"),
        ("--upstream", "builtin"),
        ("--pictures", "."),
        ("--since", "soon"),
        ("--day", "soon"),
        ("--day", "yesterday", "--since", "2026-01-31"),
        ("--last-days", "7", "--until", "2026-01-31"),
    ],
)
def test_options_that_do_not_go_together(place, tmp_path, arguments):
    options = ("--records", place, "--policy", tmp_path / "new.yaml")
    assert run(policy_replay.command, *options, *arguments, catch=True).exit_code == 2


def test_what_is_not_there_is_named(place, tmp_path):
    with pytest.raises(ConfigError):
        run(policy_replay.command, "--records", place, "--policy", tmp_path / "no.yaml")
    with pytest.raises(ConfigError):
        run(policy_replay.command, "--records", tmp_path / "no.jsonl",
            "--policy", tmp_path / "new.yaml")  # fmt: skip


def test_diff_says_what_differs_and_what_it_means(policy, place, tmp_path):
    told = run(policy_diff.command, policy, tmp_path / "new.yaml", "--records", place)
    assert "is looser: nothing in it is stricter" in told.stdout
    assert "smoothing.alpha: 0.001 → 0.05  (looser" in told.stdout
    assert "calls of an ordinary request" in told.stdout
    assert "3 decisions about 1 request" in told.stdout
    facts = json.loads(
        run(policy_diff.command, policy, tmp_path / "new.yaml", "--records", place, "--json").stdout
    )
    assert facts["strictness"] == "looser"
    assert [one["decisions"] for one in facts["traffic"]] == [3, 3]
    same = run(policy_diff.command, policy, policy)
    assert "no field differs" in same.stdout


def test_summary_adds_up(place):
    told = run(records.command, "summary", "--records", place)
    assert "1 stopped (33.3%); 2 let through (66.7%)" in told.stdout
    assert "by reason" in told.stdout
    only = run(records.command, "summary", "--records", place, "--by", "field")
    assert "by field" in only.stdout
    assert "by reason" not in only.stdout
    facts = json.loads(run(records.command, "summary", "--records", place, "--json").stdout)
    assert facts["total"]["stopped"] == 1
    empty = run(records.command, "summary", "--records", place, "--until", "2020-01-01")
    assert "no records of this time" in empty.stdout
