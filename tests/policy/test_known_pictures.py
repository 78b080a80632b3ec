"""Lists of known pictures: files beside the policy, mistakes by file and line."""

import pytest

from guardrail.api.policy_set import policies_digest
from guardrail.errors import ConfigError
from guardrail.policy.compile import policy_digest
from guardrail.policy.known_pictures import read_known_pictures
from guardrail.policy.load import load_policy
from guardrail.policy.policy_list import ListedPolicy
from guardrail.policy.strictness import describe_looser

SHA, HASH = "ab" * 32, "0123456789abcdef"


@pytest.fixture
def write(tmp_path):
    def make(text, more="", name="policy.yaml", file="known.txt"):
        (tmp_path / file).write_bytes(text.encode())
        policy = tmp_path / name
        policy.write_text(f"name: test\nknown_pictures:\n  lists: [{file}]\n{more}")
        return load_policy(policy)

    return make


def test_entries_stand_one_a_line_with_comments(write):
    text = f"\ufeff# from a partner\n\n{SHA.upper()}  # a file\r\n  {HASH}\n{SHA}\n"
    known = read_known_pictures(write(text))
    assert len(known) == 2


def test_no_list_is_no_check(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("name: test\n")
    assert read_known_pictures(load_policy(policy)) is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("abc", "no entry; write one a line: a SHA-256"),
        (SHA + "0", "no entry"),
        (f"{SHA} {HASH}", "no entry"),
        ("g" * 64, "no entry"),
        ("0" * 16, "the hash of an empty picture"),
        ("0" * 15 + "3", "the hash of an empty picture"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(write, tmp_path, line, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        read_known_pictures(write(f"{SHA}\n# fine\n{line}\n"))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "known.txt"), 3)


def test_several_mistakes_are_named_at_once_and_a_missing_list_is_told(write, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_known_pictures(write("x\n" * 30))
    assert len(str(caught.value).splitlines()) == 10
    policy = write("")
    (tmp_path / "known.txt").unlink()
    with pytest.raises(ConfigError, match="the list of known pictures cannot be read"):
        read_known_pictures(policy)


def test_a_policy_that_extends_another_finds_its_lists(write, tmp_path):
    base = write(f"{SHA}\n")
    below = tmp_path / "below"
    below.mkdir()
    (below / "own.yaml").write_text("extends: ../policy.yaml\nname: own\n")
    policy = load_policy(below / "own.yaml")
    assert read_known_pictures(policy).digest == read_known_pictures(base).digest


def test_lists_are_no_part_of_the_policys_digest_but_of_the_version_that_is_served(write):
    one = write(f"{SHA}\n")
    digest, served = policy_digest(one), policies_digest([ListedPolicy(policy=one)])
    other = write(f"{SHA}\n{HASH}\n")
    assert policy_digest(other) == digest
    assert policies_digest([ListedPolicy(policy=other)]) != served


def test_a_policy_without_lists_is_the_looser_one(write, tmp_path):
    listed = write(f"{SHA}\n")
    bare = listed.model_copy(update={"known_pictures": type(listed.known_pictures)()})
    assert describe_looser(bare, listed) == "known_pictures.lists"
    assert describe_looser(listed, bare) == ""
