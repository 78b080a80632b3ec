"""A policy that refers to a calibration runs the oracle that was measured, or not at all."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.oracles.calibration import Calibration, read_calibration, write_calibration
from guardrail.oracles.options import MissRateBound
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy

REFERS = "name: mine\noracle:\n  calibration: measured.yaml\n"
CLAIMS_HARM = REFERS.replace("oracle", "smoothing: {claim: harmlessness}\noracle")


def built_in(threshold):
    return Policy.model_validate({"name": "m", "oracle": {"threshold": threshold}})


@pytest.fixture(scope="module")
def revision():
    """Of the built-in oracle at 0.25."""
    oracle = compile_oracle(built_in(0.25))
    asyncio.run(oracle.aclose())
    return oracle.revision


@pytest.fixture
def measured(revision):
    return calibration(oracle_revision=revision)


def calibration(**changes):
    fields = {
        "oracle": "default",
        "oracle_revision": "0" * 16,
        "threshold": 0.25,
        "chosen_by": "target",
        "target_miss_rate": 0.1,
        "design": "simple",
        "delta": 0.002,
        "miss_rate": 0.05,
        "miss_rate_upper": 0.1,
        "false_alarm_rate": 0.01,
        "false_alarm_rate_upper": 0.03,
        "auc": 0.97,
        "n_harmful": 200,
        "n_harmful_requests": 180,
        "n_harmless": 300,
        "n_harmless_requests": 290,
        "n_unjudged": 0,
        "data": "labels.jsonl",
        "data_digest": "a" * 64,
        "code_version": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Calibration.model_validate({**fields, **changes})


@pytest.fixture
def refers(tmp_path):
    """Writes a calibration and a policy that refers to it; returns the loaded policy."""

    def make(found, text=REFERS):
        write_calibration(tmp_path / "measured.yaml", found)
        (tmp_path / "policy.yaml").write_text(text)
        return load_policy(tmp_path / "policy.yaml")

    return make


class TestFile:
    @pytest.mark.parametrize("name", ["c.yaml", "c.json"])
    @given(threshold=st.floats(1e-300, 1.0, exclude_max=True), auc=st.none() | st.floats(0, 1))
    def test_reads_back_what_was_written(self, tmp_path_factory, name, threshold, auc):
        path = tmp_path_factory.mktemp("calibration") / name
        written = calibration(threshold=threshold, auc=auc)
        write_calibration(path, written)
        assert read_calibration(path) == written.sealed()

    def test_json_is_json(self, tmp_path):
        write_calibration(tmp_path / "c.json", calibration())
        assert json.loads((tmp_path / "c.json").read_text())["threshold"] == 0.25

    def test_no_part_is_left_behind(self, tmp_path):
        write_calibration(tmp_path / "c.yaml", calibration())
        assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("miss_rate_upper: 0.1", "miss_rate_upper: 0.01"),
            ("threshold: 0.25", "threshold: 0.9"),
            ("n_harmful: 200", "n_harmful: 201"),
            ("n_harmful_requests: 180", "n_harmful_requests: 181"),
            ("digest: ", "digest: 0"),
        ],
    )
    def test_an_edited_file_is_refused(self, tmp_path, old, new):
        path = tmp_path / "c.yaml"
        write_calibration(path, calibration())
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=r"c.yaml"):
            read_calibration(path)

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "a: [", "threshold: 0.5", "\x00", "x" * 70_000, "- " * 20_000],
        ids=["empty", "list", "broken", "few fields", "control", "long", "deep"],
    )
    def test_a_corrupt_file_is_refused(self, tmp_path, text):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"c.yaml"):
            read_calibration(path)

    def test_every_cut_of_a_file_is_refused(self, tmp_path):
        path = tmp_path / "c.yaml"
        write_calibration(path, calibration())
        data = path.read_bytes()
        for length in range(0, len(data) - 1, 7):
            path.write_bytes(data[:length])
            with pytest.raises(ConfigError):
                read_calibration(path)

    def test_a_field_at_fault_is_named(self, tmp_path):
        path = tmp_path / "c.json"
        write_calibration(path, calibration())
        path.write_text(path.read_text().replace('"threshold": 0.25', '"threshold": 2.5'))
        with pytest.raises(ConfigError, match="'threshold'"):
            read_calibration(path)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match=r"c.yaml.*check the path"):
            read_calibration(tmp_path / "c.yaml")

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_calibration(tmp_path / "none" / "c.yaml", calibration())


class TestPolicy:
    def test_takes_threshold_and_rates_from_the_file(self, refers, measured):
        policy = refers(measured, CLAIMS_HARM)
        rules = compile_policy(policy)
        assert (rules.miss_rate_upper, rules.delta) == (0.1, 0.002)
        assert policy.oracle.bound_miss_rate(policy.folder) == MissRateBound(0.1, 0.002)
        oracle = compile_oracle(policy)
        assert oracle.threshold == 0.25
        asyncio.run(oracle.aclose())

    def test_may_repeat_the_threshold(self, refers, measured):
        policy = refers(measured, CLAIMS_HARM + "  threshold: 0.25\n")
        assert compile_policy(policy).miss_rate_upper == 0.1

    def test_another_threshold_is_refused(self, refers, measured):
        policy = refers(measured, REFERS + "  threshold: 0.5\n")
        for use in (compile_policy, compile_oracle, policy_digest):
            with pytest.raises(ConfigError, match=r"measured.yaml.*'threshold'.*0.25.*0.5"):
                use(policy)

    def test_another_kind_is_refused(self, refers, measured):
        policy = refers(measured, REFERS + "  kind: detoxify\n")
        with pytest.raises(ConfigError, match=r"measured.yaml.*'oracle'.*default.*detoxify"):
            compile_policy(policy)

    def test_another_revision_is_refused_when_the_oracle_is_built(self, refers):
        policy = refers(calibration())
        with pytest.raises(ConfigError, match=r"measured.yaml.*'oracle_revision'.*calibrate again"):
            compile_oracle(policy)

    @pytest.mark.parametrize("field", ["miss_rate_upper: 0.1", "delta: 0.002"])
    def test_rates_have_one_source(self, refers, measured, field):
        with pytest.raises(ConfigError, match="come from the calibration"):
            refers(measured, REFERS + f"  {field}\n")

    def test_the_verdict_claim_uses_the_calibrated_threshold_too(self, refers, measured):
        policy = refers(measured, REFERS + "smoothing: {claim: verdict}\n")
        oracle = compile_oracle(policy)
        assert oracle.threshold == 0.25
        asyncio.run(oracle.aclose())

    def test_another_calibration_is_another_policy(self, refers, measured):
        digests = {
            policy_digest(refers(measured.model_copy(update=change)))
            for change in ({}, {"miss_rate_upper": 0.11}, {"threshold": 0.3}, {"delta": 0.003})
        }
        assert len(digests) == 4

    def test_a_missing_file_is_refused_when_the_policy_is_compiled(self, tmp_path):
        (tmp_path / "policy.yaml").write_text(REFERS)
        with pytest.raises(ConfigError, match=r"measured.yaml"):
            compile_policy(load_policy(tmp_path / "policy.yaml"))

    def test_a_part_of_an_oracle_has_none_of_its_own(self, refers, measured):
        """Whoever builds the whole would build the part without the calibrated threshold."""
        part = "{kind: builtin, calibration: measured.yaml}"
        text = (
            "name: mine\nsmoothing: {claim: verdict}\noracle:\n  kind: ensemble\n  rule: any\n"
            f"  members: [{{kind: builtin}}, {part}]\n"
        )
        policy = refers(measured, text)
        for use in (compile_policy, compile_oracle):
            with pytest.raises(ConfigError, match="a part of an oracle cannot have a calibration"):
                use(policy)
