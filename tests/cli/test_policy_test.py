"""`guardrail policy test`: exit codes, reports for people and for CI, cases made of records."""

import json
import xml.etree.ElementTree as ElementTree
from contextlib import closing

import pytest
from click.testing import CliRunner

from guardrail.cases.reading import SHIPPED_CASES, load_cases, parse_cases
from guardrail.cases.reviewers import keep_case
from guardrail.cases.running import CASES_KEY
from guardrail.cli import check, policy, records
from guardrail.database.migrate import open_database
from guardrail.engine.engine import Engine
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.upstreams.scripted import Fault, Scripted, Step
from tests.records.conftest import CONTENT_KEYS, make_record


def run(*arguments):
    return CliRunner().invoke(
        policy.command, ["test", *map(str, arguments)], catch_exceptions=False
    )


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def cases(tmp_path, pictures, kit):
    """Writes a file of cases: an answer that is harmless, one that is not, and a picture."""

    def write(*, harm="stopped"):
        rows = [
            {"name": "clean", "answer": kit.CLEAN, "expect": "let through", "tags": ["en", "easy"]},
            {"name": "harm", "answer": kit.HARM, "expect": harm, "tags": ["en"]},
            {"name": "picture", "image": "pictures/a.png", "prompt": "What?",
             "expect": "let through"},
        ]  # fmt: skip
        file = tmp_path / "cases.json"
        file.write_text(json.dumps({"cases": rows}))
        return file

    return write


@pytest.fixture
def guarded(model, kit, monkeypatch):
    """A scripted model and the oracle of the tests behind every policy."""

    def put(script):
        upstream = Scripted(script)

        def build(policy, _upstreams, key):
            assert key == CASES_KEY
            return Engine(compile_policy(policy), upstream, kit.Words(), key)

        monkeypatch.setattr("guardrail.assembly.build_engine", build)
        return upstream

    return put


def test_all_as_expected_is_exit_code_0(policy, cases, guarded, kit):
    guarded([kit.CLEAN])
    told = run(policy, "--cases", cases())
    assert told.exit_code == 0
    (line,) = told.stdout.splitlines()
    assert line.startswith(f"{policy}: 3 of 3 cases as expected, 0 missed harm (let through), 0 ")


def test_what_is_not_as_expected_is_named_with_its_line_and_is_exit_code_1(
    policy, cases, guarded, kit, tmp_path
):
    guarded([kit.CLEAN])
    report = tmp_path / "junit.xml"
    file = cases(harm="let through")
    told = run(policy, "--cases", file, "--junit", report)
    assert told.exit_code == 1
    wrong, summary = told.stdout.splitlines()
    assert wrong == f"{file}:1: harm [{policy}]: stopped (harmful), expected let through"
    assert "2 of 3 cases as expected" in summary
    assert "1 false alarm (stopped)" in summary
    (suite,) = ElementTree.parse(report).getroot()  # noqa: S314 (written a moment ago)
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")


def test_what_could_not_be_decided_is_exit_code_2_and_what_is_wrong_comes_first(
    policy, cases, guarded, kit
):
    guarded([Step(fault=Fault.STATUS, status=500)])
    told = run(policy, "--cases", cases())
    assert told.exit_code == 2
    assert "picture" in told.stdout
    assert "not decided: " in told.stdout
    assert "2 of 3 cases as expected" in told.stdout
    assert run(policy, "--cases", cases(harm="let through")).exit_code == 1


def test_several_policies_stand_side_by_side(policy, cases, guarded, kit, tmp_path):
    guarded([kit.CLEAN])
    other = tmp_path / "other.yaml"
    other.write_text(policy.read_text().replace("name: test", "name: other"))
    told = run(policy, other, "--cases", cases(), "--json")
    rows = lines(told)
    assert [row["policy"] for row in rows if "case" in row] == [str(policy)] * 3 + [str(other)] * 3
    assert [row["summary"]["as_expected"] for row in rows if "summary" in row] == [3, 3]
    table = run(policy, other, "--cases", cases()).stdout
    assert "missed harm" in table
    assert table.count("3 of 3") == 4


def test_tags_choose_cases(policy, cases, guarded, kit):
    guarded([kit.CLEAN])
    chosen = lines(run(policy, "--cases", cases(), "--tag", "en", "--tag", "easy", "--json"))
    assert [row["case"] for row in chosen if "case" in row] == ["clean"]
    with pytest.raises(ConfigError, match="there are easy, en"):
        run(policy, "--cases", cases(), "--tag", "none")


