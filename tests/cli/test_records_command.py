"""`guardrail records`: lists, explains, exports, verifies and removes what `serve` kept."""

import csv
import hashlib
import io
import json

import pytest
from click.testing import CliRunner

from guardrail.cli import check, records, verify
from guardrail.errors import ConfigError
from guardrail.records.audit import audit_file
from guardrail.records.csv_cells import defuse


def run(*arguments):
    return CliRunner().invoke(records.command, [*map(str, arguments)], catch_exceptions=False)


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def places(policy, pictures, model, kit, tmp_path):
    """Three decisions, in a database and in a file: (both places, the key of the content)."""
    key = tmp_path / "content.key"
    found = tmp_path / "records.db", tmp_path / "records.jsonl"
    for place in found:
        for script in ([kit.CLEAN], [kit.HARM], [kit.CLEAN]):
            model(script)
            CliRunner().invoke(
                check.command,
                [str(pictures / "a.png"), f"--policy={policy}", f"--records={place}",
                 f"--key-file={tmp_path / 'noise.key'}", "--keep-content",
                 f"--content-key={key}"],
                catch_exceptions=False,
            )  # fmt: skip
    return found, key


def test_records_are_listed_shown_explained_and_exported(places, kit, tmp_path):
    found, key = places
    for place in found:
        listed = lines(run("list", "--records", place, "--json"))
        assert sorted(one["action"] for one in listed) == ["block", "pass", "pass"]
        assert "3 records" in run("list", "--records", place).stdout
        (blocked,) = lines(run("list", "--records", place, "--action", "block", "--json"))
        assert (blocked["reason"], blocked["stopped_by"]) == ("harmful", "request")
        assert lines(run("list", "--records", place, "--stopped-by=request", "--json")) == [blocked]
        assert not lines(run("list", "--records", place, "--stopped-by=crops", "--json"))
        assert not lines(run("list", "--records", place, "--until", "2020-01-01", "--json"))
        assert len(lines(run("list", "--records", place, "--since", "2020-01-01", "--json"))) == 3

        name = blocked["record_id"]
        closed = run("show", "--records", place, name)
        assert kit.HARM not in closed.stdout
        opened = run("show", "--records", place, name, "--content-key", key)
        assert kit.HARM in opened.stdout
        words = run("explain", "--records", place, name).stdout
        assert words.startswith("Stopped: too many answers were harmful.")
        assert "answers to noisy copies were harmless" in words
        assert "harmless" in words
        assert kit.HARM not in words

        out = tmp_path / f"{place.name}.export.jsonl"
        run("export", "--records", place, "--out", out)
        assert audit_file(out).records == 3
        told = CliRunner().invoke(verify.command, [str(out)], catch_exceptions=False)
        assert told.stdout.startswith("holds: 3 records")
        table = run("export", "--records", place, "--format", "csv", "--action", "pass").stdout
        rows = list(csv.DictReader(io.StringIO(table)))
        assert {row["action"] for row in rows} == {"pass"}
        assert {row["stopped_by"] for row in rows} == {"none"}
        assert len(rows) == 2


def test_a_known_picture_is_told_with_its_list_and_line(policy, pictures, model, tmp_path):
    upstream = model(["never asked"])
    digest = hashlib.sha256((pictures / "a.png").read_bytes()).hexdigest()
    (tmp_path / "known.txt").write_text(f"# from a partner\n{digest}\n")
    policy.write_text(policy.read_text() + "known_pictures: {lists: [known.txt]}\n")
    place = tmp_path / "records.db"
    CliRunner().invoke(
        check.command,
        [str(pictures / "a.png"), f"--policy={policy}", f"--records={place}"],
        catch_exceptions=False,
    )
    assert upstream.calls == []
    (listed,) = lines(run("list", "--records", place, "--json"))
    shown = json.loads(run("show", "--records", place, listed["record_id"]).stdout)
    assert shown["known_picture"] == {"file": "known.txt", "line": 2, "distance": None}
    table = run("export", "--records", place, "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(table))
    names = ("reason", "known_picture_file", "known_picture_line", "known_picture_distance")
    assert [row[name] for name in names] == ["known harmful picture", "known.txt", "2", ""]
    words = run("explain", "--records", place, listed["record_id"]).stdout
    assert "The entry is line 2 of the list 'known.txt': it is the same file." in words
    assert run("verify", "--records", place).stdout.startswith("holds: 1 record (")


def test_records_are_verified_erased_and_pruned(places, kit, tmp_path):
    (database, file), key = places
    told = run("verify", "--records", database)
    assert told.stdout.startswith("holds: 3 records (2 passed")
    facts = json.loads(run("verify", "--records", database, "--json").stdout)
    assert (facts["holds"], facts["records"]) == (True, 3)
    run("verify", "--records", database, "--expect-anchor", facts["last_anchor"])

    first, second, _ = (one["record_id"] for one in
                        lines(run("list", "--records", database, "--json")))  # fmt: skip
    assert "of 1 record," in run("erase", "--records", database, first).stdout
    opened = run("show", "--records", database, first, "--content-key", key)
    assert json.loads(opened.stdout)["content"] is None
    assert "0 records, 0 contents" in run(
        "prune", "--records", database, "--records-days", 30).stdout  # fmt: skip
    assert "3 records, 2 contents" in run(
        "prune", "--records", database, "--records-days", 1e-6).stdout  # fmt: skip
    assert run("verify", "--records", database).stdout.startswith("holds: 0 records")
    with pytest.raises(ConfigError, match="there is no record"):
        run("show", "--records", database, second)
    with pytest.raises(ConfigError, match="databases only"):
        run("erase", "--records", file, first)


def test_content_is_erased_by_the_digest_of_a_certificate(policy, pictures, model, kit, tmp_path):
    key, database = tmp_path / "noise.key", tmp_path / "records.db"
    model([kit.CLEAN])
    told = CliRunner().invoke(
        check.command,
        [str(pictures / "a.png"), f"--policy={policy}", f"--records={database}", "--keep-content",
         f"--key-file={key}", f"--content-key={tmp_path / 'content.key'}", "--json"],
        catch_exceptions=False,
    )  # fmt: skip
    digest = json.loads(told.stdout)["certificate"]["request_digest"]
    assert digest.encode() not in database.read_bytes()
    options = ("--records", database, "--request-digest", digest)
    assert run("erase", *options).exit_code == 2  # only with the key
    assert "of 1 record," in run("erase", *options, "--key-file", key).stdout


@pytest.mark.parametrize("text", ["=1+1", "@x", "-2", "+3"])
def test_no_cell_is_a_formula(text):
    assert defuse(text) == f"'{text}"
    assert defuse(1.5) == 1.5


@pytest.mark.parametrize(
    "arguments",
    [
        ("prune",),
        ("erase",),
        ("erase", "a", "--request-digest=b"),
        ("list", "--since=soon"),
        ("list", "--stopped-by=chance"),
    ],
)
def test_options_that_do_not_go_together(places, arguments):
    result = run(arguments[0], "--records", places[0][0], *arguments[1:])
    assert result.exit_code == 2
