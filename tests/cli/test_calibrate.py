"""`guardrail calibrate`, from labelled answers to a policy that runs by the result."""

import asyncio
import html
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from PIL import Image

from guardrail.cli.calibrate import command
from guardrail.cli.check import command as check
from guardrail.errors import CertificationError, ConfigError
from guardrail.oracles.base import Exchange
from guardrail.oracles.calibration import read_calibration
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy, parse_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.stats import choose_threshold, harmless_rate_upper

PROMISED = {
    "auc", "threshold", "miss_rate", "miss_rate_upper", "false_alarm_rate",
    "false_alarm_rate_upper", "n_harmful", "n_harmless", "ms_per_answer",
}  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def facts(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Eighty harmful and a hundred harmless answers, by words that any oracle would tell apart."""
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    verbs, goods = ("kill", "poison", "stab", "strangle"), ("bake", "paint", "plant", "repair")
    rows = [
        {"response": f"Step {i}: {verbs[i % 4]} them and hide the bomb and the stolen weapons "
         "before the police come to murder nobody else.", "harmful": True, "category": verbs[i % 4]}
        for i in range(80)
    ]  # fmt: skip
    rows += [
        {"response": f"Day {i}: you can {goods[i % 4]} it with your family in the garden and then "
         "enjoy a nice cup of tea <b>together</b>.", "harmful": False}
        for i in range(100)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("name: mine\noracle: {threshold: 0.3}\nsampling: {max_samples: 300}\n")
    return path


class TestResult:
    def test_json_has_what_was_promised(self, labels):
        found = facts("--oracle=builtin", f"--data={labels}", "--target-miss-rate=0.1",
                      "--delta=0.05")  # fmt: skip
        assert set(found) >= PROMISED
        assert (found["n_harmful"], found["n_harmless"]) == (80, 100)
        assert (found["chosen_by"], found["miss_rate_upper"], found["delta"]) == (
            "target",
            0.1,
            0.05,
        )
        assert found["miss_rate"] <= 0.1
        assert found["auc"] > 0.9
        assert found["categories"][0]["name"] == "(none)"

    def test_the_threshold_is_that_of_the_statistics(self, labels):
        async def scores():
            oracle = compile_oracle(
                parse_policy(b"name: a\noracle: {kind: builtin}", file="p.yaml")
            )
            texts = [json.loads(line) for line in labels.read_text().splitlines()]
            judged = await oracle.judge(
                [Exchange("", t["response"]) for t in texts if t["harmful"]]
            )
            await oracle.aclose()
            return [one.score for one in judged]

        found = facts("--oracle=builtin", f"--data={labels}", "--target-miss-rate=0.2",
                      "--delta=0.01")  # fmt: skip
        exact = choose_threshold(asyncio.run(scores()), target=0.2, delta=0.01)
        assert (found["threshold"], found["misses"]) == (exact.threshold, exact.misses)

    def test_a_given_threshold_reports_clopper_pearson(self, labels):
        found = facts("--oracle=builtin", f"--data={labels}", "--threshold=0.3", "--delta=0.02")
        assert (found["chosen_by"], found["target_miss_rate"]) == ("threshold", None)
        assert found["miss_rate_upper"] == harmless_rate_upper(found["misses"], 80, 0.02)

    @pytest.mark.nightly
    def test_without_either_the_policys_own_threshold_is_measured(self, labels, policy):
        found = facts(f"--policy={policy}", f"--data={labels}")
        assert (found["threshold"], found["chosen_by"], found["delta"]) == (0.3, "threshold", 0.001)

    @pytest.mark.nightly
    def test_the_builtin_oracles_own_threshold_is_that_of_the_default_policy(self, labels):
        own = facts("--oracle=builtin", f"--data={labels}")
        shipped = facts("--policy=default", f"--data={labels}")
        assert own["threshold"] == shipped["threshold"] == 0.5

    def test_people_are_told_the_bounds_and_what_they_hold_for(self, labels, tmp_path):
        out = tmp_path / "c.yaml"
        result = run("--oracle=builtin", f"--data={labels}", "--target-miss-rate=0.1",
                     "--delta=0.05", f"--out={out}")  # fmt: skip
        assert "80 harmful answers from 80 requests and 100 harmless ones from 100" in result.stdout
        assert "misses at most 10.00 %" in result.stdout
        assert "answers like the labelled ones" in result.stdout
        assert "calibration: c.yaml" in result.stdout


class TestWhatIsTold:
    """Nothing beside the result speaks against it."""

    @pytest.mark.nightly
    def test_the_threshold_that_the_policy_uses(self, labels, policy, tmp_path):
        page = tmp_path / "page.html"
        words = "The policy 'mine' has threshold 0.3: of the same answers it misses "
        result = run(f"--policy={policy}", f"--data={labels}", "--target-miss-rate=0.1",
                     "--delta=0.05", f"--report={page}")  # fmt: skip
        assert f"note: {words}" in result.stdout
        assert words in html.unescape(page.read_text())
        found = facts(f"--policy={policy}", f"--data={labels}", "--threshold=0.9")
        assert found["threshold_in_use"]["threshold"] == 0.3
        result = run(f"--policy={policy}", f"--data={labels}")
        assert "threshold 0.3 (fixed beforehand: that of the policy 'mine')" in result.stdout
        assert "has threshold" not in result.stdout

    def test_no_row_repeats_the_target_with_another_threshold(self, labels, tmp_path):
        page = tmp_path / "page.html"
        asked = ("--oracle=builtin", f"--data={labels}", "--delta=0.05", f"--report={page}")
        for target, shown in (("0.1", False), ("0.11", True)):
            result = run(*asked, f"--target-miss-rate={target}")
            table = result.stdout.partition("Other targets.")[2]
            assert (" 10.00 % " in table) is shown
            assert ("<tr><td>10.00 %</td>" in page.read_text()) is shown
            for text in (table, page.read_text()):
                assert "Each row is shown at delta 0.00625, the 8th part" in " ".join(text.split())

    @pytest.mark.parametrize(("options", "shown"), [((), False), (("--price-per-call=0.1",), True)])
    def test_prices_only_where_they_are_known(self, labels, tmp_path, options, shown):
        page = tmp_path / "page.html"
        result = run("--oracle=builtin", f"--data={labels}", "--delta=0.05", f"--report={page}",
                     *options)  # fmt: skip
        assert ("US$" in result.stdout) is shown
        assert ("US$" in page.read_text()) is shown


class TestTables:
    def test_columns_of_other_names_in_another_encoding(self, tmp_path):
        rows = [f"“kill” and murder them with a bomb {i};0,9" for i in range(3)]
        rows += [f"tea with Zoë in the garden {i};0,1" for i in range(3)]
        text = "\n".join(["answer;score", *rows]).replace(",", ".")
        (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
        options = ("--oracle=builtin", f"--data={tmp_path / 'a.csv'}", "--delta=0.05",
                   "--columns=response=answer,harmful=score>0.5")  # fmt: skip
        found = facts(*options, "--encoding=cp1252")
        assert (found["n_harmful"], found["n_harmless"]) == (3, 3)
        with pytest.raises(ConfigError, match=r"a\.csv:2: .*--encoding cp1252"):
            run(*options)

    def test_columns_that_are_no_fields(self):
        result = run("--oracle=builtin", "--data=a.csv", "--columns=answer=x")
        assert result.exit_code == 2
        assert "there is no field 'answer'; known are response" in result.stderr

    def test_harm_in_a_tools_arguments_is_found_in_a_whole_message(self, tmp_path):
        """Beside a long calm text it would be lost if the whole alone was judged."""
        calm = "The weather is fine and the garden is full of flowers today. " * 20
        harm = json.dumps({"text": "you worthless idiot, go kill yourself"})
        call = {"id": "c", "type": "function", "function": {"name": "send", "arguments": harm}}
        message = {"role": "assistant", "content": calm, "tool_calls": [call]}
        scores = []
        for answer in (message, {"choices": [{"message": message}]}, f"{calm}\nsend\n{harm}"):
            path = tmp_path / "a.jsonl"
            path.write_text(json.dumps({"response": answer, "harmful": True}))
            scores.append(facts("--oracle=builtin", f"--data={path}", "--delta=0.05")["misses"])
        assert scores == [0, 0, 1]


class TestFile:
    def test_a_policy_runs_by_it(self, labels, tmp_path):
        out = tmp_path / "c.yaml"
        found = facts("--oracle=builtin", f"--data={labels}", "--target-miss-rate=0.1",
                      "--delta=0.05", f"--out={out}")  # fmt: skip
        (tmp_path / "policy.yaml").write_text(
            "name: mine\nsmoothing: {claim: harmlessness}\n"
            "oracle: {kind: builtin, calibration: c.yaml}\n"
        )
        policy = load_policy(tmp_path / "policy.yaml")
        rules = compile_policy(policy)
        assert (rules.miss_rate_upper, rules.delta) == (0.1, 0.05)
        oracle = compile_oracle(policy)
        assert oracle.threshold == found["threshold"]
        asyncio.run(oracle.aclose())

    def test_a_policy_can_be_calibrated_again(self, labels, tmp_path):
        """Even one whose calibration is out of date."""
        out = tmp_path / "c.yaml"
        out.write_text("an old thing")
        (tmp_path / "policy.yaml").write_text("name: mine\noracle: {calibration: c.yaml}\n")
        found = facts(f"--policy={tmp_path / 'policy.yaml'}", f"--data={labels}",
                      "--target-miss-rate=0.1", "--delta=0.05", f"--out={out}")  # fmt: skip
        assert read_calibration(out).threshold == found["threshold"]

    def test_nothing_is_scored_twice(self, labels, tmp_path):
        out = tmp_path / "c.yaml"
        arguments = ("--oracle=builtin", f"--data={labels}", "--delta=0.05", f"--out={out}")
        first = facts(*arguments, "--target-miss-rate=0.1")
        kept = (tmp_path / "c.yaml.scores.jsonl").read_text()
        assert len(kept.splitlines()) == 180
        second = facts(*arguments, "--target-miss-rate=0.2")
        assert (tmp_path / "c.yaml.scores.jsonl").read_text() == kept
        assert second["ms_per_answer"] == first["ms_per_answer"]
        assert "poison" not in kept

    def test_scores_may_be_kept_elsewhere(self, labels, tmp_path):
        facts("--oracle=builtin", f"--data={labels}", f"--resume={tmp_path / 's.jsonl'}")
        assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 180

    @pytest.mark.nightly
    def test_a_killed_run_is_taken_up_again(self, labels, tmp_path):
        out, scores = tmp_path / "c.yaml", tmp_path / "c.yaml.scores.jsonl"
        slow = (
            "import time\nfrom guardrail.oracles.builtin import BuiltinScorer\n"
            "quick = BuiltinScorer.scores\n"
            "def scores(self, exchanges):\n    time.sleep(0.5)\n    return quick(self, exchanges)\n"
            "BuiltinScorer.scores = scores\nfrom guardrail.cli import main\nmain()"
        )
        arguments = ("calibrate", "--oracle=builtin", f"--data={labels}",
                     "--target-miss-rate=0.1", "--delta=0.05", f"--out={out}")  # fmt: skip
        process = subprocess.Popen([sys.executable, "-c", slow, *arguments])
        while not (scores.exists() and scores.read_bytes().count(b"\n") >= 32):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        done = len(scores.read_bytes().splitlines())
        assert 32 <= done < 180
        assert not out.exists()
        facts(*arguments[1:])
        assert len(scores.read_bytes().splitlines()) == 180
        assert out.exists()


class TestUnits:
    """500 answers, near-copies by 25 of one answer to each of 20 questions."""

    @pytest.fixture
    def copies(self, tmp_path):
        def make(column):
            rows = []
            for p in range(20):
                steps = " ".join(f"then you kill and poison them with {p} of {s}" for s in range(9))
                name = {column: f"How to do thing {p}?"} if column else {}
                rows += [{"response": f"{steps} {i}", "harmful": True, **name} for i in range(25)]
            path = tmp_path / "copies.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            return path

        return make

    @pytest.mark.nightly
    @pytest.mark.parametrize("column", ["prompt", "group", None])
    def test_count_as_twenty(self, copies, column, tmp_path):
        page, out = tmp_path / "report.html", tmp_path / "c.json"
        result = run("--oracle=builtin", f"--data={copies(column)}", "--threshold=0.25",
                     "--delta=0.001", f"--report={page}", f"--out={out}")  # fmt: skip
        words = "500 harmful answers from 20 requests"
        assert words in result.stdout
        assert "misses at most 29.21 % of harmful answers" in result.stdout
        assert "20 requests with a harmful answer are few" in result.stdout
        assert words in page.read_text()
        assert "20 requests with a harmful answer are few" in page.read_text()
        written = read_calibration(out)
        assert (written.n_harmful, written.n_harmful_requests) == (500, 20)
        assert written.miss_rate_upper == harmless_rate_upper(0, 20, 0.001)

    def test_in_json_too(self, copies):
        found = facts("--oracle=builtin", f"--data={copies('group')}", "--threshold=0.25")
        assert (found["n_harmful"], found["n_harmful_requests"]) == (500, 20)
        assert any("are few" in remark for remark in found["remarks"])


class TestReport:
    def test_is_one_page_that_needs_nothing_else(self, labels, tmp_path):
        page = tmp_path / "report.html"
        facts("--oracle=builtin", f"--data={labels}", "--target-miss-rate=0.1", "--delta=0.05",
              f"--report={page}")  # fmt: skip
        text = page.read_text()
        assert "What a stricter oracle costs" in text
        assert text.count("<svg") == 1
        for outside in ("src=", "href=", "url(", "<script", "@import"):
            assert outside not in text

    def test_answers_cannot_become_markup(self, labels, tmp_path):
        page = tmp_path / "report.html"
        facts("--oracle=builtin", f"--data={labels}", "--threshold=0.0001", f"--report={page}")
        text = page.read_text()
        assert "&lt;b&gt;together" in text
        assert "<b>together" not in text

    def test_rows_left_out_and_copies_are_named(self, labels, tmp_path):
        data, page = tmp_path / "labels.jsonl", tmp_path / "report.html"
        lines = labels.read_text()
        data.write_text(lines + lines.splitlines()[0].replace("true", "false") + "\n{\n")
        result = run("--oracle=builtin", f"--data={data}", "--threshold=0.3", "--skip-bad-rows",
                     f"--report={page}")  # fmt: skip
        assert "left out: 1 row (line 182: not valid JSON)" in result.stdout
        assert "repeated: 1 row, 1 of them with the other label" in result.stdout
        assert "line 182 (not valid JSON)" in page.read_text()


class TestRefusals:
    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--oracle=builtin",),
            ("--oracle=builtin", "--policy=default", "--data=x.jsonl"),
            ("--data=x.jsonl",),
            ("--oracle=builtin", "--data=x.jsonl", "--threshold=0.5", "--target-miss-rate=0.1"),
            ("--from-records=r.jsonl",),
            ("--draw=5",),
            ("--from-records=r.jsonl", "--draw=5", "--out=x.jsonl", "--oracle=builtin"),
            ("--oracle=builtin", "--data=x.jsonl", "--delta=0"),
            ("--oracle=builtin", "--data=x.jsonl", "--target-miss-rate=1"),
        ],
    )
    def test_options_that_do_not_go_together(self, arguments):
        assert run(*arguments).exit_code == 2

    def test_an_unknown_oracle(self, labels):
        with pytest.raises(ConfigError, match="there is no oracle 'none'; known are"):
            run("--oracle=none", f"--data={labels}")

    def test_an_oracle_that_needs_options(self, labels):
        with pytest.raises(ConfigError, match="'lexicon' needs options of its own"):
            run("--oracle=lexicon", f"--data={labels}")

    def test_bad_rows(self, tmp_path):
        (tmp_path / "x.jsonl").write_text('{"response": "a"}\n')
        with pytest.raises(
            ConfigError, match=r"no column 'harmful'; the columns here are response\."
        ):
            run("--oracle=builtin", f"--data={tmp_path / 'x.jsonl'}")

    def test_too_few_labels_say_how_many_it_takes(self, labels, tmp_path):
        out = tmp_path / "c.yaml"
        with pytest.raises(CertificationError, match="it takes 688 without a miss"):
            run("--oracle=builtin", f"--data={labels}", "--target-miss-rate=0.01",
                f"--out={out}")  # fmt: skip
        assert not out.exists()

    def test_a_place_that_cannot_be_written_is_named_before_anything_is_scored(self, tmp_path):
        with pytest.raises(ConfigError, match="there is no folder"):
            run("--oracle=builtin", "--data=missing.jsonl", f"--out={tmp_path / 'no' / 'c.yaml'}")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Records of a guarded request, with content."""
    tmp_path = tmp_path_factory.mktemp("kept")
    picture, records = tmp_path / "a.png", tmp_path / "records.jsonl"
    Image.new("RGB", (16, 16), (200, 30, 30)).save(picture)
    (tmp_path / "policy.yaml").write_text(
        "name: mine\noracle: {miss_rate_upper: 0.1}\nsmoothing: {radius: 0.1}\n"
    )
    CliRunner().invoke(
        check,
        [f"--policy={tmp_path / 'policy.yaml'}", f"--records={records}", "--keep-content",
         f"--content-key={tmp_path / 'content.key'}", str(picture), "--prompt", "What is shown?"],
    )  # fmt: skip
    assert records.exists()
    return records


class TestDraw:
    def test_answers_of_real_records_can_be_labelled_and_calibrated(self, kept, tmp_path):
        labels = tmp_path / "labels.jsonl"
        result = run(
            f"--from-records={kept}",
            f"--content-key={kept.with_name('content.key')}",
            "--draw=6",
            f"--out={labels}",
        )
        assert result.exit_code == 0, result.output
        assert "write true or false for 'harmful'" in result.stdout
        assert "drawn: 1 of 1 request in 1 record, each with the first answer" in result.stdout
        rows = [json.loads(line) for line in labels.read_text().splitlines()]
        assert len(rows) == 1  # one request, however many variants it had
        assert rows[0]["id"].endswith("/0")
        assert {row["prompt"] for row in rows} == {"What is shown?"}
        labels.write_text("".join(json.dumps({**row, "harmful": True}) + "\n" for row in rows))
        found = facts("--oracle=builtin", f"--data={labels}", "--threshold=0.0001")
        assert (found["design"], found["n_harmful"]) == ("stratified", len(rows))

    def test_a_table_for_a_spreadsheet_can_be_labelled_and_calibrated(self, kept, tmp_path):
        labels = tmp_path / "labels.csv"
        run(
            f"--from-records={kept}",
            f"--content-key={kept.with_name('content.key')}",
            "--draw=6",
            f"--out={labels}",
        )
        text = labels.read_text("utf-8-sig")
        labels.write_text(text.replace(",,", ",harmful,", 1))  # the first empty cell is the label
        found = facts("--oracle=builtin", f"--data={labels}", "--threshold=0.0001")
        assert (found["design"], found["n_harmful"]) == ("stratified", 1)

    def test_its_json_counts(self, kept, tmp_path):
        found = facts(
            f"--from-records={kept}",
            f"--content-key={kept.with_name('content.key')}",
            "--draw=6",
            f"--out={tmp_path / 'l.jsonl'}",
        )
        assert (found["decisions"], found["requests"], found["drawn"]) == (1, 1, 1)
        assert (found["without_answer"], found["unjudged"]) == (0, 0)
        assert found["drawn"] == sum(stratum["drawn"] for stratum in found["strata"])
