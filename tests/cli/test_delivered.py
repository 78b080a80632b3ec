"""`guardrail delivered`: from records of real decisions to a sentence about what left."""

import asyncio
import csv
import json

import pytest
from click.testing import CliRunner

from guardrail.cli.delivered import command
from guardrail.engine.engine import Engine
from guardrail.errors import ConfigError
from guardrail.images.keys import ephemeral
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.content import load_or_create_content_keys
from guardrail.records.journal import FileJournal
from guardrail.records.recorder import build_record
from guardrail.stats import LabelledDraw, delivered_harm_upper
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Scripted


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def facts(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class NoHarm:
    """Everything is harmless."""

    revision = "no harm"

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0)] * len(exchanges)

    async def aclose(self):
        pass


def give_key(records):
    return (f"--content-key={records.with_name('content.key')}",)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Four answers that left a real engine, one of them without content."""
    policy = Policy.model_validate({"name": "mine", "oracle": {"miss_rate_upper": 0.1}})
    engine = Engine(compile_policy(policy), Scripted(("an answer",)), NoHarm(), ephemeral())
    path = tmp_path_factory.mktemp("delivered") / "day.jsonl"
    keys = load_or_create_content_keys(path.with_name("content.key"))
    journal = FileJournal(path)
    for i in range(4):
        chat = picture_chat("scripted", f"What is {i}?", pictures=0)
        verdict = asyncio.run(engine.decide(chat, []))
        journal.append(build_record(verdict, chat, engine, content_keys=keys if i else None))
    journal.close()
    return path


@pytest.fixture
def labels(records, tmp_path):
    """A draw of all of them, all labelled harmless."""
    path = tmp_path / "labels.csv"
    result = run(
        "draw",
        f"--records={records}",
        f"--content-key={records.with_name('content.key')}",
        "--n=9",
        f"--out={path}",
    )
    assert result.exit_code == 0, result.output
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows({**row, "harmful": "harmless"} for row in rows)
    return path


def test_a_draw_says_what_it_is_of(records, tmp_path):
    path = tmp_path / "labels.csv"
    result = run(
        "draw",
        f"--records={records}",
        f"--content-key={records.with_name('content.key')}",
        "--n=3",
        f"--out={path}",
        "--seed=4",
    )
    assert "drawn: 3 of the 4 answers that left under the policy 'mine' from 20" in result.stdout
    assert "by seed 4" in result.stdout
    assert "if none is harmful, they show at most 25.00 % at confidence 0.99" in result.stdout
    assert (tmp_path / "labels.csv.draw.json").exists()


def test_its_json_counts(records, tmp_path):
    out = f"--out={tmp_path / 'l.jsonl'}"
    found = facts("draw", f"--records={records}", *give_key(records), "--n=9", out,
                  "--by=reason", f"--key={tmp_path / 'key'}")  # fmt: skip
    assert (found["drawn"], found["delivered"], found["to_label"]) == (4, 4, 3)
    assert found["without_content"] == 1
    assert (tmp_path / "key").exists()


def test_the_bound_counts_what_was_not_kept_as_harmful(labels):
    result = run("bound", f"--labels={labels}")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Of the 4 answers delivered under the policy 'mine' from 20")
    assert "at most 25.00 % are harmful in the labellers' eyes, with confidence 0.99" in (
        result.stdout
    )
    assert "0 labelled harmful, 0 not labelled and 1 without content" in result.stdout
    assert "was not checked; give --records" in result.stdout


def test_records_are_drawn_from_once_more(labels, records):
    found = facts("bound", f"--labels={labels}", f"--records={records}", "--delta=0.2")
    assert found["records_checked"] is True
    assert found["harm_upper"] == delivered_harm_upper([LabelledDraw(4, 4, 1)], delta=0.2)


def test_a_key_draws_and_is_needed_again(records, tmp_path):
    path, key = tmp_path / "l.jsonl", tmp_path / "key"
    run(
        "draw",
        f"--records={records}",
        f"--content-key={records.with_name('content.key')}",
        "--n=2",
        f"--out={path}",
        f"--key={key}",
    )
    with pytest.raises(ConfigError, match="made with key"):
        run("bound", f"--labels={path}", f"--records={records}")
    found = facts("bound", f"--labels={path}", f"--records={records}", f"--key={key}")
    assert (found["seed"], len(found["key_id"])) == (None, 16)
    assert found["harm_upper"] == 1.0  # nothing is labelled


def test_labels_of_a_former_draw_are_refused(labels, records, tmp_path):
    other = tmp_path / "other.csv"
    run(
        "draw",
        f"--records={records}",
        f"--content-key={records.with_name('content.key')}",
        "--n=9",
        f"--out={other}",
        "--seed=1",
    )
    with pytest.raises(ConfigError, match="not of the draw"):
        run("bound", f"--labels={labels}", f"--draw={tmp_path / 'other.csv.draw.json'}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("draw", "--n=3", "--out=x.csv"),
        ("draw", "--n=3", "--out=x.csv", "--records=r.jsonl", "--since=yesterday"),
        ("draw", "--n=0", "--out=x.csv", "--records=r.jsonl"),
        ("draw", "--n=1", "--out=x.csv", "--records={records}", "--key=k", "--seed=1"),
        ("bound",),
        ("bound", "--labels=x.csv", "--key=missing"),
    ],
)
def test_options_that_do_not_go_together(arguments, records):
    assert run(*(a.format(records=records) for a in arguments)).exit_code == 2
