"""`guardrail doctor` against a scripted server: each fault has its line."""

import json
import os

import pytest
from click.testing import CliRunner

from guardrail.cli.doctor import command
from guardrail.cli.serve import command as serve_command
from guardrail.upstreams.scripted import Fault, Step

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen".split() * 5
SECRET = "sk-a-key-that-nobody-may-see"


@pytest.fixture
def policy(policy):
    """Without the encoder, which takes longer to load than the rest of a test."""
    policy.write_text(policy.read_text().replace("oracle: {", "oracle: {models: builtin, "))
    return policy


def question_of(call):
    content = call.body["messages"][-1]["content"]
    return content if isinstance(content, str) else "picture"


def sound(call):
    """A model that does all that is asked of it."""
    question = question_of(call)
    if "digits" in question:
        return Step(f"{call.body.get('seed', call.index) * 7919:020d}")
    if "Count" in question:
        short = "max_completion_tokens" in call.body
        return Step(" ".join(NUMBERS[:12] if short else NUMBERS), word_pause_s=0.005)
    return Step("It is Red.")


def answering(word, step):
    """The same, with another answer to one question."""
    return lambda call: step if word in question_of(call) else sound(call)


def run(kit, tmp_path, script, *arguments, entry=""):
    """(exit code, findings by their check) of one upstream behind a script."""
    with kit.model_server(script) as server:
        file = tmp_path / "upstreams.yaml"
        file.write_text(
            f"upstreams:\n  - upstream: openai_compatible:{server.base_url}\n    seeds: true\n"
            f"    direct: true\n{entry}"
        )
        done = CliRunner().invoke(
            command, ["--json", "--upstreams", str(file), *map(str, arguments)]
        )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    report = json.loads(done.stdout)
    found = {}
    for one in report["findings"]:
        name = one["check"].replace(f"upstream openai_compatible:{server.base_url}", "upstream")
        found.setdefault(name, []).append(one)
    levels = [one["level"] for one in report["findings"]]
    assert report["errors"] == levels.count("error")
    assert report["warnings"] == levels.count("warning")
    return done.exit_code, found


def levels_of(found, check):
    return [one["level"] for one in found[check]]


def test_a_sound_set_up_has_no_error(kit, policy, tmp_path):
    key, records = tmp_path / "noise.key", tmp_path / "records.jsonl"
    code, found = run(
        kit, tmp_path, sound, "--policy", policy, "--key-file", key, "--records", records
    )
    assert code == 0
    for check in ("models", "direct", "answers", "draws", "seeds", "pictures", "token limit",
                  "streams"):  # fmt: skip
        assert levels_of(found, f"upstream: {check}") == ["ok"], found[f"upstream: {check}"]
    for check in ("policy test", "policy test: with its upstreams", "oracle of test",
                  "oracle of test: judges", "oracle of test: languages", "key file",
                  "records"):  # fmt: skip
        assert set(levels_of(found, check)) == {"ok"}, found[check]
    assert not key.exists()  # nothing is made
    assert not records.exists()


@pytest.mark.parametrize(
    ("script", "check", "level", "word"),
    [
        ([Step(fault=Fault.STATUS, status=401)], "answers", "error", "API key"),
        ([Step(fault=Fault.STATUS, status=404)], "answers", "error", "404"),
        ([Step(fault=Fault.RESET)], "answers", "error", "broke off"),
        (answering("digits", Step("4" * 20)), "draws", "warning", "equal"),
        (answering("digits", Step("4", headers={"x-cache": "HIT"})), "draws", "error", "cache"),
        (answering("picture", Step("A picture.")), "pictures", "warning", "not called red"),
        (answering("picture", Step(fault=Fault.STATUS, status=400)), "pictures", "error", "400"),
        (answering("Count", Step(" ".join(NUMBERS))), "token limit", "error", "ignored"),
        (answering("Count", Step("1")), "token limit", "ok", "holds"),
        (answering("Count", Step(fault=Fault.STATUS, status=503)), "streams", "error", "503"),
    ],
)  # fmt: skip
def test_a_fault_of_the_model_has_its_line(kit, policy, tmp_path, script, check, level, word):
    code, found = run(kit, tmp_path, script, "--policy", policy)
    (line,) = found[f"upstream: {check}"]
    assert line["level"] == level
    assert word in line["message"]
    assert (code == 1) is any("error" in levels_of(found, name) for name in found)


def test_seeds_that_are_not_honoured(kit, policy, tmp_path):
    def forgetful(call):
        return Step(f"{call.index}") if "digits" in question_of(call) else sound(call)

    _, found = run(kit, tmp_path, forgetful, "--policy", policy)
    assert levels_of(found, "upstream: seeds") == ["warning"]
    assert "seeds: false" in found["upstream: seeds"][0]["remedy"]


def test_an_answer_that_comes_in_one_piece(kit, policy, tmp_path):
    whole = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "one two three"}}],
    }  # fmt: skip
    _, found = run(kit, tmp_path, answering("Count", Step(response=whole)), "--policy", policy)
    assert levels_of(found, "upstream: streams") == ["warning"]


def test_the_other_name_of_the_limit_is_told(kit, policy, tmp_path):
    def old(call):
        if "Count" in question_of(call):
            return Step(" ".join(NUMBERS[:12] if "max_tokens" in call.body else NUMBERS))
        return sound(call)

    _, found = run(kit, tmp_path, old, "--policy", policy)
    assert "token_limit_name: max_tokens" in found["upstream: token limit"][0]["remedy"]
    _, found = run(
        kit, tmp_path, old, "--policy", policy, entry="    token_limit_name: max_tokens\n"
    )
    assert levels_of(found, "upstream: token limit") == ["ok"]