def test_a_file_that_cannot_be_used_is_told_before_anything_is_asked(policy, cases, guarded, kit):
    upstream = guarded([kit.CLEAN])
    file = cases(harm="maybe")
    with pytest.raises(ConfigError, match=r"cases\.1\.expect"):
        run(policy, "--cases", file)
    with pytest.raises(ConfigError, match="no folder"):
        run(policy, "--cases", cases(), "--junit", "/nowhere/at/all.xml")
    assert upstream.calls == []


def test_a_name_of_a_case_cannot_write_to_the_terminal(policy, guarded, kit, tmp_path):
    guarded([kit.CLEAN])
    file = tmp_path / "c.json"
    row = {"name": "a\x1b[2J\nb: 9 of 9", "answer": kit.HARM, "expect": "let through"}
    file.write_text(json.dumps({"cases": [row]}))
    told = run(policy, "--cases", file)
    assert "\x1b" not in told.stdout
    assert len(told.stdout.splitlines()) == 2


def test_recorded_requests_become_cases(policy, pictures, guarded, model, kit, tmp_path):
    key, place = tmp_path / "content.key", tmp_path / "records.db"
    for script in ([kit.CLEAN], [kit.HARM]):
        model(script)
        CliRunner().invoke(
            check.command,
            [str(pictures / "a.png"), f"--policy={policy}", f"--records={place}",
             "--keep-content", f"--content-key={key}"],
            catch_exceptions=False,
        )  # fmt: skip

    def export(*arguments):
        return CliRunner().invoke(
            records.command, ["export", "--records", str(place), *map(str, arguments)],
            catch_exceptions=False,
        )  # fmt: skip

    listed = CliRunner().invoke(
        records.command, ["list", "--records", str(place), "--json"], catch_exceptions=False
    )
    ids = [row["record_id"] for row in lines(listed)]
    out = tmp_path / "cases.yaml"
    assert export(*ids, "--as-case", "--out", out, "--content-key", key).exit_code == 0
    assert {case.expect.decision for case in load_cases(str(out))} == {"stopped", "let through"}
    assert kit.HARM in out.read_text()
    upstream = guarded([Step(fault=Fault.CRASH)])
    assert run(policy, "--cases", out).exit_code == 0
    assert upstream.calls == []

    closed = export(ids[0], "--as-case", "--expect", "stopped").stdout
    assert kit.HARM not in closed
    (case,) = parse_cases(closed.encode(), file="a.yaml")
    assert case.expect.decision == "stopped"
    for wrong in ([ids[0]], ["--as-case"], ["--expect", "stopped"]):
        assert export(*wrong).exit_code == 2
    with pytest.raises(ConfigError, match="no record 'none'"):
        export("none", "--as-case")


def test_cases_of_reviewers_become_a_file(policy, guarded, kit, tmp_path):
    place, out = tmp_path / "records.db", tmp_path / "cases.yaml"

    def write(*arguments):
        line = ["cases", "--records", str(place), "--out", str(out), *arguments]
        return CliRunner().invoke(records.command, line, catch_exceptions=False).stdout

    with closing(open_database(str(place))) as database:
        with pytest.raises(ConfigError, match="reviewers kept no case"):
            write()
        for keys in (None, CONTENT_KEYS):
            keep_case(
                database, make_record(), reviewer="me", name="one", expected="stopped", keys=keys
            )
    assert write() == f"1 case in {out}; 1 is sealed with another key and left out\n"
    (case,) = load_cases(str(out))
    assert (case.name[:5], case.expect.decision) == ("one (", "stopped")


def test_the_shipped_suite_is_found_by_its_name():
    assert SHIPPED_CASES.keys() == {"starter"}
    cases = load_cases("starter")
    names = [case.name for case in cases]
    assert len(set(names)) == len(names) > 100


@pytest.mark.nightly
def test_the_starter_suite_comes_out_as_its_page_says():
    folder = SHIPPED_CASES["starter"]
    told = run("default", "--cases", folder / "answers.yaml", "--json")
    summary = lines(told)[-1]["summary"]
    row = f"| {summary['as_expected']} of {summary['cases']} | {summary['missed_harm']} | "
    row += f"{summary['false_alarms']} | {summary['errors']} |"
    page = (folder / "README.md").read_text()
    assert f"| `default`, `quick`, `strict`, `observe` {row}" in page
    missed = [one["case"].partition(": ")[2] for one in lines(told)[:-1]
              if one["decided"] == "let through" and not one["as_expected"]]  # fmt: skip
    assert len(missed) == 3
    assert all(name in page for name in missed)
    hard = [one for one in lines(told)[:-1] if {"hard negative", "en"} <= set(one["tags"])]
    assert len(hard) == 40
    assert all(one["as_expected"] for one in hard)
