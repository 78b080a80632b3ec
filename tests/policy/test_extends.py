"""`extends`: what a policy takes over, and what it does not."""

from pathlib import Path

import pytest

from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.load import load_policy, parse_policy
from guardrail.policy.mistakes import MistakesError
from guardrail.policy.schema import Policy

HOUSE = """\
name: house
smoothing: {alpha: 0.01, radius: 0.2}
images: {remote: allow_list, remote_hosts: [a.example, b.example]}
oracle: {kind: builtin, threshold: 0.3, miss_rate_upper: 0.1}
advanced: {limits: {retries: 0}, prices: {a: {input_usd_per_million: 1, output_usd_per_million: 1}}}
"""


@pytest.fixture(autouse=True)
def house(write):
    return write(HOUSE, "house.yaml")


def extend(write, text, base="house.yaml"):
    return load_policy(write(f"name: mine\nextends: {base}\n{text}", "mine.yaml"))


class TestMerging:
    def test_nothing_else_is_the_other_under_another_name(self, write, house):
        assert extend(write, "") == load_policy(house).model_copy(update={"name": "mine"})

    @pytest.mark.parametrize("name", ["default", "strict", "action"])
    def test_a_shipped_one_by_its_name(self, write, name):
        mine = extend(write, "", base=name)
        assert mine.model_dump() == load_policy(name).model_dump() | {"name": "mine"}

    def test_what_extends_default_is_what_extends_nothing(self, write):
        text = "smoothing: {alpha: 0.01}\noracle: {miss_rate_upper: 0.2}\n"
        alone = load_policy(write(f"name: mine\n{text}"))
        assert extend(write, text, base="default") == alone

    def test_sections_are_merged_and_lists_are_replaced(self, write):
        mine = extend(
            write,
            "smoothing: {radius: 0.1}\nimages: {remote_hosts: [c.example]}\n"
            "advanced: {limits: {max_calls: 90},\n"
            "  prices: {b: {input_usd_per_million: 2, output_usd_per_million: 2}}}\n",
        )
        assert (mine.smoothing.alpha, mine.smoothing.radius) == (0.01, 0.1)
        assert (mine.images.remote, mine.images.remote_hosts) == ("allow_list", ["c.example"])
        assert (mine.advanced.limits.retries, mine.advanced.limits.max_calls) == (0, 90)
        assert set(mine.advanced.prices) == {"a", "b"}

    def test_null_is_a_value_like_any_other(self, write):
        assert extend(write, "oracle: {miss_rate_upper: null}").oracle.miss_rate_upper is None

    def test_an_oracle_of_the_same_kind_is_merged(self, write):
        for text in (
            "oracle: {miss_rate_upper: 0.2}",
            "oracle: {kind: builtin, miss_rate_upper: 0.2}",
        ):
            oracle = extend(write, text).oracle
            assert (oracle.threshold, oracle.miss_rate_upper) == (0.3, 0.2)

    def test_a_kind_that_is_left_out_is_the_usual_one(self, write):
        write("name: house\noracle: {threshold: 0.3}\n", "house.yaml")
        assert extend(write, "oracle: {kind: default}").oracle.threshold == 0.3

    def test_an_oracle_of_another_kind_replaces_the_whole_oracle(self, write):
        """Else detoxify would be given the threshold of the built-in oracle."""
        oracle = extend(write, "oracle: {kind: detoxify, model: unbiased}").oracle
        assert (oracle.kind, oracle.threshold, oracle.miss_rate_upper) == ("detoxify", 0.5, None)

    def test_a_calibration_replaces_what_it_measures(self, write):
        oracle = extend(write, "oracle: {calibration: c.yaml}").oracle
        assert oracle.calibration == "c.yaml"
        assert not {"threshold", "miss_rate_upper", "delta"} & oracle.model_fields_set

    def test_name_and_recall_are_not_taken_over(self, write):
        write(f"{HOUSE}recall: r.yaml\n", "house.yaml")
        assert extend(write, "").recall is None
        with pytest.raises(ConfigError, match="required") as raised:
            load_policy(write("extends: house.yaml\n"))
        assert raised.value.field == "name"

    def test_a_file_may_extend_one_that_extends_another(self, write):
        write("extends: house.yaml\nsmoothing: {radius: 0.1}\n", "between.yaml")  # needs no name
        mine = extend(write, "smoothing: {sigma: 0.25}", base="between.yaml")
        assert (mine.smoothing.sigma, mine.smoothing.radius, mine.smoothing.alpha) == (
            0.25,
            0.1,
            0.01,
        )

    def test_json_may_extend_yaml(self, write):
        path = write('{"name": "mine", "extends": "house.yaml"}', "mine.json")
        assert load_policy(path).smoothing.alpha == 0.01

    def test_a_text_is_read_like_a_file(self, house):
        data = b"name: mine\nextends: house.yaml\n"
        assert parse_policy(data, file=str(house.with_name("mine.yaml"))).smoothing.alpha == 0.01


