"""Reading policies: a mistake is named by file, line and field."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.rules import AnswerSource, Mode
from guardrail.errors import ConfigError
from guardrail.oracles.registry import find_options
from guardrail.policy.fields import describe_fields
from guardrail.policy.load import load_policy, parse_policy
from guardrail.policy.mistakes import MistakesError
from guardrail.policy.schema import Policy, PolicyFile


def test_a_small_policy_takes_the_defaults(write, minimal):
    policy = load_policy(write(minimal))
    assert (policy.name, policy.mode, policy.answer) == (
        "mine",
        Mode.ENFORCE,
        AnswerSource.SMOOTHED,
    )
    assert (policy.smoothing.sigma, policy.smoothing.radius) == (0.5, 0.4)
    assert policy.oracle.miss_rate_upper == 0.05


@pytest.mark.parametrize("off", ["off", "'off'"])
def test_off_is_a_word(write, minimal, off):
    """YAML 1.1 reads it as false."""
    policy = load_policy(write(f"{minimal}images: {{remote: {off}}}\nspending: {{mode: {off}}}\n"))
    assert (policy.images.remote, policy.spending.mode) == ("off", "off")


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "'true'"])
def test_only_true_and_false_are_true_and_false(write, minimal, word):
    with pytest.raises(ConfigError, match="this is a text; give true or false"):
        load_policy(write(f"{minimal}failures: {{refusals_are_harmless: {word}}}\n"))


@pytest.mark.parametrize("word", ["false", "FALSE", "False"])
def test_false_is_false(write, minimal, word):
    text = f"{minimal}failures: {{refusals_are_harmless: {word}}}\n"
    assert load_policy(write(text)).failures.refusals_are_harmless is False


def test_hosts_may_be_listed(write, minimal):
    hosts = ["a.example", "*.b.example", "c.example:8443"]
    images = load_policy(
        write(f"{minimal}images: {{remote: allow_list, remote_hosts: {hosts}}}\n")
    ).images
    assert (images.remote, images.remote_hosts) == ("allow_list", hosts)


class TestJson:
    """Where YAML would read something else, or nothing."""

    def test_it_is_read_too(self, write):
        text = json.dumps({"name": "mine", "oracle": {"miss_rate_upper": 0.05}})
        assert load_policy(write(text, "policy.json")).name == "mine"

    def test_it_is_read_as_json(self, write):
        text = (
            '{\n\t"name":\t"mine",\n\t"smoothing": {"alpha": 5e-05},'
            '\n\t"block": {"text": "a\\/\\ud83d\\ude00"}}'
        )
        policy = load_policy(write(text, "policy.json"))
        assert (policy.smoothing.alpha, policy.block.text) == (5e-05, "a/\U0001f600")

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("name: mine\n", 1, "not valid JSON"),
            ('{"name": "a",\n"name": "b"}', 2, "'name' is given twice"),
            (
                '{"name": "a",\n\t"block": {"style": "error",\n\t"style": "error"}}',
                3,
                "'style' is given twice",
            ),
            ('{"name": "a",\n\t"smoothing": {\n\t\t"alpha": 2}}', 3, "below 1"),
            ('{"name": "a", "smoothing": {"alpha": NaN}}', None, "JSON has no NaN"),
            ("[" * 100_000, None, "not valid JSON"),
            (b'{"name": "\xff"}', None, "not valid JSON"),
            ("[]", None, "a mapping of fields"),
        ],
    )
    def test_mistakes_have_their_lines(self, write, text, line, words):
        path = write(text, "policy.json")
        with pytest.raises(ConfigError, match=words) as raised:
            load_policy(path)
        assert raised.value.file == str(path)
        assert raised.value.line == line

    def test_what_yaml_cannot_place_is_named_all_the_same(self, write):
        """A line break between a key and its colon is no YAML."""
        text = '{"name": "a", "mod"\n: 1, "mod"\n: 2}'
        with pytest.raises(ConfigError, match="'mod' is given twice") as raised:
            load_policy(write(text, "policy.json"))
        assert raised.value.line is None


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "+1e-3", ".1e-2", "1.e-3", "1.0e-3", "0.001"])
def test_numbers_are_those_of_yaml_1_2(write, number):
    policy = load_policy(write(f"name: mine\nsmoothing: {{alpha: {number}}}\n"))
    assert policy.smoothing.alpha == 0.001


@pytest.mark.parametrize("number", ["010", "00.5e1x", "1:30", "1:30.5", "0o17"])
def test_what_readers_of_yaml_read_in_two_ways_is_no_number(write, number):
    with pytest.raises(ConfigError, match=r"this is a text \(a number has no quotes"):
        load_policy(write(f"name: mine\nadvanced: {{limits: {{deadline_s: {number}}}}}\n"))


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("+10", 10), ("1_0", 10), ("0x0A", 10), ("10.", 10), ("0.5", 0.5), (".5", 0.5),
     ("0.5e+1", 5), ("1_0.5", 10.5)],
)  # fmt: skip
def test_plain_numbers(write, text, number):
    policy = load_policy(write(f"name: mine\nadvanced: {{limits: {{deadline_s: {text}}}}}\n"))
    assert policy.advanced.limits.deadline_s == number


class TestWhatSaysNothing:
    @pytest.mark.parametrize(
        "text", ["smoothing:\n", "advanced:\n  limits:\n", "oracle:\n", "block: null\n",
                 "x-mine:\n  a: [1]\n", "x-a: 1\nx-b: 2\n"],
    )  # fmt: skip
    def test_is_left_out(self, write, text):
        assert load_policy(write(f"name: mine\n{text}")) == load_policy(write("name: mine\n"))

    def test_an_empty_section_keeps_what_the_extended_file_says(self, write):
        write("name: base\nsmoothing: {sigma: 0.4}\nx-n: 1\n", "base.yaml")
        policy = load_policy(write("name: mine\nextends: base.yaml\nsmoothing:\n"))
        assert policy.smoothing.sigma == 0.4

    def test_anchors_have_a_place(self, write):
        text = (
            "x-common: &common\n  sigma: 0.4\nname: mine\n"
            "smoothing:\n  <<: *common\n  radius: 0.2\n"
        )
        smoothing = load_policy(write(text)).smoothing
        assert (smoothing.sigma, smoothing.radius) == (0.4, 0.2)

    def test_in_json_too(self, write):
        text = json.dumps({"name": "mine", "x-note": "why", "block": None})
        assert load_policy(write(text, "p.json")).name == "mine"

    @pytest.mark.parametrize("text", ["smoothing: {x-a: 1}\n", "X-a: 1\n"])
    def test_elsewhere_it_is_a_mistake(self, write, text):
        with pytest.raises(ConfigError, match="no such field"):
            load_policy(write(f"name: mine\n{text}"))


@pytest.mark.parametrize("word", ["1e3x", "e3", "1e", "v1e-3"])
def test_words_with_an_e_stay_words(write, word):
    assert load_policy(write(f"name: {word}\n")).name == word


def test_whole_numbers_are_numbers(write, minimal):
    assert load_policy(write(minimal + "smoothing: {sigma: 1}\n")).smoothing.sigma == 1.0


MISTAKES = {
    "unknown field": ("mod: observe\n", 4, "mod", "no such field"),
    "unknown nested field": ("block:\n  colour: 3\n", 5, "block.colour", "no such field"),
    "no rule for repeats": (
        "advanced:\n  limits:\n    retry: all\n",
        6,
        "advanced.limits.retry",
        "'undrawn' or 'any'",
    ),
    "more answers than calls": (
        "advanced:\n  sampling:\n    expected_success_rate: 1.1\n",
        6,
        "advanced.sampling.expected_success_rate",
        "a number of at most 1",
    ),
    "field of another section": ("sigma: 0.5\n", 4, "sigma", "no such field"),
    "wrong type": ("smoothing:\n  sigma: much\n", 5, "smoothing.sigma", "give a number"),
    "a number as text": ("smoothing:\n  sigma: '0.5'\n", 5, "smoothing.sigma", "give a number"),
    "true as a number": ("smoothing:\n  sigma: true\n", 5, "smoothing.sigma", "give a number"),
    "a number as a switch": (
        "failures:\n  refusals_are_harmless: 1\n",
        5,
        "failures.refusals_are_harmless",
        "true or false",
    ),
    "a fraction of samples": (
        "sampling:\n  max_samples: 9.5\n",
        5,
        "sampling.max_samples",
        "a whole number",
    ),
    "out of range": ("smoothing:\n\n  alpha: 1.0\n", 6, "smoothing.alpha", "below 1"),
    "negative": (
        "advanced: {limits: {retries: -1}}\n",
        4,
        "advanced.limits.retries",
        "of at least 0",
    ),
    "not a number": ("smoothing:\n  sigma: .nan\n", 5, "smoothing.sigma", "a number"),
    "infinite": ("smoothing:\n  radius: .inf\n", 5, "smoothing.radius", "a number"),
    "unknown word": ("mode: watch\n", 4, "mode", "'enforce' or 'observe'"),
    "a plan for estimates": (
        "advanced:\n  sampling:\n    plan: betting\n",
        6,
        "advanced.sampling.plan",
        "'fixed'",
    ),
    "another version": ("version: 2\n", 4, "version", "1"),
    "a section that is none": ("block: 3\n", 4, "block", "give a section of fields"),
    "nothing in a field": (
        "answer:\n",
        4,
        "answer",
        "nothing stands here; give 'smoothed' or 'clean'",
    ),
    "a list without hosts": ("images:\n  remote: allow_list\n", 4, "images", "remote_hosts"),
    "links, yes": ("images:\n  remote: on\n", 5, "images.remote", "'public'"),
    "a link as a host": (
        "images:\n  remote_hosts: ['https://a.example']\n",
        5,
        "images.remote_hosts.0",
        "pattern",
    ),
    "a quality of 0": (
        "advanced: {images: {variant_quality: 0}}\n",
        4,
        "advanced.images.variant_quality",
        "of at least",
    ),
    "a name with spaces": ("block:\n  text: ''\n", 5, "block.text", "at least 1 character"),
    "words that name nothing": (
        "block:\n  text: Quote {recordid}.\n",
        5,
        "block.text",
        "{reason} and {record_id} are filled in",
    ),
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
    with pytest.raises(ConfigError, match=r"known are .*builtin, cascade, classifier, default"):
        load_policy(write("name: mine\noracle: {kind: magic}\n"))


def test_the_folder_of_the_file_is_where_paths_start(write, minimal):
    path = write(minimal)
    assert load_policy(path).folder == path.parent


def test_detoxify_takes_its_own_fields(write):
    text = "name: a\noracle: {kind: detoxify, miss_rate_upper: 0.1, model: unbiased}\n"
    assert load_policy(write(text)).oracle.model == "unbiased"


class TestAllMistakesAtOnce:
    def test_each_is_named_in_the_order_of_the_file(self, write, minimal):
        text = "b: 1\nsmoothing:\n  sigma: 9\n  sigma: 8\n  alfa: 1\na: 2\n"
        path = write(minimal + text)
        with pytest.raises(MistakesError) as raised:
            load_policy(path)
        error = raised.value
        found = [(mistake.line, mistake.field) for mistake in error.mistakes]
        assert found == [
            (4, "b"),
            (6, "smoothing.sigma"),
            (7, None),
            (8, "smoothing.alfa"),
            (9, "a"),
        ]
        assert (error.file, error.line, error.field) == (str(path), 4, "b")
        assert str(error).splitlines() == [
            f"{path}: 5 mistakes",
            *(f"  {m}" for m in error.mistakes),
        ]

    def test_a_single_one_is_an_error_of_its_own(self, write, minimal):
        with pytest.raises(ConfigError) as raised:
            load_policy(write(minimal + "a: 1\n"))
        assert type(raised.value) is ConfigError


MEANT = {
    "an old section": ("limits: {max_calls: 3}\n", "'advanced.limits'"),
    "an old field": ("sampling: {max_parallel: 3}\n", "'advanced.sampling.max_parallel'"),
    "a field that went deeper": ("variant_format: png\n", "'advanced.images.variant_format'"),
    "a field that is not advanced": ("advanced: {images: {remote: off}}\n", "'images.remote'"),
    "a field without its section": ("sigma: 0.5\n", "'smoothing.sigma'"),
    "a field of two sections": ("canvas: {mode: off}\nstyle: 1\n", "'block.style'"),
    "a slip": ("smoothing: {radus: 1}\n", "'smoothing.radius'"),
    "a slip in a section's name": ("smoothin: {radius: 1}\n", "'smoothing'"),
    "a slip in a field of elsewhere": ("max_sample: 1\n", "'sampling.max_samples'"),
    "a slip in extends": ("extend: strict\n", "'extends'"),
    "a name in Python": ("advanced: {memory: {on_pass: replay}}\n", "'advanced.memory.pass'"),
    "nothing like it": ("colour: blue\n", "guardrail policy schema"),
}


@pytest.mark.parametrize(("text", "words"), MEANT.values(), ids=MEANT)
def test_a_field_that_does_not_exist_says_what_was_meant(write, text, words):
    with pytest.raises(ConfigError) as raised:
        load_policy(write(f"name: mine\n{text}"))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        ("{treshold: 0.1}", "'oracle.threshold'"),
        ("{kind: detoxify, modl: a}", "'oracle.model'"),
        ("{kind: builtin, modl: a}", "guardrail policy schema"),
        ("{style: error}", "guardrail policy schema"),
        (
            "{kind: action, source: json, actions: {}, harm: {treshold: 1}}",
            "'oracle.harm.threshold'",
        ),
        (
            "{kind: ensemble, members: [{kind: builtin}, {fil: a, kind: lexicon}]}",
            "'oracle.members.1.file'",
        ),
    ],
)
def test_an_oracles_fields_are_those_of_its_kind(write, oracle, words):
    with pytest.raises(ConfigError) as raised:
        load_policy(write(f"name: mine\noracle: {oracle}\n"))
    assert words in str(raised.value)


BROKEN = {
    "a section that holds itself": (
        "name: a\noracle: &o {kind: ensemble, rule: any, members: [*o]}\n",
        2,
        "it holds itself",
    ),
    "a list that holds itself": ("name: a\nx-a: &a [*a]\n", 2, "it holds itself"),
    "a few lines that are billions": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]\n" for x, y in pairwise("abcdefghij")),
        6,
        "aliases make more than 100000 values",
    ),
    "a key that stands twice": ("name: one\nname: two\n", 2, "'name' is given twice"),
    "a nested key twice": (
        "name: a\nblock:\n  style: error\n  style: error\n",
        4,
        "'style' is given twice",
    ),
    "open brackets": ("name: [\n", None, "not valid YAML"),
    "a tab": ("name:\n\t- a\n", 2, "not valid YAML"),
    "an impossible date": ("name: 2024-99-99\n", None, "cannot be read"),
    "a key that is a list": ("? [a]\n: b\n", 1, "unhashable"),
    "a Python object": ("name: !!python/object:os.system {}\n", 1, "could not determine"),
    "two documents": ("name: a\n---\nname: b\n", None, "another document"),
    "bytes that are no text": (b"name: \x80\n", None, "save it as UTF-8"),
    "a list": ("- name\n", None, "a mapping of fields"),
    "a word": ("default\n", None, "a mapping of fields"),
    "nothing": ("", None, "a mapping of fields"),
    "deep nesting": ("[" * 2_000, None, "not valid YAML"),
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
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        load_policy(write(b"#" * (1024 * 1024 + 1)))


def test_a_key_that_is_no_text(write, minimal):
    with pytest.raises(ConfigError, match="put it in quotes"):
        load_policy(write(minimal + "1: 2\n"))


class TestWhereFieldsStand:
    def test_file_and_line_of_a_field(self, write, minimal):
        path = write(minimal)
        policy = load_policy(path)
        assert policy.find_field("name") == (str(path), 1)
        assert policy.find_field("oracle.miss_rate_upper") == (str(path), 3)

    def test_the_section_where_the_field_is_left_out(self, write, minimal):
        path = write(minimal)
        assert load_policy(path).find_field("oracle.threshold") == (str(path), 2)
        assert load_policy(path).find_field("sampling.max_samples") == (str(path), 1)

    def test_nowhere_without_a_file(self):
        assert Policy(name="mine").find_field("name") == (None, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from([*PolicyFile.model_fields, "other"])
PLACES = [
    *(field.place for field in describe_fields(PolicyFile)),
    *(("oracle", name) for name in find_options("default").model_fields),
]


NOT_PLAIN = re.compile(
    r"[Ii]nput should|instance of|[Ss]tring should|List should|Tuple|validation|boolean|integer|"
    r"literal\[|list\[|dictionary|[Kk]eys should"
)


@given(st.data())
def test_mistakes_are_told_in_plain_words(data):
    """A wrong value in every field that there is, two at a time."""
    content = {"name": "mine"}
    for field in data.draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=2)):
        inner = content
        for part in field[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                return
        inner[field[-1]] = data.draw(VALUES)
    try:
        parse_policy(json.dumps(content).encode(), file="policy.json")
    except ConfigError as error:
        assert not NOT_PLAIN.search(str(error)), str(error)  # noqa: PT017 (a policy is right too)


@given(st.dictionaries(FIELDS, VALUES, max_size=4))
def test_any_content_is_a_policy_or_a_config_error(content):
    try:
        policy = parse_policy(json.dumps(content).encode(), file="policy.json")
    except ConfigError:
        return
    assert isinstance(policy, Policy)


@pytest.mark.parametrize("file", ["policy.yaml", "policy.json"])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_policy_or_a_config_error(file, data):
    with pytest.raises(ConfigError, match=r"policy\.(yaml|json)"):
        parse_policy(data, file=file)
