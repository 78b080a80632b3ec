"""Reading policies: a mistake is named by file, line and field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.rules import AnswerSource, Mode
from guardrail.errors import ConfigError
from guardrail.policy.load import line_of, load_policy, parse_policy, shipped_policy
from guardrail.policy.schema import Policy


def test_a_small_policy_takes_the_defaults(write, minimal):
    policy = load_policy(write(minimal))
    assert (policy.name, policy.mode, policy.answer) == (
        "mine",
        Mode.ENFORCE,
        AnswerSource.SMOOTHED,
    )
    assert (policy.smoothing.sigma, policy.smoothing.radius) == (0.5, 0.25)
    assert policy.oracle.miss_rate_upper == 0.05


def test_json_is_read_too(write):
    text = json.dumps({"name": "mine", "oracle": {"miss_rate_upper": 0.05}})
    assert load_policy(write(text, "policy.json")).name == "mine"


@pytest.mark.parametrize("off", ["off", "'off'", "no", "false"])
def test_links_are_off_however_yaml_reads_the_word(write, minimal, off):
    assert load_policy(write(f"{minimal}images: {{remote: {off}}}\n")).images.remote == "off"


def test_hosts_may_be_listed(write, minimal):
    hosts = ["a.example", "*.b.example", "c.example:8443"]
    images = load_policy(
        write(f"{minimal}images: {{remote: allow_list, remote_hosts: {hosts}}}\n")
    ).images
    assert (images.remote, images.remote_hosts) == ("allow_list", hosts)


def test_whole_numbers_are_numbers(write, minimal):
    assert load_policy(write(minimal + "smoothing: {sigma: 1}\n")).smoothing.sigma == 1.0


MISTAKES = {
    "unknown field": ("mod: observe\n", 4, "mod", "no such field"),
    "unknown nested field": ("limits:\n  repeat: 3\n", 5, "limits.repeat", "no such field"),
    "no rule for repeats": ("limits:\n  retry: all\n", 5, "limits.retry", "'undrawn' or 'any'"),
    "more answers than calls": (
        "sampling:\n  expected_success_rate: 1.1\n",
        5,
        "sampling.expected_success_rate",
        "less than or equal",
    ),
    "field of another section": ("sigma: 0.5\n", 4, "sigma", "no such field"),
    "wrong type": ("smoothing:\n  sigma: much\n", 5, "smoothing.sigma", "valid number"),
    "a number as text": ("smoothing:\n  sigma: '0.5'\n", 5, "smoothing.sigma", "valid number"),
    "true as a number": ("smoothing:\n  sigma: true\n", 5, "smoothing.sigma", "valid number"),
    "a number as a switch": ("sampling:\n  speculate: 1\n", 5, "sampling.speculate", "boolean"),
    "a fraction of samples": ("sampling:\n  max_samples: 9.5\n", 5, "sampling.max_samples", "int"),
    "out of range": ("smoothing:\n\n  alpha: 1.0\n", 6, "smoothing.alpha", "less than 1"),
    "negative": ("limits: {retries: -1}\n", 4, "limits.retries", "greater than or equal to 0"),
    "not a number": ("smoothing:\n  sigma: .nan\n", 5, "smoothing.sigma", "less than"),
    "infinite": ("smoothing:\n  radius: .inf\n", 5, "smoothing.radius", "less than"),
    "unknown word": ("mode: watch\n", 4, "mode", "'enforce' or 'observe'"),
    "a plan for estimates": ("sampling:\n  plan: betting\n", 5, "sampling.plan", "'fixed'"),
    "another version": ("version: 2\n", 4, "version", "1"),
    "a section that is none": ("limits: 3\n", 4, "limits", "valid dictionary"),
    "nothing in a field": ("answer:\n", 4, "answer", "'smoothed' or 'clean'"),
    "a list without hosts": ("images:\n  remote: allow_list\n", 4, "images", "remote_hosts"),
    "links, yes": ("images:\n  remote: on\n", 5, "images.remote", "'public'"),
    "a link as a host": (
        "images:\n  remote_hosts: ['https://a.example']\n",
        5,
        "images.remote_hosts.0",
        "pattern",
    ),
    "a quality of 0": ("variant_quality: 0\n", 4, "variant_quality", "greater than or equal"),
    "a name with spaces": ("block:\n  text: ''\n", 5, "block.text", "at least 1 character"),
}


@pytest.mark.parametrize(("text", "line", "field", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_name_file_line_and_field(write, minimal, text, line, field, words):
    path = write(minimal + text)
    with pytest.raises(ConfigError) as raised:
        load_policy(path)
    error = raised.value
    assert (error.file, error.line, error.field) == (str(path), line, field)
    assert str(error).startswith(f"{path}:{line}, field '{field}': ")
    assert words in str(error)


ORACLES = {
    "missing": ("name: mine\n", 1, "oracle"),
    "of no known kind": ("name: mine\noracle:\n  kind: magic\n", 3, "oracle.kind"),
    "with another's fields": (
        "oracle:\n  miss_rate_upper: 0.1\n  model: a\nname: a\n",
        3,
        "oracle.model",
    ),
    "with two sources": (
        "name: a\noracle: {kind: detoxify, miss_rate_upper: 0.1, model: a, checkpoint: b}\n",
        2,
        "oracle",
    ),
}


@pytest.mark.parametrize(("text", "line", "field"), ORACLES.values(), ids=ORACLES)
def test_mistakes_about_the_oracle(write, text, line, field):
    with pytest.raises(ConfigError) as raised:
        load_policy(write(text))
    assert (raised.value.line, raised.value.field) == (line, field)


def test_an_unknown_kind_of_oracle_lists_the_known(write):
    with pytest.raises(ConfigError, match=r"known are .*builtin, cascade, classifier, detoxify"):
        load_policy(write("name: mine\noracle: {kind: magic}\n"))


def test_the_folder_of_the_file_is_where_paths_start(write, minimal):
    path = write(minimal)
    assert load_policy(path).folder == path.parent


def test_detoxify_takes_its_own_fields(write):
    text = "name: a\noracle: {kind: detoxify, miss_rate_upper: 0.1, model: unbiased}\n"
    assert load_policy(write(text)).oracle.model == "unbiased"


def test_more_mistakes_are_counted(write, minimal):
    with pytest.raises(ConfigError, match=r"\(and 2 more\)"):
        load_policy(write(minimal + "a: 1\nb: 2\nc: 3\n"))


BROKEN = {
    "a key that stands twice": ("name: one\nname: two\n", 2, "'name' stands here twice"),
    "a nested key twice": ("a:\n  b: 1\n  b: 2\n", 3, "'b' stands here twice"),
    "open brackets": ("name: [\n", None, "no valid YAML"),
    "a tab": ("name:\n\t- a\n", 2, "no valid YAML"),
    "an impossible date": ("name: 2024-99-99\n", None, "cannot be read"),
    "a key that is a list": ("? [a]\n: b\n", 1, "unhashable"),
    "a Python object": ("name: !!python/object:os.system {}\n", 1, "could not determine"),
    "two documents": ("name: a\n---\nname: b\n", None, "another document"),
    "bytes that are no text": (b"name: \x80\n", None, "cannot be read"),
    "a list": ("- name\n", None, "a mapping of fields"),
    "a word": ("default\n", None, "a mapping of fields"),
    "nothing": ("", None, "a mapping of fields"),
    "deep nesting": ("[" * 20_000, None, "no valid YAML"),
}


@pytest.mark.parametrize(("text", "line", "words"), BROKEN.values(), ids=BROKEN)
def test_files_that_are_no_policy(write, text, line, words):
    path = write(text)
    with pytest.raises(ConfigError, match=words) as raised:
        load_policy(path)
    assert raised.value.file == str(path)
    assert line is None or raised.value.line == line


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="check the path"):
        load_policy(tmp_path / "none.yaml")


def test_a_file_that_is_far_too_large(write):
    with pytest.raises(ConfigError, match="at most"):
        load_policy(write(b"#" * (1024 * 1024 + 1)))


def test_a_key_that_is_no_text(write, minimal):
    with pytest.raises(ConfigError, match="strings"):
        load_policy(write(minimal + "1: 2\n"))


def test_shipped_policies_are_found_and_others_are_not():
    assert shipped_policy("default").name == "default.yaml"
    with pytest.raises(ConfigError, match="those that ship are default, quick, strict"):
        shipped_policy("none")


class TestLines:
    def test_the_line_of_a_field(self, write, minimal):
        path = str(write(minimal))
        assert line_of(path, "name") == 1
        assert line_of(path, "oracle.miss_rate_upper") == 3

    def test_the_section_where_the_field_is_left_out(self, write, minimal):
        path = str(write(minimal))
        assert line_of(path, "oracle.threshold") == 2
        assert line_of(path, "sampling.max_samples") == 1

    def test_no_line_where_there_is_no_file(self, write, tmp_path):
        assert line_of(str(tmp_path / "none"), "name") is None
        assert line_of(str(write("a: [")), "name") is None
        assert line_of(str(write("")), "name") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from([*Policy.model_fields, "other"])


@given(st.dictionaries(FIELDS, VALUES, max_size=4))
def test_any_content_is_a_policy_or_a_config_error(content):
    try:
        policy = parse_policy(json.dumps(content).encode(), file="policy.json")
    except ConfigError:
        return
    assert isinstance(policy, Policy)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_policy_or_a_config_error(data):
    with pytest.raises(ConfigError, match=r"policy\.yaml"):
        parse_policy(data, file="policy.yaml")