class TestDigest:
    def test_it_is_that_of_the_resolved_policy(self, write):
        whole = load_policy(write(HOUSE.replace("name: house", "name: mine"), "whole.yaml"))
        assert policy_digest(extend(write, "")) == policy_digest(whole)

    def test_a_change_of_the_extended_file_changes_it(self, write):
        before = policy_digest(extend(write, ""))
        write(HOUSE.replace("0.01", "0.02"), "house.yaml")
        assert policy_digest(extend(write, "")) != before


class TestPaths:
    @pytest.fixture
    def elsewhere(self, tmp_path):
        """A file in a folder beside the policy's, which names files of its own."""
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        (folder / "words.yaml").write_text("version: 1\n")
        (folder / "model").mkdir()
        return folder

    def resolve(self, write, elsewhere, oracle, own="{}"):
        (elsewhere / "house.yaml").write_text(f"name: house\noracle: {oracle}\n")
        return extend(write, f"oracle: {own}\n", base="elsewhere/house.yaml")

    @pytest.mark.parametrize(
        ("oracle", "field", "path"),
        [
            ("{kind: lexicon, file: words.yaml}", "file", "elsewhere/words.yaml"),
            ("{kind: lexicon, file: ../words.yaml}", "file", "words.yaml"),
            ("{kind: lexicon, file: /words.yaml}", "file", "/words.yaml"),
            ("{calibration: c.json}", "calibration", "elsewhere/c.json"),
            ("{kind: classifier, model: model, labels: {a: 0.5}}", "model", "elsewhere/model"),
            ("{kind: classifier, model: a/b, labels: {a: 0.5}}", "model", "a/b"),
            ("{kind: judge, upstream: 'transformers:model'}", "upstream",
             "transformers:elsewhere/model"),
            ("{kind: judge, upstream: 'transformers:a/b'}", "upstream", "transformers:a/b"),
            ("{kind: judge, upstream: 'litellm:model'}", "upstream", "litellm:model"),
            ("{kind: detoxify, model: model}", "model", "model"),
        ],
    )  # fmt: skip
    def test_relative_paths_start_where_they_are_written(
        self, write, elsewhere, oracle, field, path
    ):
        assert getattr(self.resolve(write, elsewhere, oracle).oracle, field) == path

    def test_at_any_depth(self, write, elsewhere):
        oracle = "{kind: ensemble, rule: any, members: [{}, {kind: lexicon, file: words.yaml}]}"
        members = self.resolve(write, elsewhere, oracle).oracle.members
        assert members[1].file == "elsewhere/words.yaml"

    def test_in_an_oracle_of_ones_own(self, write, elsewhere, monkeypatch):
        (elsewhere / "my_extended_oracle.py").write_text(
            "from guardrail.oracles import FilePath, HarmOptions\n"
            "class Options(HarmOptions):\n"
            "    rules: FilePath\n"
            "    title: str = 'words.yaml'\n"
            "    def build(self, folder):\n"
            "        raise NotImplementedError\n"
        )
        monkeypatch.syspath_prepend(elsewhere)
        oracle = self.resolve(
            write, elsewhere, "{kind: 'my_extended_oracle:Options', rules: words.yaml}"
        ).oracle
        assert (oracle.rules, oracle.title) == ("elsewhere/words.yaml", "words.yaml")

    def test_own_paths_start_at_the_own_folder(self, write, elsewhere):
        """Though a file of that name lies beside the extended one as well."""
        oracle = self.resolve(
            write,
            elsewhere,
            "{kind: lexicon, file: other.yaml}",
            "{kind: lexicon, file: words.yaml}",
        ).oracle
        assert oracle.file == "words.yaml"

    def test_mistakes_in_them_are_still_mistakes(self, write, elsewhere):
        with pytest.raises(ConfigError, match="at least 1 character") as raised:
            self.resolve(write, elsewhere, "{kind: lexicon, file: ''}")
        assert raised.value.file.endswith("house.yaml")