def test_a_model_that_takes_no_temperature_is_told_where_views_are_asked_at_one(
    kit, policy, tmp_path
):
    def warm(call):
        if "temperature" in call.body:
            return Step(fault=Fault.STATUS, status=400)
        return sound(call)

    _, found = run(kit, tmp_path, warm, "--policy", policy)
    assert "upstream: temperature" not in found  # no view is asked
    policy.write_text(policy.read_text() + "threats: {suffix: {words: 2}}\n")
    code, found = run(kit, tmp_path, warm, "--policy", policy)
    assert code == 1
    (line,) = found["upstream: temperature"]
    assert line["level"] == "error"
    assert "temperature 0" in line["message"]
    assert "temperature: null" in line["remedy"]
    _, found = run(kit, tmp_path, sound, "--policy", policy)
    assert levels_of(found, "upstream: temperature") == ["ok"]
    policy.write_text(policy.read_text().replace("{suffix", "{temperature: null, suffix"))
    _, found = run(kit, tmp_path, warm, "--policy", policy)
    assert "upstream: temperature" not in found


def test_without_calls_the_model_is_not_asked(kit, policy, tmp_path):
    asked = []

    def script(call):
        asked.append(call)
        return sound(call)

    code, found = run(kit, tmp_path, script, "--policy", policy, "--no-calls")
    assert (code, asked) == (0, [])
    assert levels_of(found, "upstream") == ["skipped"]
    assert levels_of(found, "upstream: models") == ["ok"]
    assert "oracle of test: judges" not in found


def test_a_model_that_is_not_listed(kit, policy, tmp_path):
    _, found = run(kit, tmp_path, sound, "--policy", policy, "--model", "other")
    assert levels_of(found, "upstream: models") == ["warning"]
    assert "'other'" in found["upstream: answers"][0]["message"]


def test_an_upstream_that_is_not_there(policy):
    done = CliRunner().invoke(
        command,
        ["--json", "--upstream", "openai_compatible:http://127.0.0.1:9/v1", "--policy", policy],
    )
    assert done.exit_code == 1
    (line,) = [f for f in json.loads(done.stdout)["findings"] if f["check"].endswith(": models")]
    assert line["level"] == "error"
    assert "could not be reached" in line["message"]


def test_a_policy_with_a_mistake_does_not_hide_the_rest(kit, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\nsmoothing: {sigma: -1}\n")
    code, found = run(kit, tmp_path, sound, "--policy", bad)
    assert code == 1
    assert "sigma" in found["policies"][0]["message"]
    assert "open files" in found


def test_upstreams_with_a_mistake(tmp_path, policy):
    file = tmp_path / "upstreams.yaml"
    file.write_text("upstreams: [{upstream: 'openai_compatible:http://127.0.0.1:9/v1', "
                    "api_key_env: GUARDRAIL_TEST_NOT_SET}]")  # fmt: skip
    done = CliRunner().invoke(command, ["--json", "--upstreams", file, "--policy", policy])
    (line,) = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "upstreams"]
    assert "GUARDRAIL_TEST_NOT_SET is not set" in line["message"]


def test_an_open_key_file_is_an_error(kit, policy, tmp_path):
    key = tmp_path / "noise.key"
    key.write_text("00" * 32 + "\n")
    key.chmod(0o644)
    code, found = run(kit, tmp_path, sound, "--policy", policy, "--key-file", key, "--no-calls")
    assert code == 1
    assert "mode 0644" in found["key file"][0]["message"]
    assert f"chmod 600 {key}" in found["key file"][0]["remedy"]


def test_neither_keys_nor_answers_are_shown(kit, policy, tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDRAIL_TEST_KEY", SECRET)
    said = "an-answer-that-nobody-may-see"
    key = tmp_path / "noise.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    _, found = run(
        kit, tmp_path, answering("picture", Step(said)), "--policy", policy, "--key-file", key,
        entry="    api_key_env: GUARDRAIL_TEST_KEY\n",
    )  # fmt: skip
    told = json.dumps(found)
    assert levels_of(found, "upstream: answers") == ["ok"]
    assert SECRET not in told
    assert said not in told
    assert "ab" * 32 not in told


def test_it_speaks_to_people(kit, policy):
    with kit.model_server(sound) as server:
        done = CliRunner().invoke(
            command,
            ["--upstream", f"openai_compatible:{server.base_url}", "--policy", str(policy)],
        )
    lines = done.stdout.splitlines()
    assert done.exit_code == 0, done.stdout
    assert lines[0].startswith("ok       versions: guardrail ")
    assert any(line.startswith("         what to do: ") for line in lines)
    assert lines[-1].startswith("no errors, ")


def test_it_takes_every_option_of_serve():
    options = {option for param in command.params for option in param.opts}
    assert {o for param in serve_command.params for o in param.opts} < options
    assert {"--json", "--no-calls", "--model"} < options


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_records_that_cannot_be_written(kit, policy, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    _, found = run(
        kit, tmp_path, sound, "--policy", policy, "--no-calls", "--records", folder / "r.jsonl"
    )
    assert levels_of(found, "records") == ["error"]