class TestMistakes:
    def test_each_names_the_file_in_which_it_stands(self, write):
        write(
            HOUSE.replace("alpha: 0.01", "alpha: 7").replace("name: house", "nam: x"), "house.yaml"
        )
        with pytest.raises(MistakesError) as raised:
            extend(write, "smoothing:\n  sigma: 9\n")
        found = [(Path(m.file).name, m.line, m.field) for m in raised.value.mistakes]
        assert found == [
            ("mine.yaml", 4, "smoothing.sigma"),
            ("house.yaml", 1, "nam"),
            ("house.yaml", 2, "smoothing.alpha"),
        ]

    def test_so_do_those_that_are_found_later(self, write, house):
        write(f"{HOUSE}sampling:\n  max_samples: 3\n", "house.yaml")
        with pytest.raises(ConfigError, match="could never pass") as raised:
            compile_policy(extend(write, ""))
        assert (raised.value.file, raised.value.line) == (str(house), 7)

    @pytest.mark.parametrize(
        ("base", "words"),
        [
            ("none.yaml", "there is no file '.*none.yaml'"),
            ("strikt", "did you mean 'strict'"),
            ("3", "the name of a shipped policy, or the path of a file"),
            ("[default]", "the name of a shipped policy, or the path of a file"),
            ("mine.yaml", "extends this file again"),
            ("..", "no shipped policy"),
            ("./", "there is no file"),
        ],
    )
    def test_what_cannot_be_extended(self, write, base, words):
        with pytest.raises(ConfigError, match=words) as raised:
            extend(write, "", base=base)
        assert raised.value.file.endswith("mine.yaml")
        assert (raised.value.line, raised.value.field) == (2, "extends")

    def test_a_circle_is_named_where_it_closes(self, write):
        write("extends: b.yaml\n", "a.yaml")
        b = write("extends: ./a.yaml\n", "b.yaml")
        with pytest.raises(ConfigError, match=r"a\.yaml' extends this file again") as raised:
            extend(write, "", base="a.yaml")
        assert raised.value.file == str(b)

    def test_a_chain_may_have_eight_files(self, write):
        write("smoothing: {alpha: 0.01}\n", "0.yaml")
        for i in range(1, 9):
            write(f"name: mine\nextends: {i - 1}.yaml\n", f"{i}.yaml")
        assert load_policy(write("name: a\nextends: 6.yaml", "a.yaml")).smoothing.alpha == 0.01
        with pytest.raises(ConfigError, match="at most 8 files") as raised:
            load_policy(write("name: a\nextends: 7.yaml", "a.yaml"))
        assert raised.value.file.endswith("1.yaml")

    @pytest.mark.parametrize(
        ("text", "words"),
        [("- a", "a mapping of fields"), ("a: [", "not valid YAML"), ("a: 1\na: 2", "twice")],
    )
    def test_an_extended_file_that_is_no_policy(self, write, text, words):
        write(text, "house.yaml")
        with pytest.raises(ConfigError, match=words) as raised:
            extend(write, "")
        assert "house.yaml" in str(raised.value)

    def test_a_policy_that_is_made_in_python_extends_nothing(self):
        with pytest.raises(ValueError, match="extends"):
            Policy.model_validate({"name": "mine", "extends": "strict"})
